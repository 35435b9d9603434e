#include "quant/carve.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "engine/base/check.h"
#include "quant/dense_ffn.h"
#include "quant/expert_surgery.h"
#include "quant/quantize.h"

namespace quorum::quant {
namespace {

constexpr std::int64_t kBlock = 32;
constexpr float kFlat = 1e-3F;  // the largest router weight's part in a logit; see Carve

using Neurons = std::vector<std::int32_t>;

/// The type for `n` columns of what was `type`.
DType PartType(DType type, std::int64_t n) {
  if (CanQuantize(type) && n % Info(type).block == 0) return type;
  return n % Info(DType::kQ8_0).block == 0 ? DType::kQ8_0 : DType::kF16;
}

/// The rows of `neurons`, verbatim.
Status WriteRows(const GgufTensor& tensor, const Neurons& neurons, const GgufWriter::Sink& sink) {
  const auto row = static_cast<std::size_t>(BytesOf(tensor.type, tensor.dim(0)));
  for (const std::int32_t neuron : neurons)
    QUORUM_TRY(sink(tensor.data.subspan(static_cast<std::size_t>(neuron) * row, row)));
  return {};
}

/// The columns of `neurons`, times `factor`.
Status WriteColumns(const GgufTensor& down, const Neurons& neurons, float factor, DType type,
                    const GgufWriter::Sink& sink) {
  const auto n = static_cast<std::size_t>(down.dim(0));
  const auto bytes = static_cast<std::size_t>(BytesOf(down.type, down.dim(0)));
  std::vector<float> row(n), part(neurons.size());
  std::vector<std::byte> blocks(static_cast<std::size_t>(BytesOf(type, std::ssize(neurons))));
  for (std::int64_t i = 0; i < down.dim(1); ++i) {
    QUORUM_CHECK(
        Dequantize(down.type, down.data.data() + static_cast<std::size_t>(i) * bytes, row.data(), down.dim(0)));
    for (std::size_t j = 0; j < neurons.size(); ++j) part[j] = factor * row[static_cast<std::size_t>(neurons[j])];
    QUORUM_CHECK(Quantize(type, part.data(), blocks.data(), std::ssize(part)));
    QUORUM_TRY(sink(blocks));
  }
  return {};
}

Status CheckArchitecture(const std::string& path, const DenseModel& dense) {
  if (dense.architecture == "llama") return {};
  return Unsupported(path +
                     ": only architecture llama can be carved; GGUF has no form with an ungated shared expert for " +
                     dense.architecture);
}

Status CheckLayers(const GgufFile& src, const DenseModel& dense, const std::vector<CarvedLayer>& layers,
                   const CarveOptions& options) {
  QUORUM_TRY(CheckArchitecture(src.path(), dense));
  if (layers.size() != dense.layers.size()) return InvalidArgument("the plan has not as many layers as the model");
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const CarvedLayer& layer = layers[i];
    const DenseFfn& ffn = dense.layers[i];
    const std::string where = "layer " + std::to_string(i);
    if (layer.experts.size() != layers[0].experts.size() || layer.experts.size() < 2)
      return InvalidArgument(where + ": at least two experts, as many in each layer, are needed");
    if (options.top_k < 1 || options.top_k > std::ssize(layer.experts))
      return InvalidArgument("--top-k must lie between 1 and the number of experts");
    if (layer.experts[0].size() != layers[0].experts[0].size() || layer.shared.size() != layers[0].shared.size()) {
      return Unsupported(where + ": GGUF has one size for the experts of all layers, and this network is of another");
    }
    if (std::ssize(layer.router) != std::ssize(layer.experts) * ffn.k())
      return InvalidArgument(where + ": the router is of another size");
    std::vector<bool> placed(static_cast<std::size_t>(ffn.n()));
    std::size_t count = 0;
    const auto place = [&](const Neurons& neurons) {
      for (const std::int32_t neuron : neurons) {
        if (neuron < 0 || neuron >= ffn.n() || placed[static_cast<std::size_t>(neuron)]) return false;
        placed[static_cast<std::size_t>(neuron)] = true;
        ++count;
      }
      return !neurons.empty();
    };
    bool good = place(layer.shared);
    for (const Neurons& expert : layer.experts)
      good = good && expert.size() == layer.experts[0].size() && place(expert);
    if (!good || count != placed.size())
      return InvalidArgument(where + ": not every neuron is placed once, in equal experts");
    if (std::any_of(layer.router.begin(), layer.router.end(), [](float x) { return !std::isfinite(x); }))
      return InvalidArgument(where + ": the router has numbers that are none");
  }
  return {};
}

}  // namespace

