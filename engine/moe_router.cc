#include "engine/moe_router.h"

#include <algorithm>
#include <bitset>
#include <cmath>
#include <cstddef>
#include <limits>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

/// Whether a logit beats another; NaN loses against every number.
bool Higher(float a, float b) { return a > b || (std::isnan(b) && !std::isnan(a)); }

/// Experts that may not be chosen (any more).
using Taken = std::bitset<kMaxExperts>;

/// The `k` highest of `values` that are not taken, the first of equals; ids ascending. There are at least k.
void TopK(std::span<const float> values, const Taken& taken, std::int32_t k, std::int32_t* ids) {
  const auto value = [values](std::int32_t id) { return values[static_cast<std::size_t>(id)]; };
  std::int32_t found = 0;  // the highest so far lead, in falling order
  for (std::int32_t i = 0; i < std::ssize(values); ++i) {
    if (taken[static_cast<std::size_t>(i)]) continue;
    if (found == k && !Higher(value(i), value(ids[k - 1]))) continue;
    if (found < k) ++found;
    std::int32_t at = found - 1;
    for (; at > 0 && Higher(value(i), value(ids[at - 1])); --at) ids[at] = ids[at - 1];
    ids[at] = i;
  }
  std::sort(ids, ids + k);
}

/// The highest of `values` that is not taken; the first of equals. There is one.
std::int32_t Best(std::span<const float> values, const Taken& taken) {
  std::int32_t best = -1;
  TopK(values, taken, 1, &best);
  return best;
}

/// Softmax over the values of those that exist, with the bits of a model that has no others: its sum goes by their
/// places, so that they close ranks. The others get 0.
void Softmax(const KernelTable& kernels, const Taken& masked, std::span<float> values) {
  if (masked.none()) {
    kernels.softmax(values.data(), std::ssize(values));
    return;
  }
  float dense[kMaxExperts];
  std::int64_t n = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!masked[i]) dense[n++] = values[i];
  }
  kernels.softmax(dense, n);
  n = 0;
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = masked[i] ? 0.0F : dense[n++];
}

/// What an expert is worth before anything is chosen, in place of its logit.
void Score(const KernelTable& kernels, RouterScore score, const Taken& masked, std::span<float> logits) {
  if (score == RouterScore::kSoftmax) {
    Softmax(kernels, masked, logits);
  } else if (score == RouterScore::kSigmoid) {
    for (float& logit : logits) logit = Sigmoid(kernels, logit);
  }
}

/// Takes every expert out of the race that is not in one of the best groups (DeepSeek-AI 2024, arXiv:2405.04434 and
/// arXiv:2412.19437).
void KeepBestGroups(const RouterSpec& spec, std::span<float> choice) {
  float worth[kMaxExperts];
  std::int32_t kept[kMaxExperts];
  const std::size_t size = choice.size() / static_cast<std::size_t>(spec.groups);
  for (std::int32_t group = 0; group < spec.groups; ++group) {
    const std::span<const float> members = choice.subspan(static_cast<std::size_t>(group) * size, size);
    Taken taken;
    const auto best = static_cast<std::size_t>(Best(members, taken));
    worth[group] = members[best];
    if (spec.group_score == GroupScore::kTopTwo && size > 1) {
      taken[best] = true;
      const float second = members[static_cast<std::size_t>(Best(members, taken))];
      if (second != kNever) worth[group] += second;  // of an expert that is masked
    }
  }
  TopK({worth, static_cast<std::size_t>(spec.groups)}, {}, spec.top_groups, kept);
  for (std::int32_t group = 0; group < spec.groups; ++group) {
    if (std::binary_search(kept, kept + spec.top_groups, group)) continue;
    std::fill_n(choice.data() + static_cast<std::size_t>(group) * size, size, kNever);
  }
}

