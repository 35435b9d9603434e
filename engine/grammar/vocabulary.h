// A model's tokens as byte strings, arranged so that a grammar can be walked over all of them at once.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar/char_set.h"
#include "engine/grammar/token_set.h"

namespace quorum::grammar {

/// The characters that JSON strings hold as they are.
CharSet JsonPlainChars();

/// What a token is to a grammar.
enum class TokenKind : std::uint8_t {
  kText,     // stands for its bytes
  kControl,  // has no text: only where a grammar names it
  kEnd,      // like kControl, and ends the reply
};

struct VocabularyToken {
  std::string_view bytes;  // of text tokens; empty: the token is never allowed
  TokenKind kind = TokenKind::kText;
};

/// The bytes of many tokens as a tree, in the order of a walk over it.
class TokenTrie {
 public:
  struct Node {
    std::uint8_t byte = 0;
    std::int32_t end = 0;          // the node behind this one's subtree
    std::int32_t first_token = 0;  // its tokens: ids()[first_token, first_token of the next node)
  };
  struct Entry {
    std::string_view bytes;  // not empty
    TokenId id = 0;
  };

  explicit TokenTrie(std::vector<Entry> entries);

  /// The last is a sentinel, no node.
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const TokenId> ids() const { return ids_; }

 private:
  std::vector<Node> nodes_;
  std::vector<TokenId> ids_;
};

/// Tokens of at most `max_chars` whole characters that stand in JSON strings as they are (no quote, backslash or
/// control character). Where a grammar takes any such text, all of them are allowed without a walk.
struct PlainTokens {
  std::uint32_t max_chars = 0;
  TokenTrie trie;
  TokenSet set;
};

/// Immutable and thread-safe.
class Vocabulary {
 public:
  /// `tokens[i]` is token i; the bytes are copied.
  explicit Vocabulary(std::span<const VocabularyToken> tokens);
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;

  std::int32_t size() const { return static_cast<std::int32_t>(tokens_.size()); }
  bool IsEnd(TokenId id) const { return kinds_[static_cast<std::size_t>(id)] == TokenKind::kEnd; }
  /// What `id` adds to the text that a grammar sees: a text token's bytes, or what stands for a control token.
  std::string_view BytesOf(TokenId id) const { return tokens_[static_cast<std::size_t>(id)]; }
  /// What stands for a control token: 0xFF, which no UTF-8 holds, and the id.
  static std::string ControlBytes(TokenId id);
  static constexpr std::uint8_t kControlLead = 0xFF;

  std::span<const TokenId> end_tokens() const { return end_tokens_; }
  std::size_t longest() const { return longest_; }  // bytes of the longest token

  /// Characters that can be written whatever came before: a grammar that keeps to them never gets stuck. They have a
  /// token of their own, or all their bytes have one.
  const CharSet& spellable() const { return spellable_; }

  /// The characters of which plain() is made.
  CharSet plain_chars() const { return JsonPlainChars().Intersect(spellable_); }

  // All tokens, each in one of these.
  std::span<const PlainTokens> plain() const { return plain_; }
  const TokenTrie& rest() const { return rest_; }
  /// Only tokens of one byte or one character, and control tokens: enough to finish any text.
  const TokenTrie& units() const { return units_; }

 private:
  void FindSpellable();
  void Arrange();

  std::string storage_;
  std::vector<std::string_view> tokens_;
  std::vector<TokenKind> kinds_;
  std::vector<TokenId> end_tokens_;
  std::size_t longest_ = 0;
  bool byte_complete_ = false;  // every continuation byte of UTF-8 has a token
  CharSet spellable_;
  std::vector<PlainTokens> plain_;
  TokenTrie rest_{{}};
  TokenTrie units_{{}};
};

}  // namespace quorum::grammar
