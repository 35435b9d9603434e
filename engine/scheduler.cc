#include "engine/scheduler.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <iterator>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

/// The page's tokens; what a source leaves empty in its last page is filled up.
std::array<tok::TokenId, static_cast<std::size_t>(kPageTokens)> TokensOfPage(const Sequence& sequence,
                                                                             std::int32_t page) {
  std::array<tok::TokenId, static_cast<std::size_t>(kPageTokens)> tokens;
  const auto end = std::copy(sequence.tokens.begin() + sequence.PageBegin(page),
                             sequence.tokens.begin() + sequence.PageEnd(page), tokens.begin());
  std::fill(end, tokens.end(), PrefixCache::kNoToken);
  return tokens;
}

std::span<const tok::TokenId> SourceOf(const Sequence& sequence) {
  return std::span(sequence.tokens).first(static_cast<std::size_t>(sequence.source));
}

std::int32_t ParentOf(const Sequence& sequence, std::int32_t page) {
  return page == 0 ? PrefixCache::kNoParent : sequence.pages[static_cast<std::size_t>(page) - 1];
}

SchedulerLimits AtLeastOne(SchedulerLimits limits) {
  for (std::int32_t* limit :
       {&limits.max_running, &limits.prefill_chunk, &limits.max_step_tokens, &limits.max_step_logits}) {
    *limit = std::max(*limit, 1);
  }
  // Every running sequence may need a row, and a row of logits.
  limits.max_running = std::min({limits.max_running, limits.max_step_tokens, limits.max_step_logits});
  return limits;
}

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits, std::uint64_t hash_seed)
    : limits_(AtLeastOne(limits)), cache_(limits.num_pages, hash_seed) {}

void Scheduler::Add(Sequence& sequence) {
  QUORUM_CHECK(sequence.state == Sequence::State::kIdle && !sequence.tokens.empty());
  QUORUM_CHECK(sequence.pages_needed() <= cache_.num_pages());
  sequence.state = Sequence::State::kWaiting;
  waiting_.insert(&sequence);
}

void Scheduler::Remove(Sequence& sequence) {
  if (sequence.state == Sequence::State::kWaiting) waiting_.erase(&sequence);
  if (sequence.state == Sequence::State::kRunning) {
    GivePagesBack(sequence);
    std::erase(running_, &sequence);
  }
  sequence.state = Sequence::State::kIdle;
  sequence.step_tokens = 0;
}

std::int32_t Scheduler::free_slots() const {
  return waiting_.empty() ? limits_.max_running - static_cast<std::int32_t>(running_.size()) : 0;
}

std::span<Sequence* const> Scheduler::Plan() {
  for (Sequence* sequence : running_) sequence->step_tokens = 0;
  GrowDecoding();
  Admit();
  SharePrompts();
  planned_.clear();
  std::copy_if(running_.begin(), running_.end(), std::back_inserter(planned_),
               [](const Sequence* sequence) { return sequence->step_tokens > 0; });
  QUORUM_CHECK(!planned_.empty() || (running_.empty() && waiting_.empty()));
  return planned_;
}

void Scheduler::Commit() {
  for (Sequence* sequence : planned_) {
    sequence->computed += sequence->step_tokens;
    sequence->ever_computed = std::max(sequence->ever_computed, sequence->computed);
    for (std::int32_t page = sequence->indexed; sequence->PageEnd(page) <= sequence->computed; ++page) {
      std::int32_t& id = sequence->pages[static_cast<std::size_t>(page)];
      const auto canonical = page == 0 && sequence->source > 0
                                 ? cache_.InsertSource(SourceOf(*sequence), id)
                                 : cache_.Insert(ParentOf(*sequence, page), TokensOfPage(*sequence, page), id);
      if (!canonical) break;  // a hash collision: this sequence's later pages stay private too
      id = *canonical;
      sequence->indexed = page + 1;
    }
  }
}