/// Ids of the `k` experts that a token visits, ascending; none of the `taken`. Where the best groups have fewer, the
/// others follow.
void Choose(const KernelTable& kernels, const RouterSpec& spec, const float* choice_bias, std::span<const float> logits,
            const Taken& taken, std::int32_t k, std::int32_t* ids) {
  if (spec.groups == 1 && choice_bias == nullptr) return TopK(logits, taken, k, ids);
  float all[kMaxExperts];
  const std::span<float> choice(all, logits.size());
  std::copy(logits.begin(), logits.end(), choice.begin());
  // A bias or a sum is of scores; a mere order is that of the logits.
  if (choice_bias != nullptr || spec.group_score == GroupScore::kTopTwo) Score(kernels, spec.score, taken, choice);
  if (choice_bias != nullptr) kernels.add(choice_bias, std::ssize(choice), choice.data());
  for (std::size_t i = 0; i < choice.size(); ++i) {
    if (taken[i]) choice[i] = kNever;
  }
  if (spec.groups > 1) KeepBestGroups(spec, choice);
  TopK(choice, taken, k, ids);
}

/// SparseMixer as it decides without training noise (GRIN-MoE, Liu et al. 2024): each choice is the highest that is
/// left, weighted by a softmax over those that are left and near it. Ids ascending.
void SparseMixer(const KernelTable& kernels, const RouterSpec& spec, std::span<const float> logits, const Taken& masked,
                 std::int32_t k, std::int32_t* ids, float* weights) {
  float near[kMaxExperts];
  Taken taken = masked;
  for (std::int32_t found = 0; found < k; ++found) {
    const std::int32_t best = Best(logits, taken);
    const float top = logits[static_cast<std::size_t>(best)];
    for (std::size_t i = 0; i < logits.size(); ++i) {
      const float factor = std::max(std::abs(logits[i]), top);
      near[i] = taken[i] || (top - logits[i]) / factor > 2.0F * spec.jitter ? kNever : logits[i];
    }
    taken[static_cast<std::size_t>(best)] = true;
    Softmax(kernels, masked, {near, logits.size()});
    // Into place among the ids before it.
    std::int32_t at = found;
    for (; at > 0 && ids[at - 1] > best; --at) {
      ids[at] = ids[at - 1];
      weights[at] = weights[at - 1];
    }
    ids[at] = best;
    weights[at] = near[best];
  }
}

/// Divides by the sum, so that the results sum to 1 without any rounding: all but the largest become multiples of 2^-24
/// (which changes them by no more than float sums of this size do), and the largest is what is left. The fma chain that
/// combines two experts then gives back y exactly where both give y: a top-2 MoE of copies equals its dense original.
void Renormalize(std::span<float> weights) {
  float sum = 0;
  for (const float weight : weights) sum += weight;
  if (sum < 1e-12F) {  // sigmoids that all but vanish; DeepSeek-V3 adds 1e-20 to every sum, which only these can notice
    for (float& weight : weights) weight /= sum + 1e-20F;
    return;
  }
  const auto largest = std::max_element(weights.begin(), weights.end());
  float rest = 1.0F;
  for (auto weight = weights.begin(); weight != weights.end(); ++weight) {
    if (weight == largest) continue;
    *weight = (*weight / sum + 0.5F) - 0.5F;  // at most 0.5: 0.5 + weight has steps of 2^-24
    rest -= *weight;
  }
  *largest = std::isnan(sum) ? sum : rest;
}

/// Keeps the experts whose weight is at least `min_weight`, and the heaviest in any case; returns how many.
std::int32_t DropLight(float min_weight, std::int32_t k, std::int32_t* ids, float* weights) {
  const std::int64_t heaviest = std::max_element(weights, weights + k) - weights;
  std::int32_t kept = 0;
  for (std::int32_t i = 0; i < k; ++i) {
    if (i != heaviest && weights[i] < min_weight) continue;
    ids[kept] = ids[i];
    weights[kept++] = weights[i];
  }
  return kept;
}

