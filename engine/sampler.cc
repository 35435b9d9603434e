#include "engine/sampler.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <numeric>
#include <string>

#include "engine/rng.h"

namespace quorum::engine {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
constexpr float kBan = -100.0F;  // OpenAI: a bias of -100 bans

/// The highest value. Errors: a value that no softmax has an answer for.
Result<float> CheckedMax(std::span<const float> row) {
  // Lanes, so that the loop is vectorized without reordering what a float comparison means.
  constexpr std::size_t kLanes = 16;
  std::array<float, kLanes> max;
  std::array<std::uint32_t, kLanes> bad{};
  max.fill(kMinusInfinity);
  std::size_t i = 0;
  for (; i + kLanes <= row.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const float x = row[i + lane];
      max[lane] = x > max[lane] ? x : max[lane];
      bad[lane] |= x <= std::numeric_limits<float>::max() ? 0U : 1U;
    }
  }
  for (; i < row.size(); ++i) {
    max[0] = std::max(max[0], row[i]);
    bad[0] |= row[i] <= std::numeric_limits<float>::max() ? 0U : 1U;
  }
  for (std::size_t lane = 1; lane < kLanes; ++lane) {
    max[0] = std::max(max[0], max[lane]);
    bad[0] |= bad[lane];
  }
  if (bad[0] != 0) return Internal("The model's logits are not numbers (NaN or infinity): its weights may be damaged.");
  return max[0];
}

Error AllBanned(std::span<const float> raw, bool filtered = false) {
  const bool model = std::all_of(raw.begin(), raw.end(), [](float x) { return x == kMinusInfinity; });
  if (model) return Internal("The model gave every token a probability of zero.");
  return filtered
             ? InvalidArgument("logit_bias, or the model, rules out every token that the asked-for format allows here.",
                               "logit_bias")
             : InvalidArgument("logit_bias bans every token that the model could generate.", "logit_bias");
}

/// A probability as a whole number of 2^-52 parts: sums of these are exact in any order, so that a cut or a draw cannot
/// depend on how a library or compiler orders additions. What is below one part is never drawn.
std::uint64_t Weight(float probability) { return static_cast<std::uint64_t>(probability * 0x1p52F); }

std::uint64_t Fraction(std::uint64_t total, double fraction) {
  return static_cast<std::uint64_t>(static_cast<double>(total) * fraction);  // total <= 2^53: exact before rounding
}

/// A place in [0, total) for `uniform` in (0, 1). REQUIRES: total > 0.
std::uint64_t Target(std::uint64_t total, double uniform) { return std::min(Fraction(total, uniform), total - 1); }

Status CheckRange(float value, float low, float high, bool low_open, const char* name) {
  if (value >= low && value <= high && !(low_open && value == low)) return {};  // NaN fails
  const std::string range = (low_open ? "greater than " : "at least ") + std::to_string(static_cast<int>(low)) +
                            (high > 1e6F ? "" : " and at most " + std::to_string(static_cast<int>(high)));
  return InvalidArgument(std::string(name) + " must be a number " + range + ".", name);
}

}  // namespace

Status CheckSampling(const SamplingParams& params, std::int32_t vocab) {
  constexpr float kMax = std::numeric_limits<float>::max();
  QUORUM_TRY(CheckRange(params.temperature, 0, kMax, false, "temperature"));
  QUORUM_TRY(CheckRange(params.top_p, 0, 1, true, "top_p"));
  QUORUM_TRY(CheckRange(params.min_p, 0, 1, false, "min_p"));
  QUORUM_TRY(CheckRange(params.typical_p, 0, 1, true, "typical_p"));
  QUORUM_TRY(CheckRange(params.presence_penalty, -100, 100, false, "presence_penalty"));
  QUORUM_TRY(CheckRange(params.frequency_penalty, -100, 100, false, "frequency_penalty"));
  QUORUM_TRY(CheckRange(params.repetition_penalty, 0, 100, true, "repetition_penalty"));
  if (params.top_k < 0) return InvalidArgument("top_k must not be negative; 0 turns it off.", "top_k");
  for (const auto& [id, bias] : params.logit_bias) {
    if (id < 0 || id >= vocab) {
      return InvalidArgument("logit_bias names token " + std::to_string(id) + ", but the vocabulary has ids 0 to " +
                                 std::to_string(vocab - 1) + ".",
                             "logit_bias");
    }
    if (!(std::abs(bias) <= 1e6F)) return InvalidArgument("logit_bias values must be finite numbers.", "logit_bias");
  }
  return {};
}

bool NeedsCounts(const SamplingParams& params) {
  return params.repetition_penalty != 1.0F || params.frequency_penalty != 0 || params.presence_penalty != 0;
}

TokenCounts::Entry& TokenCounts::At(tok::TokenId token) {
  const auto [it, added] = index_.try_emplace(token, entries_.size());
  if (added) entries_.push_back({token, 0});
  return entries_[it->second];
}

void TokenCounts::AddPrompt(std::span<const tok::TokenId> prompt) {
  for (const tok::TokenId token : prompt) At(token);
}

