#include "engine/scheduler.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

/// Tokens before this position may be taken from the cache. The last token is always computed, for its logits; so are
/// tokens that wait for their score.
std::int32_t AdoptEnd(const Sequence& sequence) {
  if (sequence.compute_all) return 0;
  const std::int32_t last = sequence.length() - 1;
  return sequence.scored < sequence.score_end ? std::min(last, sequence.scored) : last;
}

SchedulerLimits AtLeastOne(SchedulerLimits limits) {
  for (std::int32_t* limit :
       {&limits.max_running, &limits.prefill_chunk, &limits.max_step_tokens, &limits.max_step_logits}) {
    *limit = std::max(*limit, 1);
  }
  // Every running sequence may need a row, and a row of logits.
  limits.max_running = std::min({limits.max_running, limits.max_step_tokens, limits.max_step_logits});
  if (const WindowMemory& memory = limits.window; memory.places > 0) {
    const auto enough = [&](std::int32_t n) {
      return WindowPages::Enough(n, memory.window, limits.max_step_tokens) <= memory.places;
    };
    QUORUM_CHECK(enough(1));
    while (!enough(limits.max_running)) --limits.max_running;
  }
  return limits;
}

}  // namespace

Scheduler::Scheduler(const SchedulerLimits& limits, CopyPage copy, const CostModel* cost, WindowPages::Map map_window)
    : limits_(AtLeastOne(limits)),
      copy_(std::move(copy)),
      cost_(cost),
      cache_(limits.num_pages, limits.window.places, std::move(map_window)) {}

PrefixCache::Place Scheduler::PlaceOf(const Sequence& sequence, std::int32_t page) const {
  if (page == 0) return {PrefixCache::kNoParent, sequence.lineage.get()};
  return {sequence.pages[static_cast<std::size_t>(page) - 1], nullptr};
}

/// The tokens of a page up to position `end`. A source's last page counts as full: it is filled up with what is no
/// token.
PrefixCache::Tokens Scheduler::TokensOf(const Sequence& sequence, std::int32_t page, std::int32_t end) {
  const auto begin = static_cast<std::size_t>(sequence.PageBegin(page));
  const auto size = static_cast<std::size_t>(std::min(sequence.PageEnd(page), end)) - begin;
  const PrefixCache::Tokens tokens = PrefixCache::Tokens(sequence.tokens).subspan(begin, size);
  if (page >= sequence.source_pages() || size == filled_up_.size()) return tokens;
  std::fill(std::copy(tokens.begin(), tokens.end(), filled_up_.begin()), filled_up_.end(), -1);
  return filled_up_;
}

void Scheduler::Add(Sequence& sequence) {
  QUORUM_CHECK(sequence.state == Sequence::State::kIdle && !sequence.tokens.empty());
  QUORUM_CHECK(sequence.pages_needed() <= cache_.num_pages());
  QUORUM_CHECK(sequence.source == 0 || sequence.lineage != nullptr);  // which names the whole source
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
  ShareStep();
  PlaceWindows();
  planned_.clear();
  std::copy_if(running_.begin(), running_.end(), std::back_inserter(planned_),
               [](const Sequence* sequence) { return sequence->step_tokens > 0; });
  QUORUM_CHECK(!planned_.empty() || (running_.empty() && waiting_.empty()));
  return planned_;
}

StepWork Scheduler::Work() const {
  StepWork work;
  for (const Sequence* sequence : running_) {
    if (sequence->step_tokens == 0) continue;
    work.Add(sequence->step_tokens, sequence->computed, sequence->step_tokens - sequence->step_first_logits);
  }
  return work;
}

void Scheduler::Commit() {
  for (Sequence* sequence : planned_) {
    const std::int32_t certain = sequence->step_tokens - sequence->step_draft;
    sequence->computed += certain;
    sequence->ever_computed = std::max(sequence->ever_computed, sequence->computed);
    IndexFull(*sequence);
    if (certain > 1) IndexPart(*sequence);  // another one may wait for it
  }
}

