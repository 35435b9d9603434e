#include "quant/upcycle.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "quant/counter_random.h"
#include "quant/dense_ffn.h"
#include "quant/encode.h"
#include "quant/expert_surgery.h"
#include "quant/gguf.h"
#include "quant/gguf_parser.h"

namespace quorum::quant {
namespace {

constexpr int kMaxExperts = 1024;
constexpr std::int64_t kChunkElements = std::int64_t{1} << 18;  // a multiple of every block

// Which random stream makes what: a layer has four.
enum class Stream : std::uint8_t { kRouter = 0, kGate = 1, kUp = 2, kDown = 3 };

std::uint64_t StreamId(std::int64_t layer, Stream stream) {
  return static_cast<std::uint64_t>(layer) * 4 + static_cast<std::uint64_t>(stream);
}

Status CheckOptions(const UpcycleOptions& options) {
  if (options.experts < 2 || options.experts > kMaxExperts) {
    return InvalidArgument("--experts must lie between 2 and " + std::to_string(kMaxExperts) + ", not " +
                           std::to_string(options.experts));
  }
  if (options.top_k < 1 || options.top_k > options.experts) {
    return InvalidArgument("--top-k must lie between 1 and the number of experts, " + std::to_string(options.experts) +
                           ", not " + std::to_string(options.top_k));
  }
  if (!(options.noise >= 0.0) || !std::isfinite(options.noise)) {
    return InvalidArgument("--noise must be 0 or a positive number");
  }
  return {};
}

// Noise needs types that can be made anew.
Status CheckNoise(const GgufFile& src, const DenseModel& dense) {
  for (const DenseFfn& ffn : dense.layers) {
    for (const GgufTensor* tensor : {ffn.gate, ffn.up, ffn.down}) {
      if (CanEncode(tensor->type)) continue;
      return Unsupported(src.path() + ": --noise needs weights of a type that quorum quantize makes, but tensor '" +
                         tensor->name + "' is " + std::string(Info(tensor->type).name));
    }
  }
  return {};
}

// Length of the layer's norm weights, the factor by which they stretch a router's input of root mean square 1.
double NormLength(const DenseFfn& ffn) {
  const std::int64_t k = ffn.gate->dim(0);
  double sum = 0.0;
  if (ffn.norm != nullptr && ffn.norm->elements() == k) {
    std::vector<float> weights(static_cast<std::size_t>(k));
    if (Dequantize(ffn.norm->type, ffn.norm->data.data(), weights.data(), k)) {
      for (const float w : weights) sum += static_cast<double>(w) * static_cast<double>(w);
    }
  }
  return sum > 0.0 && std::isfinite(sum) ? std::sqrt(sum) : std::sqrt(static_cast<double>(k));
}

Status WriteRouter(const DenseFfn& ffn, std::int64_t layer, const UpcycleOptions& options, const GgufWriter::Sink& sink) {
  const std::int64_t k = ffn.gate->dim(0);
  const CounterRandom random(options.seed, StreamId(layer, Stream::kRouter));
  const double scale = 1.0 / NormLength(ffn);
  std::vector<float> row(static_cast<std::size_t>(k));
  for (int expert = 0; expert < options.experts; ++expert) {
    for (std::int64_t i = 0; i < k; ++i) {
      const auto index = static_cast<std::uint64_t>(expert * k + i);
      row[static_cast<std::size_t>(i)] = static_cast<float>(random.Normal(index) * scale);
    }
    QUORUM_TRY(sink(std::as_bytes(std::span(row))));
  }
  return {};
}

// Calls `visit(first element, floats)` for the whole tensor, chunk by chunk.
template <typename Visit>
Status ForChunks(const GgufTensor& tensor, std::vector<float>& buffer, const Visit& visit) {
  const std::int64_t n = tensor.elements();
  buffer.resize(static_cast<std::size_t>(std::min(n, kChunkElements)));
  for (std::int64_t at = 0; at < n; at += kChunkElements) {
    const std::int64_t count = std::min(kChunkElements, n - at);
    const std::byte* src = tensor.data.data() + BytesOf(tensor.type, at);
    QUORUM_CHECK(Dequantize(tensor.type, src, buffer.data(), count));
    QUORUM_TRY(visit(at, std::span(buffer).first(static_cast<std::size_t>(count))));
  }
  return {};
}

Status WriteNoisyExperts(const GgufTensor& tensor, std::uint64_t stream, const UpcycleOptions& options,
                         const GgufWriter::Sink& sink) {
  std::vector<float> buffer;
  double squares = 0.0;
  const auto add_squares = [&squares](std::int64_t, std::span<float> values) -> Status {
    for (const float v : values) squares += static_cast<double>(v) * static_cast<double>(v);
    return {};
  };
  QUORUM_TRY(ForChunks(tensor, buffer, add_squares));
  const double sigma = options.noise * std::sqrt(squares / static_cast<double>(tensor.elements()));
  const CounterRandom random(options.seed, stream);
  std::vector<std::byte> blocks;
  const Encoding encoding = EncodingOf(tensor.type, tensor.data.data(), tensor.elements());
  for (int expert = 0; expert < options.experts; ++expert) {
    const auto base = static_cast<std::uint64_t>(expert) * static_cast<std::uint64_t>(tensor.elements());
    const auto add_noise = [&](std::int64_t at, std::span<float> values) -> Status {
      const std::uint64_t first = base + static_cast<std::uint64_t>(at);
      for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = static_cast<float>(static_cast<double>(values[i]) + sigma * random.Normal(first + i));
      }
      const auto count = static_cast<std::int64_t>(values.size());
      blocks.resize(static_cast<std::size_t>(BytesOf(tensor.type, count)));
      QUORUM_CHECK(Encode(encoding, values.data(), nullptr, blocks.data(), count));
      return sink(blocks);
    };
    QUORUM_TRY(ForChunks(tensor, buffer, add_noise));
  }
  return {};
}

Status WriteCopies(const GgufTensor& tensor, int copies, const GgufWriter::Sink& sink) {
  constexpr std::size_t kChunkBytes = std::size_t{8} << 20;
  for (int copy = 0; copy < copies; ++copy) {
    for (std::size_t at = 0; at < tensor.data.size(); at += kChunkBytes) {
      QUORUM_TRY(sink(tensor.data.subspan(at, std::min(kChunkBytes, tensor.data.size() - at))));
    }
  }
  return {};
}

// Builds the new model's list of metadata and tensors. What it borrows lives in `src_`, `dense_` and `options_`.
class Plan {
 public:
  Plan(const GgufFile& src, const DenseModel& dense, const UpcycleOptions& options)
      : src_(src),
        dense_(dense),
        options_(options),
        architecture_(dense.architecture == "qwen3" ? "qwen3moe" : dense.architecture) {}

