// One choice of one request, as the scheduler sees it: tokens, pages, progress.
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <vector>

#include "engine/prefix_cache.h"
#include "engine/step_model.h"

namespace quorum::engine {

/// Order of service: a smaller key is admitted first and preempted last. Within a priority it is the order of arrival.
struct SequenceKey {
  std::int32_t priority = 0;
  std::int64_t request = 0;
  std::int32_t choice = 0;
  auto operator<=>(const SequenceKey&) const = default;
};

struct Sequence {
  enum class State { kIdle, kWaiting, kRunning };  // kRunning: has pages

  SequenceKey key;
  Lineage lineage;                   // what else than tokens its keys and values depend on: the whole source, too
  std::vector<tok::TokenId> tokens;  // prompt and generated; the owner appends after a step
  std::int32_t source = 0;           // leading tokens that an encoder takes as one piece; 0: there is no encoder

  // Logits are wanted for positions [scored, score_end), besides those of the last token; the owner moves `scored` on
  // as it reads them. The prefix cache does not skip such positions.
  std::int32_t scored = 0;
  std::int32_t score_end = 0;
  bool compute_all = false;  // every token is computed, whatever the prefix cache has

  // Tokens that the owner guesses to follow `tokens`; a step that computes the last token may compute some of them with
  // it, each with its row of logits. The owner then appends those that were right and moves `computed` on with them.
  std::int32_t draft = 0;

  // The scheduler's.
  State state = State::kIdle;
  std::vector<std::int32_t> pages;
  std::int32_t computed = 0;      // leading tokens whose keys and values are in `pages`
  std::int32_t indexed = 0;       // leading pages that are full and in the prefix cache
  std::int32_t window_begin = 0;  // pages [window_begin, window_end) are in use in windowed layers
  std::int32_t window_end = 0;
  std::int32_t ever_computed = 0;  // most tokens that were ever computed or found, before preemptions
  std::int32_t cached = 0;         // tokens found in the prefix cache and never computed for this sequence

  // The planned step: tokens [computed, computed + step_tokens), logits from the step_first_logits-th of them on. The
  // last step_draft of them are guesses.
  std::int32_t step_tokens = 0;
  std::int32_t step_first_logits = 0;
  std::int32_t step_draft = 0;

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
