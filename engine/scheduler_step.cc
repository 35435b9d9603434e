// Who computes how many tokens in the next step.
#include <algorithm>
#include <limits>
#include <tuple>

#include "engine/scheduler.h"

namespace quorum::engine {
namespace {

// A step of prompts beside decoding sequences: at least so many tokens however slow the machine, and no more while the
// cost model knows nothing yet.
constexpr std::int32_t kLeastChunk = 8;
constexpr std::int32_t kUnknownChunk = 32;
// Where decoding alone takes the whole of max_itl_seconds, prompts may still add this part to it.
constexpr double kStretch = 1.25;
// Tokens for which it pays to wait until another sequence has computed them.
constexpr std::int32_t kWorthWaiting = 16;

bool Scores(const Sequence& sequence) { return sequence.scored < sequence.score_end; }

/// Most tokens of `sequence` for which `logit_rows` rows of logits are enough.
std::int32_t ChunkLimit(const Sequence& sequence, std::int32_t logit_rows) {
  if (!Scores(sequence)) return sequence.remaining();
  return std::min(sequence.remaining(), std::max(0, sequence.scored - sequence.computed) + logit_rows);
}

void SetStep(Sequence& sequence, std::int32_t tokens) {
  sequence.step_tokens = tokens;
  sequence.step_draft = 0;
  if (Scores(sequence)) {
    sequence.step_first_logits = std::min(tokens, std::max(0, sequence.scored - sequence.computed));
  } else {
    sequence.step_first_logits = tokens == sequence.remaining() ? tokens - 1 : tokens;
  }
}

}  // namespace

void Scheduler::ShareStep() {
  sources_.clear();
  prompts_.clear();
  granted_.clear();
  std::int32_t singles = 0;
  for (Sequence* sequence : running_) {
    AdoptFull(*sequence);
    if (!IsGrowing(PartOf(*sequence).page)) AdoptPart(*sequence);
    if (sequence->encodes()) {
      sources_.push_back(sequence);
    } else if (sequence->remaining() > 1) {
      prompts_.push_back(sequence);
    } else {
      SetStep(*sequence, 1);
      ++singles;
    }
  }
  const std::int32_t rows = limits_.max_step_tokens - singles;
  const std::int32_t budget = std::min(limits_.prefill_chunk, rows);
  const std::int32_t encoding = PlanEncoding(budget);
  // Each sequence may need a row of logits; these are what is left.
  const std::int32_t logit_rows = limits_.max_step_logits - singles - static_cast<std::int32_t>(prompts_.size());
  if (prompts_.empty()) {
    if (encoding == 0) GrantDrafts(rows, logit_rows);
    return;
  }

  shortest_ = prompts_;
  std::sort(shortest_.begin(), shortest_.end(), [](const Sequence* a, const Sequence* b) {
    return std::tuple(a->key.priority, a->remaining(), a->key) < std::tuple(b->key.priority, b->remaining(), b->key);
  });
  ChoosePrompts(singles, std::max(1, budget - encoding), logit_rows);
  for (Sequence* sequence : granted_) {  // who does not wait for a growing page after all takes what it has
    const std::int32_t tokens = sequence->step_tokens;
    AdoptPart(*sequence);
    SetStep(*sequence, std::min(tokens, sequence->remaining()));
  }
}

/// Plans sources, first by key, as far as `budget` reaches and at least one; returns their tokens.
std::int32_t Scheduler::PlanEncoding(std::int32_t budget) {
  std::int32_t planned = 0;
  for (Sequence* sequence : sources_) {
    if (planned > 0 && planned + sequence->source > budget) continue;
    const bool same = std::any_of(sources_.begin(), sources_.end(), [sequence](const Sequence* other) {
      return other->step_tokens > 0 && *other->lineage == *sequence->lineage;
    });
    if (same && !sequence->compute_all) continue;  // it will have what the other one computes
    SetStep(*sequence, sequence->source);
    sequence->step_first_logits = sequence->source;
    planned += sequence->source;
  }
  return planned;
}

/// Whether a running sequence is still computing the prompt tokens of `page`.
bool Scheduler::IsGrowing(std::int32_t page) const {
  return page != PrefixCache::kNoParent && std::any_of(running_.begin(), running_.end(), [page](const Sequence* other) {
           const auto current = static_cast<std::size_t>(other->indexed);
           return other->remaining() > 1 && current < other->pages.size() && other->pages[current] == page;
         });
}

/// Gives prompts what fits into the time that is left beside `singles` decoding sequences, at most `budget` tokens.
void Scheduler::ChoosePrompts(std::int32_t singles, std::int32_t budget, std::int32_t logit_rows) {
  if (singles == 0 || limits_.max_itl_seconds <= 0 || cost_ == nullptr) {
    SharePrompts(budget, logit_rows, std::numeric_limits<double>::infinity());
    return;
  }
  if (!cost_->ready()) {
    SharePrompts(std::min(budget, kUnknownChunk), logit_rows, std::numeric_limits<double>::infinity());
    return;
  }
  for (Sequence* sequence : prompts_) sequence->step_tokens = 0;
  const double seconds = std::max(limits_.max_itl_seconds, kStretch * cost_->PredictSafe(Work()));
  std::int32_t fits = std::min(kLeastChunk, budget);
  auto beyond = static_cast<std::int32_t>(std::min<std::int64_t>(budget, cost_->trusted_rows() - singles));
  if (beyond <= fits || SharePrompts(beyond, logit_rows, seconds)) {
    if (beyond <= fits) SharePrompts(fits, logit_rows, seconds);
    return;
  }
  while (beyond - fits > 1) {
    const std::int32_t middle = fits + (beyond - fits) / 2;
    (SharePrompts(middle, logit_rows, seconds) ? fits : beyond) = middle;
  }
  SharePrompts(fits, logit_rows, seconds);
}

/// Gives `budget` tokens to prompts; they may have `logit_rows` rows of logits besides one each. Returns whether the
/// step is then expected to take at most `seconds`.
bool Scheduler::SharePrompts(std::int32_t budget, std::int32_t logit_rows, double seconds) {
  for (Sequence* sequence : prompts_) sequence->step_tokens = 0;
  granted_.clear();
  const auto share = [&](const std::vector<Sequence*>& order, std::int32_t tokens) {
    for (Sequence* sequence : order) {
      if (tokens == 0) break;
      const std::int32_t had = sequence->step_tokens;
      if (had == 0 && WaitsForAnother(*sequence)) continue;
      const std::int32_t had_rows = had == 0 ? 0 : std::max(0, had - sequence->step_first_logits - 1);
      const std::int32_t more = std::min(ChunkLimit(*sequence, 1 + had_rows + logit_rows) - had, tokens);
      if (more <= 0) continue;
      if (had == 0) granted_.push_back(sequence);
      SetStep(*sequence, had + more);
      logit_rows -= std::max(0, sequence->step_tokens - sequence->step_first_logits - 1) - had_rows;
      tokens -= more;
      budget -= more;
    }
  };
  share(prompts_, (budget + 1) / 2);
  share(shortest_, budget);
  return cost_ == nullptr || cost_->PredictSafe(Work()) <= seconds;
}

/// Whether a prompt that computes tokens in this step will have what `sequence` needs next.
bool Scheduler::WaitsForAnother(const Sequence& sequence) {
  if (Scores(sequence) || sequence.compute_all) return false;
  const std::int32_t page = sequence.indexed;
  const std::int32_t begin = sequence.PageBegin(page);
  const std::int32_t end = std::min(sequence.length() - 1, sequence.PageEnd(page));
  const std::int32_t worth = std::min(kWorthWaiting, sequence.PageEnd(page) - sequence.computed);
  if (end - sequence.computed < worth) return false;
  const PrefixCache::Place place = PlaceOf(sequence, page);
  const PrefixCache::Tokens mine = TokensOf(sequence, page, end);
  return std::any_of(granted_.begin(), granted_.end(), [&](const Sequence* other) {
    if (Scores(*other) || other->indexed != page || other->source != sequence.source)
      return false;  // scoring is slow: nobody waits for it
    const PrefixCache::Place there = PlaceOf(*other, page);
    if (there.parent != place.parent) return false;
    if (page == 0 && sequence.lineage != other->lineage &&
        (sequence.lineage == nullptr || other->lineage == nullptr || *sequence.lineage != *other->lineage)) {
      return false;
    }
    const std::int32_t computes = other->computed + other->step_tokens;
    const PrefixCache::Tokens theirs = TokensOf(*other, page, other->length());
    const auto common = static_cast<std::int32_t>(
        std::mismatch(mine.begin(), mine.end(), theirs.begin(), theirs.end()).first - mine.begin());
    return computes > sequence.computed && begin + common - sequence.computed >= worth;
  });
}

/// Lets decoding sequences compute guesses with their token, as far as rows and free pages go.
void Scheduler::GrantDrafts(std::int32_t rows, std::int32_t logit_rows) {
  for (Sequence* sequence : running_) {
    std::int32_t draft = std::min({sequence->draft, rows, logit_rows});
    if (draft <= 0) continue;
    const auto room = [sequence] {
      return (static_cast<std::int32_t>(sequence->pages.size()) - sequence->source_pages()) * kPageTokens -
             (sequence->length() - sequence->source);
    };
    // Guesses take no page that a running sequence may need next.
    while (room() < draft && cache_.available() > static_cast<std::int32_t>(running_.size())) {
      sequence->pages.push_back(*cache_.Take());
    }
    draft = std::min(draft, room());
    sequence->step_tokens += draft;
    sequence->step_draft = draft;
    rows -= draft;
    logit_rows -= draft;
  }
}

}  // namespace quorum::engine