Status CheckCarvable(const std::string& path, const DenseModel& dense, int experts, double shared) {
  QUORUM_TRY(CheckArchitecture(path, dense));
  for (const DenseFfn& ffn : dense.layers) {
    if (CarvedSize(ffn.gate->dim(1), experts, shared) > 0) continue;
    return InvalidArgument(path + ": networks of " + std::to_string(ffn.gate->dim(1)) +
                           " neurons cannot be carved into " + std::to_string(experts) +
                           " experts of at least 32 and a shared part of " + std::to_string(std::lround(shared * 100)) +
                           " %");
  }
  return {};
}

std::int64_t CarvedSize(std::int64_t n, int experts, double shared) {
  const auto room = static_cast<std::int64_t>(std::floor(static_cast<double>(n) * (1 - shared) / experts));
  const std::int64_t size = room / kBlock * kBlock;
  return size > 0 && n - size * experts >= kBlock ? size : 0;
}

Result<std::vector<float>> NeuronReach(const GgufTensor& down, const std::string& path) {
  QUORUM_ASSIGN(const std::vector<float> values, TensorFloats(down, path));
  const auto n = static_cast<std::size_t>(down.dim(0));
  std::vector<double> squares(n);
  for (std::size_t i = 0; i < values.size(); ++i)
    squares[i % n] += static_cast<double>(values[i]) * static_cast<double>(values[i]);
  std::vector<float> reach(n);
  for (std::size_t j = 0; j < n; ++j) reach[j] = static_cast<float>(std::sqrt(squares[j]));
  return reach;
}

