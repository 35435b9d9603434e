#include "cli/bench_sequences.h"

#include <algorithm>
#include <utility>

namespace quorum::cli {

BenchSequences::BenchSequences(engine::Model& model, std::int32_t count, std::int32_t length, std::int32_t chunk)
    : model_(model),
      chunk_(chunk),
      logits_(static_cast<std::size_t>(count) * static_cast<std::size_t>(model.vocab_size())) {
  const std::int32_t pages = (length + engine::kPageTokens - 1) / engine::kPageTokens;
  for (std::int32_t s = 0; s < count; ++s) {
    Sequence sequence;
    for (std::int32_t p = 0; p < pages; ++p) sequence.pages.push_back(s * pages + p);
    if (encodes()) {
      for (std::int32_t p = 0; p < pages; ++p) sequence.source_pages.push_back((count + s) * pages + p);
    }
    sequences_.push_back(std::move(sequence));
  }
}

Status BenchSequences::Prefill(std::int32_t n) {
  if (encodes()) return Encode(n);
  for (std::size_t s = 0; s < sequences_.size(); ++s) {
    for (std::int32_t done = 0; done < n;) {
      const std::int32_t size = std::min(chunk_, n - done);
      std::vector<tok::TokenId> tokens;
      for (std::int32_t i = 0; i < size; ++i) tokens.push_back(TokenAt(s, sequences_[s].pos + i));
      done += size;
      const std::int32_t wanted = done == n ? 1 : 0;
      const engine::StepSlice slice{tokens, sequences_[s].pos, sequences_[s].pages, size - wanted};
      QUORUM_TRY(Step({&slice, 1}, static_cast<std::size_t>(wanted)));
      sequences_[s].pos += size;
    }
  }
  return {};
}

Status BenchSequences::Decode() {
  std::vector<tok::TokenId> tokens(sequences_.size());
  std::vector<engine::StepSlice> slices;
  for (std::size_t s = 0; s < sequences_.size(); ++s) {
    tokens[s] = TokenAt(s, sequences_[s].pos);
    slices.push_back({{&tokens[s], 1}, sequences_[s].pos++, sequences_[s].pages, 0});
    slices.back().source_pages = sequences_[s].source_pages;
    slices.back().source_tokens = sequences_[s].source;
    if (tally_) slices.back().tally = &sequences_[s].tally;
    if (trace_) {
      const engine::ExpertShape shape = model_.experts();
      slices.back().trace = &sequences_[s].trace.emplace(shape, shape.top_k, 1);
    }
  }
  return Step(slices, sequences_.size());
}

void BenchSequences::StepBack() {
  for (Sequence& sequence : sequences_) --sequence.pos;
}

void BenchSequences::Watch(bool tally, bool trace) {
  tally_ = tally;
  trace_ = trace;
  for (Sequence& sequence : sequences_) {
    if (tally && sequence.tally.tokens.empty()) sequence.tally = engine::ExpertTally(model_.experts());
  }
}

void BenchSequences::CountCost() {
  if (!encodes()) costs_.emplace(model_.weight_costs());
}

Status BenchSequences::Encode(std::int32_t n) {
  for (std::size_t s = 0; s < sequences_.size(); ++s) {
    std::vector<tok::TokenId> tokens;
    for (std::int32_t i = 0; i < n; ++i) tokens.push_back(TokenAt(s, i));
    engine::StepSlice slice{tokens, 0, sequences_[s].source_pages, n};
    slice.encode = true;
    QUORUM_TRY(model_.Step({&slice, 1}, {}));
    sequences_[s].source = n;
  }
  return {};
}

Status BenchSequences::Step(std::span<const engine::StepSlice> slices, std::size_t logits) {
  const std::span<float> room = std::span(logits_).first(logits * static_cast<std::size_t>(model_.vocab_size()));
  if (!costs_) return model_.Step(slices, room);
  std::vector<std::uint64_t> before = model_.expert_stats().tokens;
  QUORUM_TRY(model_.Step(slices, room));
  std::vector<std::uint64_t> visits = model_.expert_stats().tokens;
  for (std::size_t e = 0; e < visits.size(); ++e) visits[e] -= before[e];
  std::vector<engine::CostRows> rows;
  for (const engine::StepSlice& slice : slices) {
    const std::int64_t tokens = std::ssize(slice.tokens);
    rows.push_back({slice.pos, tokens, tokens - slice.first_logits});
  }
  const engine::StepCost cost = engine::CostOf(model_.spec(), *costs_, model_.kv_shape(), rows, visits);
  cost_.bytes += cost.bytes;
  cost_.operations += cost.operations;
  return {};
}

tok::TokenId BenchSequences::TokenAt(std::size_t sequence, std::int32_t pos) const {
  std::uint64_t x = (static_cast<std::uint64_t>(sequence) << 32) + static_cast<std::uint64_t>(pos) + 1;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;  // SplitMix64's mixing
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<tok::TokenId>((x ^ (x >> 31)) % static_cast<std::uint64_t>(model_.vocab_size()));
}

}  // namespace quorum::cli
