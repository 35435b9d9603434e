// The entries of a vocabulary: their texts as in the file, the bytes they stand for, and their roles.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/string_index.h"
#include "tokenizer/tokenizer.h"

namespace quorum::tok {

/// Filled once, then immutable and thread-safe.
class Vocab {
 public:
  /// Appends the entry with the next id. `text` is the file's spelling, `bytes` what the token stands for.
  void Add(std::string_view text, std::string_view bytes, TokenType type);
  /// Ends the filling: builds the index. Of equal texts the first counts; an empty one is a gap between ids.
  void Finish();

  TokenId size() const { return static_cast<TokenId>(types_.size()); }
  bool Contains(TokenId id) const { return id >= 0 && id < size(); }
  // REQUIRES for the three below: Contains(id).
  std::string_view Text(TokenId id) const { return texts_[AsIndex(id)]; }
  std::string_view Bytes(TokenId id) const { return bytes_[AsIndex(id)]; }
  TokenType Type(TokenId id) const { return types_[AsIndex(id)]; }
  /// The id whose text is `text`, or -1.
  TokenId Find(std::string_view text) const { return index_.Find(text); }

 private:
  static std::size_t AsIndex(TokenId id) { return static_cast<std::size_t>(id); }

  StringTable texts_;
  StringTable bytes_;
  std::vector<TokenType> types_;
  StringIndex index_;
};

/// For each id whether it ends a reply: the given ones, and entries with a name known for it. Follows llama.cpp, but
/// names that ordinary text may hold ("</s>", "[EOS]") count only when the file marks them as control tokens.
std::vector<bool> FindEndOfGeneration(const Vocab& vocab, const std::vector<TokenId>& given);

/// Whether `text` is one of the names that always end a reply, like "<|im_end|>": such an entry is a control token
/// whatever the file calls it.
bool IsEndName(std::string_view text);

/// Whether an added token has an embedding (0 embeddings: not known). One without, which a fine-tune's [PAD] may be,
/// can never be read or drawn: a warning says that it is left out.
bool HasEmbedding(std::string_view content, TokenId id, std::int64_t embeddings);

/// Appends unused entries until there are as many as embeddings (0: as it is). `vocab` is not finished.
/// Errors: kInvalidArgument when there are more entries than embeddings.
Status PadVocab(std::int64_t embeddings, Vocab& vocab);

/// Ids over this are refused: no vocabulary comes near it, and a hostile file must not make us reserve the memory.
constexpr TokenId kMaxVocabSize = 1 << 23;

}  // namespace quorum::tok
