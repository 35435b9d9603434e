#include "quant/add_experts.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "engine/base/check.h"
#include "quant/dense_ffn.h"
#include "quant/encode.h"
#include "quant/expert_surgery.h"
#include "quant/gguf_parser.h"

namespace quorum::quant {
namespace {

constexpr const char* kMatrices[] = {"ffn_gate", "ffn_up", "ffn_down"};

const GgufTensor& Matrix(const DenseFfn& ffn, std::size_t which) {
  return *(which == 0 ? ffn.gate : which == 1 ? ffn.up : ffn.down);
}

/// A dense model's matrix as the experts are kept that it joins, which is looked for once, where it is needed.
Status WriteAs(const GgufTensor& tensor, const GgufTensor& joined, std::optional<Encoding>& encoding,
               const GgufWriter::Sink& sink) {
  const DType type = joined.type;
  if (tensor.type == type) return sink(tensor.data);
  if (!encoding) encoding = EncodingOf(type, joined.data.data(), joined.elements());
  constexpr std::int64_t kChunk = std::int64_t{1} << 18;  // a multiple of every block
  std::vector<float> values;
  std::vector<std::byte> blocks;
  for (std::int64_t at = 0; at < tensor.elements(); at += kChunk) {
    const std::int64_t n = std::min(kChunk, tensor.elements() - at);
    values.resize(static_cast<std::size_t>(n));
    blocks.resize(static_cast<std::size_t>(BytesOf(type, n)));
    QUORUM_CHECK(Dequantize(tensor.type, tensor.data.data() + BytesOf(tensor.type, at), values.data(), n));
    QUORUM_CHECK(Encode(*encoding, values.data(), nullptr, blocks.data(), n));
    QUORUM_TRY(sink(blocks));
  }
  return {};
}

/// One layer of the source: a dense network, or the tensors of its experts.
struct SourceLayer {
  const GgufTensor* router = nullptr;  // null: dense
  const GgufTensor* stacks[3] = {};    // gate, up, down of the experts, {.., .., experts}
};

class Adder {
 public:
  Adder(const GgufFile& src, const AddPlan& plan) : src_(src), plan_(plan) {}

  /// Everything but the routers.
  Status Check(const std::string& dst) {
    QUORUM_TRY(CheckDestination(src_, dst, plan_.replace));
    if (plan_.experts.empty()) return InvalidArgument("no expert to add");
    QUORUM_TRY(ReadSource());
    for (const std::string& path : plan_.experts) {
      QUORUM_ASSIGN(files_.emplace_back(), GgufFile::Open(path));
    }
    for (const GgufFile& file : files_) {
      QUORUM_ASSIGN(DenseModel model, FindDenseFfns(file));
      QUORUM_TRY(CheckFits(file, model));
      others_.push_back(std::move(model));
    }
    return SetTopK();
  }

  Result<UpcycleSummary> Run(const std::string& dst, const GgufWriter::Progress& progress) {
    QUORUM_TRY(Check(dst));
    QUORUM_TRY(CheckRouters());
    GgufWriter writer;
    QUORUM_TRY(SetMetadata(writer));
    QUORUM_TRY(AddTensors(writer));
    summary_.bytes = writer.FileBytes();
    QUORUM_TRY(writer.Write(dst, plan_.replace, progress));
    return summary_;
  }

 private:
  Status ReadSource() {
    QUORUM_ASSIGN(const auto architecture, src_.GetString("general.architecture"));
    if (!architecture) return InvalidArgument(src_.path() + ": key 'general.architecture' is missing");
    old_architecture_ = *architecture;
    QUORUM_ASSIGN(const auto experts, src_.GetInt(*architecture + ".expert_count"));
    old_experts_ = experts.value_or(0);
    if (old_experts_ == 0) {
      QUORUM_ASSIGN(dense_, FindDenseFfns(src_));
      architecture_ = *architecture == "qwen3" ? "qwen3moe" : *architecture;
      layers_.resize(dense_.layers.size());
    } else {
      if (*architecture != "llama" && *architecture != "qwen3moe") {
        return Unsupported(src_.path() + ": experts can be added to architectures llama, qwen3 and qwen3moe, not to " +
                           Quoted(*architecture));
      }
      architecture_ = *architecture;
      QUORUM_ASSIGN(const auto count, src_.GetInt(*architecture + ".block_count"));
      if (!count || *count < 1 || *count > 65536)
        return InvalidArgument(src_.path() + ": key '" + *architecture + ".block_count' is missing or out of range");
      layers_.resize(static_cast<std::size_t>(*count));
      for (std::size_t i = 0; i < layers_.size(); ++i) {
        const auto layer = static_cast<std::int64_t>(i);
        layers_[i].router = src_.FindTensor(LayerName(layer, "ffn_gate_inp.weight"));
        if (layers_[i].router == nullptr)
          return Unsupported(src_.path() + ": layer " + std::to_string(i) + " has no router");
        for (std::size_t m = 0; m < 3; ++m) {
          const std::string name = LayerName(layer, std::string(kMatrices[m]) + "_exps.weight");
          layers_[i].stacks[m] = src_.FindTensor(name);
          if (layers_[i].stacks[m] == nullptr || layers_[i].stacks[m]->dims.size() != 3 ||
              layers_[i].stacks[m]->dims[2] != old_experts_) {
            return Unsupported(src_.path() + ": tensor '" + name + "' with all experts of the layer is needed");
          }
        }
        if (layers_[i].router->dims != std::vector<std::int64_t>{layers_[i].stacks[0]->dims[0], old_experts_}) {
          return InvalidArgument(src_.path() + ": the router of layer " + std::to_string(i) + " is of another size");
        }
      }
    }
    experts_ = (old_experts_ == 0 ? 1 : old_experts_) + std::ssize(plan_.experts);
    return {};
  }

