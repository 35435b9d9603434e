#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/bpe.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/entry_bytes.h"
#include "tokenizer/pipeline_tokenizer.h"
#include "tokenizer/pre_patterns.h"
#include "tokenizer/sentencepiece_model.h"

namespace quorum::tok {
namespace {

Status CheckVocabData(const VocabData& data) {
  if (data.tokens.empty()) return InvalidArgument("tokenizer.ggml.tokens is empty");
  if (data.tokens.size() > static_cast<std::size_t>(kMaxVocabSize)) {
    return InvalidArgument(
        fmt::format("tokenizer.ggml.tokens has {} entries; the limit is {}", data.tokens.size(), kMaxVocabSize));
  }
  if (!data.types.empty() && data.types.size() != data.tokens.size()) {
    return InvalidArgument(fmt::format("tokenizer.ggml.token_type has {} entries, tokenizer.ggml.tokens {}",
                                       data.types.size(), data.tokens.size()));
  }
  const auto check_id = [&](std::string_view field, TokenId id) -> Status {
    if (id >= 0 && static_cast<std::size_t>(id) < data.tokens.size()) return {};
    return InvalidArgument(fmt::format("{} is {}, outside the vocabulary of {}", field, id, data.tokens.size()));
  };
  const std::array<std::pair<std::string_view, std::optional<TokenId>>, 5> ids = {{
      {"tokenizer.ggml.bos_token_id", data.bos},
      {"tokenizer.ggml.eos_token_id", data.eos},
      {"tokenizer.ggml.eot_token_id", data.eot},
      {"tokenizer.ggml.unknown_token_id", data.unk},
      {"tokenizer.ggml.padding_token_id", data.pad},
  }};
  for (const auto& [field, id] : ids) {
    if (id) QUORUM_TRY(check_id(field, *id));
  }
  for (const TokenId id : data.more_end_of_generation) QUORUM_TRY(check_id("an end-of-generation id", id));
  if (data.add_bos && !data.bos) {
    return InvalidArgument("tokenizer.ggml.add_bos_token is set, but tokenizer.ggml.bos_token_id is missing");
  }
  if (data.add_eos && !data.eos) {
    return InvalidArgument("tokenizer.ggml.add_eos_token is set, but tokenizer.ggml.eos_token_id is missing");
  }
  return {};
}

/// Byte-level BPE: entries by their bytes, merges by the spelling of their halves.
Result<BpeSpec> MakeByteLevelSpec(const Vocab& vocab, const std::vector<std::string>& merges, bool ignore_merges) {
  BpeSpec spec;
  spec.ignore_merges = ignore_merges;
  spec.vocab_size = vocab.size();
  for (TokenId id = 0; id < vocab.size(); ++id) {
    const bool ordinary = vocab.Type(id) == TokenType::kNormal || vocab.Type(id) == TokenType::kUnused;
    // An entry that is not spelled in bytes cannot come from text.
    if (ordinary && vocab.Text(id) == ByteLevelEncode(vocab.Bytes(id))) spec.entries.push_back({vocab.Bytes(id), id});
  }
  spec.merges.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::string& merge = merges[i];
    const std::size_t space = merge.find(' ', 1);
    const auto bad = [&](std::string_view why) {
      return InvalidArgument(fmt::format("tokenizer.ggml.merges[{}] \"{}\" {}", i, merge, why));
    };
    if (space == std::string::npos || space + 1 == merge.size()) return bad("is not two parts with a space between");
    const std::string left = merge.substr(0, space);
    const std::string right = merge.substr(space + 1);
    const BpeMerge pair = {vocab.Find(left), vocab.Find(right), vocab.Find(left + right),
                           static_cast<std::uint32_t>(i)};
    if (const std::string_view fault = FaultOf(pair); !fault.empty()) return bad(fault);
    spec.merges.push_back(pair);
  }
  return spec;
}

/// The SentencePiece model that the vocabulary was made from, as far as encoding goes. Added tokens are cut out before,
/// as llama.cpp does (each text between them gets its own prefix space), so that the model need not know them.
Result<ModelProto> MakeProto(const VocabData& data, const Vocab& vocab) {
  if (data.scores.size() != data.tokens.size()) {
    return InvalidArgument(fmt::format("tokenizer.ggml.scores has {} entries, tokenizer.ggml.tokens {}",
                                       data.scores.size(), data.tokens.size()));
  }
  ModelProto proto;
  proto.kind = data.model == "t5" ? ModelProto::Kind::kUnigram : ModelProto::Kind::kBpe;
  proto.add_dummy_prefix = data.add_space_prefix;
  proto.remove_extra_whitespaces = data.remove_extra_whitespaces;
  proto.chars_map = data.chars_map;
  for (TokenId id = 0; id < vocab.size(); ++id) {
    const TokenType type = vocab.Type(id) == TokenType::kUserDefined ? TokenType::kControl : vocab.Type(id);
    proto.pieces.push_back({std::string(vocab.Text(id)), data.scores[static_cast<std::size_t>(id)], type});
  }
  return proto;
}

/// Phi-3's control tokens take the white space after them (their tokenizer.json says so, GGUF has no field for it, and
/// llama.cpp goes by the model's name).
bool IsPhi3(const VocabData& data) {
  const auto has = [&](std::string_view name) {
    return std::find(data.tokens.begin(), data.tokens.end(), name) != data.tokens.end();
  };
  return data.model == "llama" && has("<|placeholder1|>") && has("<|assistant|>") && has("<|end|>");
}

bool TakesSpaceAfter(const AddedToken& token) {
  return token.content == "</s>" ||
         (token.control && token.content != "<unk>" && token.content != "<s>" && token.content != "<|endoftext|>");
}

NormalizeStep NfcStep() {
  NormalizeStep step;
  step.kind = NormalizeStep::Kind::kNfc;
  return step;
}

}  // namespace

