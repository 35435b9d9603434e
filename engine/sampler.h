// From one row of logits to one token: penalties, bias, temperature, truncation, draw. And log-probabilities.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/result.h"
#include "engine/engine.h"
#include "engine/grammar/token_set.h"
#include "engine/kernels/kernel_table.h"

namespace quorum::engine {

/// Refuses parameters out of range; `param` names the field. `vocab` bounds the ids of logit_bias.
Status CheckSampling(const SamplingParams& params, std::int32_t vocab);

/// The distinct tokens of a prompt and its reply, for penalties.
class TokenCounts {
 public:
  struct Entry {
    tok::TokenId id = 0;
    std::int32_t generated = 0;  // times in the reply; 0: only in the prompt
  };

  void AddPrompt(std::span<const tok::TokenId> prompt);
  void AddGenerated(tok::TokenId token);
  std::span<const Entry> entries() const { return entries_; }

 private:
  Entry& At(tok::TokenId token);

  std::vector<Entry> entries_;
  std::unordered_map<tok::TokenId, std::size_t> index_;
};

/// Whether `params` has a penalty, so that a TokenCounts must be kept.
bool NeedsCounts(const SamplingParams& params);

/// What a grammar allows next.
struct TokenFilter {
  const grammar::TokenSet* allowed = nullptr;
  std::span<const tok::TokenId> also;  // besides those
};

/// Draws tokens. Deterministic: the same row, parameters and key give the same token on every machine and instruction
/// set. Holds scratch memory: one thread at a time.
class Sampler {
 public:
  explicit Sampler(const KernelTable& kernels) : kernels_(kernels) {}

  /// The token of `choice` that will stand at `position`. In this order (vLLM's, with the bias last so that -100 bans
  /// and 100 forces whatever the penalties are):
  ///   1. repetition penalty: positive logits are divided by it, negative ones multiplied (prompt and reply);
  ///   2. minus frequency_penalty * count and presence_penalty (reply only); 3. plus logit_bias, <= -100 removes, and so
  ///   does `filter`, if there is one, with what it does not hold;
  ///   4. temperature 0: the highest, ties to the lowest id, and nothing below applies; else divide by it;
  ///   5. top_k: the k highest; 6. min_p: those with p >= min_p * max p; 7. typical_p (Meister et al. 2023): closest to
  ///   the entropy first, until their mass reaches typical_p; 8. top_p (Holtzman et al. 2020): most probable first,
  ///   until their mass reaches top_p; 9. draw by p. Steps 6 to 9 each renormalise; ties go to the lower id.
  /// Errors: kInternal when the row holds NaN or +infinity or nothing finite; kInvalidArgument when all are banned.
  Result<tok::TokenId> Sample(std::span<const float> logits, const SamplingParams& params, const TokenCounts& counts,
                              std::int32_t choice, std::int32_t position, const TokenFilter* filter = nullptr);

 private:
  void Adjust(std::span<const float> logits, const SamplingParams& params, const TokenCounts& counts);
  void Restrict(const TokenFilter& filter);
  tok::TokenId Draw(const SamplingParams& params, float max, double uniform);
  /// Keeps the first entries of order_, put in the order of `before`, whose weights reach `need`; at least one.
  /// REQUIRES: order_ holds the first entries of kept_ in that order, enough to reach it.
  template <typename Before>
  void KeepMass(std::uint64_t need, Before before);
  std::uint64_t KeptWeight() const;
  std::size_t DrawFromAll(double uniform) const;

  const KernelTable& kernels_;
  std::vector<float> logits_;         // adjusted, then (logit - max) / temperature; of the top k where that is set
  std::vector<float> probs_;          // their softmax
  std::vector<std::pair<tok::TokenId, float>> spared_;  // what Restrict keeps
  std::vector<tok::TokenId> ids_;     // their tokens; empty: entry i is token i
  std::vector<std::uint32_t> kept_;   // entries that truncation left, ascending
  std::vector<std::uint32_t> order_;  // of these, the ones that a cut must look at
};

/// Log-probabilities of one row of raw logits.
class RowLogprobs {
 public:
  /// Errors: as Sampler::Sample.
  static Result<RowLogprobs> Of(const KernelTable& kernels, std::span<const float> logits);

  TokenLogprob At(tok::TokenId token) const;
  /// The best `n` (or all, if fewer), best first, ties by id.
  std::vector<TokenLogprob> Top(std::int32_t n) const;

 private:
  RowLogprobs(std::span<const float> logits, double log_sum_exp) : logits_(logits), log_sum_exp_(log_sum_exp) {}

  std::span<const float> logits_;
  double log_sum_exp_;
};

/// The ids of the `k` highest values, best first, ties by id. Does not sort the rest.
std::vector<tok::TokenId> TopTokens(std::span<const float> values, std::size_t k);

}  // namespace quorum::engine
