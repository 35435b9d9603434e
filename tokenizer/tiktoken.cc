// Vocabularies as OpenAI's tiktoken keeps them, `tiktoken.model`: lines of a token's bytes in base64 and its rank,
// which is its id. There are no merges: of neighbouring parts those are joined first that make the token of the lowest
// rank. The merges that do the same are every split of a token into two tokens, by the rank of the whole (as
// transformers' TikTokenConverter makes them).
#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "tokenizer/base64.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/vocab.h"
#include "tokenizer/vocab_export.h"

namespace quorum::tok {
namespace {

constexpr std::size_t kLongestToken = 1024;  // bytes; splitting takes the square of it. Published ones have up to 128
constexpr std::int64_t kReservedTokens = 256;

/// The tokens' bytes, by rank.
Result<std::vector<std::string>> ReadRanks(std::string_view text) {
  const auto lines = std::count(text.begin(), text.end(), '\n') + 1;
  std::vector<std::string> ranks;
  std::size_t left = 0;  // ranks without a token so far
  std::int64_t line_number = 0;
  while (!text.empty()) {
    ++line_number;
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.empty()) continue;
    const auto bad = [&](const char* what) { return InvalidArgument(fmt::format("line {} {}", line_number, what)); };
    const std::size_t space = line.find(' ');
    if (space == std::string_view::npos) return bad("is not a token in base64 and its rank");
    std::optional<std::string> bytes = DecodeBase64(line.substr(0, space));
    if (!bytes || bytes->empty()) return bad("does not begin with a token in base64");
    if (bytes->size() > kLongestToken) return bad("has a token of more than 1,024 bytes");
    std::int64_t rank = -1;
    const char* const end = line.data() + line.size();
    const auto read = std::from_chars(line.data() + space + 1, end, rank);
    const std::string_view rest(read.ptr, static_cast<std::size_t>(end - read.ptr));
    if (read.ec != std::errc() || (!rest.empty() && rest != "\r") || rank < 0) {
      return bad("does not end with a rank");
    }
    if (rank >= lines || rank >= kMaxVocabSize) return bad("has a rank beyond the number of tokens");
    const auto at = static_cast<std::size_t>(rank);
    if (at >= ranks.size()) {
      left += at - ranks.size() + 1;
      ranks.resize(at + 1);
    }
    if (!ranks[at].empty()) return bad("has a rank that another line has");
    ranks[at] = *std::move(bytes);
    --left;
  }
  if (ranks.empty()) return InvalidArgument("has no tokens");
  if (left > 0) return InvalidArgument(fmt::format("has no token for {} of its {} ranks", left, ranks.size()));
  return ranks;
}

Status AddMerges(const std::vector<std::string>& ranks, VocabData& vocab) {
  std::unordered_map<std::string_view, TokenId> ids;
  ids.reserve(ranks.size());
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const auto [it, added] = ids.emplace(ranks[rank], static_cast<TokenId>(rank));
    if (!added) return InvalidArgument(fmt::format("has one token at the ranks {} and {}", it->second, rank));
  }
  std::vector<std::pair<TokenId, TokenId>> splits;
  for (const std::string& token : ranks) {
    splits.clear();
    for (std::size_t at = 1; at < token.size(); ++at) {
      const auto head = ids.find(std::string_view(token).substr(0, at));
      if (head == ids.end()) continue;
      const auto tail = ids.find(std::string_view(token).substr(at));
      if (tail != ids.end()) splits.emplace_back(head->second, tail->second);
    }
    std::sort(splits.begin(), splits.end());
    for (const auto& [head, tail] : splits) {
      vocab.merges.push_back(vocab.tokens[static_cast<std::size_t>(head)] + " " +
                             vocab.tokens[static_cast<std::size_t>(tail)]);
    }
  }
  return {};
}

/// The tokens that only the configuration names, and those that are kept free behind the ranks.
Status AddSpecialTokens(const HfTokenizerConfig& config, std::size_t ranks, VocabData& vocab) {
  const auto first = static_cast<std::int64_t>(ranks);
  if (config.embeddings > 0 && (first > config.embeddings || config.embeddings > kMaxVocabSize)) {
    return InvalidArgument(fmt::format("has {} tokens, the model {} embeddings", first, config.embeddings));
  }
  std::vector<AddedTokenInfo> added;
  std::int64_t end = first + kReservedTokens;
  if (config.embeddings > 0) end = std::min(end, config.embeddings);
  for (const AddedTokenInfo& token : config.added_tokens) {
    if (!HasEmbedding(token.content, token.id, config.embeddings)) continue;
    end = std::max<std::int64_t>(end, token.id + 1);
    added.push_back(token);
  }
  end = std::max(end, config.embeddings);
  for (std::int64_t id = first; id < end; ++id) {
    const bool reserved = id < first + kReservedTokens;
    vocab.tokens.push_back(fmt::format("{}{}{}", reserved ? "<|reserved_token_" : "[PAD", id, reserved ? "|>" : "]"));
    vocab.types.push_back(reserved ? TokenType::kControl : TokenType::kUnused);
  }
  for (const AddedTokenInfo& token : added) {
    if (token.id < first) {
      return InvalidArgument(fmt::format("has a token of rank {}, which \"{}\" is added as", token.id, token.content));
    }
    const auto at = static_cast<std::size_t>(token.id);
    vocab.tokens[at] = token.content;
    vocab.types[at] = token.control ? TokenType::kControl : TokenType::kUserDefined;
  }
  const auto find = [&](const std::string& name) -> std::optional<TokenId> {
    for (std::size_t id = ranks; id < vocab.tokens.size() && !name.empty(); ++id) {
      if (vocab.tokens[id] == name) return static_cast<TokenId>(id);
    }
    return std::nullopt;
  };
  vocab.bos = find(config.bos_token);
  vocab.eos = find(config.eos_token);
  vocab.unk = find(config.unk_token);
  return {};
}

}  // namespace

Result<VocabData> VocabFromTikToken(std::string_view tiktoken_model, const HfTokenizerConfig& config) {
  // The file does not say how texts are split; the code beside it does.
  if (config.tokenizer_class != "TikTokenTokenizer") {
    return Unsupported(fmt::format(
        "is of tokenizer_class \"{}\", whose way to split texts is not known (that of Kimi's and Moonlight's "
        "TikTokenTokenizer is): have transformers save the tokenizer as tokenizer.json, or take a GGUF file",
        config.tokenizer_class));
  }
  QUORUM_ASSIGN(const std::vector<std::string> ranks, ReadRanks(tiktoken_model));
  VocabData vocab;
  vocab.model = "gpt2";
  vocab.pre = "kimi-k2";
  vocab.tokens.reserve(ranks.size() + kReservedTokens);
  for (const std::string& token : ranks) vocab.tokens.push_back(ByteLevelEncode(token));
  vocab.types.assign(ranks.size(), TokenType::kNormal);
  QUORUM_TRY(AddMerges(ranks, vocab));
  QUORUM_TRY(AddSpecialTokens(config, ranks.size(), vocab));
  vocab.add_bos = vocab.bos && config.add_bos.value_or(false);
  vocab.add_eos = vocab.eos && config.add_eos.value_or(false);
  vocab.more_end_of_generation = config.end_of_generation;
  return vocab;
}

Result<std::shared_ptr<const Tokenizer>> MakeTokenizerFromTikToken(std::string_view tiktoken_model,
                                                                   const HfTokenizerConfig& config) {
  QUORUM_ASSIGN(VocabData vocab, VocabFromTikToken(tiktoken_model, config));
  return MakeTokenizer(std::move(vocab));
}

}  // namespace quorum::tok
