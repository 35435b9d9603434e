// Rotary positions as transformers' modeling_rope_utils.py reads them from a config.
#include <algorithm>
#include <cmath>
#include <numbers>

#include <fmt/format.h>

#include "engine/hf_family.h"
#include "engine/rope.h"

namespace quorum::engine {
namespace {

/// The context of the first training: as Phi has it beside the section, which counts, or in it.
Result<std::int32_t> OriginalContext(const HfConfig& config, const HfConfig& keys, const ModelSpec& spec) {
  constexpr std::string_view kKey = "original_max_position_embeddings";
  QUORUM_ASSIGN(const std::int32_t inside, keys.IntOr(kKey, spec.context_length, 2, 1 << 20));
  return config.IntOr(kKey, spec.architecture == "phi3" && !config.IsNull(kKey) ? 4096 : inside, 2, 1 << 20);
}

/// What Llama 3 divides each frequency by: nothing for short waves, `factor` for long ones, a blend between.
Status Llama3(const HfConfig& config, const HfConfig& keys, ModelSpec& spec) {
  RopeSpec& rope = spec.rope;
  QUORUM_ASSIGN(const double factor, keys.FloatOr("factor", 0.0));
  QUORUM_ASSIGN(const double low, keys.FloatOr("low_freq_factor", 1.0));
  QUORUM_ASSIGN(const double high, keys.FloatOr("high_freq_factor", 4.0));
  QUORUM_ASSIGN(const std::int32_t old, OriginalContext(config, keys, spec));
  if (!(factor >= 0.01 && factor <= 1e6))
    return keys.Fault("factor", fmt::format("is {}, expected 0.01 to 1e6", factor));
  if (!(low > 0.0 && high > low)) {
    return keys.Fault("high_freq_factor",
                      fmt::format("is {}, expected more than 'low_freq_factor' ({}), which is positive", high, low));
  }
  for (std::int32_t i = 0; i < rope.dims / 2; ++i) {
    const double log_wave = ExactLog(rope.base) * static_cast<double>(2 * i) / static_cast<double>(rope.dims);
    const double turns = static_cast<double>(old) / (2.0 * std::numbers::pi * ExactExp(log_wave));
    const double blend = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    rope.factors.push_back(static_cast<float>(1.0 / ((1.0 - blend) / factor + blend)));
  }
  return {};
}

double MScale(double factor, double mscale) { return factor <= 1.0 ? 1.0 : 0.1 * mscale * ExactLog(factor) + 1.0; }

Status Yarn(const HfConfig& config, const HfConfig& keys, ModelSpec& spec) {
  RopeSpec& rope = spec.rope;
  rope.scaling = RopeScaling::kYarn;
  QUORUM_ASSIGN(rope.original_context, OriginalContext(config, keys, spec));
  const double implied = static_cast<double>(spec.context_length) / static_cast<double>(rope.original_context);
  QUORUM_ASSIGN(rope.factor, keys.FloatOr("factor", implied));
  if (!(rope.factor >= 0.01 && rope.factor <= 1e6)) {
    return keys.Fault("factor", fmt::format("is {}, expected 0.01 to 1e6", rope.factor));
  }
  QUORUM_ASSIGN(rope.beta_fast, keys.FloatOr("beta_fast", 32.0));
  QUORUM_ASSIGN(rope.beta_slow, keys.FloatOr("beta_slow", 1.0));
  if (rope.beta_fast == 0.0) rope.beta_fast = 32.0;
  if (rope.beta_slow == 0.0) rope.beta_slow = 1.0;
  QUORUM_ASSIGN(const double mscale, keys.FloatOr("mscale", 0.0));
  QUORUM_ASSIGN(const double mscale_all_dim, keys.FloatOr("mscale_all_dim", 0.0));
  double magnitude = MScale(rope.factor, 1.0);
  if (mscale != 0.0 && mscale_all_dim != 0.0)
    magnitude = MScale(rope.factor, mscale) / MScale(rope.factor, mscale_all_dim);
  QUORUM_ASSIGN(magnitude, keys.FloatOr("attention_factor", magnitude));
  if (!(magnitude > 0.0))
    return keys.Fault("attention_factor", fmt::format("is {}, expected a positive number", magnitude));
  rope.attention_factor = magnitude / MScale(rope.factor, 1.0);
  QUORUM_ASSIGN(rope.whole_pairs, keys.BoolOr("truncate", true));
  return {};
}

Result<std::vector<float>> Factors(const HfConfig& keys, std::string_view key, std::int32_t dims) {
  QUORUM_ASSIGN(const std::vector<double> values, keys.Floats(key));
  if (std::ssize(values) != dims / 2) {
    return keys.Fault(key, fmt::format("has {} entries, expected {}", values.size(), dims / 2));
  }
  return std::vector<float>(values.begin(), values.end());
}

/// LongRoPE: how the second set of factors is chosen, see RopeSpec.
Status LongRope(const HfConfig& config, const HfConfig& keys, ModelSpec& spec) {
  RopeSpec& rope = spec.rope;
  rope.scaling = RopeScaling::kLongRope;
  QUORUM_ASSIGN(rope.original_context, OriginalContext(config, keys, spec));
  QUORUM_ASSIGN(rope.factors, Factors(keys, "short_factor", rope.dims));
  QUORUM_ASSIGN(rope.long_factors, Factors(keys, "long_factor", rope.dims));
  const double implied = static_cast<double>(spec.context_length) / static_cast<double>(rope.original_context);
  QUORUM_ASSIGN(const double factor, keys.FloatOr("factor", implied));
  if (!(factor >= 0.01 && factor <= 1e6))
    return keys.Fault("factor", fmt::format("is {}, expected 0.01 to 1e6", factor));
  const double own =
      factor > 1.0 ? std::sqrt(1.0 + ExactLog(factor) / ExactLog(static_cast<double>(rope.original_context))) : 1.0;
  QUORUM_ASSIGN(const double magnitude, keys.FloatOr("attention_factor", own));
  QUORUM_ASSIGN(rope.magnitude, keys.FloatOr("short_mscale", magnitude));
  QUORUM_ASSIGN(rope.long_magnitude, keys.FloatOr("long_mscale", magnitude));
  rope.long_context = spec.context_length > rope.original_context;
  return {};
}

Status Linear(const HfConfig& keys, ModelSpec& spec) {
  spec.rope.scaling = RopeScaling::kLinear;
  QUORUM_ASSIGN(spec.rope.factor, keys.FloatOr("factor", 1.0));
  return {};
}

Status Scaling(const HfConfig& config, const HfConfig& keys, ModelSpec& spec) {
  QUORUM_ASSIGN(const std::string old_type, keys.StringOr("type", "default"));
  QUORUM_ASSIGN(const std::string type, keys.StringOr("rope_type", old_type));
  keys.Ignore({"finetuned", "original_max_position_embeddings"});
  // "dynamic" changes the base only beyond the context that the model was made for, where Quorum warns.
  if (type == "dynamic") keys.Ignore({"factor"});
  if (type == "linear") return Linear(keys, spec);
  if (type == "llama3") return Llama3(config, keys, spec);
  // "su", "yarn": Phi-3 before it had a name of its own.
  const bool old_phi = type == "su" || (type == "yarn" && spec.architecture == "phi3");
  if (type == "longrope" || old_phi) return LongRope(config, keys, spec);
  if (type == "yarn") return Yarn(config, keys, spec);
  if (type == "default" || type == "dynamic") return {};
  return Unsupported(
      keys.Fault("rope_type", fmt::format("is '{}'; for this family Quorum has default, linear, dynamic, "
                                          "llama3, yarn, longrope",
                                          type))
          .message);
}

/// The section that says it all, in the new spelling or the old one.
Result<std::optional<HfConfig>> RopeSection(const HfConfig& config) {
  QUORUM_ASSIGN(std::optional<HfConfig> section, config.Section("rope_parameters"));
  if (!section) {
    QUORUM_ASSIGN(section, config.Section("rope_scaling"));
  }
  return section;
}

}  // namespace

Status HfRope(const HfConfig& config, double theta, ModelSpec& spec) {
  RopeSpec& rope = spec.rope;
  rope.pairs = RopePairs::kNeox;
  QUORUM_ASSIGN(rope.base, config.FloatOr("rope_theta", theta));
  QUORUM_ASSIGN(double part, config.FloatOr("partial_rotary_factor", 1.0));
  QUORUM_ASSIGN(const std::optional<HfConfig> section, RopeSection(config));
  if (section) {
    QUORUM_ASSIGN(rope.base, section->FloatOr("rope_theta", rope.base));
    QUORUM_ASSIGN(part, section->FloatOr("partial_rotary_factor", part));
  }
  if (!(part > 0.0 && part <= 1.0)) {
    return config.Fault("partial_rotary_factor", fmt::format("is {}, expected more than 0 and up to 1", part));
  }
  if (!(rope.base > 1.0 && rope.base <= 1e12)) {
    return config.Fault("rope_theta", fmt::format("is {}, expected above 1 and up to 1e12", rope.base));
  }
  rope.dims = static_cast<std::int32_t>(static_cast<double>(spec.attention.head_dim) * part);
  config.Ignore({"original_max_position_embeddings"});  // beside positions that are not scaled it says nothing
  if (!section) return {};
  QUORUM_TRY(Scaling(config, *section, spec));
  if (const std::vector<std::string> unread = section->Unread(); !unread.empty()) {
    return Unsupported(
        fmt::format("{}: key '{}' describes a feature that Quorum does not have", config.path(), unread.front()));
  }
  return {};
}

}  // namespace quorum::engine
