// SentencePiece's precompiled character map: rules "this text becomes that text" in a double-array trie (Yata et al.,
// darts-clone), as normalizer_spec.precompiled_charsmap, tokenizer.json's Precompiled normalizer and GGUF's
// tokenizer.ggml.precompiled_charsmap hold it: the trie's size in bytes (u32), its units (u32 each), and the
// replacements, each ended by a NUL. Little-endian.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace quorum::tok {

/// Immutable and thread-safe.
class CharsMap {
 public:
  /// Checks everything that a lookup, also SentencePiece's own, relies on: no unit leads out of the trie, no value out
  /// of the replacements, and the last of those is ended. Errors: kInvalidArgument.
  static Result<CharsMap> Parse(std::string_view bytes);

  /// What the shortest rule that `text` starts with makes of its part of `text`. (SentencePiece takes the longest one;
  /// Hugging Face's Precompiled normalizer the first it finds, which is the shortest.)
  std::optional<std::string_view> FindShortest(std::string_view text) const;

 private:
  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

/// `text`, valid UTF-8, as Hugging Face's Precompiled normalizer maps it: by grapheme clusters of up to 5 bytes, else
/// by characters. Errors: kTooLarge, beyond `limit` bytes.
Result<std::string> ApplyPrecompiled(std::size_t limit, const CharsMap& map, std::string_view text);

}  // namespace quorum::tok
