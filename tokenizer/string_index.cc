#include "tokenizer/string_index.h"

#include <cstring>

#include "engine/base/check.h"

namespace quorum::tok {
namespace {

constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15ull;  // 2^64 / golden ratio

std::uint64_t Mix(std::uint64_t x) {
  x *= kMultiplier;
  return x ^ (x >> 29);
}

std::uint64_t LoadUpTo8(const char* data, std::size_t n) {
  std::uint64_t word = 0;
  std::memcpy(&word, data, n);
  return word;
}

}  // namespace

std::uint64_t HashBytes(std::string_view bytes) {
  std::uint64_t hash = Mix(bytes.size() + 1);
  const char* data = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; left -= 8, data += 8) hash = Mix(hash ^ LoadUpTo8(data, 8));
  if (left > 0) hash = Mix(hash ^ LoadUpTo8(data, left));
  return hash ^ (hash >> 32);
}

void StringTable::Reserve(std::size_t strings, std::size_t bytes) {
  ends_.reserve(strings);
  block_.reserve(bytes);
}

std::size_t StringTable::Add(std::string_view text) {
  block_.insert(block_.end(), text.begin(), text.end());
  ends_.push_back(block_.size());
  return ends_.size() - 1;
}

void StringIndex::Reserve(std::size_t count) {
  std::size_t slots = 16;
  while (slots < count * 2) slots *= 2;
  if (slots > slots_.size()) Grow(slots);
}

bool StringIndex::Insert(std::string_view key, std::int32_t id) {
  QUORUM_CHECK(id >= 0 && key.size() <= UINT32_MAX);
  if ((used_ + 1) * 2 > slots_.size()) Grow(slots_.empty() ? 16 : slots_.size() * 2);
  Slot& slot = slots_[FindSlot(key)];
  if (slot.id >= 0) return false;
  slot = {key.data(), static_cast<std::uint32_t>(key.size()), id};
  ++used_;
  return true;
}

std::int32_t StringIndex::Find(std::string_view key) const { return slots_.empty() ? -1 : slots_[FindSlot(key)].id; }

std::size_t StringIndex::FindSlot(std::string_view key) const {
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = static_cast<std::size_t>(HashBytes(key)) & mask;
  while (slots_[at].id >= 0 && std::string_view(slots_[at].data, slots_[at].length) != key) at = (at + 1) & mask;
  return at;
}

void StringIndex::Grow(std::size_t slots) {
  const std::vector<Slot> old = std::move(slots_);
  slots_ = std::vector<Slot>(slots);
  for (const Slot& slot : old) {
    if (slot.id >= 0) slots_[FindSlot({slot.data, slot.length})] = slot;
  }
}

}  // namespace quorum::tok