void Scheduler::IndexFull(Sequence& sequence) {
  for (; sequence.PageEnd(sequence.indexed) <= sequence.computed; ++sequence.indexed) {
    std::int32_t& id = sequence.pages[static_cast<std::size_t>(sequence.indexed)];
    id = cache_.Insert(PlaceOf(sequence, sequence.indexed), sequence.lineage,
                       TokensOf(sequence, sequence.indexed, sequence.computed), id);
  }
}

/// Indexes what is computed of the page that is not full yet.
void Scheduler::IndexPart(Sequence& sequence) {
  const std::int32_t page = sequence.indexed;
  if (sequence.encodes() || sequence.computed <= sequence.PageBegin(page)) return;
  cache_.Insert(PlaceOf(sequence, page), sequence.lineage, TokensOf(sequence, page, sequence.computed),
                sequence.pages[static_cast<std::size_t>(page)]);
}

void Scheduler::GivePagesBack(Sequence& sequence) {
  IndexFull(sequence);
  IndexPart(sequence);
  UseWindow(sequence, 0, 0, true);
  for (auto page = sequence.pages.rbegin(); page != sequence.pages.rend(); ++page) cache_.Release(*page);
  sequence.pages.clear();
  sequence.computed = 0;
  sequence.indexed = 0;
}

void Scheduler::Preempt() {
  Sequence& victim = *running_.back();
  running_.pop_back();
  GivePagesBack(victim);
  victim.state = Sequence::State::kWaiting;
  waiting_.insert(&victim);
  ++preemptions_;
}

void Scheduler::GrowDecoding() {
  for (std::size_t i = 0; i < running_.size(); ++i) {
    Sequence& sequence = *running_[i];
    while (sequence.state == Sequence::State::kRunning &&
           static_cast<std::int32_t>(sequence.pages.size()) < sequence.pages_needed()) {
      if (const auto page = cache_.Take()) {
        sequence.pages.push_back(*page);
      } else {
        Preempt();  // perhaps `sequence` itself
      }
    }
  }
}

void Scheduler::Admit() {
  while (!waiting_.empty()) {
    Sequence& sequence = **waiting_.begin();
    if (static_cast<std::int32_t>(running_.size()) < limits_.max_running && TryAdmit(sequence)) {
      waiting_.erase(waiting_.begin());
      sequence.state = Sequence::State::kRunning;
      running_.insert(std::upper_bound(running_.begin(), running_.end(), &sequence, ByKey()), &sequence);
    } else if (!running_.empty() && running_.back()->key.priority > sequence.key.priority) {
      Preempt();
    } else {
      return;
    }
  }
}

bool Scheduler::TryAdmit(Sequence& sequence) {
  const std::int32_t cached = sequence.cached;
  const std::int32_t ever_computed = sequence.ever_computed;
  AdoptFull(sequence);
  if (TakePages(sequence, static_cast<std::int32_t>(running_.size()))) return true;
  GivePagesBack(sequence);
  sequence.cached = cached;  // what was found may be gone at the next try
  sequence.ever_computed = ever_computed;
  return false;
}

/// Takes all pages that `sequence` lacks if `headroom` are left then, and fills the first from a page that begins
/// alike.
bool Scheduler::TakePages(Sequence& sequence, std::int32_t headroom) {
  const std::int32_t missing = sequence.pages_needed() - static_cast<std::int32_t>(sequence.pages.size());
  if (cache_.available() < missing + headroom) return false;
  PrefixCache::Match part = PartOf(sequence);
  if (part.tokens > 0) {  // a reference, so that taking pages does not evict it
    cache_.Ref(part.page);
    if (cache_.available() < missing + headroom) {
      cache_.Release(part.page);
      part = {};
    }
  }
  for (std::int32_t i = 0; i < missing; ++i) {
    const auto page = cache_.Take();
    QUORUM_CHECK(page.has_value());
    sequence.pages.push_back(*page);
  }
  if (part.tokens > 0) {
    CopyPart(sequence, part);
    cache_.Release(part.page);
  }
  return true;
}

