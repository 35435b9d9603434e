// SentencePiece's BPE vocabularies (GGUF model "llama"): merges follow from the entries' scores.
#pragma once

#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/bpe.h"
#include "tokenizer/vocab.h"

namespace quorum::tok {

/// The spec for `vocab`, whose texts are pieces with U+2581 for a space: two neighbours merge when their joined text
/// is a piece, the piece of highest score first, leftmost on ties. Unknown characters become byte tokens, else
/// `unknown` (-1: an error). Unused pieces may arise but are split again (Kudo and Richardson 2018, arXiv:1808.06226,
/// and sentencepiece's bpe_model.cc).
/// Errors: kInvalidArgument for scores that are missing or not numbers, or a piece over kMaxPieceBytes, with its id.
Result<BpeSpec> MakeSpmSpec(const Vocab& vocab, const std::vector<float>& scores, TokenId unknown);

/// Whether no merge joins something with a U+2581 after it, other than another one. Then cutting a text there changes
/// nothing, and words are encoded one by one: many times faster than one text-long word.
bool MergesStopAtSpaces(const BpeSpec& spec, const Vocab& vocab);

/// SentencePiece's character for a space, U+2581.
constexpr std::string_view kSpmSpace = "\xE2\x96\x81";

/// Pieces are a few characters long; the merges of a long one cost time quadratic in its length.
constexpr std::size_t kMaxPieceBytes = 512;

}  // namespace quorum::tok
