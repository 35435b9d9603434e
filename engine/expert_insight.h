// Sums over traced tokens: what each expert does, for which tokens and topics, with which others, how surely.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "engine/base/result.h"
#include "engine/expert_options.h"
#include "engine/expert_trace.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

/// In place of a token that is not told.
inline constexpr tok::TokenId kNoToken = -1;

/// One token of a text.
struct RoutedToken {
  tok::TokenId token = 0;  // kNoToken: not told
  std::int32_t topic = 0;
  float loss = 0;                           // nats; NaN: not known
  std::vector<ExpertTrace::Visits> layers;  // dense layers visit nothing
};

/// Everything is counted exactly; sums of floats are in the order of the tokens. Not thread-safe.
class ExpertInsight {
 public:
  ExpertInsight(const ExpertShape& shape, std::int32_t topics);

  /// REQUIRES: ids within the shape, topic within the topics, `norms` for all visits or for none of the text.
  void Add(const RoutedToken& token);

  /// The sums of one expert.
  struct Cell {
    std::uint64_t tokens = 0;
    double mass = 0;  // of the weights
    double norm = 0;  // of the outputs' lengths
    double reap = 0;  // of weight * length
    double mean_norm() const { return tokens == 0 ? 0 : norm / static_cast<double>(tokens); }
    /// Router-weighted expert activation: what pruning by REAP ranks by (Lasby et al. 2025, arXiv:2510.13999), the mean
    /// of weight * length over the tokens that visited the expert.
    double reap_score() const { return tokens == 0 ? 0 : reap / static_cast<double>(tokens); }
  };
  const Cell& At(std::int32_t layer, std::int32_t expert) const { return cells_[Index(layer, expert)]; }
  /// Tokens that visited both.
  std::uint64_t Together(std::int32_t layer, std::int32_t a, std::int32_t b) const {
    return pairs_[Index(layer, a) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(b)];
  }
  /// Tokens of one topic that visited the expert.
  std::uint64_t OfTopic(std::int32_t topic, std::int32_t layer, std::int32_t expert) const {
    return by_topic_[static_cast<std::size_t>(topic) * cells_.size() + Index(layer, expert)];
  }
  struct Topic {
    std::int64_t tokens = 0;
    std::int64_t scored = 0;  // tokens with a loss
    double loss = 0;          // its sum
  };
  const std::vector<Topic>& topics() const { return topics_; }
  const ExpertShape& shape() const { return shape_; }
  std::int64_t tokens() const { return static_cast<std::int64_t>(sequence_.size()); }
  bool has_norms() const { return has_norms_; }
  /// Bits that the choice of an expert tells about a token's topic, and the other way round; 0 with one topic.
  double TopicBits(std::int32_t layer) const;

  /// A token of the vocabulary among those that visited an expert.
  struct Favourite {
    tok::TokenId token;
    std::uint64_t visits;
    double lift;  // its share among the expert's visits over its share among the layer's
  };
  /// For each expert of the layer the `count` tokens that stand out most (visits * log lift) among its visits, as far
  /// as tokens are told.
  std::vector<std::vector<Favourite>> Favourites(std::int32_t layer, std::size_t count) const;

  /// Margins of one layer's choices, in the order of the tokens.
  std::vector<float> Margins(std::int32_t layer) const;
  /// A token that several layers were unsure about.
  struct Unsure {
    std::int64_t position;
    std::int32_t layers;  // whose margin was below the bound
    float mean_margin;    // of these
  };
  /// Tokens with a margin below `bound` (in logits) in most layers first, at most `count`.
  std::vector<Unsure> UnsureTokens(float bound, std::size_t count) const;
  const std::vector<tok::TokenId>& sequence() const { return sequence_; }
  const std::vector<std::int32_t>& topic_of() const { return topic_of_; }

 private:
  std::size_t Index(std::int32_t layer, std::int32_t expert) const {
    return static_cast<std::size_t>(layer) * static_cast<std::size_t>(width_) + static_cast<std::size_t>(expert);
  }

  ExpertShape shape_;
  std::int32_t width_;  // experts of the largest layer
  bool has_norms_ = true;
  std::vector<Cell> cells_;              // (layers, width)
  std::vector<std::uint64_t> pairs_;     // (layers, width, width)
  std::vector<std::uint64_t> by_topic_;  // (topics, layers, width)
  std::vector<Topic> topics_;
  std::vector<tok::TokenId> sequence_;
  std::vector<std::int32_t> topic_of_;
  std::vector<float> margins_;                                             // (tokens, layers)
  std::vector<std::unordered_map<tok::TokenId, std::uint32_t>> visitors_;  // (layers, width)
};

/// How far two spreads over the same experts lie apart.
struct SpreadDistance {
  double divergence = 0;  // Jensen-Shannon, in bits: 0 equal, 1 disjoint
  double noise = 0;       // what two samples of these sizes from one spread would show on average
  double moved = 0;       // the share of visits that went elsewhere (total variation)
};
/// REQUIRES: equal lengths. All 0 where either is empty.
SpreadDistance CompareSpreads(std::span<const std::uint64_t> a, std::span<const std::uint64_t> b);

}  // namespace quorum::engine
