#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

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
  std::vector<ByteTrie::Key> keys;
  for (const AddedToken& token : finder.tokens_) {
    keys.push_back({token.content, static_cast<std::int32_t>(keys.size())});
  }
  finder.trie_ = ByteTrie(std::move(keys));
  for (const AddedToken& token : finder.tokens_) finder.starts_[static_cast<std::uint8_t>(token.content[0])] = true;
  return finder;
}

void AddedTokenFinder::Split(std::string_view text, bool parse_special, std::vector<TextPart>& parts) const {
  std::size_t copied = 0;
  for (std::size_t pos = 0; pos < text.size() && !tokens_.empty();) {
    if (!starts_[static_cast<std::uint8_t>(text[pos])]) {
      ++pos;
      continue;
    }
    std::int32_t found = -1;  // the longest
    trie_.ForEachPrefix(text, pos, [&found](std::size_t, std::int32_t index) { found = index; });
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
