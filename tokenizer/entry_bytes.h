// What a vocabulary entry stands for.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "engine/base/result.h"
#include "tokenizer/tokenizer.h"

namespace quorum::tok {

/// `text` with every `from`, which is not empty, replaced by `to`; what is put in is not looked at again.
std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to);

/// The same where `to` may be anything. Errors: kTooLarge, beyond `limit` bytes.
Result<std::string> ReplaceAllWithin(std::size_t limit, std::string_view text, std::string_view from,
                                     std::string_view to);

/// The bytes of an entry: `byte_level` vocabularies spell bytes as GPT-2's characters, SentencePiece's a space as
/// U+2581 and single bytes as "<0xNN>". Control tokens stand for their names.
std::string EntryBytes(std::string_view text, TokenType type, bool byte_level);

}  // namespace quorum::tok
