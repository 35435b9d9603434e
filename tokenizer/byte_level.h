// GPT-2's spelling of bytes as printable characters, in which byte-level BPE vocabularies are written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace quorum::tok {

/// The character that stands for `byte`: itself when printable in Latin-1, else one from U+0100 on.
/// Source: openai/gpt-2, `bytes_to_unicode`.
std::uint32_t ByteLevelChar(std::uint8_t byte);

/// The bytes that `spelling` stands for; nothing when it holds a character that stands for no byte.
std::optional<std::string> ByteLevelDecode(std::string_view spelling);

/// `bytes` in that spelling.
std::string ByteLevelEncode(std::string_view bytes);

/// The byte that SentencePiece's byte-fallback token `<0xNN>` stands for; nothing for other text.
std::optional<std::uint8_t> ParseByteToken(std::string_view text);

}  // namespace quorum::tok