  Result<UpcycleSummary> Build(GgufWriter& writer) {
    summary_.architecture = architecture_;
    summary_.layers = static_cast<std::int64_t>(dense_.layers.size());
    for (const GgufTensor& tensor : src_.tensors()) summary_.dense_parameters += tensor.elements();
    AddTensors(writer);
    QUORUM_TRY(SetMetadata(writer));
    summary_.bytes = writer.FileBytes();
    return summary_;
  }

 private:
  void CopyMetadata(GgufWriter& writer) const {
    const std::string prefix = dense_.architecture + ".";
    for (const GgufEntry& entry : src_.entries()) {
      // The new file is one file with the usual alignment, whatever the source's parts and alignment are.
      if (entry.key.starts_with("split.") || entry.key == "general.alignment") continue;
      const bool own = entry.key.starts_with(prefix);
      writer.SetRaw(own ? architecture_ + "." + entry.key.substr(prefix.size()) : entry.key, entry.type, entry.value);
    }
  }

  Status SetMetadata(GgufWriter& writer) {
    CopyMetadata(writer);
    const std::string ways = std::to_string(options_.experts);
    writer.SetString("general.architecture", architecture_);
    QUORUM_ASSIGN(const auto name, src_.GetString("general.name"));
    if (name) {
      summary_.name = *name + " MoE " + ways + "x top-" + std::to_string(options_.top_k);
      writer.SetString("general.name", summary_.name);
    }
    QUORUM_ASSIGN(const auto size, src_.GetString("general.size_label"));
    if (size) writer.SetString("general.size_label", ways + "x" + *size);
    if (src_.metadata().contains("general.parameter_count")) {
      writer.SetUint64("general.parameter_count", static_cast<std::uint64_t>(summary_.parameters));
    }
    writer.SetUint32(architecture_ + ".expert_count", static_cast<std::uint32_t>(options_.experts));
    writer.SetUint32(architecture_ + ".expert_used_count", static_cast<std::uint32_t>(options_.top_k));
    if (architecture_ == "qwen3moe") {
      const std::int64_t n = dense_.layers[0].gate->dim(1);
      if (n > std::int64_t{0xffffffff}) return InvalidArgument(src_.path() + ": the feed-forward size is impossible");
      writer.SetUint32(architecture_ + ".expert_feed_forward_length", static_cast<std::uint32_t>(n));
    }
    writer.SetString("quorum.upcycle.method", "sparse upcycling (Komatsuzaki et al. 2022)");
    if (name) writer.SetString("quorum.upcycle.source", *name);
    writer.SetString("quorum.upcycle.source_architecture", dense_.architecture);
    writer.SetUint64("quorum.upcycle.seed", options_.seed);
    writer.SetFloat32("quorum.upcycle.noise", static_cast<float>(options_.noise));
    return {};
  }