  Status CheckRouters() const {
    const std::int64_t rows = (old_experts_ == 0 ? 1 : 0) + std::ssize(plan_.experts);
    if (plan_.router.size() != layers_.size())
      return InvalidArgument("the plan has not as many routers as the model has layers");
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      if (std::ssize(plan_.router[i]) != rows * Dims(i, 0)[0])
        return InvalidArgument("the plan's router of layer " + std::to_string(i) + " is of another size");
      if (std::any_of(plan_.router[i].begin(), plan_.router[i].end(), [](float x) { return !std::isfinite(x); })) {
        return InvalidArgument("the plan's router of layer " + std::to_string(i) + " has numbers that are none");
      }
    }
    return {};
  }

  /// {row length, rows} of an expert's matrix.
  std::vector<std::int64_t> Dims(std::size_t layer, std::size_t matrix) const {
    const GgufTensor& tensor =
        old_experts_ == 0 ? Matrix(dense_.layers[layer], matrix) : *layers_[layer].stacks[matrix];
    return {tensor.dims[0], tensor.dims[1]};
  }
  DType Type(std::size_t layer, std::size_t matrix) const {
    return old_experts_ == 0 ? Matrix(dense_.layers[layer], matrix).type : layers_[layer].stacks[matrix]->type;
  }

  Status CheckFits(const GgufFile& file, const DenseModel& model) {
    const bool same_family = (model.architecture == "qwen3") == (architecture_ == "qwen3moe");
    if (!same_family || model.layers.size() != layers_.size()) {
      return InvalidArgument(file.path() + ": " + Quoted(model.architecture) + " with " +
                             std::to_string(model.layers.size()) + " layers is no relative of " + src_.path() + ", " +
                             Quoted(old_architecture_) + " with " + std::to_string(layers_.size()));
    }
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      for (std::size_t m = 0; m < 3; ++m) {
        const GgufTensor& tensor = Matrix(model.layers[i], m);
        const std::vector<std::int64_t> dims = Dims(i, m);
        if (tensor.dims != dims) {
          return InvalidArgument(file.path() + ": tensor " + Quoted(tensor.name) + " is " + ShapeText(tensor) +
                                 ", expected " + std::to_string(dims[0]) + " x " + std::to_string(dims[1]) + " as in " +
                                 src_.path());
        }
        if (tensor.type == Type(i, m)) continue;
        ++summary_.requantized;
        if (!CanEncode(Type(i, m))) {
          return Unsupported(file.path() + ": tensor " + Quoted(tensor.name) + " is " +
                             std::string(Info(tensor.type).name) + " and cannot be made " +
                             std::string(Info(Type(i, m)).name) + ", the type of the other experts");
        }
      }
    }
    return {};
  }

  Status SetTopK() {
    top_k_ = plan_.top_k > 0 ? plan_.top_k : 2;
    if (plan_.top_k == 0 && old_experts_ > 0) {
      QUORUM_ASSIGN(const auto used, src_.GetInt(old_architecture_ + ".expert_used_count"));
      if (!used || *used < 1 || *used > old_experts_)
        return InvalidArgument(src_.path() + ": key '" + old_architecture_ +
                               ".expert_used_count' is missing or out of range");
      top_k_ = *used;
    }
    if (top_k_ < 1 || top_k_ > experts_)
      return InvalidArgument("--top-k must lie between 1 and the number of experts, " + std::to_string(experts_) +
                             ", not " + std::to_string(top_k_));
    return {};
  }

