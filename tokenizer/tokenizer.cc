#include "tokenizer/tokenizer.h"

#include <array>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/byte_level.h"
#include "tokenizer/pipeline_tokenizer.h"
#include "tokenizer/pre_patterns.h"
#include "tokenizer/spm.h"

namespace quorum::tok {
namespace {

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  std::size_t pos = 0;
  for (std::size_t at; (at = text.find(from, pos)) != std::string_view::npos; pos = at + from.size()) {
    out += text.substr(pos, at - pos);
    out += to;
  }
  out += text.substr(pos);
  return out;
}

/// The bytes that an entry stands for.
std::string EntryBytes(std::string_view text, TokenType type, bool byte_level) {
  switch (type) {
    case TokenType::kControl:
    case TokenType::kUnknown: return std::string(text);
    case TokenType::kUserDefined: return byte_level ? std::string(text) : ReplaceAll(text, kSpmSpace, " ");
    case TokenType::kByte:
      if (const auto byte = ParseByteToken(text)) return std::string(1, static_cast<char>(*byte));
      [[fallthrough]];
    case TokenType::kNormal:
    case TokenType::kUnused: break;
  }
  if (!byte_level) return ReplaceAll(text, kSpmSpace, " ");
  std::optional<std::string> bytes = ByteLevelDecode(text);
  return bytes ? *std::move(bytes) : std::string(text);
}

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
    if (pair.left < 0 || pair.right < 0 || pair.merged < 0) return bad("is about parts that are not in the vocabulary");
    spec.merges.push_back(pair);
  }
  return spec;
}

NormalizeStep Step(NormalizeStep::Kind kind, std::string_view pattern, std::string_view content) {
  NormalizeStep step;
  step.kind = kind;
  step.pattern = pattern;
  step.content = content;
  return step;
}

SplitStep CutBeforeSpaces() {
  SplitStep step;
  step.kind = SplitStep::Kind::kBeforeMarks;
  step.text = kSpmSpace;
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
  const bool spm = data.model == "llama";
  if (!spm && data.model != "gpt2") {
    return Unsupported(
        fmt::format("the tokenizer model \"{}\" (tokenizer.ggml.model) is not known; \"gpt2\" and "
                    "\"llama\" are",
                    data.model));
  }
  QUORUM_TRY(CheckVocabData(data));
  TokenizerParts parts;
  std::vector<AddedToken> added;
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
    QUORUM_ASSIGN(const BpeSpec spec, MakeSpmSpec(parts.vocab, data.scores, data.unk.value_or(-1)));
    parts.model = BpeModel(spec);
    std::vector<NormalizeStep> steps;
    if (data.add_space_prefix) steps.push_back(Step(NormalizeStep::Kind::kPrepend, "", kSpmSpace));
    steps.push_back(Step(NormalizeStep::Kind::kReplace, " ", kSpmSpace));
    parts.normalizer = Normalizer(std::move(steps));
    if (MergesStopAtSpaces(spec, parts.vocab)) parts.pre_tokenizer = PreTokenizer({CutBeforeSpaces()});
  } else {
    QUORUM_ASSIGN(PreTokenizerRecipe recipe, FindPreTokenizer(data.pre));
    QUORUM_ASSIGN(const BpeSpec spec, MakeByteLevelSpec(parts.vocab, data.merges, recipe.ignore_merges));
    parts.model = BpeModel(spec);
    parts.pre_tokenizer = PreTokenizer(std::move(recipe.steps));
    if (recipe.nfc) parts.normalizer = Normalizer({Step(NormalizeStep::Kind::kNfc, "", "")});
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
