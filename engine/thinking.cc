#include "engine/thinking.h"

#include <algorithm>

namespace quorum::engine {

std::optional<tok::TokenId> ThinkingState::Forced() const {
  const bool spent = thinking_ && rules_->budget >= 0 && tokens_ >= rules_->budget;
  if (!forcing_ && !spent) return {};
  return rules_->forced[forced_];
}

bool ThinkingState::EndsWith(const std::vector<tok::TokenId>& marker) const {
  return !marker.empty() && marker.size() <= recent_.size() &&
         std::equal(marker.rbegin(), marker.rend(), recent_.rbegin());
}

void ThinkingState::Push(tok::TokenId token) {
  if (!Follows()) return;
  if (Forced().has_value()) {
    forcing_ = ++forced_ < rules_->forced.size();
    if (forcing_) return;
    forced_ = 0;
    thinking_ = false;
    recent_.clear();
    return;
  }
  recent_.push_back(token);
  if (recent_.size() > std::max(rules_->open.size(), rules_->close.size())) recent_.erase(recent_.begin());
  if (!thinking_) {
    thinking_ = EndsWith(rules_->open);
    return;
  }
  ++tokens_;
  if (!EndsWith(rules_->close)) return;
  thinking_ = false;
  tokens_ -= static_cast<std::int32_t>(rules_->close.size());
}

}  // namespace quorum::engine