  Status SetMetadata(GgufWriter& writer) {
    const std::string prefix = old_architecture_ + ".";
    for (const GgufEntry& entry : src_.entries()) {
      if (entry.key.starts_with("split.") || entry.key == "general.alignment") continue;
      writer.SetRaw(entry.key.starts_with(prefix) ? architecture_ + "." + entry.key.substr(prefix.size()) : entry.key,
                    entry.type, entry.value);
    }
    writer.SetString("general.architecture", architecture_);
    writer.Erase("general.size_label");
    QUORUM_ASSIGN(const auto name, src_.GetString("general.name"));
    if (name) {
      summary_.name = *name + " with " + std::to_string(experts_) + " experts";
      writer.SetString("general.name", summary_.name);
    }
    writer.SetUint32(architecture_ + ".expert_count", static_cast<std::uint32_t>(experts_));
    writer.SetUint32(architecture_ + ".expert_used_count", static_cast<std::uint32_t>(top_k_));
    if (architecture_ == "qwen3moe")
      writer.SetUint32("qwen3moe.expert_feed_forward_length", static_cast<std::uint32_t>(Dims(0, 0)[1]));
    std::vector<std::string> added;
    for (const GgufFile& file : files_) {
      QUORUM_ASSIGN(const auto its, file.GetString("general.name"));
      added.push_back(its.value_or("unnamed"));
    }
    writer.SetString("quorum.add.method",
                     "branch-train-mix (Sukhbaatar et al. 2024), routers from centroids of hidden states");
    writer.SetStrings("quorum.add.experts", added);
    summary_.architecture = architecture_;
    summary_.layers = std::ssize(layers_);
    return {};
  }

  Status AddTensors(GgufWriter& writer) {
    std::map<const GgufTensor*, std::pair<std::size_t, int>> places;  // layer; matrix, or 3: the router
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      for (int m = 0; m < 3; ++m) {
        const auto matrix = static_cast<std::size_t>(m);
        places[old_experts_ == 0 ? &Matrix(dense_.layers[i], matrix) : layers_[i].stacks[matrix]] = {i, m};
      }
      if (layers_[i].router != nullptr) places[layers_[i].router] = {i, 3};
    }
    for (const GgufTensor& tensor : src_.tensors()) {
      summary_.dense_parameters += tensor.elements();
      const auto found = places.find(&tensor);
      if (found == places.end()) {
        writer.AddTensor(tensor.name, tensor.type, tensor.dims, tensor.data);
        summary_.parameters += tensor.elements();
        summary_.active_parameters += tensor.elements();
      } else if (found->second.second == 3) {
        AddRouter(writer, found->second.first);
      } else {
        AddStack(writer, tensor, found->second.first, static_cast<std::size_t>(found->second.second));
        if (old_experts_ == 0 && found->second.second == 0) AddRouter(writer, found->second.first);
      }
    }
    return {};
  }

  void AddRouter(GgufWriter& writer, std::size_t layer) {
    const std::int64_t k = Dims(layer, 0)[0];
    writer.AddTensor(LayerName(static_cast<std::int64_t>(layer), "ffn_gate_inp.weight"), DType::kF32, {k, experts_},
                     [this, layer](const GgufWriter::Sink& sink) -> Status {
                       if (layers_[layer].router != nullptr) {
                         QUORUM_ASSIGN(const std::vector<float> rows,
                                       TensorFloats(*layers_[layer].router, src_.path()));
                         QUORUM_TRY(sink(std::as_bytes(std::span(rows))));
                       }
                       return sink(std::as_bytes(std::span(plan_.router[layer])));
                     });
    summary_.parameters += k * experts_;
    summary_.active_parameters += k * experts_;
  }

  void AddStack(GgufWriter& writer, const GgufTensor& tensor, std::size_t layer, std::size_t matrix) {
    const std::vector<std::int64_t> dims = Dims(layer, matrix);
    writer.AddTensor(LayerName(static_cast<std::int64_t>(layer), std::string(kMatrices[matrix]) + "_exps.weight"),
                     tensor.type, {dims[0], dims[1], experts_},
                     [this, &tensor, layer, matrix](const GgufWriter::Sink& sink) -> Status {
                       QUORUM_TRY(sink(tensor.data));  // one network, or a stack of them
                       std::optional<Encoding> encoding;
                       for (const DenseModel& other : others_)
                         QUORUM_TRY(WriteAs(Matrix(other.layers[layer], matrix), tensor, encoding, sink));
                       return {};
                     });
    summary_.parameters += dims[0] * dims[1] * experts_;
    summary_.active_parameters += dims[0] * dims[1] * top_k_;
  }

  const GgufFile& src_;
  const AddPlan& plan_;
  std::string old_architecture_, architecture_;
  std::int64_t old_experts_ = 0, experts_ = 0, top_k_ = 0;
  DenseModel dense_;  // of a dense source
  std::vector<SourceLayer> layers_;
  std::vector<GgufFile> files_;
  std::vector<DenseModel> others_;
  UpcycleSummary summary_;
};

}  // namespace

Status CheckAddExperts(const std::string& src, const std::string& dst, const AddPlan& plan) {
  QUORUM_ASSIGN(const GgufFile file, GgufFile::Open(src));
  return Adder(file, plan).Check(dst);
}

Result<UpcycleSummary> AddExperts(const std::string& src, const std::string& dst, const AddPlan& plan,
                                  const GgufWriter::Progress& progress) {
  QUORUM_ASSIGN(const GgufFile file, GgufFile::Open(src));
  return Adder(file, plan).Run(dst, progress);
}

}  // namespace quorum::quant
