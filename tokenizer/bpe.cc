#include "tokenizer/bpe.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "tokenizer/utf8.h"

namespace quorum::tok {
namespace {

// Up to here a scan for the best pair beats a heap: everything sits in two cache lines or so.
constexpr std::size_t kShortWord = 64;

std::uint64_t PairKey(TokenId left, TokenId right) {
  return (static_cast<std::uint64_t>(static_cast<std::uint32_t>(left)) << 32) | static_cast<std::uint32_t>(right);
}

}  // namespace

void BpeModel::PairTable::Build(const std::vector<BpeMerge>& merges) {
  const std::size_t size = std::bit_ceil(merges.size() * 2 + 2);
  shift_ = 64 - static_cast<unsigned>(std::countr_zero(size));
  slots_.assign(size, Entry{});
  for (const BpeMerge& merge : merges) {
    const std::uint64_t key = PairKey(merge.left, merge.right);
    const std::size_t at = static_cast<std::size_t>(&Find(merge.left, merge.right) - slots_.data());
    slots_[at] = {key, merge.rank, merge.merged};
  }
}

const BpeModel::PairTable::Entry& BpeModel::PairTable::Find(TokenId left, TokenId right) const {
  const std::uint64_t key = PairKey(left, right);
  const std::size_t mask = slots_.size() - 1;
  std::size_t at = static_cast<std::size_t>((key * 0x9E3779B97F4A7C15ull) >> shift_);
  while (slots_[at].key != kFree && slots_[at].key != key) at = (at + 1) & mask;
  return slots_[at];
}

BpeModel::BpeModel(const BpeSpec& spec) : unknown_(spec.unknown), characters_(spec.characters) {
  index_.Reserve(spec.entries.size());
  for (const auto& [bytes, id] : spec.entries) {
    if (index_.Insert(bytes, id) && bytes.size() == 1) byte_ids_[static_cast<std::uint8_t>(bytes[0])] = id;
  }
  pairs_.Build(spec.merges);

  // Most words of a text are one token. Which entries the merges do reach is found once, here.
  std::vector<bool> whole(AsIndex(spec.vocab_size));
  WordScratch scratch;
  std::vector<TokenId> ids;
  for (const auto& entry : spec.entries) {
    ids.clear();
    whole[AsIndex(entry.id)] =
        spec.ignore_merges || (Encode(entry.bytes, false, scratch, ids).ok() && ids.size() == 1 && ids[0] == entry.id);
  }
  whole_ = std::move(whole);
}

Status BpeModel::Encode(std::string_view word, bool /*begins_text*/, WordScratch& scratch,
                        std::vector<TokenId>& out) const {
  if (word.empty()) return {};
  if (word.size() > kMaxWordBytes) {
    return Error{ErrorCode::kTooLarge, fmt::format("a word of {} bytes is too long to tokenize", word.size()), {}, {}};
  }
  if (!whole_.empty()) {
    const TokenId id = index_.Find(word);
    if (id >= 0 && whole_[AsIndex(id)]) {
      out.push_back(id);
      return {};
    }
  }
  AppendSymbols(word, scratch);
  if (scratch.ids.size() <= kShortWord) {
    MergeShort(scratch);
  } else {
    MergeLong(scratch);
  }
  out.insert(out.end(), scratch.ids.begin(), scratch.ids.end());
  return {};
}

void BpeModel::AppendSymbols(std::string_view word, WordScratch& scratch) const {
  auto& ids = scratch.ids;
  ids.clear();
  for (std::size_t pos = 0; pos < word.size();) {
    const std::string_view part = word.substr(pos, characters_ ? DecodeUtf8(word, pos).length : 1);
    const TokenId id = characters_ ? index_.Find(part) : byte_ids_[static_cast<std::uint8_t>(word[pos])];
    if (id >= 0) {
      ids.push_back(id);
    } else {
      unknown_.Append(part, ids, scratch);
    }
    pos += part.size();
  }
}

void BpeModel::MergeShort(WordScratch& scratch) const {
  auto& ids = scratch.ids;
  auto& ranks = scratch.ranks;  // ranks[i]: of the pair (ids[i], ids[i + 1])
  ranks.clear();
  for (std::size_t i = 0; i + 1 < ids.size(); ++i) ranks.push_back(pairs_.Find(ids[i], ids[i + 1]).rank);
  while (!ranks.empty()) {
    const auto best = std::min_element(ranks.begin(), ranks.end());  // the leftmost of equals
    if (*best == PairTable::kNoRank) break;
    const std::ptrdiff_t offset = best - ranks.begin();
    const std::size_t i = static_cast<std::size_t>(offset);
    ids[i] = pairs_.Find(ids[i], ids[i + 1]).merged;
    ids.erase(ids.begin() + offset + 1);
    ranks.erase(best);
    if (i > 0) ranks[i - 1] = pairs_.Find(ids[i - 1], ids[i]).rank;
    if (i < ranks.size()) ranks[i] = pairs_.Find(ids[i], ids[i + 1]).rank;
  }
}

void BpeModel::MergeLong(WordScratch& scratch) const {
  auto& symbols = scratch.symbols;  // a linked list in place; id -1: merged into its left neighbour
  auto& heap = scratch.heap;
  symbols.clear();
  heap.clear();
  const auto count = static_cast<std::int32_t>(scratch.ids.size());
  for (std::int32_t i = 0; i < count; ++i) {
    symbols.push_back({scratch.ids[static_cast<std::size_t>(i)], i - 1, i + 1 < count ? i + 1 : -1});
  }
  const auto symbol = [&symbols](std::int32_t i) -> WordScratch::Symbol& {
    return symbols[static_cast<std::size_t>(i)];
  };
  const auto later = [](const WordScratch::Candidate& a, const WordScratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
  };
  const auto add = [&](std::int32_t left, std::int32_t right) {
    const std::uint32_t rank = pairs_.Find(symbol(left).id, symbol(right).id).rank;
    if (rank != PairTable::kNoRank) heap.push_back({rank, left, symbol(left).id, symbol(right).id});
    return rank != PairTable::kNoRank;
  };
  for (std::int32_t i = 0; i + 1 < count; ++i) add(i, i + 1);
  std::make_heap(heap.begin(), heap.end(), later);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), later);
    const WordScratch::Candidate top = heap.back();
    heap.pop_back();
    WordScratch::Symbol& left = symbol(top.position);
    // A candidate is stale once either side has been merged otherwise.
    if (left.id != top.left || left.next < 0 || symbol(left.next).id != top.right) continue;
    WordScratch::Symbol& right = symbol(left.next);
    left.id = pairs_.Find(top.left, top.right).merged;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) symbol(left.next).previous = top.position;
    if (left.previous >= 0 && add(left.previous, top.position)) std::push_heap(heap.begin(), heap.end(), later);
    if (left.next >= 0 && add(top.position, left.next)) std::push_heap(heap.begin(), heap.end(), later);
  }
  scratch.ids.clear();
  for (const auto& entry : symbols) {
    if (entry.id >= 0) scratch.ids.push_back(entry.id);
  }
}

}  // namespace quorum::tok
