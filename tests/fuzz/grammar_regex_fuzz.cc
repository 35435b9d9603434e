#include <cstdint>
#include <string_view>

#include "engine/grammar/char_dfa.h"
#include "engine/grammar/regex.h"
#include "tests/fuzz/grammar_exercise.h"

namespace quorum::grammar {
namespace {

void Fuzz(std::string_view pattern) {
  for (const RegexMatch match : {RegexMatch::kWhole, RegexMatch::kAnywhere}) {
    Grammar grammar;
    const auto root = ParseRegex(pattern, match, grammar);
    if (!root.ok()) return Exercise(root.error());
    grammar.SetRoot(*root);
    Exercise(grammar);
    // The automaton must agree with itself turned inside out.
    const auto dfa = CharDfa::FromExpr(grammar, *root);
    if (grammar.overflowed() || !dfa.ok() || dfa->states().size() > 500) continue;
    const CharDfa complement = dfa->Complement();
    for (const std::string_view text : {"", "a", "ab", "\xC3\xA9", "0\n"})
      QUORUM_CHECK(dfa->Matches(text) != complement.Matches(text));
    const auto both = dfa->Intersect(complement);
    QUORUM_CHECK(!both.ok() || both->Empty());
  }
}

}  // namespace
}  // namespace quorum::grammar

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  quorum::grammar::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
