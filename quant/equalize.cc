#include "quant/equalize.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "quant/equalize_search.h"
#include "quant/gguf_parser.h"

namespace quorum::quant {
namespace {

constexpr std::array<std::string_view, 7> kArchitectures = {"llama",    "qwen2", "qwen3",  "qwen2moe",
                                                            "qwen3moe", "olmoe", "smollm3"};

using Scales = std::vector<float>;

class Equalizer {
 public:
  Equalizer(const EqualizeShape& shape, std::vector<SourceTensor>& sources, ImportanceMatrix& importance,
            const EqualizeOptions& options)
      : shape_(shape), importance_(importance), options_(options) {
    for (SourceTensor& source : sources) by_name_[source.name] = &source;
  }

  Result<std::int64_t> Run() {
    std::int64_t layers = 0;
    while (Find(Name(layers, "attn_norm.weight")) != nullptr) ++layers;
    for (std::int64_t i = 0; i < layers; ++i) {
      QUORUM_TRY(Norm(i, "attn_norm", {"attn_q", "attn_k", "attn_v"}));
      QUORUM_TRY(Norm(i, "ffn_norm",
                      {"ffn_gate", "ffn_up", "ffn_gate_exps", "ffn_up_exps", "ffn_gate_shexp", "ffn_up_shexp",
                       "ffn_gate_inp", "ffn_gate_inp_shexp"}));
      QUORUM_TRY(Values(i));
      for (const char* suffix : {"", "_exps", "_shexp"}) QUORUM_TRY(Hidden(i, suffix));
      if (options_.progress && !options_.progress(i + 1, layers)) {
        return Error{ErrorCode::kCancelled, "evening channels was interrupted", {}, {}};
      }
    }
    return pairs_;
  }

 private:
  static std::string Name(std::int64_t layer, const std::string& rest) {
    return "blk." + std::to_string(layer) + "." + rest;
  }
  SourceTensor* Find(const std::string& name) {
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : it->second;
  }

  /// Mean squares of the columns over all matrices of `name`.
  std::vector<double> Pooled(const std::string& name, std::int64_t cols) const {
    const ImportanceEntry* entry = importance_.Find(name);
    std::vector<double> means;
    const auto width = static_cast<std::size_t>(cols);
    if (entry == nullptr || entry->sums.size() % width != 0) return means;
    means.resize(width);
    for (std::size_t i = 0; i < entry->sums.size(); ++i) means[i % width] += static_cast<double>(entry->sums[i]);
    return means;  // a common factor does not matter
  }

  /// The matrices of `tensor`, or one of them, that get a type and of whose columns something is known.
  std::vector<ChannelReader> Readers(const SourceTensor& tensor, std::int64_t only = -1) const {
    std::vector<ChannelReader> readers;
    const std::int64_t matrices = tensor.dims.size() > 2 ? tensor.dims[2] : 1;
    const std::int64_t rows = tensor.rows() / matrices;
    for (std::int64_t i = 0; i < matrices; ++i) {
      if (only >= 0 && i != only) continue;
      const std::optional<Encoding> wanted = options_.plan.Choose(tensor.name, tensor.dims.size(), false, i);
      std::vector<float> means = importance_.Means(tensor.name, i, tensor.dims[0]);
      if (!wanted || means.empty()) continue;
      readers.push_back({&tensor, i * rows, rows, std::move(means), FitToRow(*wanted, tensor.dims[0])});
    }
    return readers;
  }

  /// Multiplies element (row, col) with factor(row, col).
  template <typename Factor>
  static void Multiply(SourceTensor& tensor, Factor factor) {
    tensor.raw = {};
    tensor.read = [read = tensor.read, cols = tensor.dims[0], factor](std::int64_t first, std::int64_t count,
                                                                      float* dst) {
      read(first, count, dst);
      for (std::int64_t r = 0; r < count; ++r) {
        for (std::int64_t c = 0; c < cols; ++c) dst[r * cols + c] *= factor(first + r, c);
      }
    };
  }

  static void MultiplyColumns(SourceTensor& tensor, const std::shared_ptr<const Scales>& scales) {
    Multiply(tensor, [scales](std::int64_t, std::int64_t c) { return (*scales)[static_cast<std::size_t>(c)]; });
  }

  /// A matrix' rows through all matrices of its stack, or a bias' values.
  static void DivideRows(SourceTensor& tensor, const std::shared_ptr<const Scales>& scales) {
    Multiply(tensor, [scales](std::int64_t r, std::int64_t) { return 1.0F / (*scales)[static_cast<std::size_t>(r)]; });
  }
  static void DivideValues(SourceTensor& tensor, const std::shared_ptr<const Scales>& scales) {
    Multiply(tensor, [scales, cols = tensor.dims[0]](std::int64_t r, std::int64_t c) {
      return 1.0F / (*scales)[static_cast<std::size_t>(r * cols + c)];
    });
  }

  /// The new model's activations are smaller by the scales. `scales` has as many values as the entry, or is repeated.
  void Rescale(const std::string& name, const Scales& scales) {
    const auto it = importance_.entries.find(name);
    if (it == importance_.entries.end()) return;
    for (std::size_t i = 0; i < it->second.sums.size(); ++i) {
      const float scale = scales[i % scales.size()];
      it->second.sums[i] /= scale * scale;
    }
  }

  Status Fit(const SourceTensor& tensor, std::int64_t cols) const {
    if (tensor.dims[0] == cols && tensor.read) return {};
    return InvalidArgument("tensor " + Quoted(tensor.name) + " has rows of " + std::to_string(tensor.dims[0]) +
                           ", expected " + std::to_string(cols));
  }

