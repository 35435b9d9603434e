// Follows one reply in and out of its thoughts, counts them, and ends a thought whose budget is spent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "engine/engine.h"

namespace quorum::engine {

/// Where a reply stands. `rules` must outlive it.
class ThinkingState {
 public:
  explicit ThinkingState(const ThinkingRules& rules) : rules_(&rules), thinking_(Follows() && rules.open_at_start) {}

  /// The token that must come next, if one must.
  std::optional<tok::TokenId> Forced() const;

  /// The token that came next.
  void Push(tok::TokenId token);

  bool thinking() const { return thinking_; }
  /// Tokens of thoughts so far, without what begins and ends them.
  std::int32_t tokens() const { return tokens_; }

 private:
  bool Follows() const { return !rules_->close.empty(); }
  bool EndsWith(const std::vector<tok::TokenId>& marker) const;

  const ThinkingRules* rules_;
  bool thinking_;
  bool forcing_ = false;
  std::size_t forced_ = 0;  // of rules_->forced, how many were written
  std::int32_t tokens_ = 0;
  std::vector<tok::TokenId> recent_;  // the last few tokens, as many as a marker has
};

}  // namespace quorum::engine
