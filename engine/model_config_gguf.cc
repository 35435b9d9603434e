#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/model_config.h"

namespace quorum::engine {
namespace {

enum class Presence : std::uint8_t { kNever, kIfPresent, kAlways };

/// What the name of an architecture says without a key for it.
struct Architecture {
  std::string_view name;
  RopePairs pairs;
  Presence qkv_bias;
  Presence output_bias;
  QkNorm qk_norm;
  Presence experts;
  bool renormalize;    // unless the file says otherwise
  bool shared_expert;  // with a gate
};

// llama: also Mistral, SmolLM and, with experts, Mixtral. Its converters permute the rows of Q and K so that pairs of
// dimensions lie side by side; the others keep Hugging Face's order.
constexpr Architecture kArchitectures[] = {
    {"llama", RopePairs::kInterleaved, Presence::kIfPresent, Presence::kIfPresent, QkNorm::kNone, Presence::kIfPresent,
     true, false},
    {"qwen2", RopePairs::kNeox, Presence::kAlways, Presence::kNever, QkNorm::kNone, Presence::kNever, false, false},
    {"qwen2moe", RopePairs::kNeox, Presence::kAlways, Presence::kNever, QkNorm::kNone, Presence::kAlways, false, true},
    {"qwen3", RopePairs::kNeox, Presence::kIfPresent, Presence::kNever, QkNorm::kPerHead, Presence::kNever, false,
     false},
    {"qwen3moe", RopePairs::kNeox, Presence::kIfPresent, Presence::kNever, QkNorm::kPerHead, Presence::kAlways, true,
     false},
    {"olmoe", RopePairs::kNeox, Presence::kNever, Presence::kNever, QkNorm::kPerRow, Presence::kAlways, false, false},
};

constexpr std::int64_t kMaxInt = std::numeric_limits<std::int32_t>::max();

/// Reads `<architecture>.*` keys and remembers which, so that the ones nobody asked for can be refused.
class KeyReader {
 public:
  KeyReader(const quant::GgufFile& file, std::string_view architecture)
      : file_(file), prefix_(std::string(architecture) + ".") {}

  Error Fault(std::string_view key, const std::string& what) const {
    return InvalidArgument(fmt::format("{}: key '{}{}' {}", file_.path(), prefix_, key, what));
  }

  Result<std::optional<std::int64_t>> Int(std::string_view key, std::int64_t lowest, std::int64_t highest) {
    QUORUM_ASSIGN(const std::optional<std::int64_t> value, file_.GetInt(Mark(key)));
    if (value && (*value < lowest || *value > highest)) {
      return Fault(key, fmt::format("is {}, expected {} to {}", *value, lowest, highest));
    }
    return value;
  }

  Result<std::int32_t> RequiredInt(std::string_view key, std::int64_t lowest = 1, std::int64_t highest = kMaxInt) {
    QUORUM_ASSIGN(const std::optional<std::int64_t> value, Int(key, lowest, highest));
    if (!value) return Fault(key, fmt::format("is missing, expected {} to {}", lowest, highest));
    return static_cast<std::int32_t>(*value);
  }

  Result<std::int32_t> IntOr(std::string_view key, std::int32_t fallback, std::int64_t lowest = 0,
                             std::int64_t highest = kMaxInt) {
    QUORUM_ASSIGN(const std::optional<std::int64_t> value, Int(key, lowest, highest));
    return value ? static_cast<std::int32_t>(*value) : fallback;
  }

  /// A number, or an array of one number a layer that are all the same. Nothing when absent.
  Result<std::optional<std::int32_t>> SameInAllLayers(std::string_view key) {
    QUORUM_ASSIGN(const std::vector<std::int64_t> values, file_.GetInts(Mark(key)));
    if (values.empty()) return std::optional<std::int32_t>();
    for (const std::int64_t value : values) {
      if (value != values.front()) {
        return Unsupported(fmt::format("{}: key '{}{}' differs between layers ({} and {}), which Quorum does not have",
                                       file_.path(), prefix_, key, values.front(), value));
      }
    }
    if (values.front() < 1 || values.front() > kMaxInt) {
      return Fault(key, fmt::format("is {}, expected 1 to {}", values.front(), kMaxInt));
    }
    return std::optional<std::int32_t>(static_cast<std::int32_t>(values.front()));
  }

  Result<double> FloatOr(std::string_view key, double fallback) {
    QUORUM_ASSIGN(const std::optional<double> value, file_.GetFloat(Mark(key)));
    if (value && !std::isfinite(*value)) return Fault(key, fmt::format("is {}, expected a finite number", *value));
    return value.value_or(fallback);
  }

  Result<std::string> StringOr(std::string_view key, std::string fallback) {
    QUORUM_ASSIGN(const std::optional<std::string> value, file_.GetString(Mark(key)));
    return value.value_or(std::move(fallback));
  }