  Status Norm(std::int64_t layer, const std::string& norm_name, const std::vector<std::string>& readers) {
    SourceTensor* norm = Find(Name(layer, norm_name + ".weight"));
    if (norm == nullptr || norm->dims.size() != 1 || !norm->read) return {};
    std::vector<double> squares;
    std::vector<SourceTensor*> matrices;
    std::vector<ChannelReader> rounded;
    for (const std::string& reader : readers) {
      SourceTensor* matrix = Find(Name(layer, reader + ".weight"));
      if (matrix == nullptr) continue;
      QUORUM_TRY(Fit(*matrix, norm->dims[0]));
      matrices.push_back(matrix);
      if (squares.empty()) squares = Pooled(matrix->name, norm->dims[0]);
      std::ranges::move(Readers(*matrix), std::back_inserter(rounded));
    }
    if (squares.empty()) return {};
    const auto scales = std::make_shared<const Scales>(SearchScales(squares, {}, rounded, options_.threads));
    DivideValues(*norm, scales);
    if (SourceTensor* bias = Find(Name(layer, norm_name + ".bias"))) DivideValues(*bias, scales);
    for (SourceTensor* matrix : matrices) {
      MultiplyColumns(*matrix, scales);
      Rescale(matrix->name, *scales);
    }
    ++pairs_;
    return {};
  }

  Status Values(std::int64_t layer) {
    SourceTensor* v = Find(Name(layer, "attn_v.weight"));
    SourceTensor* output = Find(Name(layer, "attn_output.weight"));
    if (v == nullptr || output == nullptr || shape_.heads < 1 || shape_.kv_heads < 1) return {};
    const std::int64_t width = output->dims[0];
    const std::vector<double> squares = Pooled(output->name, width);
    if (squares.empty()) return {};
    const std::int64_t group = shape_.heads / shape_.kv_heads;
    const std::int64_t head = width / shape_.heads;
    if (shape_.heads % shape_.kv_heads != 0 || width % shape_.heads != 0 || v->rows() != shape_.kv_heads * head ||
        !v->read || !output->read) {
      return InvalidArgument("tensors " + Quoted(v->name) + " and " + Quoted(output->name) + " do not have " +
                             std::to_string(shape_.heads) + " heads in " + std::to_string(shape_.kv_heads) + " groups");
    }
    std::vector<double> tied(static_cast<std::size_t>(shape_.kv_heads * head));
    std::vector<std::size_t> source(static_cast<std::size_t>(width));  // each column's value
    for (std::int64_t c = 0; c < width; ++c) {
      source[static_cast<std::size_t>(c)] = static_cast<std::size_t>(c / head / group * head + c % head);
      tied[source[static_cast<std::size_t>(c)]] += squares[static_cast<std::size_t>(c)];
    }
    const auto scales = std::make_shared<const Scales>(SearchScales(tied, source, Readers(*output), options_.threads));
    Scales wide;
    for (const std::size_t from : source) wide.push_back((*scales)[from]);
    DivideRows(*v, scales);
    if (SourceTensor* bias = Find(Name(layer, "attn_v.bias"))) DivideValues(*bias, scales);
    Rescale(output->name, wide);
    MultiplyColumns(*output, std::make_shared<const Scales>(std::move(wide)));
    ++pairs_;
    return {};
  }

  /// Up against down, each expert for itself. The product with what the gate lets through commutes with a scale.
  Status Hidden(std::int64_t layer, const std::string& suffix) {
    SourceTensor* up = Find(Name(layer, "ffn_up" + suffix + ".weight"));
    SourceTensor* down = Find(Name(layer, "ffn_down" + suffix + ".weight"));
    if (up == nullptr || down == nullptr || Find(Name(layer, "ffn_gate" + suffix + ".weight")) == nullptr) return {};
    const std::int64_t ff = down->dims[0];
    const std::int64_t matrices = down->dims.size() > 2 ? down->dims[2] : 1;
    if (up->rows() != ff * matrices || !up->read || !down->read) {
      return InvalidArgument("tensors " + Quoted(up->name) + " and " + Quoted(down->name) + " do not fit together");
    }
    Scales all;
    for (std::int64_t i = 0; i < matrices; ++i) {
      const std::vector<float> means = importance_.Means(down->name, i, ff);
      const Scales scales = means.empty() ? Scales(static_cast<std::size_t>(ff), 1.0F)
                                          : SearchScales(std::vector<double>(means.begin(), means.end()), {},
                                                         Readers(*down, i), options_.threads);
      all.insert(all.end(), scales.begin(), scales.end());
    }
    Rescale(down->name, all);
    const auto scales = std::make_shared<const Scales>(std::move(all));
    DivideRows(*up, scales);
    if (SourceTensor* bias = Find(Name(layer, "ffn_up" + suffix + ".bias"))) DivideValues(*bias, scales);
    Multiply(*down, [scales, ff, rows = down->rows() / matrices](std::int64_t r, std::int64_t c) {
      return (*scales)[static_cast<std::size_t>(r / rows * ff + c)];
    });
    ++pairs_;
    return {};
  }

  const EqualizeShape& shape_;
  ImportanceMatrix& importance_;
  const EqualizeOptions& options_;
  std::map<std::string, SourceTensor*, std::less<>> by_name_;
  std::int64_t pairs_ = 0;
};

}  // namespace

Result<std::int64_t> Equalize(const EqualizeShape& shape, const EqualizeOptions& options,
                              std::vector<SourceTensor>& sources, ImportanceMatrix& importance) {
  if (std::ranges::find(kArchitectures, shape.architecture) == kArchitectures.end()) {
    return Unsupported("equalization is not known to keep the answers of architecture " + Quoted(shape.architecture));
  }
  return Equalizer(shape, sources, importance, options).Run();
}

}  // namespace quorum::quant
