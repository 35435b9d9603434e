#include "engine/stop_matcher.h"

#include <random>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

struct Outcome {
  std::string shown;
  std::string stop;  // empty: none
  bool operator==(const Outcome&) const = default;
};

/// What comes out when `pieces` go in, and the end after them.
Outcome Feed(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopMatcher matcher(stops);
  Outcome outcome;
  for (const std::string& piece : pieces) outcome.shown += matcher.Push(piece);
  if (matcher.matched()) outcome.stop = matcher.stop();
  outcome.shown += matcher.Finish();
  return outcome;
}

/// The definition: the stop that is completed first; of those completed together, the longest.
Outcome Define(const std::vector<std::string>& stops, const std::string& text) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::string best;
    for (const std::string& stop : stops) {
      if (stop.size() > best.size() && stop.size() <= end && text.substr(end - stop.size(), stop.size()) == stop)
        best = stop;
    }
    if (!best.empty()) return {text.substr(0, end - best.size()), best};
  }
  return {text, ""};
}

TEST_CASE("Without stop strings, or with empty ones, text passes through at once") {
  StopMatcher none({});
  CHECK(none.Push("abc") == "abc");
  StopMatcher empty({"", ""});
  CHECK(empty.Push("abc") == "abc");
  CHECK_FALSE(empty.matched());
}

TEST_CASE("A possible beginning is held back and released when it comes to nothing or the text ends") {
  StopMatcher matcher({"END", "\n\n"});
  CHECK(matcher.Push("one E") == "one ");
  CHECK(matcher.Push("N") == "");
  CHECK(matcher.Push("E\n") == "ENE");
  CHECK(matcher.Push("x") == "\nx");
  CHECK(matcher.Push("y EN") == "y ");
  CHECK(matcher.Finish() == "EN");
  CHECK_FALSE(matcher.matched());
}

TEST_CASE("A stop string over several pieces: the text before it is complete, nothing of it or after it comes out") {
  StopMatcher matcher({"</s>"});
  CHECK(matcher.Push("text<") == "text");
  CHECK(matcher.Push("/") == "");
  CHECK(matcher.Push("s>more") == "");
  REQUIRE(matcher.matched());
  CHECK(matcher.stop() == "</s>");
  CHECK(matcher.Push("more") == "");
  CHECK(matcher.Finish() == "");
}

TEST_CASE("The stop that is completed first wins, whatever their order; the longest of those that end together") {
  CHECK(Feed({"world", "hello"}, {"say hello world"}) == Outcome{"say ", "hello"});
  CHECK(Feed({"b", "ab"}, {"xab"}) == Outcome{"x", "ab"});
  CHECK(Feed({"ab", "b"}, {"xab"}) == Outcome{"x", "ab"});
  CHECK(Feed({"abcd", "bc"}, {"xabcd"}) == Outcome{"xa", "bc"});
  CHECK(Feed({"aab"}, {"aaaab"}) == Outcome{"aa", "aab"});  // falling back inside the pattern
  CHECK(Feed({"\xC3\xA9t\xC3\xA9"}, {"l'\xC3\xA9t", "\xC3\xA9 vient"}) == Outcome{"l'", "\xC3\xA9t\xC3\xA9"});
}

TEST_CASE("Any cut of any text gives what the definition says") {
  std::mt19937 random(5);
  const auto letters = [&](std::size_t size) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text.push_back(static_cast<char>('a' + random() % 2));
    return text;
  };
  int matches = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> stops;
    for (std::size_t i = random() % 4; i > 0; --i) stops.push_back(letters(1 + random() % 6));
    const std::string text = letters(random() % 20);
    std::vector<std::string> pieces;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t size = 1 + random() % 4;
      pieces.push_back(text.substr(at, size));
      at += size;
    }
    const Outcome outcome = Feed(stops, pieces);
    CHECK(outcome == Define(stops, text));
    matches += outcome.stop.empty() ? 0 : 1;
  }
  CHECK(matches > 500);
  CHECK(matches < 2800);
}

}  // namespace
}  // namespace quorum::engine
