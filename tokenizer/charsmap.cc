#include "tokenizer/charsmap.h"

#include <utf8proc.h>

#include <fmt/format.h>

#include "tokenizer/bounded_text.h"
#include "tokenizer/utf8.h"

namespace quorum::tok {
namespace {

// A unit: bits 0-7 and 31 its label, bit 8 whether a value hangs below, 9 a shift by 8 of the offset in bits 10-30.
// A value is a unit with bit 31 set.
constexpr std::uint32_t kIsValue = 0x80000000U;
constexpr std::uint32_t Label(std::uint32_t unit) { return unit & (kIsValue | 0xFFU); }
constexpr bool HasValue(std::uint32_t unit) { return ((unit >> 8) & 1U) != 0; }
constexpr std::uint32_t Offset(std::uint32_t unit) { return (unit >> 10) << ((unit & (1U << 9)) >> 6); }

std::uint32_t ReadU32(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = (value << 8) | static_cast<std::uint8_t>(bytes[at + i]);
  return value;
}

/// Bytes of the grapheme cluster that `text` starts with.
std::size_t GraphemeLength(std::string_view text) {
  std::size_t length = 0;
  utf8proc_int32_t state = 0;
  utf8proc_int32_t previous = 0;
  while (length < text.size()) {
    const Utf8Unit unit = DecodeUtf8(text, length);
    const auto code_point = static_cast<utf8proc_int32_t>(unit.code_point);
    if (length > 0 && utf8proc_grapheme_break_stateful(previous, code_point, &state)) break;
    previous = code_point;
    length += unit.length;
  }
  return length;
}

}  // namespace

Result<CharsMap> CharsMap::Parse(std::string_view bytes) {
  const auto bad = [](std::string_view what) { return InvalidArgument(fmt::format("the character map {}", what)); };
  if (bytes.size() < 4) return bad("is shorter than its header");
  const std::size_t trie_bytes = ReadU32(bytes, 0);
  if (trie_bytes == 0 || trie_bytes % 4 != 0) return bad(fmt::format("has a trie of {} bytes", trie_bytes));
  if (trie_bytes >= bytes.size() - 4) {
    return bad(fmt::format("has {} bytes, its trie alone {} and a header of 4", bytes.size(), trie_bytes));
  }
  CharsMap map;
  map.replacements_ = bytes.substr(4 + trie_bytes);
  if (map.replacements_.back() != '\0') return bad("does not end with a NUL");
  if (ValidUtf8Prefix(map.replacements_, 0) != map.replacements_.size())
    return bad("has replacements that are not UTF-8");
  map.units_.reserve(trie_bytes / 4);
  for (std::size_t at = 4; at < 4 + trie_bytes; at += 4) map.units_.push_back(ReadU32(bytes, at));
  if ((map.units_[0] & kIsValue) != 0) return bad("has a root that is a value");
  for (std::uint32_t i = 0; i < map.units_.size(); ++i) {
    const std::uint32_t unit = map.units_[i];
    if ((unit & kIsValue) != 0) {
      const std::size_t value = unit & ~kIsValue;
      if (value >= map.replacements_.size() || (static_cast<std::uint8_t>(map.replacements_[value]) & 0xC0U) == 0x80U) {
        return bad(fmt::format("has at unit {} a replacement that begins at no character of its {} bytes", i,
                               map.replacements_.size()));
      }
    } else if (((i ^ Offset(unit)) | 0xFFU) >= map.units_.size()) {
      return bad(fmt::format("has at unit {} an offset outside its {} units", i, map.units_.size()));
    } else if (HasValue(unit) && (map.units_[i ^ Offset(unit)] & kIsValue) == 0) {
      // SentencePiece would take whatever is there for a value.
      return bad(fmt::format("has at unit {} a rule without a value", i));
    }
  }
  return map;
}

std::optional<std::string_view> CharsMap::FindShortest(std::string_view text) const {
  std::uint32_t at = Offset(units_[0]);
  for (const char c : text) {
    if (c == '\0') return std::nullopt;
    at ^= static_cast<std::uint8_t>(c);
    const std::uint32_t unit = units_[at];
    if (Label(unit) != static_cast<std::uint8_t>(c)) return std::nullopt;
    at ^= Offset(unit);
    if (HasValue(unit)) {
      const std::uint32_t value = units_[at] & ~kIsValue;
      if (value >= replacements_.size()) return std::nullopt;
      return std::string_view(replacements_.data() + value);
    }
  }
  return std::nullopt;
}

Result<std::string> ApplyPrecompiled(std::size_t limit, const CharsMap& map, std::string_view text) {
  constexpr std::size_t kLongestGrapheme = 5;
  BoundedText out(limit);
  for (std::size_t pos = 0; pos < text.size() && !out.full();) {
    const std::string_view grapheme = text.substr(pos, GraphemeLength(text.substr(pos)));
    pos += grapheme.size();
    if (grapheme.size() <= kLongestGrapheme) {
      if (const auto mapped = map.FindShortest(grapheme)) {
        out.Append(*mapped);
        continue;
      }
    }
    for (std::size_t at = 0; at < grapheme.size();) {
      const std::string_view character = grapheme.substr(at, DecodeUtf8(grapheme, at).length);
      out.Append(map.FindShortest(character).value_or(character));
      at += character.size();
    }
  }
  return std::move(out).Take();
}

}  // namespace quorum::tok