void TokenCounts::AddGenerated(tok::TokenId token) { ++At(token).generated; }

std::vector<tok::TokenId> TopTokens(std::span<const float> values, std::size_t k) {
  const auto better = [values](tok::TokenId a, tok::TokenId b) {
    const float x = values[static_cast<std::size_t>(a)];
    const float y = values[static_cast<std::size_t>(b)];
    return x > y || (x == y && a < b);
  };
  k = std::min(k, values.size());
  std::vector<tok::TokenId> top(k * 8 < values.size() ? k : values.size());
  for (std::size_t i = 0; i < top.size(); ++i) top[i] = static_cast<tok::TokenId>(i);
  if (top.empty() || k == 0) return {};
  if (top.size() == values.size()) {
    if (k < top.size()) {
      std::nth_element(top.begin(), top.begin() + static_cast<std::ptrdiff_t>(k), top.end(), better);
      top.resize(k);
    }
  } else {
    // A heap with the worst of the best in front. Equal values come with a higher id, so only greater ones enter.
    std::make_heap(top.begin(), top.end(), better);
    float worst = values[static_cast<std::size_t>(top.front())];
    for (std::size_t i = k; i < values.size(); ++i) {
      if (!(values[i] > worst)) continue;
      std::pop_heap(top.begin(), top.end(), better);
      top.back() = static_cast<tok::TokenId>(i);
      std::push_heap(top.begin(), top.end(), better);
      worst = values[static_cast<std::size_t>(top.front())];
    }
  }
  std::sort(top.begin(), top.end(), better);
  return top;
}

void Sampler::Adjust(std::span<const float> logits, const SamplingParams& params, const TokenCounts& counts) {
  logits_.assign(logits.begin(), logits.end());
  if (NeedsCounts(params)) {
    for (const auto& [id, generated] : counts.entries()) {
      float& x = logits_[static_cast<std::size_t>(id)];
      x = x > 0 ? x / params.repetition_penalty : x * params.repetition_penalty;
      if (generated == 0) continue;
      x -= params.frequency_penalty * static_cast<float>(generated);
      x -= params.presence_penalty;
    }
  }
  for (const auto& [id, bias] : params.logit_bias) {
    float& x = logits_[static_cast<std::size_t>(id)];
    x = bias <= kBan ? kMinusInfinity : x + bias;
  }
}

void Sampler::Restrict(const TokenFilter& filter) {
  const auto rows = static_cast<tok::TokenId>(logits_.size());
  const auto spare = [&](std::span<const tok::TokenId> ids) {
    for (const tok::TokenId id : ids) {
      if (id < rows) spared_.emplace_back(id, logits_[static_cast<std::size_t>(id)]);
    }
  };
  spared_.clear();
  spare(filter.also);
  if (filter.allowed->listed()) {
    spare(filter.allowed->ids());
    std::fill(logits_.begin(), logits_.end(), kMinusInfinity);
  } else {
    const auto bits = filter.allowed->bits();
    for (std::size_t word = 0; word * 64 < logits_.size(); ++word) {
      const std::uint64_t kept = word < bits.size() ? bits[word] : 0;
      if (kept == ~std::uint64_t{0}) continue;
      const std::size_t count = std::min<std::size_t>(64, logits_.size() - word * 64);
      for (std::size_t i = 0; i < count; ++i) {
        if ((kept >> i & 1U) == 0) logits_[word * 64 + i] = kMinusInfinity;
      }
    }
  }
  for (const auto& [id, logit] : spared_) logits_[static_cast<std::size_t>(id)] = logit;
}

Result<tok::TokenId> Sampler::Sample(std::span<const float> logits, const SamplingParams& params,
                                     const TokenCounts& counts, std::int32_t choice, std::int32_t position,
                                     const TokenFilter* filter) {
  QUORUM_TRY(CheckedMax(logits));
  Adjust(logits, params, counts);
  if (filter != nullptr) Restrict(*filter);
  QUORUM_ASSIGN(const float max, CheckedMax(logits_));
  if (max == kMinusInfinity) return AllBanned(logits, filter != nullptr);
  if (params.temperature == 0.0F) {
    return static_cast<tok::TokenId>(std::find(logits_.begin(), logits_.end(), max) - logits_.begin());
  }
  return Draw(params, max, UniformDraw(params.seed, choice, position));
}

