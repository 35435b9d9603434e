#include "cli/inspect_folder.h"

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/inspect_format.h"
#include "engine/hf_family.h"
#include "engine/hf_quantized.h"

namespace quorum::cli {
namespace {

using Json = nlohmann::ordered_json;
using quant::SafeTensor;

struct Use {
  std::int64_t tensors = 0;
  std::int64_t bytes = 0;
};

/// A folder with what its numbers come to.
struct Summary {
  engine::HfFolder folder;
  engine::ModelSpec spec;
  std::string family;
  std::int64_t parameters = 0;
  std::int64_t active = 0;
  std::int64_t bytes = 0;
  std::map<std::string_view, Use> types;
  std::string quantized;
};

/// Weights that a tensor stands for: packed ones hold several in an element, scales and the like none.
std::int64_t WeightsOf(const SafeTensor& tensor, std::int32_t bits) {
  const std::string_view name = tensor.name;
  for (const std::string_view part : {".qzeros", ".scales", ".g_idx", ".weight_scale_inv", ".weight_scale",
                                      ".input_scale", "_scales", ".rotary_emb.inv_freq"}) {
    if (name.ends_with(part)) return 0;
  }
  if (name.ends_with(".qweight") && bits > 0) return tensor.elements() * (32 / bits);
  if (name.ends_with("_blocks")) return tensor.elements() * 2;
  return tensor.elements();
}

/// Weights of the experts that a token does not pass through.
std::int64_t IdleWeights(const std::vector<engine::LayerSpec>& layers, const std::vector<engine::LayerTensors>& tensors,
                         std::int32_t top_k) {
  std::int64_t weights = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (layers[i].experts == 0) continue;
    const std::int32_t idle = layers[i].experts - top_k;
    const engine::NetworkTensors& one = tensors[i].networks.front();
    for (const engine::TensorRef* matrix : {&one.gate, &one.up, &one.down})
      weights += idle * matrix->rows * matrix->cols;
    for (const auto* bias : {&one.gate_bias, &one.up_bias, &one.down_bias}) {
      if (*bias) weights += idle * (*bias)->cols;
    }
  }
  return weights;
}

Result<Summary> Summarize(const std::string& path) {
  QUORUM_ASSIGN(engine::HfFolder folder, engine::OpenHfFolder(path));
  QUORUM_ASSIGN(engine::ModelSpec spec, engine::SpecFromHf(folder));
  QUORUM_ASSIGN(const engine::ModelTensors tensors, engine::TensorsFromHf(folder, spec));
  QUORUM_ASSIGN(const engine::HfQuantization quantization, engine::HfQuantization::Read(folder.config));
  Summary s{std::move(folder), std::move(spec), {}, 0, 0, 0, {}, {}};
  s.family = engine::HfFamilyName(s.spec.architecture);
  for (const auto& [name, tensor] : s.folder.weights.tensors()) {
    s.parameters += WeightsOf(tensor, quantization.bits);
    s.bytes += std::ssize(tensor.data);
    Use& use = s.types[quant::NameOf(tensor.type)];
    ++use.tensors;
    use.bytes += std::ssize(tensor.data);
  }
  s.active = s.parameters;
  s.active -= IdleWeights(s.spec.layers, tensors.layers, s.spec.router.top_k) +
              IdleWeights(s.spec.encoder, tensors.encoder, s.spec.router.top_k);
  QUORUM_ASSIGN(const std::optional<engine::HfConfig> section, s.folder.config.Section("quantization_config"));
  if (section) {
    QUORUM_ASSIGN(s.quantized, section->StringOr("quant_method", ""));
    if (quantization.bits > 0)
      s.quantized += fmt::format(", {} bits, groups of {}", quantization.bits, quantization.group);
  }
  return s;
}

std::string Experts(const engine::ModelSpec& spec) {
  if (!spec.has_experts()) return "none (dense)";
  std::int64_t layers = 0;
  const engine::LayerSpec* sparse = nullptr;
  for (const auto* stack : {&spec.encoder, &spec.layers}) {
    for (const engine::LayerSpec& layer : *stack) {
      if (layer.experts == 0) continue;
      sparse = &layer;
      ++layers;
    }
  }
  std::string text =
      fmt::format("{} a layer, {} used a token, feed-forward {}", sparse->experts, spec.router.top_k, sparse->ff);
  if (sparse->shared_ff > 0) text += fmt::format(", a shared one of {}", sparse->shared_ff);
  if (layers < spec.all_layers()) text += fmt::format(", in {} of {} layers", layers, spec.all_layers());
  return text;
}

std::string Attention(const engine::AttentionSpec& attention) {
  std::string text = fmt::format("{} heads of {}", attention.heads, attention.head_dim);
  if (!attention.is_latent()) return text + fmt::format(", {} for keys and values", attention.kv_heads);
  text += fmt::format(", a latent of {} + {} for keys and values", attention.latent.kv_rank, attention.latent.rope_dim);
  return attention.latent.q_rank > 0 ? text + fmt::format(", one of {} for queries", attention.latent.q_rank) : text;
}

std::string Window(const engine::ModelSpec& spec) {
  const auto most = std::max_element(spec.layers.begin(), spec.layers.end(),
                                     [](const auto& a, const auto& b) { return a.window < b.window; });
  return most->window > 0 ? fmt::format(", sliding window {}", most->window) : "";
}

void PrintText(const Summary& s, bool tensors) {
  const engine::ModelSpec& spec = s.spec;
  fmt::print("{}\n", Printable(spec.name, 200));
  fmt::print("  {}: Hugging Face folder, {}{}\n", Printable(s.folder.path, 200), Short(s.bytes, "B"),
             s.folder.weights.paths().size() > 1 ? fmt::format(" in {} files", s.folder.weights.paths().size()) : "");
  Section("Model");
  Line("family", s.family);
  Line("model type", spec.architecture);
  Line("parameters", Short(s.parameters, ""));
  if (s.active != s.parameters) Line("active a token", Short(s.active, ""));
  Line("layers", std::to_string(spec.layers.size()));
  if (!spec.encoder.empty()) Line("encoder layers", std::to_string(spec.encoder.size()));
  Line("embedding", std::to_string(spec.d_model));
  if (!spec.has_experts()) Line("feed-forward", std::to_string(spec.max_ff()));
  Line("experts", Experts(spec));
  Line("attention", Attention(spec.attention) + Window(spec));
  Line("context", std::to_string(spec.context_length));
  if (spec.rope.dims > 0) Line("rope", fmt::format("base {:.10g}, {} dimensions", spec.rope.base, spec.rope.dims));
  Line("vocabulary", std::to_string(spec.vocab_size));
  Section("Weights");
  Line("quantized", Printable(s.quantized));
  for (const auto& [type, use] : s.types) {
    fmt::print("  {:<10}{:>8} tensors{:>12}\n", type, use.tensors, Short(use.bytes, "B"));
  }
  if (!tensors) return;
  Section("Tensors (the last number of a shape is the row length)");
  for (const auto& [name, tensor] : s.folder.weights.tensors()) {
    fmt::print("  {:<64}  {}\n", Printable(name, 120), tensor.Describe());
  }
}

Json ToJson(const Summary& s, bool tensors) {
  const engine::ModelSpec& spec = s.spec;
  Json json;
  json["files"] = s.folder.weights.paths();
  json["bytes"] = s.folder.weights.file_bytes();
  json["name"] = spec.name;
  json["family"] = s.family;
  json["architecture"] = spec.architecture;
  json["parameters"] = s.parameters;
  json["active_parameters"] = s.active;
  json["layers"] = spec.layers.size();
  if (!spec.encoder.empty()) json["encoder_layers"] = spec.encoder.size();
  json["embedding"] = spec.d_model;
  json["feed_forward"] = spec.max_ff();
  json["heads"] = spec.attention.heads;
  json["kv_heads"] = spec.attention.kv_heads;
  if (spec.attention.is_latent()) json["kv_rank"] = spec.attention.latent.kv_rank;
  if (spec.attention.latent.q_rank > 0) json["query_rank"] = spec.attention.latent.q_rank;
  json["head_dim"] = spec.attention.head_dim;
  json["context"] = spec.context_length;
  if (spec.rope.dims > 0) json["rope"] = {{"base", spec.rope.base}, {"dimensions", spec.rope.dims}};
  json["experts"] = spec.max_experts();
  if (spec.has_experts()) json["experts_used"] = spec.router.top_k;
  json["vocabulary"] = spec.vocab_size;
  if (!s.quantized.empty()) json["quantized"] = s.quantized;
  json["types"] = Json::array();
  for (const auto& [type, use] : s.types) {
    json["types"].push_back({{"type", type}, {"tensors", use.tensors}, {"bytes", use.bytes}});
  }
  if (tensors) {
    json["tensors"] = Json::array();
    for (const auto& [name, tensor] : s.folder.weights.tensors()) {
      json["tensors"].push_back({{"name", name},
                                 {"type", quant::NameOf(tensor.type)},
                                 {"shape", tensor.shape},
                                 {"bytes", tensor.data.size()}});
    }
  }
  return json;
}

}  // namespace

int InspectFolder(const std::string& path, bool tensors, bool json) {
  const auto summary = Summarize(path);
  if (!summary.ok()) return Fail(summary.error());
  if (json) {
    fmt::print("{}\n", ToJson(*summary, tensors).dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    PrintText(*summary, tensors);
  }
  return 0;
}

}  // namespace quorum::cli
