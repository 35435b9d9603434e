#include "engine/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace quorum::engine {

StopMatcher::StopMatcher(const std::vector<std::string>& stops) {
  for (const std::string& stop : stops) {
    if (stop.empty()) continue;
    Pattern pattern{stop, std::vector<std::size_t>(stop.size(), 0), 0};
    for (std::size_t i = 1, length = 0; i < stop.size(); ++i) {
      while (length > 0 && stop[i] != stop[length]) length = pattern.border[length - 1];
      if (stop[i] == stop[length]) ++length;
      pattern.border[i] = length;
    }
    patterns_.push_back(std::move(pattern));
  }
}

std::string StopMatcher::Push(std::string_view text) {
  if (matched()) return {};
  if (patterns_.empty()) return std::string(text);
  for (const char byte : text) {
    held_.push_back(byte);
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      const std::string& pattern = patterns_[i].text;
      std::size_t& state = patterns_[i].state;
      while (state > 0 && pattern[state] != byte) state = patterns_[i].border[state - 1];
      if (pattern[state] == byte) ++state;
      if (state == pattern.size() && (!matched() || state > stop().size())) matched_ = i;
    }
    if (matched()) {
      held_.resize(held_.size() - stop().size());
      return std::exchange(held_, {});
    }
  }
  std::size_t keep = 0;
  for (const Pattern& pattern : patterns_) keep = std::max(keep, pattern.state);
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

std::string StopMatcher::Finish() { return std::exchange(held_, {}); }

}  // namespace quorum::engine
