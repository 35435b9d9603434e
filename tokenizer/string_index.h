// Compact storage of many short strings, and a hash map from such strings to token ids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace quorum::tok {

/// Strings one after the other in one block. Views stay valid from the last `Add` on, also after a move.
class StringTable {
 public:
  void Reserve(std::size_t strings, std::size_t bytes);
  /// Returns the new string's index.
  std::size_t Add(std::string_view text);
  std::size_t size() const { return ends_.size(); }
  /// REQUIRES: index < size().
  std::string_view operator[](std::size_t index) const {
    const std::size_t begin = index == 0 ? 0 : ends_[index - 1];
    return {block_.data() + begin, ends_[index] - begin};
  }

 private:
  std::vector<char> block_;
  std::vector<std::size_t> ends_;
};

/// Open-addressing map from strings to ids of 0 and more. It does not own the strings: they must outlive it and keep
/// their addresses (a finished StringTable's do). Reading is thread-safe.
class StringIndex {
 public:
  void Reserve(std::size_t count);
  /// False, and nothing changed, when `key` is there already.
  bool Insert(std::string_view key, std::int32_t id);
  /// The id of `key`, or -1.
  std::int32_t Find(std::string_view key) const;

 private:
  struct Slot {
    const char* data = nullptr;
    std::uint32_t length = 0;
    std::int32_t id = -1;  // -1: free
  };

  std::size_t FindSlot(std::string_view key) const;
  void Grow(std::size_t slots);

  std::vector<Slot> slots_;  // a power of two, at most half full
  std::size_t used_ = 0;
};

/// A well-mixed 64-bit hash of `bytes`; the same in every run (keys come from a model file, not from requests).
std::uint64_t HashBytes(std::string_view bytes);

}  // namespace quorum::tok
