// Bounds-checked little-endian reads: the only way that parsers of outside bytes look at them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "engine/base/result.h"

namespace quorum {

/// A cursor over bytes that it does not own. Every read fails with kDataLoss, naming the offset, when the
/// bytes run out; a failed read does not move the cursor.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  std::size_t offset() const { return offset_; }
  std::size_t remaining() const { return bytes_.size() - offset_; }

  /// Reads one number; `what` names the field in the error.
  template <typename T>
    requires std::is_arithmetic_v<T>
  Result<T> Read(std::string_view what) {
    if (remaining() < sizeof(T)) return Truncated(what, sizeof(T));
    T value;
    std::memcpy(&value, bytes_.data() + offset_, sizeof(T));
    offset_ += sizeof(T);
    return value;
  }

  /// Reads `n` bytes without copying them.
  Result<std::span<const std::byte>> ReadBytes(std::uint64_t n, std::string_view what) {
    if (remaining() < n) return Truncated(what, n);
    auto out = bytes_.subspan(offset_, static_cast<std::size_t>(n));
    offset_ += static_cast<std::size_t>(n);
    return out;
  }

 private:
  Error Truncated(std::string_view what, std::uint64_t need) const {
    return DataLoss("file ends inside " + std::string(what) + " at offset " + std::to_string(offset_) + ": needs " +
                    std::to_string(need) + " bytes, has " + std::to_string(remaining()));
  }

  std::span<const std::byte> bytes_;
  std::size_t offset_ = 0;
};

}  // namespace quorum