Result<UpcycleSummary> Carve(const std::string& src, const std::string& dst, const std::vector<CarvedLayer>& layers,
                             const CarveOptions& options, const GgufWriter::Progress& progress) {
  QUORUM_ASSIGN(const GgufFile file, GgufFile::Open(src));
  QUORUM_TRY(CheckDestination(file, dst, options.replace));
  QUORUM_ASSIGN(const DenseModel dense, FindDenseFfns(file));
  QUORUM_TRY(CheckLayers(file, dense, layers, options));
  const auto experts = static_cast<std::int64_t>(layers[0].experts.size());
  const auto size = static_cast<std::int64_t>(layers[0].experts[0].size());
  const auto shared = static_cast<std::int64_t>(layers[0].shared.size());

  GgufWriter writer;
  const std::string old = "llama.", now = "granitemoe.";
  for (const GgufEntry& entry : file.entries()) {
    if (entry.key.starts_with("split.") || entry.key == "general.alignment") continue;
    writer.SetRaw(entry.key.starts_with(old) ? now + entry.key.substr(old.size()) : entry.key, entry.type, entry.value);
  }
  writer.SetString("general.architecture", "granitemoe");
  writer.Erase("general.size_label");
  QUORUM_ASSIGN(const auto name, file.GetString("general.name"));
  UpcycleSummary summary;
  if (name) {
    summary.name = *name + " carved " + std::to_string(experts) + "x top-" + std::to_string(options.top_k);
    writer.SetString("general.name", summary.name);
  }
  writer.SetUint32(now + "feed_forward_length", static_cast<std::uint32_t>(size));
  writer.SetUint32(now + "expert_shared_feed_forward_length", static_cast<std::uint32_t>(shared));
  writer.SetUint32(now + "expert_count", static_cast<std::uint32_t>(experts));
  writer.SetUint32(now + "expert_used_count", static_cast<std::uint32_t>(options.top_k));
  writer.SetBool(now + "rope.scaling.finetuned", true);  // llama.cpp: else nothing is rotated
  writer.SetFloat32(now + "logit_scale", 1.0F);
  writer.SetFloat32(now + "embedding_scale", 1.0F);
  writer.SetFloat32(now + "residual_scale", 1.0F);
  writer.SetString("quorum.carve.method", "neurons by co-activation (Pei et al. 2025)");

  summary.architecture = "granitemoe";
  summary.layers = std::ssize(dense.layers);
  std::map<const GgufTensor*, std::size_t> networks;
  for (std::size_t i = 0; i < dense.layers.size(); ++i) {
    for (const GgufTensor* tensor : {dense.layers[i].gate, dense.layers[i].up, dense.layers[i].down})
      networks[tensor] = i;
  }
  for (const GgufTensor& tensor : file.tensors()) {
    summary.dense_parameters += tensor.elements();
    const auto found = networks.find(&tensor);
    if (found == networks.end()) {
      writer.AddTensor(tensor.name, tensor.type, tensor.dims, tensor.data);
      summary.parameters += tensor.elements();
      summary.active_parameters += tensor.elements();
      continue;
    }
    const auto layer = static_cast<std::int64_t>(found->second);
    const CarvedLayer& carved = layers[found->second];
    const DenseFfn& ffn = dense.layers[found->second];
    const std::int64_t k = ffn.k();
    summary.parameters += tensor.elements();
    summary.active_parameters += k * (shared + size * options.top_k);
    if (&tensor == ffn.down) {
      const DType type = PartType(tensor.type, size), shared_type = PartType(tensor.type, shared);
      writer.AddTensor(LayerName(layer, "ffn_down_exps.weight"), type, {size, k, experts},
                       [&tensor, &carved, &options, type](const GgufWriter::Sink& sink) -> Status {
                         for (const Neurons& expert : carved.experts)
                           QUORUM_TRY(WriteColumns(tensor, expert, static_cast<float>(options.top_k), type, sink));
                         return {};
                       });
      writer.AddTensor(LayerName(layer, "ffn_down_shexp.weight"), shared_type, {shared, k},
                       [&tensor, &carved, shared_type](const GgufWriter::Sink& sink) {
                         return WriteColumns(tensor, carved.shared, 1.0F, shared_type, sink);
                       });
      continue;
    }
    const std::string matrix = &tensor == ffn.gate ? "ffn_gate" : "ffn_up";
    writer.AddTensor(LayerName(layer, matrix + "_exps.weight"), tensor.type, {k, size, experts},
                     [&tensor, &carved](const GgufWriter::Sink& sink) -> Status {
                       for (const Neurons& expert : carved.experts) QUORUM_TRY(WriteRows(tensor, expert, sink));
                       return {};
                     });
    writer.AddTensor(
        LayerName(layer, matrix + "_shexp.weight"), tensor.type, {k, shared},
        [&tensor, &carved](const GgufWriter::Sink& sink) { return WriteRows(tensor, carved.shared, sink); });
    if (&tensor != ffn.gate) continue;
    writer.AddTensor(LayerName(layer, "ffn_gate_inp.weight"), DType::kF32, {k, experts},
                     [&carved, &ffn, &file](const GgufWriter::Sink& sink) -> Status {
                       // Inputs are the norm's weights times rows of root mean square 1: this bounds the usual logit.
                       double reach = 1;
                       if (ffn.norm != nullptr) {
                         QUORUM_ASSIGN(const std::vector<float> norm, TensorFloats(*ffn.norm, file.path()));
                         reach = 0;
                         for (const float g : norm) reach += static_cast<double>(g) * static_cast<double>(g);
                         reach = std::sqrt(std::max(reach, 1e-12));
                       }
                       double largest = 0;
                       const std::size_t width = carved.router.size() / carved.experts.size();
                       for (std::size_t e = 0; e < carved.experts.size(); ++e) {
                         double squares = 0;
                         for (std::size_t j = 0; j < width; ++j)
                           squares += static_cast<double>(carved.router[e * width + j]) *
                                      static_cast<double>(carved.router[e * width + j]);
                         largest = std::max(largest, std::sqrt(squares));
                       }
                       const double scale = largest > 0 ? static_cast<double>(kFlat) / (largest * reach) : 0;
                       std::vector<float> rows;
                       for (const float w : carved.router)
                         rows.push_back(static_cast<float>(scale * static_cast<double>(w)));
                       return sink(std::as_bytes(std::span(rows)));
                     });
    summary.parameters += k * experts;
    summary.active_parameters += k * experts;
  }
  summary.bytes = writer.FileBytes();
  QUORUM_TRY(writer.Write(dst, options.replace, progress));
  return summary;
}

}  // namespace quorum::quant
