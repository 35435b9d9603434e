#include "engine/grammar/token_set.h"

#include <bit>

namespace quorum::grammar {

void TokenSet::Finish() {
  count_ = 0;
  for (const std::uint64_t word : bits_) count_ += static_cast<std::size_t>(std::popcount(word));
  listed_ = count_ <= static_cast<std::size_t>(size_) / 64;
  if (!listed_) return;
  ids_.reserve(count_);
  for (std::size_t i = 0; i < bits_.size(); ++i) {
    for (std::uint64_t word = bits_[i]; word != 0; word &= word - 1) {
      ids_.push_back(static_cast<TokenId>(i * 64 + static_cast<std::size_t>(std::countr_zero(word))));
    }
  }
  bits_ = {};
}

}  // namespace quorum::grammar