  Result<bool> BoolOr(std::string_view key, bool fallback) {
    QUORUM_ASSIGN(const std::optional<bool> value, file_.GetBool(Mark(key)));
    return value.value_or(fallback);
  }

  /// A setting whose every other value is a feature that Quorum lacks.
  Status OnlyInt(std::string_view key, std::int64_t neutral) {
    QUORUM_ASSIGN(const std::optional<std::int64_t> value, file_.GetInt(Mark(key)));
    return value && *value != neutral ? Lacks(key, std::to_string(*value)) : Status();
  }
  Status OnlyFloat(std::string_view key, double neutral) {
    QUORUM_ASSIGN(const double value, FloatOr(key, neutral));
    return value != neutral ? Lacks(key, fmt::format("{}", value)) : Status();
  }
  Status OnlyBool(std::string_view key, bool neutral) {
    QUORUM_ASSIGN(const bool value, BoolOr(key, neutral));
    return value != neutral ? Lacks(key, value ? "true" : "false") : Status();
  }

  /// Keys that say nothing about the computation.
  void Ignore(std::string_view key) { Mark(key); }

  /// Refuses keys that nothing has asked for.
  Status AllRead() const {
    for (auto it = file_.metadata().lower_bound(prefix_); it != file_.metadata().end(); ++it) {
      if (!it->first.starts_with(prefix_)) break;
      if (!read_.contains(it->first)) {
        return Unsupported(
            fmt::format("{}: key '{}' describes a feature that Quorum does not have for this architecture",
                        file_.path(), it->first));
      }
    }
    return {};
  }

 private:
  Status Lacks(std::string_view key, const std::string& value) const {
    return Unsupported(
        fmt::format("{}: key '{}{}' is {}, which Quorum does not have", file_.path(), prefix_, key, value));
  }

  const std::string& Mark(std::string_view key) { return *read_.insert(prefix_ + std::string(key)).first; }

  const quant::GgufFile& file_;
  std::string prefix_;
  std::set<std::string, std::less<>> read_;
};

Result<const Architecture*> FindArchitecture(const quant::GgufFile& file) {
  QUORUM_ASSIGN(const std::optional<std::string> type, file.GetString("general.type"));
  if (type && *type != "model") {
    return Unsupported(fmt::format("{}: key 'general.type' is '{}', expected 'model'", file.path(), *type));
  }
  QUORUM_ASSIGN(const std::optional<std::string> name, file.GetString("general.architecture"));
  if (!name) return InvalidArgument(file.path() + ": key 'general.architecture' is missing");
  std::string list;
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == *name) return &architecture;
    list += (list.empty() ? "" : ", ") + std::string(architecture.name);
  }
  return Unsupported(fmt::format("{}: architecture '{}' is not supported; supported are {}", file.path(), *name, list));
}

/// Whether the file has `tensor`, where the architecture leaves it open.
bool Has(const quant::GgufFile& file, Presence presence, std::string_view tensor) {
  return presence == Presence::kAlways || (presence == Presence::kIfPresent && file.FindTensor(tensor) != nullptr);
}

Status ReadAttention(KeyReader& keys, const quant::GgufFile& file, const Architecture& architecture, ModelSpec& spec) {
  AttentionSpec& attention = spec.attention;
  QUORUM_ASSIGN(const std::optional<std::int32_t> heads, keys.SameInAllLayers("attention.head_count"));
  if (!heads) return keys.Fault("attention.head_count", "is missing");
  attention.heads = *heads;
  QUORUM_ASSIGN(const std::optional<std::int32_t> kv_heads, keys.SameInAllLayers("attention.head_count_kv"));
  attention.kv_heads = kv_heads.value_or(*heads);
  QUORUM_ASSIGN(attention.head_dim, keys.IntOr("attention.key_length", 0, 1));
  if (attention.head_dim == 0) {
    if (spec.d_model % attention.heads != 0) {
      return keys.Fault("attention.head_count", fmt::format("is {}, which does not divide the embedding length {}",
                                                            attention.heads, spec.d_model));
    }
    attention.head_dim = spec.d_model / attention.heads;
  }
  QUORUM_ASSIGN(const std::int32_t value_length, keys.IntOr("attention.value_length", attention.head_dim, 1));
  if (value_length != attention.head_dim) {
    return Unsupported(fmt::format("{}: values of {} dimensions beside keys of {} are not supported", file.path(),
                                   value_length, attention.head_dim));
  }
  QUORUM_ASSIGN(const double scale, keys.FloatOr("attention.scale", 0.0));
  attention.scale = scale != 0.0 ? static_cast<float>(scale) : 1.0F / std::sqrt(static_cast<float>(attention.head_dim));
  attention.qkv_bias = Has(file, architecture.qkv_bias, "blk.0.attn_q.bias");
  attention.output_bias = Has(file, architecture.output_bias, "blk.0.attn_output.bias");
  attention.qk_norm = architecture.qk_norm;
  QUORUM_TRY(keys.OnlyBool("attention.causal", true));
  return keys.OnlyFloat("attention.clamp_kqv", 0.0);
}

