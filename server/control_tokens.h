// Finds the names of control tokens ("<|im_end|>") in text. The templates' own become control tokens; those that a user
// writes stay text, or a message could end its own turn and speak as the system.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace quorum::server {

/// Immutable after construction, thread-safe.
class ControlTokens {
 public:
  ControlTokens() = default;
  explicit ControlTokens(const tok::Tokenizer& tokenizer);

  struct Match {
    std::size_t begin = 0;
    std::size_t size = 0;
    tok::TokenId id = 0;
  };
  /// The first name at or after `from`, the longest where several begin at one place; size 0: none.
  Match Find(std::string_view text, std::size_t from) const;

  /// `text` with `mark` put inside every name in it, so that Find() no longer sees one.
  std::string Break(std::string_view text, std::string_view mark) const;

 private:
  struct Name {
    std::string text;
    tok::TokenId id;
  };
  Match MatchAt(std::string_view text, std::size_t at) const;

  std::vector<Name> names_;  // sorted by text
  std::string first_bytes_;  // bytes with which a name begins
};

}  // namespace quorum::server
