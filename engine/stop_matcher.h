// Stop strings over a stream of text: what may be shown, what must be held back, where it ends.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace quorum::engine {

/// Finds the first stop string to be completed in a text that comes in pieces (of those that end at the same place, the
/// longest, so that no part of it is left over). The result does not depend on how the text is cut into pieces.
/// Each pattern runs as a Knuth-Morris-Pratt automaton: time is bytes times patterns, and the state says how much of
/// the tail may still become a stop string.
class StopMatcher {
 public:
  /// Empty stop strings are ignored.
  explicit StopMatcher(const std::vector<std::string>& stops);

  /// Adds text; returns what is now certain to stand before any stop string. Nothing more comes out after a match.
  std::string Push(std::string_view text);

  /// The text ends here: returns what was held back, unless a stop string matched.
  std::string Finish();

  bool matched() const { return matched_ < patterns_.size(); }
  /// REQUIRES: matched().
  const std::string& stop() const { return patterns_[matched_].text; }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);

  struct Pattern {
    std::string text;
    std::vector<std::size_t> border;  // [i]: longest proper prefix of text that ends text[0..i]
    std::size_t state = 0;            // longest prefix of text that ends the stream so far
  };

  std::vector<Pattern> patterns_;
  std::size_t matched_ = kNone;
  std::string held_;
};

}  // namespace quorum::engine
