// One choice of one request, as the scheduler sees it: tokens, pages, progress.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <vector>

#include "engine/step_model.h"

namespace quorum::engine {

/// Order of arrival, which is the order of service: a smaller key is admitted first and preempted last.
struct SequenceKey {
  std::int64_t request = 0;
  std::int32_t choice = 0;
  auto operator<=>(const SequenceKey&) const = default;
};

struct Sequence {
  enum class State { kIdle, kWaiting, kRunning };  // kRunning: has pages

  SequenceKey key;
  std::vector<tok::TokenId> tokens;  // prompt and generated; the owner appends after a step
  std::int32_t source = 0;           // leading tokens that an encoder takes as one piece; 0: there is no encoder

  // Logits are wanted for positions [scored, score_end), besides those of the last token; the owner moves `scored` on
  // as it reads them. The prefix cache does not skip such positions.
  std::int32_t scored = 0;
  std::int32_t score_end = 0;
  bool compute_all = false;  // every token is computed, whatever the prefix cache has: its hidden state is wanted

  // The scheduler's.
  State state = State::kIdle;
  std::vector<std::int32_t> pages;
  std::int32_t computed = 0;       // leading tokens whose keys and values are in `pages`
  std::int32_t indexed = 0;        // leading pages that are in the prefix cache
  std::int32_t ever_computed = 0;  // most tokens that were ever computed or found, before preemptions
  std::int32_t cached = 0;         // tokens found in the prefix cache and never computed for this sequence

  // The planned step: tokens [computed, computed + step_tokens), logits from the step_first_logits-th of them on.
  std::int32_t step_tokens = 0;
  std::int32_t step_first_logits = 0;

  std::int32_t length() const { return static_cast<std::int32_t>(tokens.size()); }
  std::int32_t remaining() const { return length() - computed; }

  // The source fills its last page alone; what follows begins on a page of its own.
  static std::int32_t PagesFor(std::int32_t tokens) { return (tokens + kPageTokens - 1) / kPageTokens; }
  std::int32_t source_pages() const { return PagesFor(source); }
  std::int32_t pages_needed() const { return source_pages() + PagesFor(length() - source); }
  /// The first token of a page.
  std::int32_t PageBegin(std::int32_t page) const {
    return page < source_pages() ? page * kPageTokens : source + (page - source_pages()) * kPageTokens;
  }
  /// One past its last when it is full.
  std::int32_t PageEnd(std::int32_t page) const {
    return page < source_pages() ? std::min((page + 1) * kPageTokens, source) : PageBegin(page) + kPageTokens;
  }
  /// Whether the next thing to compute is the source, which goes in one step.
  bool encodes() const { return computed < source; }
};

}  // namespace quorum::engine
