#include "tokenizer/json_model.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/bpe.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/sentencepiece_model.h"
#include "tokenizer/unigram.h"

namespace quorum::tok {
namespace {

Result<BpeSpec> MakeBpeSpec(const JsonView& model, const TokenizerJson& json, const Vocab& vocab, bool byte_level) {
  for (const char* field : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    QUORUM_ASSIGN(const std::string affix, model[field].String(""));
    if (!affix.empty()) return model[field].NotSupported(fmt::format("\"{}\"", affix));
  }
  if (!model["dropout"].IsNull()) return model["dropout"].NotSupported("random tokenization");
  BpeSpec spec;
  spec.characters = !byte_level;
  spec.vocab_size = vocab.size();
  QUORUM_ASSIGN(spec.ignore_merges, model["ignore_merges"].Bool(false));
  QUORUM_ASSIGN(spec.unknown.fuse, model["fuse_unk"].Bool(false));
  QUORUM_ASSIGN(const std::string unknown, model["unk_token"].String(""));
  if (!unknown.empty()) {
    spec.unknown.unknown = vocab.Find(unknown);
    if (spec.unknown.unknown < 0) {
      return model["unk_token"].Bad(fmt::format("\"{}\" is not in the vocabulary", unknown));
    }
  }
  // All of model.vocab, also what is repeated among the added tokens: merges and words may reach it.
  for (const auto& [text, id64] : json.vocab) {
    const auto id = static_cast<TokenId>(id64);
    const std::string_view spelled = vocab.Text(id);
    if (spelled.empty()) continue;
    if (vocab.Type(id) == TokenType::kByte) {
      spec.unknown.byte_tokens[static_cast<std::uint8_t>(vocab.Bytes(id)[0])] = id;
    }
    if (!byte_level) {
      spec.entries.push_back({spelled, id});
    } else if (vocab.Type(id) == TokenType::kNormal && spelled == ByteLevelEncode(vocab.Bytes(id))) {
      spec.entries.push_back({vocab.Bytes(id), id});
    }
  }
  spec.merges.reserve(json.merges.size());
  for (std::size_t i = 0; i < json.merges.size(); ++i) {
    const auto& [left, right] = json.merges[i];
    const auto find = [&](const std::string& part) { return part.empty() ? -1 : vocab.Find(part); };
    const BpeMerge merge = {find(left), find(right), vocab.Find(left + right), static_cast<std::uint32_t>(i)};
    if (const std::string_view fault = FaultOf(merge); !fault.empty()) {
      return InvalidArgument(fmt::format("model.merges[{}] (\"{}\", \"{}\") {}", i, left, right, fault));
    }
    spec.merges.push_back(merge);
  }
  return spec;
}

/// Whether no merge joins something with a U+2581 after it, other than another one.
bool MergesStopAtSpaces(const BpeSpec& spec, const Vocab& vocab) {
  if (spec.ignore_merges || vocab.Find(kSpmSpace) < 0) return false;
  return std::none_of(spec.merges.begin(), spec.merges.end(), [&](const BpeMerge& merge) {
    const std::string_view text = vocab.Text(merge.merged);
    std::size_t word = 0;
    while (text.substr(word).starts_with(kSpmSpace)) word += kSpmSpace.size();
    return text.find(kSpmSpace, word) != std::string_view::npos;
  });
}

Result<UnigramSpec> MakeUnigramSpec(const JsonView& model, const TokenizerJson& json, const Vocab& vocab) {
  constexpr double kUnknownPenalty = 10;
  if (json.scores.size() != json.vocab.size() || json.scores.empty()) {
    return model["vocab"].Bad("is not a list of texts and scores");
  }
  UnigramSpec spec;
  spec.unknown_score = *std::min_element(json.scores.begin(), json.scores.end()) - kUnknownPenalty;
  if (const JsonView unknown = model["unk_id"]; !unknown.IsNull()) {
    QUORUM_ASSIGN(const std::int64_t id, unknown.Integer());
    if (id < 0 || id >= std::ssize(json.vocab)) return unknown.Bad("is not in the vocabulary");
    spec.unknown.unknown = static_cast<TokenId>(id);
  }
  for (std::size_t i = json.vocab.size(); i-- > 0;) {  // of equal texts the last counts
    const auto id = static_cast<TokenId>(i);
    const TokenType type = vocab.Type(id);
    if (type == TokenType::kByte) {
      spec.unknown.byte_tokens[static_cast<std::uint8_t>(vocab.Bytes(id)[0])] = id;
    } else if ((type == TokenType::kNormal || type == TokenType::kUserDefined) && !vocab.Text(id).empty() &&
               id != spec.unknown.unknown) {
      spec.pieces.push_back({vocab.Text(id), id, json.scores[i]});
    }
  }
  return spec;
}

}  // namespace

Result<JsonModel> MakeJsonModel(const JsonView& model, const TokenizerJson& json, const Vocab& vocab, bool byte_level) {
  JsonModel made;
  // Old files leave the type out.
  QUORUM_ASSIGN(const std::string type, model["type"].String(json.scores.empty() ? "BPE" : "Unigram"));
  if (type == "BPE") {
    QUORUM_ASSIGN(const BpeSpec spec, MakeBpeSpec(model, json, vocab, byte_level));
    made.model = std::make_unique<BpeModel>(spec);
    made.words_end_at_spaces = !byte_level && MergesStopAtSpaces(spec, vocab);
  } else if (type == "Unigram" && !byte_level) {
    QUORUM_ASSIGN(const UnigramSpec spec, MakeUnigramSpec(model, json, vocab));
    QUORUM_ASSIGN(UnigramModel unigram, UnigramModel::Make(spec));
    made.model = std::make_unique<UnigramModel>(std::move(unigram));
  } else {
    return model["type"].NotSupported(fmt::format("\"{}\"{}", type, byte_level ? " after ByteLevel" : ""));
  }
  return made;
}

}  // namespace quorum::tok
