#include "tokenizer/unigram.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "tokenizer/utf8.h"

namespace quorum::tok {
namespace {

constexpr TokenId kUnknown = -1;
constexpr std::size_t kNotReached = ~std::size_t{0};

}  // namespace

Result<UnigramModel> UnigramModel::Make(const UnigramSpec& spec) {
  UnigramModel model;
  model.unknown_ = spec.unknown;
  model.unknown_score_ = spec.unknown_score;
  std::vector<ByteTrie::Key> keys;
  for (const UnigramSpec::Piece& piece : spec.pieces) {
    if (piece.text.size() > ByteTrie::kMaxKeyBytes) {
      return InvalidArgument(fmt::format("the piece {} is {} bytes long; the limit is {}", piece.id, piece.text.size(),
                                         ByteTrie::kMaxKeyBytes));
    }
    if (!std::isfinite(piece.score)) {
      return InvalidArgument(fmt::format("the score of the piece {} is not a finite number", piece.id));
    }
    keys.push_back({piece.text, static_cast<std::int32_t>(keys.size())});
    model.scores_.push_back(piece.score);
    model.ids_.push_back(piece.id);
  }
  model.trie_ = ByteTrie(std::move(keys));
  return model;
}

Status UnigramModel::Encode(std::string_view word, bool /*begins_text*/, WordScratch& scratch,
                            std::vector<TokenId>& out) const {
  if (word.empty()) return {};
  if (word.size() > kMaxWordBytes) {
    return Error{ErrorCode::kTooLarge, fmt::format("a word of {} bytes is too long to tokenize", word.size()), {}, {}};
  }
  auto& path = scratch.path;
  path.assign(word.size() + 1, {0, kNotReached, kUnknown});
  const auto reach = [&](std::size_t start, std::size_t end, double score, TokenId id) {
    WordScratch::PathEnd& best = path[end];
    const double sum = score + path[start].score;
    if (best.start == kNotReached || sum > best.score) best = {sum, start, id};
  };
  for (std::size_t pos = 0; pos < word.size();) {
    const std::size_t length = DecodeUtf8(word, pos).length;
    bool character_known = false;
    trie_.ForEachPrefix(word, pos, [&](std::size_t piece_length, std::int32_t index) {
      const auto i = static_cast<std::size_t>(index);
      reach(pos, pos + piece_length, scores_[i], ids_[i]);
      character_known = character_known || piece_length == length;
    });
    if (!character_known) reach(pos, pos + length, unknown_score_, kUnknown);
    pos += length;
  }

  auto& pieces = scratch.pieces;  // from the last to the first; `score` is not used
  pieces.clear();
  for (std::size_t end = word.size(); end > 0; end = path[end].start) {
    if (path[end].id == kUnknown && !pieces.empty() && pieces.back().id == kUnknown) {
      pieces.back().start = path[end].start;
    } else {
      pieces.push_back(path[end]);
    }
  }
  for (std::size_t i = pieces.size(); i-- > 0;) {
    if (pieces[i].id != kUnknown) {
      out.push_back(pieces[i].id);
      continue;
    }
    const std::size_t end = i > 0 ? pieces[i - 1].start : word.size();
    unknown_.Append(word.substr(pieces[i].start, end - pieces[i].start), out, scratch);
  }
  return {};
}

}  // namespace quorum::tok
