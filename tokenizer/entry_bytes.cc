#include "tokenizer/entry_bytes.h"

#include <optional>
#include <utility>

#include "tokenizer/bounded_text.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/sentencepiece_model.h"

namespace quorum::tok {

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  return *ReplaceAllWithin(std::string::npos, text, from, to);
}

Result<std::string> ReplaceAllWithin(std::size_t limit, std::string_view text, std::string_view from,
                                     std::string_view to) {
  BoundedText out(limit);
  std::size_t pos = 0;
  for (std::size_t at; !out.full() && (at = text.find(from, pos)) != std::string_view::npos; pos = at + from.size()) {
    out.Append(text.substr(pos, at - pos));
    out.Append(to);
  }
  out.Append(text.substr(pos));
  return std::move(out).Take();
}

std::string EntryBytes(std::string_view text, TokenType type, bool byte_level) {
  switch (type) {
    case TokenType::kControl:
    case TokenType::kUnknown: return std::string(text);
    case TokenType::kUserDefined: return byte_level ? std::string(text) : ReplaceAll(text, kSpmSpace, " ");
    case TokenType::kByte:
      if (const auto byte = ParseByteToken(text)) return std::string(1, static_cast<char>(*byte));
      [[fallthrough]];
    case TokenType::kNormal:
    case TokenType::kUnused: break;
  }
  if (!byte_level) return ReplaceAll(text, kSpmSpace, " ");
  std::optional<std::string> bytes = ByteLevelDecode(text);
  return bytes ? *std::move(bytes) : std::string(text);
}

}  // namespace quorum::tok