void Scheduler::GivePagesBack(Sequence& sequence) {
  for (auto page = sequence.pages.rbegin(); page != sequence.pages.rend(); ++page) cache_.Release(*page);
  sequence.pages.clear();
  sequence.computed = 0;
  sequence.indexed = 0;
}

void Scheduler::GrowDecoding() {
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    while (sequence.state == Sequence::State::kRunning &&
           static_cast<std::int32_t>(sequence.pages.size()) < sequence.pages_needed()) {
      if (const auto page = cache_.Take()) {
        sequence.pages.push_back(*page);
        continue;
      }
      Sequence& victim = *running_.back();  // perhaps `sequence` itself
      running_.pop_back();
      GivePagesBack(victim);
      victim.state = Sequence::State::kWaiting;
      waiting_.insert(&victim);
      ++preemptions_;
    }
  }
}

void Scheduler::Admit() {
  while (!waiting_.empty() && static_cast<std::int32_t>(running_.size()) < limits_.max_running) {
    Sequence& sequence = **waiting_.begin();
    if (!TryAdmit(sequence)) return;
    waiting_.erase(waiting_.begin());
    sequence.state = Sequence::State::kRunning;
    running_.insert(std::upper_bound(running_.begin(), running_.end(), &sequence, ByKey()), &sequence);
  }
}

bool Scheduler::TryAdmit(Sequence& sequence) {
  const std::int32_t cached = sequence.cached;
  const std::int32_t ever_computed = sequence.ever_computed;
  AdoptCached(sequence);
  const std::int32_t missing = sequence.pages_needed() - static_cast<std::int32_t>(sequence.pages.size());
  const std::int32_t headroom = static_cast<std::int32_t>(running_.size());
  if (cache_.available() < missing + headroom) {
    GivePagesBack(sequence);
    sequence.cached = cached;  // what was found may be gone at the next try
    sequence.ever_computed = ever_computed;
    return false;
  }
  for (std::int32_t i = 0; i < missing; ++i) {
    const auto page = cache_.Take();
    QUORUM_CHECK(page.has_value());
    sequence.pages.push_back(*page);
  }
  return true;
}

bool Scheduler::MayAdopt(const Sequence& sequence) const {
  if (sequence.compute_all) return false;
  if (sequence.encodes() || sequence.PageBegin(sequence.indexed) != sequence.computed) return false;
  const std::int32_t end = sequence.computed + kPageTokens;
  // The last token is always computed, for its logits; so are tokens that wait for their score.
  return end < sequence.length() && (sequence.scored >= sequence.score_end || end <= sequence.scored);
}

/// Page `page` of the sequence is the cached page `id`, which carries a reference for it.
void Scheduler::Adopt(Sequence& sequence, std::int32_t page, std::int32_t id) {
  if (page < static_cast<std::int32_t>(sequence.pages.size())) {
    cache_.Release(sequence.pages[static_cast<std::size_t>(page)]);
    sequence.pages[static_cast<std::size_t>(page)] = id;
  } else {
    sequence.pages.push_back(id);
  }
  sequence.computed = sequence.PageEnd(page);
  sequence.indexed = page + 1;
}

void Scheduler::AdoptCached(Sequence& sequence) {
  if (sequence.encodes()) AdoptSource(sequence);
  while (MayAdopt(sequence)) {
    const std::int32_t page = sequence.indexed;
    const auto found = cache_.Find(ParentOf(sequence, page), TokensOfPage(sequence, page));
    if (!found) break;
    Adopt(sequence, page, *found);
  }
  if (sequence.computed > sequence.ever_computed) {
    sequence.cached += sequence.computed - sequence.ever_computed;
    sequence.ever_computed = sequence.computed;
  }
}

