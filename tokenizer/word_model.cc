#include "tokenizer/word_model.h"

#include <algorithm>

namespace quorum::tok {

void UnknownText::Append(std::string_view part, std::vector<TokenId>& ids, WordScratch& scratch) const {
  const auto byte_token = [this](char c) { return byte_tokens[static_cast<std::uint8_t>(c)]; };
  if (std::all_of(part.begin(), part.end(), [&](char c) { return byte_token(c) >= 0; })) {
    for (const char c : part) ids.push_back(byte_token(c));
  } else if (unknown < 0) {
    scratch.bytes_without_token += static_cast<std::int64_t>(part.size());
  } else if (!fuse || ids.empty() || ids.back() != unknown) {
    ids.push_back(unknown);
  }
}

}  // namespace quorum::tok
