#include "engine/grammar/vocabulary.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace quorum::grammar {
namespace {

constexpr std::array<std::uint32_t, 3> kPlainLengths = {4, 12, 32};

struct Shape {
  bool whole = true;  // whole characters only
  bool plain = true;  // and all of them plain
  std::uint32_t chars = 0;
};

Shape ShapeOf(std::string_view bytes, const CharSet& plain) {
  Shape shape;
  for (std::size_t at = 0; at < bytes.size();) {
    CodePoint c = 0;
    if (!ReadUtf8(bytes, at, c)) return {false, false, 0};
    shape.plain = shape.plain && plain.Contains(c);
    ++shape.chars;
  }
  return shape;
}

}  // namespace

CharSet JsonPlainChars() { return CharSet{{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, kMaxCodePoint}}; }

TokenTrie::TokenTrie(std::vector<Entry> entries) {
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return a.bytes < b.bytes || (a.bytes == b.bytes && a.id < b.id); });
  std::vector<std::size_t> path;  // open nodes, from the root's child down
  std::string_view previous;
  const auto close = [&](std::size_t depth) {
    for (; path.size() > depth; path.pop_back()) nodes_[path.back()].end = static_cast<std::int32_t>(nodes_.size());
  };
  for (const Entry& entry : entries) {
    std::size_t shared = 0;
    while (shared < previous.size() && shared < entry.bytes.size() && previous[shared] == entry.bytes[shared]) ++shared;
    close(shared);
    for (std::size_t i = shared; i < entry.bytes.size(); ++i) {
      path.push_back(nodes_.size());
      nodes_.push_back({static_cast<std::uint8_t>(entry.bytes[i]), 0, static_cast<std::int32_t>(ids_.size())});
    }
    ids_.push_back(entry.id);
    previous = entry.bytes;
  }
  close(0);
  nodes_.push_back({0, 0, static_cast<std::int32_t>(ids_.size())});
}

Vocabulary::Vocabulary(std::span<const VocabularyToken> tokens) {
  std::size_t bytes = 0;
  for (const VocabularyToken& token : tokens) bytes += std::max<std::size_t>(token.bytes.size(), 8);
  storage_.reserve(bytes);  // the views into it stay valid
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const auto id = static_cast<TokenId>(i);
    const std::size_t begin = storage_.size();
    if (tokens[i].kind == TokenKind::kText) {
      storage_ += tokens[i].bytes;
      longest_ = std::max(longest_, tokens[i].bytes.size());
    } else {
      storage_ += ControlBytes(id);
    }
    tokens_.push_back(std::string_view(storage_).substr(begin));
    kinds_.push_back(tokens[i].kind);
    if (tokens[i].kind == TokenKind::kEnd) end_tokens_.push_back(id);
  }
  FindSpellable();
  Arrange();
}

std::string Vocabulary::ControlBytes(TokenId id) {
  const auto bits = static_cast<std::uint32_t>(id);
  std::string bytes(1, static_cast<char>(kControlLead));
  for (int shift = 24; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(bits >> shift));
  return bytes;
}

void Vocabulary::FindSpellable() {
  std::array<bool, 256> single{};
  std::vector<CharSet::Range> ranges;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::string_view bytes = tokens_[i];
    if (kinds_[i] != TokenKind::kText || bytes.empty() || bytes.size() > 4) continue;
    if (bytes.size() == 1) single[static_cast<unsigned char>(bytes[0])] = true;
    CodePoint c = 0;
    std::size_t at = 0;
    if (ReadUtf8(bytes, at, c) && at == bytes.size()) ranges.push_back({c, c});
  }
  byte_complete_ = std::all_of(single.begin() + 0x80, single.begin() + 0xC0, [](bool has) { return has; });
  if (byte_complete_) {
    const auto lead = [&](std::size_t first, std::size_t last, CodePoint base, unsigned shift, CodePoint least) {
      for (std::size_t byte = first; byte <= last; ++byte) {
        const CodePoint low = (static_cast<CodePoint>(byte) - base) << shift;
        if (single[byte]) ranges.push_back({std::max(low, least), low + (CodePoint{1} << shift) - 1});
      }
    };
    lead(0xC2, 0xDF, 0xC0, 6, 0x80);
    lead(0xE0, 0xEF, 0xE0, 12, 0x800);
    lead(0xF0, 0xF4, 0xF0, 18, 0x10000);
  }
  spellable_ = CharSet(std::move(ranges));
}

void Vocabulary::Arrange() {
  using Entries = std::vector<TokenTrie::Entry>;
  std::array<Entries, kPlainLengths.size()> plain;
  Entries rest;
  Entries units;
  const CharSet plain_chars = this->plain_chars();
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const TokenTrie::Entry entry{tokens_[i], static_cast<TokenId>(i)};
    if (entry.bytes.empty()) continue;
    if (kinds_[i] != TokenKind::kText) {
      rest.push_back(entry);
      units.push_back(entry);
      continue;
    }
    // A byte token of what stands for control tokens would spell one byte by byte.
    if (entry.bytes.find(static_cast<char>(kControlLead)) != std::string_view::npos) continue;
    const Shape shape = ShapeOf(entry.bytes, plain_chars);
    // Where some bytes have no token, a piece of a character might never be completed.
    if (!shape.whole && !byte_complete_) continue;
    if (entry.bytes.size() == 1 || (shape.whole && shape.chars == 1)) units.push_back(entry);
    const auto* length = std::find_if(kPlainLengths.begin(), kPlainLengths.end(),
                                      [&](std::uint32_t limit) { return shape.chars <= limit; });
    if (shape.plain && length != kPlainLengths.end()) {
      plain[static_cast<std::size_t>(length - kPlainLengths.begin())].push_back(entry);
    } else {
      rest.push_back(entry);
    }
  }
  for (std::size_t k = 0; k < plain.size(); ++k) {
    TokenSet set(size());
    for (const TokenTrie::Entry& entry : plain[k]) set.Add(entry.id);
    plain_.push_back({kPlainLengths[k], TokenTrie(std::move(plain[k])), std::move(set)});
  }
  rest_ = TokenTrie(std::move(rest));
  units_ = TokenTrie(std::move(units));
}

}  // namespace quorum::grammar