std::string Tokenizer::Decode(std::span<const TokenId> ids, bool skip_control) const {
  std::string out;
  for (const TokenId id : ids) {
    if (!skip_control || !IsControl(id)) out += TokenBytes(id);
  }
  return out;
}

bool DefaultAddBos(std::string_view model, std::string_view pre) {
  if (model == "llama") return true;
  const Result<PreTokenizerRecipe> recipe = FindPreTokenizer(pre);
  return recipe.ok() && recipe->add_bos;
}

Result<std::shared_ptr<const Tokenizer>> MakeTokenizer(VocabData data) {
  const bool spm = data.model == "llama" || data.model == "t5";
  if (!spm && data.model != "gpt2") {
    return Unsupported(fmt::format(
        "the tokenizer model \"{}\" (tokenizer.ggml.model) is not known; \"gpt2\", \"llama\" and \"t5\" are",
        data.model));
  }
  QUORUM_TRY(CheckVocabData(data));
  TokenizerParts parts;
  std::vector<AddedToken> added;
  const bool phi3 = IsPhi3(data);
  for (std::size_t i = 0; i < data.tokens.size(); ++i) {
    const std::string& text = data.tokens[i];
    TokenType type = data.types.empty() ? TokenType::kNormal : data.types[i];
    if (type == TokenType::kNormal && IsEndName(text)) type = TokenType::kControl;
    parts.vocab.Add(text, EntryBytes(text, type, !spm), type);
    const bool control = type == TokenType::kControl || type == TokenType::kUnknown;
    if (control || type == TokenType::kUserDefined) {
      AddedToken token;
      token.content = text;
      token.id = static_cast<TokenId>(i);
      token.control = control;
      token.right_strip = phi3 && TakesSpaceAfter(token);
      added.push_back(token);
      if (spm && !control && text.find(kSpmSpace) != std::string::npos) {
        token.content = ReplaceAll(text, kSpmSpace, " ");  // runs of spaces, for instance
        added.push_back(std::move(token));
      }
    }
  }
  parts.vocab.Finish();
  QUORUM_ASSIGN(parts.raw_tokens, AddedTokenFinder::Build(std::move(added)));
  if (spm) {
    QUORUM_ASSIGN(const ModelProto proto, MakeProto(data, parts.vocab));
    QUORUM_ASSIGN(parts.model, SentencePieceModel::Make(proto, data.unk.value_or(-1)));
  } else {
    QUORUM_ASSIGN(PreTokenizerRecipe recipe, FindPreTokenizer(data.pre));
    QUORUM_ASSIGN(const BpeSpec spec, MakeByteLevelSpec(parts.vocab, data.merges, recipe.ignore_merges));
    parts.model = std::make_unique<BpeModel>(spec);
    parts.pre_tokenizer = PreTokenizer(std::move(recipe.steps));
    if (recipe.nfc) parts.normalizer = Normalizer({NfcStep()});
  }
  parts.bos = data.bos;
  parts.eos = data.eos;
  if (data.add_bos && data.bos) parts.prefix.push_back(*data.bos);
  if (data.add_eos && data.eos) parts.suffix.push_back(*data.eos);
  parts.ends_generation = std::move(data.more_end_of_generation);
  if (data.eos) parts.ends_generation.push_back(*data.eos);
  if (data.eot) parts.ends_generation.push_back(*data.eot);
  return std::shared_ptr<const Tokenizer>(std::make_shared<PipelineTokenizer>(std::move(parts)));
}

}  // namespace quorum::tok