  void AddTensors(GgufWriter& writer) {
    std::map<const GgufTensor*, std::pair<std::int64_t, Stream>> places;
    for (std::int64_t i = 0; i < summary_.layers; ++i) {
      const DenseFfn& ffn = dense_.layers[static_cast<std::size_t>(i)];
      places[ffn.gate] = {i, Stream::kGate};
      places[ffn.up] = {i, Stream::kUp};
      places[ffn.down] = {i, Stream::kDown};
    }
    std::vector<bool> routed(dense_.layers.size(), false);  // the layer's router is in
    for (const GgufTensor& tensor : src_.tensors()) {
      const auto place = places.find(&tensor);
      if (place == places.end()) {
        writer.AddTensor(tensor.name, tensor.type, tensor.dims, tensor.data);
        summary_.parameters += tensor.elements();
        summary_.active_parameters += tensor.elements();
        continue;
      }
      const auto [layer, stream] = place->second;
      if (!routed[static_cast<std::size_t>(layer)]) AddRouter(writer, layer);
      routed[static_cast<std::size_t>(layer)] = true;
      AddExperts(writer, tensor, layer, stream);
    }
  }

  void AddRouter(GgufWriter& writer, std::int64_t layer) {
    const DenseFfn& ffn = dense_.layers[static_cast<std::size_t>(layer)];
    const std::int64_t k = ffn.gate->dim(0);
    writer.AddTensor(
        LayerName(layer, "ffn_gate_inp.weight"), DType::kF32, {k, options_.experts},
        [this, &ffn, layer](const GgufWriter::Sink& sink) { return WriteRouter(ffn, layer, options_, sink); });
    summary_.parameters += k * options_.experts;
    summary_.active_parameters += k * options_.experts;
  }

  void AddExperts(GgufWriter& writer, const GgufTensor& tensor, std::int64_t layer, Stream stream) {
    const char* name = stream == Stream::kGate ? "ffn_gate_exps.weight"
                       : stream == Stream::kUp ? "ffn_up_exps.weight"
                                               : "ffn_down_exps.weight";
    writer.AddTensor(LayerName(layer, name), tensor.type, {tensor.dim(0), tensor.dim(1), options_.experts},
                     [this, &tensor, id = StreamId(layer, stream)](const GgufWriter::Sink& sink) -> Status {
                       if (options_.noise > 0) {
                         QUORUM_TRY(WriteNoisyExperts(tensor, id, options_, sink));
                       } else {
                         QUORUM_TRY(WriteCopies(tensor, options_.experts, sink));
                       }
                       src_.Release(tensor);
                       return {};
                     });
    summary_.parameters += tensor.elements() * options_.experts;
    summary_.active_parameters += tensor.elements() * options_.top_k;
  }

  const GgufFile& src_;
  const DenseModel& dense_;
  const UpcycleOptions& options_;
  std::string architecture_;
  UpcycleSummary summary_;
};

}  // namespace

Result<UpcycleSummary> Upcycle(const std::string& src, const std::string& dst, const UpcycleOptions& options,
                               const GgufWriter::Progress& progress) {
  QUORUM_TRY(CheckOptions(options));
  QUORUM_ASSIGN(const auto model, GgufFile::Open(src));
  QUORUM_TRY(CheckDestination(model, dst, options.replace));
  QUORUM_ASSIGN(const auto dense, FindDenseFfns(model));
  if (options.noise > 0) QUORUM_TRY(CheckNoise(model, dense));
  GgufWriter writer;
  Plan plan(model, dense, options);
  QUORUM_ASSIGN(auto summary, plan.Build(writer));
  QUORUM_TRY(writer.Write(dst, options.replace, progress));
  return summary;
}

}  // namespace quorum::quant
