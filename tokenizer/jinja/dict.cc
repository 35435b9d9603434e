#include "tokenizer/jinja/dict.h"

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/objects.h"
#include "tokenizer/jinja/ops.h"

namespace quorum::tok::jinja {
namespace {

// Below this many entries a table costs more than it saves.
constexpr std::size_t kLinear = 8;

std::size_t Mix(std::size_t hash) {
  hash ^= hash >> 33;
  hash *= 0xFF51AFD7ED558CCDULL;
  return hash ^ (hash >> 33);
}

}  // namespace

std::size_t HashOfText(std::string_view text) { return std::hash<std::string_view>{}(text); }

std::size_t HashOf(Budget& budget, const Value& value) {
  budget.Visit();
  switch (value.kind()) {
    case Kind::kString: {
      const std::string& text = value.as<StringObject>().text;
      budget.Bytes(text.size());
      return HashOfText(text);
    }
    case Kind::kBool:
    case Kind::kInt: return Mix(static_cast<std::size_t>(value.integer()));
    case Kind::kBigInt: return Mix(static_cast<std::size_t>(value.big()));
    case Kind::kFloat: {
      const double d = value.number();
      if (d >= -0x1p63 && d < 0x1p63 && std::nearbyint(d) == d) {
        return Mix(static_cast<std::size_t>(static_cast<std::int64_t>(d)));  // equals the int
      }
      return std::hash<double>{}(d);
    }
    case Kind::kTuple: {
      const Budget::Nested nested(budget);
      std::size_t hash = 0x345678;
      for (const Value& item : value.as<SequenceObject>().items) {
        budget.Visit();
        hash = Mix(hash * 1000003 + HashOf(budget, item));
      }
      return hash;
    }
    case Kind::kNone: return 0x9E3779B9;
    case Kind::kUndefined: return 0x517CC1B7;
    case Kind::kList:
    case Kind::kDict: Fail("unhashable type: '" + std::string(TypeName(value)) + "'");
    case Kind::kFunction: return std::hash<const void*>{}(value.function());
    default: return std::hash<const void*>{}(value.object());
  }
}

template <typename Matches>
std::size_t DictMap::IndexOf(Budget& budget, std::size_t hash, Matches matches) const {
  if (table_.empty()) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (hashes_[i] == hash && matches(entries_[i].first)) return i;
    }
    return kNone;
  }
  for (std::size_t slot = Slot(hash); table_[slot] >= 0; slot = Slot(slot + 1)) {
    budget.Visit();
    const auto index = static_cast<std::size_t>(table_[slot]);
    if (hashes_[index] == hash && matches(entries_[index].first)) return index;
  }
  return kNone;
}

std::size_t DictMap::IndexOf(Budget& budget, std::size_t hash, const Value& key) const {
  return IndexOf(budget, hash, [&](const Value& other) { return Equal(budget, other, key); });
}

const Value* DictMap::Find(Budget& budget, const Value& key) const {
  const std::size_t index = IndexOf(budget, HashOf(budget, key), key);
  return index == kNone ? nullptr : &entries_[index].second;
}

const Value* DictMap::Find(Budget& budget, std::string_view key) const {
  const std::size_t index = IndexOf(budget, HashOfText(key), [key](const Value& other) {
    return other.is_string() && other.as<StringObject>().text == key;
  });
  return index == kNone ? nullptr : &entries_[index].second;
}

bool DictMap::Set(Budget& budget, Value key, Value value) {
  const std::size_t hash = HashOf(budget, key);
  if (const std::size_t index = IndexOf(budget, hash, key); index != kNone) {
    entries_[index].second = std::move(value);
    return false;
  }
  if (entries_.size() >= static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) Fail("dict too large");
  hashes_.push_back(hash);
  entries_.emplace_back(std::move(key), std::move(value));
  if (entries_.size() > kLinear && entries_.size() * 2 > table_.size()) {
    Rehash();
  } else if (!table_.empty()) {
    AddToTable(entries_.size() - 1);
  }
  return true;
}

void DictMap::Clear() noexcept {
  entries_.clear();
  hashes_.clear();
  table_.clear();
}

void DictMap::AddToTable(std::size_t index) {
  std::size_t slot = Slot(hashes_[index]);
  while (table_[slot] >= 0) slot = Slot(slot + 1);
  table_[slot] = static_cast<std::int32_t>(index);
}

void DictMap::Rehash() {
  std::size_t size = 32;
  while (size < entries_.size() * 4) size *= 2;
  table_.assign(size, -1);
  for (std::size_t i = 0; i < entries_.size(); ++i) AddToTable(i);
}

}  // namespace quorum::tok::jinja
