// What the next step computes: admission, chunks of prompts, pages, preemption. Knows no model, text or threads.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <vector>

#include "engine/cost_model.h"
#include "engine/prefix_cache.h"
#include "engine/sequence.h"

namespace quorum::engine {

struct SchedulerLimits {
  std::int32_t max_running = 0;      // sequences that run at once
  std::int32_t prefill_chunk = 0;    // prompt tokens of one step, over all sequences
  std::int32_t max_step_tokens = 0;  // rows of one step
  std::int32_t max_step_logits = 0;  // rows of logits of one step
  std::int32_t num_pages = 0;
  WindowMemory window = {};    // as the model says
  double max_itl_seconds = 0;  // longest step while sequences decode, as far as prompts decide it; 0: no limit
};

/// Iteration-level scheduling (Yu et al., Orca, OSDI 2022) over paged KV memory (Kwon et al., vLLM, SOSP 2023), with
/// chunked prefill beside decoding (Agrawal et al., Sarathi-Serve, OSDI 2024):
///
/// - Decoding sequences come first: each computes its one token in every step, and guesses behind it where rows allow.
/// - Prompts get the rest of the step: half of it the first by key, so that none starves, the other half those with the
///   least left, so that a short prompt is not stuck behind a long one. Lower priority numbers come before that.
/// - While others decode, the rest is what `cost` expects to fit into max_itl_seconds, and at least a few tokens.
/// - An encoder's source is computed in one step, and shared only with sequences whose whole source is the same.
/// Several
///   go into a step as far as the prompts' budget reaches; the first one always does.
/// - Where prompts agree beyond what is computed, one computes and the others wait for its pages, also while it is
///   still running. What agrees only up to the middle of a page is copied.
/// - Admission is strictly by key. A sequence gets the pages of all its tokens when it is admitted, and one page for
///   each running sequence must remain, so that admission does not at once lead to preemption.
/// - When a decoding sequence finds no page, the sequence with the largest key gives its pages up, waits, and computes
///   its tokens again (often from the prefix cache). The smallest key always advances, so all of a priority finish. A
///   waiting sequence of a lower priority number takes the place of a running one in the same way.
/// - Where windowed layers have less memory, running sequences use it for their windows and the step only; there is
///   always enough. What a window has left serves shared prefixes until it is needed: a prefix is taken from the cache
///   up to a place where the window before it is still there, and computed from then on.
///
/// Single-threaded. Sequences belong to the caller and must stay until removed.
class Scheduler {
 public:
  using CopyPage = std::function<void(std::int32_t from, std::int32_t to)>;

  /// Limits below 1 count as 1. `copy` copies keys and values of a whole page at once; `cost` must outlive the
  /// scheduler and may be null without max_itl_seconds; `map_window` is told which pages have memory in windowed
  /// layers, where that is less than all. REQUIRES: it is enough for one sequence.
  Scheduler(const SchedulerLimits& limits, CopyPage copy, const CostModel* cost = nullptr,
            WindowPages::Map map_window = {});

  /// Queues an idle sequence. REQUIRES: at least one token; its pages fit into the memory when it is alone.
  void Add(Sequence& sequence);

  /// Takes a sequence out in whatever state and gives its pages back; what was computed stays in the prefix cache.
  void Remove(Sequence& sequence);

  /// Decides the next step and fills the step_ fields. Returns the sequences in it by ascending key; none only if none
  /// was added. Valid until the next call.
  std::span<Sequence* const> Plan();

  /// The planned step was computed: moves the planned sequences on (not over guesses) and indexes their pages. Call
  /// before any of them is removed or gets another token.
  void Commit();

  std::span<Sequence* const> running() const { return running_; }  // by ascending key
  struct ByKey {
    bool operator()(const Sequence* a, const Sequence* b) const { return a->key < b->key; }
  };
  const std::set<Sequence*, ByKey>& waiting() const { return waiting_; }

  /// Makes all that a running sequence has computed known to others at once, up to its last token.
  void Publish(Sequence& sequence) { IndexPart(sequence); }

  /// What the planned step has to do.
  StepWork Work() const;

  /// Sequences that could start at once; 0 while one waits for pages.
  std::int32_t free_slots() const;
  std::int64_t preemptions() const { return preemptions_; }
  const PrefixCache& cache() const { return cache_; }
  PrefixCache& cache() { return cache_; }

 private:
  PrefixCache::Place PlaceOf(const Sequence& sequence, std::int32_t page) const;
  PrefixCache::Tokens TokensOf(const Sequence& sequence, std::int32_t page, std::int32_t end);

  // Admission and pages (scheduler.cc).
  void GrowDecoding();
  void Preempt();
  void Admit();
  bool TryAdmit(Sequence& sequence);
  bool TakePages(Sequence& sequence, std::int32_t headroom);
  void AdoptFull(Sequence& sequence);
  void AdoptPart(Sequence& sequence);
  void CopyPart(Sequence& sequence, const PrefixCache::Match& part);
  void AdoptSource(Sequence& sequence);
  void Share(Sequence& sequence, std::int32_t page, std::int32_t id);
  PrefixCache::Match PartOf(const Sequence& sequence);
  static void Adopted(Sequence& sequence, std::int32_t computed);
  void IndexFull(Sequence& sequence);
  void IndexPart(Sequence& sequence);
  void GivePagesBack(Sequence& sequence);

  // Memory of windowed layers (scheduler_windows.cc).
  std::int32_t WindowBegin(std::int32_t computed) const;
  void UseWindow(Sequence& sequence, std::int32_t begin, std::int32_t end, bool promising = false);
  void PlaceWindows();
  std::size_t CanGoOnAfter(const Sequence& sequence, std::span<const std::int32_t> found) const;

  // Shares of a step (scheduler_step.cc).
  void ShareStep();
  bool IsGrowing(std::int32_t page) const;
  void ChoosePrompts(std::int32_t singles, std::int32_t budget, std::int32_t logit_rows);
  void GrantDrafts(std::int32_t rows, std::int32_t logit_rows);
  bool SharePrompts(std::int32_t budget, std::int32_t logit_rows, double seconds);
  bool WaitsForAnother(const Sequence& sequence);
  std::int32_t PlanEncoding(std::int32_t budget);

  SchedulerLimits limits_;
  CopyPage copy_;
  const CostModel* cost_;
  PrefixCache cache_;
  std::set<Sequence*, ByKey> waiting_;
  std::vector<Sequence*> running_;
  std::vector<Sequence*> planned_;
  std::vector<Sequence*> sources_;   // running sequences whose source has yet to be computed
  std::vector<Sequence*> prompts_;   // other running sequences with more than one token to compute, by key
  std::vector<Sequence*> shortest_;  // the same by priority and what they have left
  std::vector<Sequence*> granted_;   // prompts that got tokens of this step
  std::vector<std::int32_t> found_;  // AdoptFull's
  std::array<tok::TokenId, static_cast<std::size_t>(kPageTokens)> filled_up_;  // TokensOf's, until its next call
  std::int64_t preemptions_ = 0;
};

}  // namespace quorum::engine
