// What the next step computes: admission, chunks of prompts, pages, preemption. Knows no model, text or threads.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <unordered_set>
#include <vector>

#include "engine/prefix_cache.h"
#include "engine/sequence.h"

namespace quorum::engine {

struct SchedulerLimits {
  std::int32_t max_running = 0;      // sequences that run at once
  std::int32_t prefill_chunk = 0;    // prompt tokens of one step, over all sequences
  std::int32_t max_step_tokens = 0;  // rows of one step
  std::int32_t max_step_logits = 0;  // rows of logits of one step
  std::int32_t num_pages = 0;
};

/// Iteration-level scheduling (Yu et al., Orca, OSDI 2022) over paged KV memory (Kwon et al., vLLM, SOSP 2023):
///
/// - Decoding sequences come first: each computes its one token in every step.
/// - Prompts share the rest of the step evenly, what a short one does not need going to the longer ones, so a short
///   prompt is not stuck behind a long one; each gets at least one token, so all move.
/// - An encoder's source is computed in one step, and shared only with sequences whose whole source is the same.
/// Several
///   go into a step as far as the prompts' budget reaches; the first one always does.
/// - Where prompts begin alike, one computes and the others wait for its pages, also while it is still running.
/// - Admission is strictly by key. A sequence gets the pages of all its tokens when it is admitted, and one page for
///   each running sequence must remain, so that admission does not at once lead to preemption.
/// - When a decoding sequence finds no page, the sequence with the largest key gives its pages up, waits, and computes
///   its tokens again (often from the prefix cache). The smallest key always advances, so all finish.
///
/// Single-threaded. Sequences belong to the caller and must stay until removed.
class Scheduler {
 public:
  /// Limits below 1 count as 1. `hash_seed`: see PrefixCache.
  Scheduler(const SchedulerLimits& limits, std::uint64_t hash_seed);

  /// Queues an idle sequence. REQUIRES: at least one token; its pages fit into the memory when it is alone.
  void Add(Sequence& sequence);

  /// Takes a sequence out in whatever state and gives its pages back; what was indexed stays in the prefix cache.
  void Remove(Sequence& sequence);

  /// Decides the next step and fills the step_ fields. Returns the sequences in it by ascending key; none only if none
  /// was added. Valid until the next call.
  std::span<Sequence* const> Plan();

  /// The planned step was computed: moves the planned sequences on and indexes their full pages. Call before any of
  /// them is removed or gets another token.
  void Commit();

  std::span<Sequence* const> running() const { return running_; }  // by ascending key
  struct ByKey {
    bool operator()(const Sequence* a, const Sequence* b) const { return a->key < b->key; }
  };
  const std::set<Sequence*, ByKey>& waiting() const { return waiting_; }

  /// Sequences that could start at once; 0 while one waits for pages.
  std::int32_t free_slots() const;
  std::int64_t preemptions() const { return preemptions_; }
  const PrefixCache& cache() const { return cache_; }

 private:
  void GrowDecoding();
  void Admit();
  bool TryAdmit(Sequence& sequence);
  void AdoptCached(Sequence& sequence);
  void AdoptSource(Sequence& sequence);
  void Adopt(Sequence& sequence, std::int32_t page, std::int32_t id);
  bool MayAdopt(const Sequence& sequence) const;
  void SharePrompts();
  std::int32_t PlanEncoding(std::int32_t budget);
  std::int32_t ChunkLimit(const Sequence& sequence, std::int32_t logit_rows) const;
  void SetStep(Sequence& sequence, std::int32_t tokens);
  void GivePagesBack(Sequence& sequence);

  SchedulerLimits limits_;
  PrefixCache cache_;
  std::set<Sequence*, ByKey> waiting_;
  std::vector<Sequence*> running_;
  std::vector<Sequence*> planned_;
  std::vector<Sequence*> sources_;  // running sequences whose source has yet to be computed
  std::vector<Sequence*> prompts_;  // other running sequences with more than one token to compute
  std::unordered_set<PrefixCache::Key, PrefixCache::KeyHash> in_progress_;  // pages that this step computes
  std::int64_t preemptions_ = 0;
};

}  // namespace quorum::engine
