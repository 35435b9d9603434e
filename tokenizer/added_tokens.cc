#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <numeric>

#include <fmt/format.h>

#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace quorum::tok {
namespace {

/// `\w` of Rust's regex, with which Hugging Face looks around single words.
bool IsRustWord(std::uint32_t c) { return IsWord(c) || c == 0x200C || c == 0x200D; }

/// The character that ends at `end`; U+FFFD, one byte long, when there is no valid one.
Utf8Unit UnitBefore(std::string_view text, std::size_t end) {
  const std::size_t begin = PreviousUtf8(text, end);
  const Utf8Unit unit = DecodeUtf8(text, begin);
  return unit.valid && begin + unit.length == end ? unit : Utf8Unit{};
}

}  // namespace

Result<AddedTokenFinder> AddedTokenFinder::Build(std::vector<AddedToken> tokens) {
  AddedTokenFinder finder;
  for (AddedToken& token : tokens) {
    if (token.content.size() > kMaxContentBytes) {
      return Unsupported(fmt::format("the added token {} is {} bytes long; the limit is {}", token.id,
                                     token.content.size(), kMaxContentBytes));
    }
    if (!token.content.empty()) finder.tokens_.push_back(std::move(token));
  }
  if (finder.tokens_.empty()) return finder;
  std::vector<std::uint32_t> order(finder.tokens_.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return finder.tokens_[a].content < finder.tokens_[b].content;
  });
  finder.BuildNode(order, 0, order.size(), 0);
  for (const AddedToken& token : finder.tokens_) finder.starts_[static_cast<std::uint8_t>(token.content[0])] = true;
  return finder;
}

// Recursion is at most kMaxContentBytes deep.
std::uint32_t AddedTokenFinder::BuildNode(const std::vector<std::uint32_t>& sorted, std::size_t begin, std::size_t end,
                                          std::size_t depth) {
  const auto index = static_cast<std::uint32_t>(nodes_.size());
  nodes_.emplace_back();
  std::int32_t token = -1;
  while (begin < end && tokens_[sorted[begin]].content.size() == depth) {
    if (token < 0) token = static_cast<std::int32_t>(sorted[begin]);
    ++begin;
  }
  const auto byte_of = [&](std::size_t i) { return static_cast<std::uint8_t>(tokens_[sorted[i]].content[depth]); };
  std::vector<std::size_t> groups;  // starts of the ranges with one byte at `depth`
  for (std::size_t i = begin; i < end; ++i) {
    if (i == begin || byte_of(i) != byte_of(i - 1)) groups.push_back(i);
  }
  const auto first_edge = static_cast<std::uint32_t>(edges_.size());
  edges_.resize(edges_.size() + groups.size());
  nodes_[index] = {first_edge, static_cast<std::uint32_t>(groups.size()), token};
  for (std::size_t g = 0; g < groups.size(); ++g) {
    const std::size_t group_end = g + 1 < groups.size() ? groups[g + 1] : end;
    const std::uint32_t child = BuildNode(sorted, groups[g], group_end, depth + 1);
    edges_[first_edge + g] = {byte_of(groups[g]), child};
  }
  return index;
}

std::int32_t AddedTokenFinder::LongestAt(std::string_view text, std::size_t pos) const {
  std::int32_t longest = -1;
  const Node* node = &nodes_[0];
  for (;; ++pos) {
    if (node->token >= 0) longest = node->token;
    if (pos >= text.size()) return longest;
    const auto first = edges_.begin() + node->first_edge;
    const auto last = first + node->edge_count;
    const auto byte = static_cast<std::uint8_t>(text[pos]);
    const auto edge = std::lower_bound(first, last, byte, [](const Edge& e, std::uint8_t b) { return e.byte < b; });
    if (edge == last || edge->byte != byte) return longest;
    node = &nodes_[edge->node];
  }
}

void AddedTokenFinder::Split(std::string_view text, bool parse_special, std::vector<TextPart>& parts) const {
  std::size_t copied = 0;
  for (std::size_t pos = 0; pos < text.size() && !tokens_.empty();) {
    if (!starts_[static_cast<std::uint8_t>(text[pos])]) {
      ++pos;
      continue;
    }
    const std::int32_t found = LongestAt(text, pos);
    if (found < 0) {
      ++pos;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(found)];
    std::size_t begin = pos;
    std::size_t end = pos + token.content.size();
    pos = end;
    if (token.control && !parse_special) continue;
    if (token.single_word) {
      const bool left = begin > 0 && IsRustWord(UnitBefore(text, begin).code_point);
      const bool right = end < text.size() && IsRustWord(DecodeUtf8(text, end).code_point);
      if (left || right) continue;
    }
    while (token.left_strip && begin > copied) {
      const Utf8Unit unit = UnitBefore(text, begin);
      if (!IsWhitespace(unit.code_point)) break;
      begin -= unit.length;
    }
    while (token.right_strip && end < text.size()) {
      const Utf8Unit unit = DecodeUtf8(text, end);
      if (!IsWhitespace(unit.code_point)) break;
      end += unit.length;
    }
    if (copied < begin) parts.push_back({text.substr(copied, begin - copied), -1});
    parts.push_back({text.substr(begin, end - begin), token.id});
    copied = end;
  }
  if (copied < text.size()) parts.push_back({text.substr(copied), -1});
}

}  // namespace quorum::tok
