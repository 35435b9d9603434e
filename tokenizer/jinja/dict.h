// An insertion-ordered hash map from values to values, with Python's equality of keys.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja/value.h"

namespace quorum::tok::jinja {

/// A hash that agrees with Equal(). Fails for lists, dicts and other values that Python cannot hash.
std::size_t HashOf(Budget& budget, const Value& value);

/// The hash of a string value with this text.
std::size_t HashOfText(std::string_view text);

/// Not thread-safe. Bytes are to be charged by the owner; looking up and adding charge steps, so colliding keys cost
/// the template its budget and not the server its time.
class DictMap {
 public:
  using Entry = std::pair<Value, Value>;

  const std::vector<Entry>& entries() const { return entries_; }
  std::size_t size() const { return entries_.size(); }

  /// The value of `key`, or null. Fails if `key` cannot be hashed.
  const Value* Find(Budget& budget, const Value& key) const;
  const Value* Find(Budget& budget, std::string_view key) const;

  /// Adds or replaces; a replaced entry keeps its place and its key. True if added.
  bool Set(Budget& budget, Value key, Value value);

  void Reserve(std::size_t n) { entries_.reserve(n); }
  void Clear() noexcept;

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  std::size_t Slot(std::size_t hash) const { return hash & (table_.size() - 1); }
  template <typename Matches>
  std::size_t IndexOf(Budget& budget, std::size_t hash, Matches matches) const;
  std::size_t IndexOf(Budget& budget, std::size_t hash, const Value& key) const;
  void AddToTable(std::size_t index);
  void Rehash();

  std::vector<Entry> entries_;
  std::vector<std::size_t> hashes_;  // one per entry
  std::vector<std::int32_t> table_;  // open addressing, indexes into entries_, -1 = free; size a power of two
};

}  // namespace quorum::tok::jinja