Status ReadRope(KeyReader& keys, const quant::GgufFile& file, const Architecture& architecture, ModelSpec& spec) {
  RopeSpec& rope = spec.rope;
  rope.pairs = architecture.pairs;
  QUORUM_ASSIGN(rope.dims, keys.IntOr("rope.dimension_count", spec.attention.head_dim, 0));
  QUORUM_ASSIGN(rope.base, keys.FloatOr("rope.freq_base", 10000.0));
  keys.Ignore("rope.scaling.finetuned");
  QUORUM_ASSIGN(const double old_factor, keys.FloatOr("rope.scale_linear", 0.0));
  QUORUM_ASSIGN(const double factor, keys.FloatOr("rope.scaling.factor", old_factor));
  if (factor != 0.0) rope.factor = factor;  // 0: not set, as in llama.cpp
  QUORUM_ASSIGN(const std::string scaling, keys.StringOr("rope.scaling.type", rope.factor != 1.0 ? "linear" : "none"));
  if (scaling == "linear") {
    rope.scaling = RopeScaling::kLinear;
  } else if (scaling == "yarn") {
    rope.scaling = RopeScaling::kYarn;
  } else if (scaling != "none") {
    return Unsupported(fmt::format("{}: key '{}.rope.scaling.type' is '{}'; supported are none, linear, yarn",
                                   file.path(), spec.architecture, scaling));
  }
  QUORUM_ASSIGN(rope.original_context, keys.IntOr("rope.scaling.original_context_length", spec.context_length));
  if (rope.scaling == RopeScaling::kYarn) {
    QUORUM_ASSIGN(const double attention_factor, keys.FloatOr("rope.scaling.attn_factor", 1.0));
    QUORUM_ASSIGN(rope.attention_factor, keys.FloatOr("rope.scaling.yarn_attn_factor", attention_factor));
    QUORUM_ASSIGN(rope.beta_fast, keys.FloatOr("rope.scaling.yarn_beta_fast", 32.0));
    QUORUM_ASSIGN(rope.beta_slow, keys.FloatOr("rope.scaling.yarn_beta_slow", 1.0));
    QUORUM_TRY(keys.OnlyFloat("rope.scaling.yarn_ext_factor", 1.0));
    QUORUM_TRY(keys.OnlyFloat("rope.scaling.yarn_log_multiplier", 0.0));
  } else {
    QUORUM_TRY(keys.OnlyFloat("rope.scaling.attn_factor", 1.0));
  }
  if (const quant::GgufTensor* factors = file.FindTensor("rope_freqs.weight")) {
    if (factors->type != quant::DType::kF32 || factors->elements() != rope.dims / 2) {
      return InvalidArgument(fmt::format("{}: tensor 'rope_freqs.weight' has {} values of type {}, expected {} of F32",
                                         file.path(), factors->elements(), quant::Info(factors->type).name,
                                         rope.dims / 2));
    }
    rope.factors.resize(static_cast<std::size_t>(rope.dims / 2));
    quant::Dequantize(factors->type, factors->data.data(), rope.factors.data(), rope.dims / 2);
  }
  return {};
}

Status ReadRouter(KeyReader& keys, const Architecture& architecture, std::int32_t experts, ModelSpec& spec) {
  QUORUM_ASSIGN(spec.router.top_k, keys.RequiredInt("expert_used_count", 1, experts));
  QUORUM_ASSIGN(spec.router.renormalize, keys.BoolOr("expert_weights_norm", architecture.renormalize));
  QUORUM_ASSIGN(const double scale, keys.FloatOr("expert_weights_scale", 1.0));
  if (scale != 0.0) spec.router.scale = static_cast<float>(scale);  // 0: not set, as in llama.cpp
  QUORUM_ASSIGN(const std::int32_t gating, keys.IntOr("expert_gating_func", 1, 0, 3));
  spec.router.score = gating == 2   ? RouterScore::kSigmoid
                      : gating == 3 ? RouterScore::kTopKSoftmax
                                    : RouterScore::kSoftmax;
  for (const char* groups : {"expert_group_count", "expert_group_used_count"}) {
    QUORUM_ASSIGN(const std::int32_t count, keys.IntOr(groups, 0));
    if (count > 1) QUORUM_TRY(keys.OnlyInt(groups, 1));
  }
  return {};
}

