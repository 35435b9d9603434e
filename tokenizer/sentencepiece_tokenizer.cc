// MakeTokenizerFromSentencePiece: a tokenizer.model with the tokens that the files beside it add.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tokenizer/entry_bytes.h"
#include "tokenizer/model_proto.h"
#include "tokenizer/pipeline_tokenizer.h"
#include "tokenizer/sentencepiece_model.h"

namespace quorum::tok {
namespace {

/// The tokens that are cut out of a text before the model sees it: control symbols and the added ones, which also take
/// their places in `proto` (a new id is appended, with nothing in between).
Result<std::vector<AddedToken>> TakeAdded(const HfTokenizerConfig& config, ModelProto& proto,
                                          std::vector<std::string>& appended, std::vector<TokenType>& roles) {
  const auto pieces = static_cast<TokenId>(proto.pieces.size());
  for (const ModelProto::Piece& piece : proto.pieces) roles.push_back(piece.type);
  std::vector<AddedTokenInfo> infos = config.added_tokens;
  std::erase_if(infos, [&](const auto& info) { return !HasEmbedding(info.content, info.id, config.embeddings); });
  std::sort(infos.begin(), infos.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  std::vector<AddedToken> added;
  for (const AddedTokenInfo& info : infos) {
    const TokenType role = info.control ? TokenType::kControl : TokenType::kUserDefined;
    if (info.id < pieces) {
      ModelProto::Piece& piece = proto.pieces[static_cast<std::size_t>(info.id)];
      if (piece.text != info.content) {
        return InvalidArgument(fmt::format("the added token \"{}\" has the id {}, which is \"{}\" in the model",
                                           info.content, info.id, piece.text));
      }
      if (piece.type == TokenType::kUnknown) continue;
      piece.type = TokenType::kControl;  // never made by the model itself
      roles[static_cast<std::size_t>(info.id)] = role;
    } else {
      const std::size_t place = static_cast<std::size_t>(info.id - pieces);
      if (place > 2 * infos.size() + 4096) {
        return InvalidArgument(fmt::format("the added token \"{}\" has the id {}, far beyond the model's {} pieces",
                                           info.content, info.id, pieces));
      }
      if (place >= appended.size()) {
        appended.resize(place + 1);
        roles.resize(static_cast<std::size_t>(pieces) + place + 1, TokenType::kUnused);
      }
      appended[place] = info.content;
      roles[static_cast<std::size_t>(info.id)] = role;
    }
    added.push_back({info.content, info.id, info.control, info.left_strip, info.right_strip, info.single_word});
  }
  for (TokenId id = 0; id < pieces; ++id) {
    const ModelProto::Piece& piece = proto.pieces[static_cast<std::size_t>(id)];
    if (roles[static_cast<std::size_t>(id)] != piece.type) continue;  // added above
    if (piece.type != TokenType::kControl && piece.type != TokenType::kUnknown) continue;
    AddedToken token;
    token.content = piece.text;
    token.id = id;
    token.control = true;
    added.push_back(std::move(token));
  }
  return added;
}

/// The id that the configuration names, else the model's own.
Result<std::optional<TokenId>> NamedToken(std::string_view key, const std::string& name, std::int32_t otherwise,
                                          const Vocab& vocab) {
  using Id = std::optional<TokenId>;
  if (name.empty()) return vocab.Contains(otherwise) ? Id(otherwise) : Id();
  const TokenId id = vocab.Find(name);
  if (id < 0) return InvalidArgument(fmt::format("the {} \"{}\" is not in the vocabulary", key, name));
  return Id(id);
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> MakeTokenizerFromSentencePiece(std::string_view tokenizer_model,
                                                                        const HfTokenizerConfig& config) {
  QUORUM_ASSIGN(ModelProto proto, ParseModelProto(tokenizer_model));
  std::vector<std::string> appended;
  std::vector<TokenType> roles;
  QUORUM_ASSIGN(std::vector<AddedToken> added, TakeAdded(config, proto, appended, roles));
  if (!config.add_prefix_space.value_or(true)) proto.add_dummy_prefix = false;

  TokenizerParts parts;
  TokenId unknown = -1;
  for (std::size_t id = 0; id < roles.size(); ++id) {
    const std::string& text = id < proto.pieces.size() ? proto.pieces[id].text : appended[id - proto.pieces.size()];
    if (roles[id] == TokenType::kUnknown && unknown < 0) unknown = static_cast<TokenId>(id);
    parts.vocab.Add(text, EntryBytes(text, roles[id], false), roles[id]);
  }
  QUORUM_TRY(PadVocab(config.embeddings, parts.vocab));
  parts.vocab.Finish();
  QUORUM_ASSIGN(parts.model, SentencePieceModel::Make(proto, unknown));
  QUORUM_ASSIGN(parts.raw_tokens, AddedTokenFinder::Build(std::move(added)));
  parts.prefix_only_first = !config.legacy.value_or(true);
  QUORUM_ASSIGN(parts.bos, NamedToken("bos_token", config.bos_token, proto.bos_id, parts.vocab));
  QUORUM_ASSIGN(parts.eos, NamedToken("eos_token", config.eos_token, proto.eos_id, parts.vocab));
  // The file does not say: models with a BOS (Llama and its kin) start with it, those without (T5) end with EOS.
  if (config.add_bos.value_or(true) && parts.bos) parts.prefix.push_back(*parts.bos);
  if (config.add_eos.value_or(!parts.bos) && parts.eos) parts.suffix.push_back(*parts.eos);
  AddEndIds(config.end_of_generation, parts);
  return std::shared_ptr<const Tokenizer>(std::make_shared<PipelineTokenizer>(std::move(parts)));
}

}  // namespace quorum::tok
