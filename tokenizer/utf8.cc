#include "tokenizer/utf8.h"

#include <cstring>

#include "engine/base/check.h"

namespace quorum::tok {
namespace {

std::uint8_t ByteAt(std::string_view text, std::size_t pos) { return static_cast<std::uint8_t>(text[pos]); }

/// How a lead byte goes on: the length of the character and the range of its second byte.
struct LeadByte {
  std::uint32_t length;  // 0: never starts a character
  std::uint8_t second_min;
  std::uint8_t second_max;
};

LeadByte ClassifyLead(std::uint8_t byte) {
  if (byte >= 0xC2 && byte <= 0xDF) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};  // shorter forms exist below
  if (byte == 0xED) return {3, 0x80, 0x9F};  // surrogates above
  if (byte >= 0xE1 && byte <= 0xEF) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte >= 0xF1 && byte <= 0xF3) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};  // U+10FFFF is the last
  return {0, 0, 0};
}

}  // namespace

Utf8Unit DecodeUtf8(std::string_view text, std::size_t pos) {
  QUORUM_DCHECK(pos < text.size());
  const std::uint8_t first = ByteAt(text, pos);
  if (first < 0x80) return {first, 1, true, false};
  const LeadByte lead = ClassifyLead(first);
  if (lead.length == 0) return {0xFFFD, 1, false, false};
  std::uint32_t code_point = first & (0xFFu >> (lead.length + 1));
  for (std::uint32_t i = 1; i < lead.length; ++i) {
    if (pos + i >= text.size()) return {0xFFFD, i, false, true};
    const std::uint8_t byte = ByteAt(text, pos + i);
    const bool fits = i == 1 ? byte >= lead.second_min && byte <= lead.second_max : (byte & 0xC0) == 0x80;
    if (!fits) return {0xFFFD, i, false, false};
    code_point = (code_point << 6) | (byte & 0x3Fu);
  }
  return {code_point, lead.length, true, false};
}

std::size_t PreviousUtf8(std::string_view text, std::size_t end) {
  QUORUM_DCHECK(end > 0 && end <= text.size());
  std::size_t pos = end - 1;
  while (pos > 0 && end - pos < 4 && (ByteAt(text, pos) & 0xC0) == 0x80) --pos;
  return pos;
}

std::size_t ValidUtf8Prefix(std::string_view text, std::size_t pos) {
  const std::size_t start = pos;
  while (pos < text.size()) {
    // Eight ASCII bytes at a time: most text is.
    std::uint64_t block = 0;
    while (pos + sizeof(block) <= text.size()) {
      std::memcpy(&block, text.data() + pos, sizeof(block));
      if ((block & 0x8080808080808080ull) != 0) break;
      pos += sizeof(block);
    }
    if (pos >= text.size()) break;
    const Utf8Unit unit = DecodeUtf8(text, pos);
    if (!unit.valid) break;
    pos += unit.length;
  }
  return pos - start;
}

void AppendUtf8(std::uint32_t code_point, std::string& out) {
  const auto put = [&out](std::uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
    put(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  } else {
    put(0xF0 | (code_point >> 18));
    put(0x80 | ((code_point >> 12) & 0x3F));
    put(0x80 | ((code_point >> 6) & 0x3F));
    put(0x80 | (code_point & 0x3F));
  }
}

}  // namespace quorum::tok