/// Shares full pages that the cache has, as far as the sequence can go on behind them.
void Scheduler::AdoptFull(Sequence& sequence) {
  if (sequence.encodes() && !sequence.compute_all) AdoptSource(sequence);
  if (sequence.encodes()) return;
  found_.clear();
  const std::int32_t first = sequence.indexed;
  PrefixCache::Place place = PlaceOf(sequence, first);
  for (std::int32_t page = first;; ++page) {
    const std::int32_t end = sequence.PageEnd(page);
    if (sequence.computed >= end || end > AdoptEnd(sequence)) break;
    const auto found = cache_.Find(place, TokensOf(sequence, page, end));
    if (!found) break;
    found_.push_back(*found);
    place = {*found, nullptr};
  }
  for (const std::size_t usable = CanGoOnAfter(sequence, found_); found_.size() > usable; found_.pop_back()) {
    cache_.Release(found_.back());
  }
  if (found_.empty()) return;
  UseWindow(sequence, sequence.window_begin, std::min(sequence.window_end, first));
  for (const std::int32_t id : found_) Share(sequence, sequence.indexed, id);
  Adopted(sequence, sequence.PageEnd(sequence.indexed - 1));
  UseWindow(sequence, WindowBegin(sequence.computed), sequence.indexed);
}

/// Takes all pages of the source from the cache, or none.
void Scheduler::AdoptSource(Sequence& sequence) {
  std::vector<std::int32_t> found;
  for (std::int32_t page = 0; page < sequence.source_pages(); ++page) {
    const PrefixCache::Place place{found.empty() ? PrefixCache::kNoParent : found.back(), sequence.lineage.get()};
    const auto id = cache_.Find(place, TokensOf(sequence, page, sequence.source));
    if (!id) break;
    found.push_back(*id);
  }
  if (static_cast<std::int32_t>(found.size()) < sequence.source_pages()) {
    for (auto id = found.rbegin(); id != found.rend(); ++id) cache_.Release(*id);
    return;
  }
  for (std::int32_t page = 0; page < sequence.source_pages(); ++page) {
    Share(sequence, page, found[static_cast<std::size_t>(page)]);
  }
  Adopted(sequence, sequence.source);
}

/// Page `page` of the sequence is the full page `id` of the cache, which carries a reference for it.
void Scheduler::Share(Sequence& sequence, std::int32_t page, std::int32_t id) {
  if (page < static_cast<std::int32_t>(sequence.pages.size())) {
    cache_.Release(sequence.pages[static_cast<std::size_t>(page)]);
    sequence.pages[static_cast<std::size_t>(page)] = id;
  } else {
    sequence.pages.push_back(id);
  }
  sequence.indexed = page + 1;
}

/// The page that agrees with `sequence` beyond what it has of its current page; none: no tokens.
PrefixCache::Match Scheduler::PartOf(const Sequence& sequence) {
  const std::int32_t page = sequence.indexed;
  const std::int32_t end = AdoptEnd(sequence);
  if (sequence.encodes() || sequence.computed >= sequence.PageEnd(page) || end <= sequence.computed) return {};
  const PrefixCache::Match match = cache_.Longest(PlaceOf(sequence, page), TokensOf(sequence, page, end), true);
  return sequence.PageBegin(page) + match.tokens > sequence.computed ? match : PrefixCache::Match{};
}

/// Copies the beginning of a page that agrees further than what `sequence` has computed of its own.
void Scheduler::AdoptPart(Sequence& sequence) {
  const PrefixCache::Match part = PartOf(sequence);
  if (part.tokens > 0) CopyPart(sequence, part);
}

void Scheduler::CopyPart(Sequence& sequence, const PrefixCache::Match& part) {
  const std::int32_t page = sequence.indexed;
  cache_.windows().Use(part.page);  // so that the copy does not take its place
  UseWindow(sequence, sequence.window_begin, page + 1);
  copy_(part.page, sequence.pages[static_cast<std::size_t>(page)]);
  cache_.windows().Unuse(part.page, true);
  Adopted(sequence, sequence.PageBegin(page) + part.tokens);
}

void Scheduler::Adopted(Sequence& sequence, std::int32_t computed) {
  sequence.computed = computed;
  if (computed <= sequence.ever_computed) return;
  sequence.cached += computed - sequence.ever_computed;
  sequence.ever_computed = computed;
}

}  // namespace quorum::engine
