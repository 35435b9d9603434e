// The models that tokenizer.json describes.
#pragma once

#include <memory>

#include "engine/base/result.h"
#include "tokenizer/json_reader.h"
#include "tokenizer/vocab.h"
#include "tokenizer/word_model.h"

namespace quorum::tok {

struct JsonModel {
  std::unique_ptr<const WordModel> model;
  // No token goes on over a U+2581 that follows something else: words may be cut there, which is many times faster than
  // one text-long word.
  bool words_end_at_spaces = false;
};

/// "model" of type BPE or Unigram over `vocab`, the finished vocabulary, which must outlive the model. Words come
/// as bytes when `byte_level`. Errors: kUnsupported, kInvalidArgument, naming the key or entry.
Result<JsonModel> MakeJsonModel(const JsonView& model, const TokenizerJson& json, const Vocab& vocab, bool byte_level);

}  // namespace quorum::tok