/// Takes all pages of the source from the cache, or none.
void Scheduler::AdoptSource(Sequence& sequence) {
  std::vector<std::int32_t> found;
  for (std::int32_t page = 0; page < sequence.source_pages(); ++page) {
    const auto id =
        page == 0 ? cache_.FindSource(SourceOf(sequence)) : cache_.Find(found.back(), TokensOfPage(sequence, page));
    if (!id) break;
    found.push_back(*id);
  }
  if (static_cast<std::int32_t>(found.size()) < sequence.source_pages()) {
    for (auto id = found.rbegin(); id != found.rend(); ++id) cache_.Release(*id);
    return;
  }
  for (std::int32_t page = 0; page < sequence.source_pages(); ++page) {
    Adopt(sequence, page, found[static_cast<std::size_t>(page)]);
  }
}

/// Most tokens of `sequence` for which `logit_rows` rows are enough.
std::int32_t Scheduler::ChunkLimit(const Sequence& sequence, std::int32_t logit_rows) const {
  if (sequence.scored >= sequence.score_end) return sequence.remaining();
  return std::min(sequence.remaining(), std::max(0, sequence.scored - sequence.computed) + logit_rows);
}

void Scheduler::SetStep(Sequence& sequence, std::int32_t tokens) {
  sequence.step_tokens = tokens;
  if (sequence.scored < sequence.score_end) {
    sequence.step_first_logits = std::min(tokens, std::max(0, sequence.scored - sequence.computed));
  } else {
    sequence.step_first_logits = tokens == sequence.remaining() ? tokens - 1 : tokens;
  }
}

/// Plans sources, oldest first, as far as `budget` reaches and at least one; returns their tokens.
std::int32_t Scheduler::PlanEncoding(std::int32_t budget) {
  std::int32_t planned = 0;
  for (Sequence* sequence : sources_) {
    if (planned > 0 && planned + sequence->source > budget) continue;
    if (!in_progress_.insert(cache_.KeyOfSource(SourceOf(*sequence))).second) continue;  // another one computes it
    sequence->step_tokens = sequence->source;
    sequence->step_first_logits = sequence->source;
    planned += sequence->source;
  }
  return planned;
}

void Scheduler::SharePrompts() {
  sources_.clear();
  prompts_.clear();
  in_progress_.clear();
  std::int32_t singles = 0;
  std::int32_t scorers = 0;
  for (Sequence* sequence : running_) {
    AdoptCached(*sequence);
    if (sequence->encodes()) {
      sources_.push_back(sequence);
      continue;
    }
    if (sequence->remaining() == 1) {
      SetStep(*sequence, 1);
      ++singles;
      continue;
    }
    const std::int32_t page = sequence->indexed;
    const bool scores = sequence->scored < sequence->score_end;  // slow: nobody waits for it
    const bool on_page =
        sequence->computed >= sequence->PageBegin(page) && sequence->computed < sequence->PageEnd(page);
    if (!scores && on_page && sequence->PageEnd(page) <= sequence->length()) {
      const auto key = cache_.KeyOf(ParentOf(*sequence, page), TokensOfPage(*sequence, page));
      if (!in_progress_.insert(key).second && MayAdopt(*sequence)) continue;  // another one computes this page
    }
    prompts_.push_back(sequence);
    if (scores) ++scorers;
  }
  std::int32_t left = static_cast<std::int32_t>(prompts_.size());
  std::int32_t spare_rows = limits_.max_step_logits - singles - left;
  std::int32_t budget = std::min(limits_.prefill_chunk, limits_.max_step_tokens - singles);
  budget = std::max(left, budget - PlanEncoding(budget));
  // The ones with the fewest tokens first: what they do not take of their even share is there for the others.
  std::stable_sort(prompts_.begin(), prompts_.end(),
                   [](const Sequence* a, const Sequence* b) { return a->remaining() < b->remaining(); });
  for (Sequence* sequence : prompts_) {
    const bool scores = sequence->scored < sequence->score_end;
    const std::int32_t extra_rows = scores ? spare_rows / std::max(1, scorers--) : 0;
    const std::int32_t tokens = std::min(ChunkLimit(*sequence, 1 + extra_rows), budget / left--);
    SetStep(*sequence, tokens);
    if (scores) spare_rows -= std::max(0, tokens - sequence->step_first_logits - 1);
    budget -= tokens;
  }
}

}  // namespace quorum::engine
