// Decoding and writing of UTF-8, with the invalid parts of a text told apart as the Unicode standard recommends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace quorum::tok {

/// What stands at one place of a text: a character, or a maximal part that cannot be one (Unicode 15, table 3-8).
struct Utf8Unit {
  std::uint32_t code_point = 0xFFFD;  // U+FFFD when invalid
  std::uint32_t length = 1;           // bytes, at least 1
  bool valid = false;
  bool incomplete = false;  // invalid only because the text ends here: more bytes could complete it
};

/// Decodes the unit that starts at `pos`. REQUIRES: pos < text.size().
Utf8Unit DecodeUtf8(std::string_view text, std::size_t pos);

/// Start of the character that ends at `end`, looking back over at most 3 continuation bytes. REQUIRES: end > 0.
std::size_t PreviousUtf8(std::string_view text, std::size_t end);

/// Bytes of `text` from `pos` on that are valid UTF-8, as a length.
std::size_t ValidUtf8Prefix(std::string_view text, std::size_t pos);

/// Appends `code_point`, a Unicode scalar value.
void AppendUtf8(std::uint32_t code_point, std::string& out);

}  // namespace quorum::tok
