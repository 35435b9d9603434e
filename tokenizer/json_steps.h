// The processing steps that tokenizer.json describes.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/json_reader.h"
#include "tokenizer/normalize.h"
#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"

namespace quorum::tok {

// Errors of all: kUnsupported, naming what is not known; kInvalidArgument for values of the wrong type.

/// "normalizer": NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Prepend, Replace, Precompiled,
/// Sequence, or null.
Result<std::vector<NormalizeStep>> ParseNormalizer(const JsonView& normalizer);

/// A pre-tokenizer, and whether it spells the text in bytes.
struct ParsedPreTokenizer {
  std::vector<SplitStep> steps;
  bool byte_level = false;
  bool spelled = false;  // steps after ByteLevel see its spelling
};

/// "pre_tokenizer": ByteLevel (once), Split, Digits, Punctuation, Whitespace, WhitespaceSplit,
/// CharDelimiterSplit, Metaspace, Sequence, or null.
Result<ParsedPreTokenizer> ParsePreTokenizer(const JsonView& pre_tokenizer);

/// Ids around a single text.
struct ParsedTemplate {
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
};

/// "post_processor": TemplateProcessing, RobertaProcessing, BertProcessing, ByteLevel (which only moves offsets),
/// Sequence, or null.
Result<ParsedTemplate> ParsePostProcessor(const JsonView& post_processor);

/// "decoder": the literal replacements that it makes in each token, in order. Steps that the caller covers otherwise
/// (ByteLevel, ByteFallback, Fuse) or that only touch a reply's ends (Strip) give none.
Result<std::vector<std::pair<std::string, std::string>>> ParseDecoder(const JsonView& decoder);

}  // namespace quorum::tok