/// What is done to the weights of `k` chosen experts; returns how many are left.
std::int32_t Finish(const RouterSpec& spec, float min_weight, std::int32_t k, std::int32_t* ids, float* weights) {
  if (spec.renormalize) Renormalize({weights, static_cast<std::size_t>(k)});
  const std::int32_t kept = min_weight > 0 ? DropLight(min_weight, k, ids, weights) : k;
  const bool sums_to_one = spec.renormalize || spec.score == RouterScore::kTopKSoftmax;
  if (kept < k && sums_to_one) Renormalize({weights, static_cast<std::size_t>(kept)});
  for (std::int32_t i = 0; i < kept; ++i) weights[i] *= spec.scale;
  return kept;
}

}  // namespace

float Sigmoid(const KernelTable& kernels, float x) {
  float pair[2] = {x, 0.0F};  // whose softmax it is
  kernels.softmax(pair, 2);
  return pair[0];
}

std::int32_t RouteToken(const KernelTable& kernels, const RouterSpec& spec, const float* choice_bias,
                        std::span<float> logits, std::int32_t* ids, float* weights, const RouteLimits& limits) {
  const std::int64_t n = std::ssize(logits);
  QUORUM_CHECK(n <= kMaxExperts);
  if (spec.softcap != 0.0F) kernels.softcap(spec.softcap, n, logits.data());
  Taken taken;
  if (limits.masked != nullptr) {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (limits.masked[i] == 0) continue;
      taken[i] = true;
      logits[i] = kNever;
    }
  }
  const std::int64_t left = n - static_cast<std::int64_t>(taken.count());
  const auto k = static_cast<std::int32_t>(std::min<std::int64_t>(limits.top_k > 0 ? limits.top_k : spec.top_k, left));
  QUORUM_CHECK(k >= 1);
  if (spec.score == RouterScore::kSparseMixer) {
    SparseMixer(kernels, spec, logits, taken, k, ids, weights);
    return Finish(spec, limits.min_weight, k, ids, weights);
  }
  Choose(kernels, spec, choice_bias, logits, taken, k, ids);
  if (spec.score == RouterScore::kSoftmax) Softmax(kernels, taken, logits);
  for (std::int32_t i = 0; i < k; ++i) {
    const float value = logits[static_cast<std::size_t>(ids[i])];
    weights[i] = spec.score == RouterScore::kSigmoid ? Sigmoid(kernels, value) : value;
  }
  if (spec.score == RouterScore::kTopKSoftmax) kernels.softmax(weights, k);
  return Finish(spec, limits.min_weight, k, ids, weights);
}

ExpertCounters::ExpertCounters(std::int32_t layers, std::int32_t experts)
    : layers_(layers),
      experts_(experts),
      cells_(std::make_unique<Cell[]>(static_cast<std::size_t>(layers) * static_cast<std::size_t>(experts))) {}

void ExpertCounters::Count(std::int32_t layer, std::int32_t expert, std::uint64_t tokens, double gate_mass) {
  Cell& cell =
      cells_[static_cast<std::size_t>(layer) * static_cast<std::size_t>(experts_) + static_cast<std::size_t>(expert)];
  // One writer: a load and a store are enough, and cheaper than an atomic addition.
  cell.tokens.store(cell.tokens.load(std::memory_order_relaxed) + tokens, std::memory_order_relaxed);
  cell.gate_mass.store(cell.gate_mass.load(std::memory_order_relaxed) + gate_mass, std::memory_order_relaxed);
  cell.steps.store(cell.steps.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

ExpertStats ExpertCounters::Read() const {
  ExpertStats stats{layers_, experts_, {}, {}, {}};
  const std::size_t cells = static_cast<std::size_t>(layers_) * static_cast<std::size_t>(experts_);
  stats.tokens.reserve(cells);
  stats.gate_mass.reserve(cells);
  stats.steps.reserve(cells);
  for (std::size_t i = 0; i < cells; ++i) {
    stats.tokens.push_back(cells_[i].tokens.load(std::memory_order_relaxed));
    stats.gate_mass.push_back(cells_[i].gate_mass.load(std::memory_order_relaxed));
    stats.steps.push_back(cells_[i].steps.load(std::memory_order_relaxed));
  }
  return stats;
}

}  // namespace quorum::engine
