// The `<architecture>.*` keys of a GGUF file, read so that none is ignored by accident.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "engine/base/result.h"
#include "quant/gguf.h"

namespace quorum::engine {

/// Reads `<architecture>.*` keys and remembers which, so that the ones nobody asked for can be refused.
class KeyReader {
 public:
  static constexpr std::int64_t kMax = std::numeric_limits<std::int32_t>::max();

  KeyReader(const quant::GgufFile& file, std::string_view architecture)
      : file_(file), prefix_(std::string(architecture) + ".") {}

  Error Fault(std::string_view key, const std::string& what) const {
    return InvalidArgument(fmt::format("{}: key '{}{}' {}", file_.path(), prefix_, key, what));
  }

  Result<std::optional<std::int64_t>> Int(std::string_view key, std::int64_t lowest, std::int64_t highest) {
    QUORUM_ASSIGN(const std::optional<std::int64_t> value, file_.GetInt(Mark(key)));
    if (value && (*value < lowest || *value > highest)) {
      return Fault(key, fmt::format("is {}, expected {} to {}", *value, lowest, highest));
    }
    return value;
  }

  Result<std::int32_t> RequiredInt(std::string_view key, std::int64_t lowest = 1, std::int64_t highest = kMax) {
    QUORUM_ASSIGN(const std::optional<std::int64_t> value, Int(key, lowest, highest));
    if (!value) return Fault(key, fmt::format("is missing, expected {} to {}", lowest, highest));
    return static_cast<std::int32_t>(*value);
  }

  Result<std::int32_t> IntOr(std::string_view key, std::int32_t fallback, std::int64_t lowest = 0,
                             std::int64_t highest = kMax) {
    QUORUM_ASSIGN(const std::optional<std::int64_t> value, Int(key, lowest, highest));
    return value ? static_cast<std::int32_t>(*value) : fallback;
  }

  /// A number, or an array of one number a layer that are all the same. Nothing when absent.
  Result<std::optional<std::int32_t>> SameInAllLayers(std::string_view key) {
    QUORUM_ASSIGN(const std::vector<std::int64_t> values, file_.GetInts(Mark(key)));
    if (values.empty()) return std::optional<std::int32_t>();
    for (const std::int64_t value : values) {
      if (value != values.front()) {
        return Unsupported(fmt::format("{}: key '{}{}' differs between layers ({} and {}), which Quorum does not have",
                                       file_.path(), prefix_, key, values.front(), value));
      }
    }
    if (values.front() < 1 || values.front() > kMax) {
      return Fault(key, fmt::format("is {}, expected 1 to {}", values.front(), kMax));
    }
    return std::optional<std::int32_t>(static_cast<std::int32_t>(values.front()));
  }

  /// A number, or one a layer. Nothing when absent.
  Result<std::vector<std::int64_t>> Ints(std::string_view key) { return file_.GetInts(Mark(key)); }

  bool Has(std::string_view key) { return file_.metadata().contains(Mark(key)); }

  Result<double> FloatOr(std::string_view key, double fallback) {
    QUORUM_ASSIGN(const std::optional<double> value, file_.GetFloat(Mark(key)));
    if (value && !std::isfinite(*value)) return Fault(key, fmt::format("is {}, expected a finite number", *value));
    return value.value_or(fallback);
  }

  Result<std::string> StringOr(std::string_view key, std::string fallback) {
    QUORUM_ASSIGN(const std::optional<std::string> value, file_.GetString(Mark(key)));
    return value.value_or(std::move(fallback));
  }

  Result<bool> BoolOr(std::string_view key, bool fallback) {
    QUORUM_ASSIGN(const std::optional<bool> value, file_.GetBool(Mark(key)));
    return value.value_or(fallback);
  }

  /// A setting whose every other value is a feature that Quorum lacks.
  Status OnlyInt(std::string_view key, std::int64_t neutral) {
    QUORUM_ASSIGN(const std::optional<std::int64_t> value, file_.GetInt(Mark(key)));
    return value && *value != neutral ? Lacks(key, std::to_string(*value)) : Status();
  }
  Status OnlyFloat(std::string_view key, double neutral) {
    QUORUM_ASSIGN(const double value, FloatOr(key, neutral));
    return value != neutral ? Lacks(key, fmt::format("{}", value)) : Status();
  }
  Status OnlyBool(std::string_view key, bool neutral) {
    QUORUM_ASSIGN(const bool value, BoolOr(key, neutral));
    return value != neutral ? Lacks(key, value ? "true" : "false") : Status();
  }

  /// Keys that say nothing about the computation.
  void Ignore(std::string_view key) { Mark(key); }

  /// Refuses keys that nothing has asked for.
  Status AllRead() const {
    for (auto it = file_.metadata().lower_bound(prefix_); it != file_.metadata().end(); ++it) {
      if (!it->first.starts_with(prefix_)) break;
      if (!read_.contains(it->first)) {
        return Unsupported(
            fmt::format("{}: key '{}' describes a feature that Quorum does not have for this architecture",
                        file_.path(), it->first));
      }
    }
    return {};
  }

 private:
  Status Lacks(std::string_view key, const std::string& value) const {
    return Unsupported(
        fmt::format("{}: key '{}{}' is {}, which Quorum does not have", file_.path(), prefix_, key, value));
  }

  const std::string& Mark(std::string_view key) { return *read_.insert(prefix_ + std::string(key)).first; }

  const quant::GgufFile& file_;
  std::string prefix_;
  std::set<std::string, std::less<>> read_;
};

}  // namespace quorum::engine
