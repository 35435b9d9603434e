// Typed, checked look-ups in a Hugging Face `config.json`. Every key that is asked for is remembered, so that the rest
// can be named.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "quant/json_value.h"

namespace quorum::engine {

/// An object of the file: the whole, or a section such as "rope_scaling". A null value counts as absent, as
/// transformers takes it. All errors are kInvalidArgument or kUnsupported and name file, key, what was expected and
/// what was found.
class HfConfig {
 public:
  static constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();

  /// Reads `path`. Errors: those of MappedFile::Open; kInvalidArgument (no JSON object).
  static Result<HfConfig> Open(const std::string& path);
  /// The same from text, for tests and fuzzers.
  static Result<HfConfig> Parse(std::string_view text, const std::string& path);

  const std::string& path() const { return path_; }
  bool Has(std::string_view key) const;
  /// Whether the key is there with the value null, which means "none" where an absent one means a default.
  bool IsNull(std::string_view key) const;

  /// "path: key 'rope_scaling.factor' is 3, expected ..." with `what` = "is 3, expected ...".
  Error Fault(std::string_view key, const std::string& what) const;
  /// kUnsupported: "... is 3, which Quorum does not have".
  Error Lacks(std::string_view key) const;

  Result<std::optional<std::int64_t>> Int(std::string_view key, std::int64_t lowest, std::int64_t highest) const;
  Result<std::int32_t> RequiredInt(std::string_view key, std::int64_t lowest = 1, std::int64_t highest = kMaxInt) const;
  Result<std::int32_t> IntOr(std::string_view key, std::int32_t fallback, std::int64_t lowest = 0,
                             std::int64_t highest = kMaxInt) const;
  Result<std::optional<double>> Float(std::string_view key) const;  // finite
  Result<double> FloatOr(std::string_view key, double fallback) const;
  Result<bool> BoolOr(std::string_view key, bool fallback) const;
  Result<std::string> StringOr(std::string_view key, std::string fallback) const;
  Result<std::vector<std::int64_t>> Ints(std::string_view key) const;  // empty: absent
  Result<std::vector<double>> Floats(std::string_view key) const;
  Result<std::vector<std::string>> Strings(std::string_view key) const;
  Result<std::optional<HfConfig>> Section(std::string_view key) const;

  /// Settings whose every other value is a feature that Quorum lacks for this family. Absent is fine.
  Status OnlyBool(std::string_view key, bool neutral) const;
  Status OnlyFloat(std::string_view key, double neutral) const;
  Status OnlyString(std::string_view key, std::initializer_list<std::string_view> neutral) const;

  /// Keys that say nothing about the computation.
  void Ignore(std::initializer_list<std::string_view> keys) const;
  /// Keys of this object that nobody asked for and that are not known to be without meaning.
  std::vector<std::string> Unread() const;

 private:
  HfConfig(std::string path, std::string prefix, quant::JsonValue root)
      : path_(std::move(path)), prefix_(std::move(prefix)), root_(std::move(root)) {}
  const quant::JsonValue* Get(std::string_view key) const;  // null where absent or JSON's null
  Error Wrong(std::string_view key, const quant::JsonValue& value, std::string_view expected) const;

  std::string path_;
  std::string prefix_;  // of a section: "rope_scaling."
  quant::JsonValue root_;
  mutable std::set<std::string, std::less<>> read_;
};

}  // namespace quorum::engine
