// Text to token ids and back. Knows nothing of tensors, files or requests.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace quorum::tok {

using TokenId = std::int32_t;

/// Roles of a vocabulary entry; the values are GGUF's `tokenizer.ggml.token_type`.
enum class TokenType : std::int32_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

/// A vocabulary as a model file describes it (GGUF's `tokenizer.ggml.*` keys), free of any file format.
struct VocabData {
  std::string model;                // "gpt2": byte-level BPE; "llama": SentencePiece BPE; "t5": SentencePiece unigram
  std::string pre;                  // name of the split pattern: "smollm", "llama-bpe", "qwen2", "gpt-4o", ...
  std::vector<std::string> tokens;  // as in the file: byte-level BPE spells bytes as GPT-2's printable characters
  std::vector<TokenType> types;     // empty: all kNormal
  std::vector<float> scores;        // SentencePiece only
  std::vector<std::string> merges;  // "left right", by rank
  std::optional<TokenId> bos, eos, eot, unk, pad;
  std::vector<TokenId> more_end_of_generation;  // further ids that end a reply
  bool add_bos = false;
  bool add_eos = false;
  // SentencePiece only:
  bool add_space_prefix = false;
  bool remove_extra_whitespaces = false;
  std::string chars_map;  // its precompiled character map; empty: none
};

struct EncodeOptions {
  bool add_special = false;    // add BOS / EOS where the model asks for them
  bool parse_special = false;  // text such as "<|im_start|>" becomes the control token; never for user text
  /// Where given: raised by the bytes of the text for which the vocabulary has no token, not even one for "unknown".
  /// They are left out, as Hugging Face does; whoever has a user should say so.
  std::int64_t* bytes_without_token = nullptr;
};

/// Immutable and thread-safe.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Ids of `text`. Bytes that are not UTF-8 are encoded as bytes. Nothing is dropped but what `options` can count.
  /// Errors: kTooLarge, kInternal when the splitter hits a limit.
  virtual Result<std::vector<TokenId>> Encode(std::string_view text, const EncodeOptions& options) const = 0;

  /// The raw bytes that `id` stands for; control tokens give their name (e.g. "<|im_end|>"). An id outside the
  /// vocabulary gives "". One token may hold part of a UTF-8 character.
  virtual std::string_view TokenBytes(TokenId id) const = 0;

  virtual std::int32_t vocab_size() const = 0;
  virtual bool IsControl(TokenId id) const = 0;          // control and unknown tokens: not part of visible text
  virtual bool IsEndOfGeneration(TokenId id) const = 0;  // EOS, EOT and their like
  virtual std::optional<TokenId> bos() const = 0;
  virtual std::optional<TokenId> eos() const = 0;
  /// The id whose vocabulary entry is exactly `text` (as in the file), e.g. "<|im_end|>".
  virtual std::optional<TokenId> FindToken(std::string_view text) const = 0;

  /// Concatenated bytes; control tokens are left out when `skip_control`. The space that a SentencePiece vocabulary
  /// puts before a text stays.
  std::string Decode(std::span<const TokenId> ids, bool skip_control = true) const;
};

/// What `VocabData::add_bos` should be when a GGUF file has no `tokenizer.ggml.add_bos_token` (llama.cpp's defaults;
/// for `add_space_prefix` the default is true with model "llama", and `add_eos` is false).
bool DefaultAddBos(std::string_view model, std::string_view pre);

/// Builds the tokenizer that `vocab` describes.
/// Errors: kInvalidArgument or kUnsupported, naming the field and entry at fault.
Result<std::shared_ptr<const Tokenizer>> MakeTokenizer(VocabData vocab);

/// A token that is looked for in the text before everything else, with Hugging Face's options.
struct AddedTokenInfo {
  std::string content;
  TokenId id = -1;
  bool control = false;  // found only with parse_special
  bool left_strip = false;
  bool right_strip = false;
  bool single_word = false;
  bool normalized = false;
};

/// What the files beside a Hugging Face vocabulary say (hf_config.h reads them).
struct HfTokenizerConfig {
  std::string bos_token, eos_token, unk_token;  // names; empty: none
  std::string tokenizer_class;                  // tiktoken.model only: what splits texts
  // Where one of these is given, both decide what goes around a text, and the vocabulary file's template does not.
  std::optional<bool> add_bos, add_eos;
  std::optional<bool> add_prefix_space;      // tokenizer.model only
  std::optional<bool> legacy;                // tokenizer.model only; false: the prefix space only before the whole text
  std::vector<AddedTokenInfo> added_tokens;  // beside those in the vocabulary file
  std::vector<TokenId> end_of_generation;
  std::int64_t embeddings = 0;  // the vocabulary is padded to so many entries, and refused with more; 0: as it is
};

/// Builds a tokenizer from the bytes of a Hugging Face `tokenizer.json`, of a SentencePiece `tokenizer.model`, or of a
/// `tiktoken.model`.
/// Errors: kInvalidArgument or kUnsupported, naming the key, piece or offset.
Result<std::shared_ptr<const Tokenizer>> MakeTokenizerFromJson(std::string_view tokenizer_json,
                                                               const HfTokenizerConfig& config = {});
Result<std::shared_ptr<const Tokenizer>> MakeTokenizerFromSentencePiece(std::string_view tokenizer_model,
                                                                        const HfTokenizerConfig& config = {});
Result<std::shared_ptr<const Tokenizer>> MakeTokenizerFromTikToken(std::string_view tiktoken_model,
                                                                   const HfTokenizerConfig& config = {});

}  // namespace quorum::tok
