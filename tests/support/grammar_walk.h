// Grammars over a small made-up vocabulary: which texts they take, and random texts that they lead to.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/grammar/matcher.h"

namespace quorum::test {

/// Every byte, some pieces of words and JSON that straddle its elements, and one end token (the last id).
std::shared_ptr<const grammar::Vocabulary> SmallVocabulary();

/// Whether the grammar takes all of `text`, and may end there.
bool Takes(const grammar::CompiledGrammar& grammar, std::string_view text);

struct WalkResult {
  std::string text;
  bool finished = false;  // came to an end that the grammar allows
  int tokens = 0;
  std::vector<double> mask_us;  // time of each mask, in microseconds
  std::string fault;            // not empty: the grammar broke a promise
};

/// Draws among the allowed tokens, evenly, until the end or `max_tokens`. After `wander` tokens it ends as soon as it
/// may and prefers what closes things. Each step checks that something is allowed and that what is allowed is accepted.
WalkResult Walk(const std::shared_ptr<const grammar::CompiledGrammar>& grammar, std::uint64_t seed, int wander,
                int max_tokens);

}  // namespace quorum::test
