// SentencePiece's model file, tokenizer.model: a protocol buffer (sentencepiece_model.proto). Debian's packages have no
// header for it, so the few fields that matter are read and written here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/tokenizer.h"

namespace quorum::tok {

/// The fields of a ModelProto that encoding depends on; the defaults are the format's.
struct ModelProto {
  enum class Kind : std::uint8_t { kUnigram = 1, kBpe = 2, kWord = 3, kChar = 4 };
  struct Piece {
    std::string text;
    float score = 0;
    TokenType type = TokenType::kNormal;
  };

  std::vector<Piece> pieces;
  Kind kind = Kind::kUnigram;
  bool byte_fallback = false;
  bool space_as_suffix = false;
  std::int32_t unk_id = 0, bos_id = 1, eos_id = 2, pad_id = -1;  // -1: none
  std::string chars_map;                                         // normalizer_spec.precompiled_charsmap; empty: none
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

/// Errors: kInvalidArgument, with the offset, for bytes that are no such message or hold values out of range.
Result<ModelProto> ParseModelProto(std::string_view bytes);

/// The bytes of `proto`, readable by libsentencepiece.
std::string SerializeModelProto(const ModelProto& proto);

}  // namespace quorum::tok
