#include "tokenizer/byte_level.h"

#include <array>

#include "tokenizer/utf8.h"

namespace quorum::tok {
namespace {

constexpr bool IsPrintableLatin1(unsigned byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

struct ByteTables {
  std::array<std::uint16_t, 256> to_char{};
  std::array<std::int16_t, 512> to_byte{};  // by code point; -1: stands for no byte
};

constexpr ByteTables MakeTables() {
  ByteTables tables;
  for (auto& entry : tables.to_byte) entry = -1;
  unsigned next = 256;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const unsigned code_point = IsPrintableLatin1(byte) ? byte : next++;
    tables.to_char[byte] = static_cast<std::uint16_t>(code_point);
    tables.to_byte[code_point] = static_cast<std::int16_t>(byte);
  }
  return tables;
}

constexpr ByteTables kTables = MakeTables();

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::uint32_t ByteLevelChar(std::uint8_t byte) { return kTables.to_char[byte]; }

std::optional<std::string> ByteLevelDecode(std::string_view spelling) {
  std::string bytes;
  bytes.reserve(spelling.size());
  for (std::size_t pos = 0; pos < spelling.size();) {
    const Utf8Unit unit = DecodeUtf8(spelling, pos);
    if (!unit.valid || unit.code_point >= kTables.to_byte.size()) return std::nullopt;
    const std::int16_t byte = kTables.to_byte[unit.code_point];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    pos += unit.length;
  }
  return bytes;
}

std::string ByteLevelEncode(std::string_view bytes) {
  std::string spelling;
  spelling.reserve(bytes.size() + bytes.size() / 4);
  for (const char c : bytes) AppendUtf8(ByteLevelChar(static_cast<std::uint8_t>(c)), spelling);
  return spelling;
}

std::optional<std::uint8_t> ParseByteToken(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  const int high = HexDigit(text[3]);
  const int low = HexDigit(text[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<std::uint8_t>(high * 16 + low);
}

}  // namespace quorum::tok
