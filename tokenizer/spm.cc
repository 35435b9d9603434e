#include "tokenizer/spm.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "tokenizer/byte_level.h"
#include "tokenizer/utf8.h"

namespace quorum::tok {
namespace {

/// Whether merges may produce an entry of this type.
bool IsPiece(TokenType type) { return type == TokenType::kNormal || type == TokenType::kUnused; }

/// Ranks of the entries: 0 for the highest score, the same for equal ones.
Result<std::vector<std::uint32_t>> RankByScore(const Vocab& vocab, const std::vector<float>& scores) {
  if (scores.size() != static_cast<std::size_t>(vocab.size())) {
    return InvalidArgument(
        fmt::format("tokenizer.ggml.scores has {} entries, the vocabulary {}", scores.size(), vocab.size()));
  }
  std::vector<float> distinct = scores;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) return InvalidArgument(fmt::format("tokenizer.ggml.scores[{}] is not a number", i));
  }
  std::sort(distinct.begin(), distinct.end(), std::greater<>());
  distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
  std::vector<std::uint32_t> ranks;
  ranks.reserve(scores.size());
  for (const float score : scores) {
    const auto at = std::lower_bound(distinct.begin(), distinct.end(), score, std::greater<>());
    ranks.push_back(static_cast<std::uint32_t>(at - distinct.begin()));
  }
  return ranks;
}

/// Collects the pieces, and the characters that only occur inside longer ones, with ids from the vocabulary's size on.
class PieceIndex {
 public:
  explicit PieceIndex(const Vocab& vocab) : next_hidden_(vocab.size()) {}

  void Add(std::string_view text, TokenId id) {
    if (index_.Insert(text, id)) entries_.push_back({text, id});
  }
  void AddHidden(std::string_view character) {
    if (index_.Insert(character, next_hidden_)) entries_.push_back({character, next_hidden_++});
  }
  TokenId Find(std::string_view text) const { return index_.Find(text); }
  std::vector<BpeSpec::Entry> TakeEntries() { return std::move(entries_); }

 private:
  StringIndex index_;
  std::vector<BpeSpec::Entry> entries_;
  TokenId next_hidden_;
};

}  // namespace

Result<BpeSpec> MakeSpmSpec(const Vocab& vocab, const std::vector<float>& scores, TokenId unknown) {
  QUORUM_ASSIGN(const std::vector<std::uint32_t> ranks, RankByScore(vocab, scores));
  BpeSpec spec;
  spec.characters = true;
  spec.unknown = unknown;
  spec.fuse_unknown = true;
  spec.vocab_size = vocab.size();
  PieceIndex pieces(vocab);
  for (TokenId id = 0; id < vocab.size(); ++id) {
    if (vocab.Type(id) == TokenType::kByte) {
      if (const auto byte = ParseByteToken(vocab.Text(id))) spec.byte_tokens[*byte] = id;
    }
    if (!IsPiece(vocab.Type(id)) || vocab.Text(id).empty()) continue;
    if (vocab.Text(id).size() > kMaxPieceBytes) {
      return InvalidArgument(fmt::format("tokenizer.ggml.tokens[{}] is {} bytes long; the limit for a piece is {}", id,
                                         vocab.Text(id).size(), kMaxPieceBytes));
    }
    pieces.Add(vocab.Text(id), id);
    if (vocab.Type(id) == TokenType::kUnused) spec.dissolve.push_back(id);
  }
  for (TokenId id = 0; id < vocab.size(); ++id) {
    const std::string_view text = vocab.Text(id);
    if (!IsPiece(vocab.Type(id)) || pieces.Find(text) != id) continue;
    for (std::size_t pos = 0; pos < text.size();) {
      const std::size_t length = DecodeUtf8(text, pos).length;
      pieces.AddHidden(text.substr(pos, length));
      pos += length;
    }
  }
  for (TokenId id = 0; id < vocab.size(); ++id) {
    const std::string_view text = vocab.Text(id);
    if (!IsPiece(vocab.Type(id)) || pieces.Find(text) != id) continue;
    for (std::size_t cut = DecodeUtf8(text, 0).length; cut < text.size(); cut += DecodeUtf8(text, cut).length) {
      const TokenId left = pieces.Find(text.substr(0, cut));
      const TokenId right = left < 0 ? -1 : pieces.Find(text.substr(cut));
      if (right >= 0) spec.merges.push_back({left, right, id, ranks[static_cast<std::size_t>(id)]});
    }
  }
  spec.entries = pieces.TakeEntries();
  return spec;
}

bool MergesStopAtSpaces(const BpeSpec& spec, const Vocab& vocab) {
  if (spec.ignore_merges || vocab.Find(kSpmSpace) < 0) return false;
  return std::none_of(spec.merges.begin(), spec.merges.end(), [&](const BpeMerge& merge) {
    const std::string_view text = vocab.Text(merge.merged);
    std::size_t word = 0;
    while (text.substr(word).starts_with(kSpmSpace)) word += kSpmSpace.size();
    return text.find(kSpmSpace, word) != std::string_view::npos;
  });
}

}  // namespace quorum::tok