Status ReadFfn(KeyReader& keys, const Architecture& architecture, std::int32_t layers, ModelSpec& spec) {
  QUORUM_ASSIGN(const std::int32_t experts, keys.IntOr("expert_count", 0));
  if (experts > 0 && architecture.experts == Presence::kNever) {
    return keys.Fault("expert_count", fmt::format("is {}, expected 0 for this architecture", experts));
  }
  if (experts == 0 && architecture.experts == Presence::kAlways) {
    return keys.Fault("expert_count", "is missing or 0, expected 1 or more for this architecture");
  }
  QUORUM_ASSIGN(const std::optional<std::int32_t> dense_ff, keys.SameInAllLayers("feed_forward_length"));
  LayerSpec layer;
  layer.ff = dense_ff.value_or(0);
  std::int32_t dense_layers = 0;
  if (experts > 0) {
    QUORUM_TRY(ReadRouter(keys, architecture, experts, spec));
    layer.experts = experts;
    QUORUM_ASSIGN(layer.ff, keys.IntOr("expert_feed_forward_length", dense_ff.value_or(0), 1));
    QUORUM_ASSIGN(dense_layers, keys.IntOr("leading_dense_block_count", 0, 0, layers));
    if (architecture.shared_expert) {
      QUORUM_ASSIGN(layer.shared_ff, keys.IntOr("expert_shared_feed_forward_length", dense_ff.value_or(0), 1));
      spec.shared_gate = true;
    }
  } else {
    QUORUM_TRY(keys.OnlyInt("expert_used_count", 0));
  }
  if (layer.ff == 0 || (dense_layers > 0 && !dense_ff)) return keys.Fault("feed_forward_length", "is missing");
  QUORUM_ASSIGN(layer.window, keys.IntOr("attention.sliding_window", 0));
  spec.layers.assign(static_cast<std::size_t>(layers), layer);
  for (std::int32_t i = 0; i < dense_layers; ++i) {
    spec.layers[static_cast<std::size_t>(i)] = {.window = layer.window, .ff = dense_ff.value_or(0)};
  }
  return {};
}

}  // namespace

std::vector<std::string> SupportedGgufArchitectures() {
  std::vector<std::string> names;
  for (const Architecture& architecture : kArchitectures) names.emplace_back(architecture.name);
  return names;
}

Result<ModelSpec> SpecFromGguf(const quant::GgufFile& file) {
  QUORUM_ASSIGN(const Architecture* architecture, FindArchitecture(file));
  KeyReader keys(file, architecture->name);
  ModelSpec spec;
  spec.architecture = architecture->name;
  QUORUM_ASSIGN(const std::optional<std::string> name, file.GetString("general.name"));
  spec.name = name.value_or("");
  QUORUM_ASSIGN(spec.context_length, keys.RequiredInt("context_length"));
  QUORUM_ASSIGN(spec.d_model, keys.RequiredInt("embedding_length", 1, 1 << 17));
  QUORUM_ASSIGN(const std::int32_t layers, keys.RequiredInt("block_count", 1, 1024));
  const quant::GgufTensor* embedding = file.FindTensor("token_embd.weight");
  if (embedding == nullptr) return InvalidArgument(file.path() + ": tensor 'token_embd.weight' is missing");
  if (embedding->dim(1) > kMaxInt) return InvalidArgument(file.path() + ": tensor 'token_embd.weight' is too large");
  spec.vocab_size = static_cast<std::int32_t>(embedding->dim(1));
  QUORUM_ASSIGN(const std::int32_t vocab_key, keys.IntOr("vocab_size", spec.vocab_size));
  if (vocab_key != spec.vocab_size) {
    return keys.Fault("vocab_size",
                      fmt::format("is {}, but 'token_embd.weight' has {} rows", vocab_key, spec.vocab_size));
  }
  QUORUM_ASSIGN(const double eps, keys.FloatOr("attention.layer_norm_rms_epsilon", 0.0));
  if (!(eps > 0.0 && eps < 1.0)) {
    return keys.Fault("attention.layer_norm_rms_epsilon", fmt::format("is {}, expected between 0 and 1", eps));
  }
  spec.norm_eps = static_cast<float>(eps);
  spec.tied_embeddings = file.FindTensor("output.weight") == nullptr;
  QUORUM_TRY(ReadAttention(keys, file, *architecture, spec));
  QUORUM_TRY(ReadRope(keys, file, *architecture, spec));
  QUORUM_TRY(ReadFfn(keys, *architecture, layers, spec));
  keys.Ignore("tensor_data_layout");
  QUORUM_TRY(keys.OnlyBool("use_parallel_residual", false));
  QUORUM_TRY(keys.AllRead());
  if (const Status status = CheckSpec(spec); !status.ok()) {
    return Error{status.error().code, file.path() + ": " + status.error().message, {}, {}};
  }
  return spec;
}

}  // namespace quorum::engine
