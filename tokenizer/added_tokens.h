// Finds the tokens that are cut out of a text before everything else: control tokens such as "<|im_start|>" and
// user-defined ones.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/byte_trie.h"
#include "tokenizer/tokenizer.h"

namespace quorum::tok {

/// A token to look for, with Hugging Face's options.
struct AddedToken {
  std::string content;
  TokenId id = -1;
  bool control = false;     // found only with parse_special
  bool left_strip = false;  // takes white space on its left, too
  bool right_strip = false;
  bool single_word = false;  // not inside a word
};

/// A part of a text: a token, or text between tokens (id -1).
struct TextPart {
  std::string_view text;
  TokenId id = -1;
};

/// A trie of all added tokens. Immutable and thread-safe.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  /// Empty contents are left out. Of equal contents the first counts.
  /// Errors: kUnsupported when a content is longer than kMaxContentBytes, with its id.
  static Result<AddedTokenFinder> Build(std::vector<AddedToken> tokens);

  /// Appends the parts of `text` to `parts`, from left to right, none of them empty. At each place the longest token
  /// wins. A control token's text without `parse_special` stays text, and no shorter token is looked for inside it
  /// (as Hugging Face does with encode_special_tokens). White space that a token took with it can still hold another
  /// token (as there, too). Time is O(text * longest token).
  void Split(std::string_view text, bool parse_special, std::vector<TextPart>& parts) const;

  bool empty() const { return tokens_.empty(); }

  static constexpr std::size_t kMaxContentBytes = ByteTrie::kMaxKeyBytes;

 private:
  std::vector<AddedToken> tokens_;
  ByteTrie trie_;                   // to indices into tokens_
  std::array<bool, 256> starts_{};  // by first byte
};

}  // namespace quorum::tok