tok::TokenId Sampler::Draw(const SamplingParams& params, float max, double uniform) {
  ids_.clear();
  if (params.top_k > 0 && static_cast<std::size_t>(params.top_k) < logits_.size()) {
    ids_ = TopTokens(logits_, static_cast<std::size_t>(params.top_k));
    std::vector<float> top(ids_.size());
    std::transform(ids_.begin(), ids_.end(), top.begin(),
                   [this](tok::TokenId id) { return logits_[static_cast<std::size_t>(id)]; });
    logits_ = std::move(top);
  }
  // Entries are in id order, or best first with ties by id: either way a tie goes to the lower entry.
  for (float& x : logits_) x = (x - max) / params.temperature;
  probs_ = logits_;
  kernels_.softmax(probs_.data(), static_cast<std::int64_t>(probs_.size()));
  const auto token = [this](std::size_t entry) {
    return ids_.empty() ? static_cast<tok::TokenId>(entry) : ids_[entry];
  };
  if (params.min_p == 0.0F && params.typical_p >= 1.0F && params.top_p >= 1.0F) return token(DrawFromAll(uniform));

  const float floor = params.min_p * *std::max_element(probs_.begin(), probs_.end());
  kept_.clear();
  for (std::size_t i = 0; i < probs_.size(); ++i) {
    if (probs_[i] >= floor && Weight(probs_[i]) > 0) kept_.push_back(static_cast<std::uint32_t>(i));
  }
  if (params.typical_p < 1.0F) {
    // |-log p - entropy| = |mean of log p - log p|, and log p is logits_ up to a constant.
    double mean = 0;
    double mass = 0;
    for (const std::uint32_t i : kept_) {
      mean += static_cast<double>(probs_[i]) * static_cast<double>(logits_[i]);
      mass += static_cast<double>(probs_[i]);
    }
    mean /= mass;
    order_ = kept_;
    KeepMass(Fraction(KeptWeight(), static_cast<double>(params.typical_p)), [&](std::uint32_t x, std::uint32_t y) {
      const double dx = std::abs(mean - static_cast<double>(logits_[x]));
      const double dy = std::abs(mean - static_cast<double>(logits_[y]));
      return dx < dy || (dx == dy && x < y);
    });
  }
  if (params.top_p < 1.0F) {
    const std::uint64_t total = KeptWeight();
    const std::uint64_t need = Fraction(total, static_cast<double>(params.top_p));
    // All entries of at most this weight together weigh less than what is left out.
    const std::uint64_t light = (total - need) / (2 * kept_.size());
    order_.clear();
    std::copy_if(kept_.begin(), kept_.end(), std::back_inserter(order_),
                 [&](std::uint32_t i) { return Weight(probs_[i]) > light; });
    KeepMass(need, [this](std::uint32_t x, std::uint32_t y) {
      return probs_[x] > probs_[y] || (probs_[x] == probs_[y] && x < y);
    });
  }
  std::uint64_t target = Target(KeptWeight(), uniform);
  for (const std::uint32_t i : kept_) {
    if (Weight(probs_[i]) > target) return token(i);
    target -= Weight(probs_[i]);
  }
  return token(kept_.back());  // not reached: the target is below the sum
}

std::size_t Sampler::DrawFromAll(double uniform) const {
  std::uint64_t total = 0;
  for (const float p : probs_) total += Weight(p);
  std::uint64_t target = Target(total, uniform);
  std::size_t i = 0;
  for (; i + 1 < probs_.size() && Weight(probs_[i]) <= target; ++i) target -= Weight(probs_[i]);
  return i;
}

std::uint64_t Sampler::KeptWeight() const {
  std::uint64_t sum = 0;
  for (const std::uint32_t i : kept_) sum += Weight(probs_[i]);
  return sum;
}

template <typename Before>
void Sampler::KeepMass(std::uint64_t need, Before before) {
  // Halves the part of order_ in which the last one to keep must be: linear time, nothing is sorted but the end.
  using Offset = std::vector<std::uint32_t>::difference_type;
  constexpr Offset kSmall = 16;
  auto begin = order_.begin();
  auto end = order_.end();
  std::uint64_t sum = 0;
  const auto weigh = [this](std::uint64_t total, std::uint32_t i) { return total + Weight(probs_[i]); };
  while (end - begin > kSmall) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, before);
    const std::uint64_t with_half = std::accumulate(begin, middle, sum, weigh);
    if (with_half >= need) {
      end = middle;
    } else {
      sum = with_half;
      begin = middle;
    }
  }
  std::sort(begin, end, before);
  auto last = begin;
  for (; last + 1 < end && (sum = weigh(sum, *last)) < need; ++last) {
  }
  const std::uint32_t limit = *last;
  std::erase_if(kept_, [&before, limit](std::uint32_t i) { return before(limit, i); });
}

Result<RowLogprobs> RowLogprobs::Of(const KernelTable& kernels, std::span<const float> logits) {
  QUORUM_ASSIGN(const float max, CheckedMax(logits));
  if (max == kMinusInfinity) return AllBanned(logits);
  return RowLogprobs(logits, kernels.log_sum_exp(logits.data(), static_cast<std::int64_t>(logits.size())));
}

TokenLogprob RowLogprobs::At(tok::TokenId token) const {
  // Rounding of the sum may give a certain token a hair above zero.
  const double logit = static_cast<double>(logits_[static_cast<std::size_t>(token)]);
  return {token, static_cast<float>(std::min(0.0, logit - log_sum_exp_))};
}

std::vector<TokenLogprob> RowLogprobs::Top(std::int32_t n) const {
  std::vector<TokenLogprob> top;
  const auto tokens = TopTokens(logits_, static_cast<std::size_t>(std::max(n, 0)));
  std::transform(tokens.begin(), tokens.end(), std::back_inserter(top), [this](tok::TokenId id) { return At(id); });
  return top;
}

}  // namespace quorum::engine
