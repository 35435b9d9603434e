#include "engine/weights.h"

#include <limits>
#include <optional>

#include <fmt/format.h>

#include "engine/base/check.h"
#include "engine/kernels/packed_matrix.h"

namespace quorum::engine {
namespace {

std::int64_t RoundUp(std::int64_t value, std::int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

}  // namespace

void ActForms::Add(PackFormat format) {
  switch (ActBlock(format)) {
    case 0: floats = true; break;
    case 32: block32 = true; break;
    default: block256 = true; break;
  }
}

void ActForms::Add(const ActForms& other) {
  floats = floats || other.floats;
  block32 = block32 || other.block32;
  block256 = block256 || other.block256;
}

/// Lays the arena out. Without memory, to learn its size and what to pack; and with it, to fill `Weights` in, then with
/// what packing has found to be exact, by job.
class WeightPacker {
 public:
  WeightPacker(const ModelSpec& spec, const ModelTensors& tensors, std::uint8_t* arena, std::vector<bool> exact = {})
      : spec_(spec), tensors_(tensors), arena_(arena), exact_(std::move(exact)) {}

  Status LayOut(Weights& weights) {
    weights.d_model_ = spec_.d_model;
    if (tensors_.output) {
      weights.embedding_ =
          Place(PackKind::kCopy, tensors_.embedding, tensors_.embedding.rows * tensors_.embedding.row_bytes());
      weights.embedding_type_ = tensors_.embedding.type;
    }
    weights.encoder_position_bias_ = Bias(tensors_.encoder_position_bias, true);
    weights.position_bias_ = Bias(tensors_.position_bias, false);
    QUORUM_TRY(Layers(tensors_.encoder, weights.encoder_position_bias_.get(), weights.encoder_));
    if (tensors_.encoder_norm) weights.encoder_norm_ = Norm(*tensors_.encoder_norm, {});
    QUORUM_TRY(Layers(tensors_.layers, weights.position_bias_.get(), weights.layers_));
    weights.final_norm_ = Norm(tensors_.final_norm, tensors_.final_norm_bias);
    QUORUM_ASSIGN(weights.output_, Matrix(tensors_.output ? *tensors_.output : tensors_.embedding));
    weights.logit_bias_ = Floats(tensors_.logit_bias);
    weights.output_input_.Add(weights.output_.format);
    AddForms(weights);
    return {};
  }

  std::int64_t bytes() const { return size_; }
  const std::vector<PackJob>& jobs() const { return jobs_; }

 private:
  static void AddForms(Weights& weights) {
    WeightForms& forms = weights.forms_;
    forms.model.Add(weights.output_input_);
    for (const std::vector<LayerWeights>* stack : {&weights.layers_, &weights.encoder_}) {
      for (const LayerWeights& layer : *stack) {
        forms.model.Add(layer.attention_input);
        forms.model.Add(layer.ffn_input);
        forms.attention.Add(layer.attention_output);
        for (const NetworkWeights& network : layer.networks) forms.hidden.Add(network.down.format);
        if (layer.latent.q_down.n > 0) forms.query_latent.Add(layer.q.format);
        for (const PackedView& k_up : layer.latent.k_up) forms.query_nope.Add(k_up.format);
        for (const PackedView& v_up : layer.latent.v_up) forms.mixed_latent.Add(v_up.format);
        if (layer.cross.q.n == 0) continue;
        forms.model.Add(layer.cross.input);
        forms.attention.Add(layer.cross.output.format);
        for (const PackedView* view : {&layer.cross.k, &layer.cross.v}) weights.encoder_output_.Add(view->format);
      }
    }
    forms.model.Add(weights.encoder_output_);
  }

  /// Outside of the arena, which is only laid out before there is memory.
  std::unique_ptr<const PositionBias> Bias(const std::optional<TensorRef>& src, bool bidirectional) const {
    if (!src || arena_ == nullptr) return nullptr;
    return std::make_unique<PositionBias>(spec_.relative_bias, bidirectional, spec_.attention.heads, src->Floats());
  }

  Status Layers(const std::vector<LayerTensors>& src, const PositionBias* bias, std::vector<LayerWeights>& dst) {
    dst.resize(src.size());
    for (std::size_t i = 0; i < src.size(); ++i) {
      QUORUM_TRY(Attention(src[i], dst[i]));
      dst[i].position_bias = bias;
      if (src[i].cross) QUORUM_TRY(Cross(*src[i].cross, dst[i].cross));
      QUORUM_TRY(Ffn(src[i], dst[i]));
    }
    return {};
  }

  /// Reserves `bytes` for `src` and remembers to fill them.
  std::uint8_t* Place(PackKind kind, const TensorRef& src, std::int64_t bytes, const TensorRef* second = nullptr) {
    QUORUM_CHECK(bytes >= 0 && size_ <= std::numeric_limits<std::int64_t>::max() / 2 - bytes);
    const std::int64_t offset = size_;
    size_ = RoundUp(size_ + bytes, 64);
    jobs_.push_back({kind, &src, second, offset});
    return arena_ == nullptr ? nullptr : arena_ + offset;
  }

  const float* Floats(const TensorRef& src) {
    return reinterpret_cast<const float*>(
        Place(PackKind::kFloats, src, src.rows * src.cols * static_cast<std::int64_t>(sizeof(float))));
  }
  const float* Floats(const std::optional<TensorRef>& src) { return src ? Floats(*src) : nullptr; }

  NormWeights Norm(const TensorRef& weight, const std::optional<TensorRef>& bias) {
    return {Floats(weight), Floats(bias)};
  }

  static Result<PackFormat> FormatOf(const std::string& name, quant::DType type) {
    if (const std::optional<PackFormat> format = PackFormatOf(type)) return *format;
    return Unsupported(fmt::format("tensor '{}' has type {}, which has no packed form", name, quant::Info(type).name));
  }
  /// Of the next job, a matrix.
  Result<PackFormat> FormatOf(const TensorRef& src) const {
    if (jobs_.size() < exact_.size() && exact_[jobs_.size()]) return *ExactFormatOf(src.type);
    return FormatOf(src.name, src.type);
  }

  Result<PackedView> Matrix(const TensorRef& src) {
    QUORUM_ASSIGN(const PackFormat format, FormatOf(src));
    const std::uint8_t* panels = Place(PackKind::kMatrix, src, PackedBytes(format, src.rows, src.cols));
    return PackedView{format, src.rows, src.cols, PanelBytes(format, src.cols), panels};
  }

  Result<PackedView> Transposed(const TensorRef& src) {
    QUORUM_ASSIGN(const PackFormat format, FormatOf(src.name, TransposedType(src.type)));
    const std::uint8_t* panels = Place(PackKind::kTransposed, src, PackedBytes(format, src.cols, src.rows));
    return PackedView{format, src.cols, src.rows, PanelBytes(format, src.rows), panels};
  }

  PackedView FloatMatrix(const TensorRef& src) {
    const std::uint8_t* panels = Place(PackKind::kFloatMatrix, src, PackedBytes(PackFormat::kF32, src.rows, src.cols));
    return {PackFormat::kF32, src.rows, src.cols, PanelBytes(PackFormat::kF32, src.cols), panels};
  }

  Status Attention(const LayerTensors& src, LayerWeights& dst) {
    dst.attention_norm = Norm(src.attention_norm, src.attention_norm_bias);
    dst.attention_post_norm = Floats(src.attention_post_norm);
    QUORUM_ASSIGN(dst.q, Matrix(src.q));
    if (src.latent) {
      QUORUM_TRY(Latent(*src.latent, dst));
    } else {
      QUORUM_ASSIGN(dst.k, Matrix(src.k));
      QUORUM_ASSIGN(dst.v, Matrix(src.v));
      for (const PackedView* view : {&dst.q, &dst.k, &dst.v}) dst.attention_input.Add(view->format);
    }
    QUORUM_ASSIGN(dst.output, Matrix(src.output));
    dst.q_bias = Floats(src.q_bias);
    dst.k_bias = Floats(src.k_bias);
    dst.v_bias = Floats(src.v_bias);
    dst.output_bias = Floats(src.output_bias);
    dst.q_norm = Floats(src.q_norm);
    dst.k_norm = Floats(src.k_norm);
    dst.sinks = Floats(src.sinks);
    dst.attention_output.Add(dst.output.format);
    return {};
  }

  Status Cross(const CrossTensors& src, CrossWeights& dst) {
    dst.norm = Norm(src.norm, {});
    QUORUM_ASSIGN(dst.q, Matrix(src.q));
    QUORUM_ASSIGN(dst.k, Matrix(src.k));
    QUORUM_ASSIGN(dst.v, Matrix(src.v));
    QUORUM_ASSIGN(dst.output, Matrix(src.output));
    dst.input.Add(dst.q.format);
    return {};
  }

  Status Latent(const LatentTensors& src, LayerWeights& dst) {
    LatentWeights& latent = dst.latent;
    if (src.q_down) {
      QUORUM_ASSIGN(latent.q_down, Matrix(*src.q_down));
    }
    latent.q_norm = Floats(src.q_norm);
    QUORUM_ASSIGN(latent.kv_down, Matrix(src.kv_down));
    latent.kv_norm = Floats(src.kv_norm);
    for (const TensorRef& tensor : src.k_up) {
      QUORUM_ASSIGN(const PackedView k_up, src.k_up_transposed ? Transposed(tensor) : Matrix(tensor));
      latent.k_up.push_back(k_up);
    }
    for (const TensorRef& tensor : src.v_up) {
      QUORUM_ASSIGN(const PackedView v_up, Matrix(tensor));
      latent.v_up.push_back(v_up);
    }
    dst.attention_input.Add(src.q_down ? latent.q_down.format : dst.q.format);
    dst.attention_input.Add(latent.kv_down.format);
    return {};
  }

  Status Ffn(const LayerTensors& src, LayerWeights& dst) {
    dst.ffn_norm = Norm(src.ffn_norm, src.ffn_norm_bias);
    dst.ffn_post_norm = Floats(src.ffn_post_norm);
    dst.router_bias = Floats(src.router_bias);
    if (src.router) {
      dst.router = FloatMatrix(*src.router);
      dst.ffn_input.floats = true;
    }
    dst.choice_bias = Floats(src.choice_bias);
    if (src.shared_gate) dst.shared_gate = FloatMatrix(*src.shared_gate);
    for (const NetworkTensors& network : src.networks) QUORUM_TRY(Network(network, dst));
    if (src.shared) QUORUM_TRY(Network(*src.shared, dst));
    return {};
  }

  Status Network(const NetworkTensors& src, LayerWeights& dst) {
    NetworkWeights network;
    network.ff = src.up.rows;
    network.interleaved = spec_.gated && src.gate.type == src.up.type;
    if (network.interleaved) {
      QUORUM_ASSIGN(const PackFormat format, FormatOf(src.gate));
      const std::int64_t k = src.gate.cols;
      const std::int64_t panel = PanelBytes(format, k);
      const std::uint8_t* panels = Place(PackKind::kGateUp, src.gate, 2 * PackedBytes(format, network.ff, k), &src.up);
      network.gate_up = {format, 2 * RoundUp(network.ff, kPanelRows), k, panel, panels};
      network.gate = {format, network.ff, k, 2 * panel, panels};
      network.up = {format, network.ff, k, 2 * panel, panels == nullptr ? nullptr : panels + panel};
    } else {
      if (spec_.gated) {
        QUORUM_ASSIGN(network.gate, Matrix(src.gate));
      }
      QUORUM_ASSIGN(network.up, Matrix(src.up));
    }
    QUORUM_ASSIGN(network.down, Matrix(src.down));
    network.gate_bias = Floats(src.gate_bias);
    network.up_bias = Floats(src.up_bias);
    network.down_bias = Floats(src.down_bias);
    if (spec_.gated) dst.ffn_input.Add(network.gate.format);
    dst.ffn_input.Add(network.up.format);
    dst.networks.push_back(network);
    return {};
  }

  const ModelSpec& spec_;
  const ModelTensors& tensors_;
  std::uint8_t* arena_;
  const std::vector<bool> exact_;
  std::int64_t size_ = 0;
  std::vector<PackJob> jobs_;
};

Result<WeightPlan> Weights::Plan(const ModelSpec& spec, const ModelTensors& tensors) {
  Weights without_memory;
  WeightPacker packer(spec, tensors, nullptr);
  QUORUM_TRY(packer.LayOut(without_memory));
  return WeightPlan{packer.bytes(), without_memory.forms_};
}

Result<Weights> Weights::Pack(const ModelSpec& spec, const ModelTensors& tensors, ThreadPool& pool,
                              const ReleaseFn& release, const PackProgressFn& progress) {
  Weights without_memory;
  WeightPacker packer(spec, tensors, nullptr);
  QUORUM_TRY(packer.LayOut(without_memory));
  QUORUM_ASSIGN(AlignedBuffer memory, AlignedBuffer::Allocate(static_cast<std::size_t>(packer.bytes())));
  auto* arena = memory.As<std::uint8_t>();
  if (pool.group_nodes().size() > 1) {  // before anything is written
    Weights empty;
    QUORUM_TRY(WeightPacker(spec, tensors, arena).LayOut(empty));
    empty.ShareOutExperts(spec, pool.group_nodes(), arena);
  }
  QUORUM_ASSIGN(std::vector<bool> exact, RunPackJobs(packer.jobs(), arena, pool, release, progress));
  Weights weights;
  QUORUM_TRY(WeightPacker(spec, tensors, arena, std::move(exact)).LayOut(weights));
  weights.arena_ = std::move(memory);
  return weights;
}

/// Each expert's memory on its node. The first panels of an expert's first matrix begin its memory, and the next one's
/// end it; the last of a layer is cut off by the arena's end or the next layer, whose few bytes do not matter.
void Weights::ShareOutExperts(const ModelSpec& spec, const std::vector<int>& nodes, std::uint8_t* arena) const {
  const auto count = static_cast<std::int64_t>(nodes.size());
  const auto begin_of = [](const NetworkWeights& network) {
    return network.interleaved ? network.gate_up.panels : network.gate.n > 0 ? network.gate.panels : network.up.panels;
  };
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const std::int64_t experts = spec.layers[i].experts;
    for (std::int64_t first = 0; first < experts;) {
      std::int64_t end = first;
      while (end < experts && NodeOfExpert(end, experts, count) == NodeOfExpert(first, experts, count)) ++end;
      const auto& networks = layers_[i].networks;
      const std::uint8_t* data = begin_of(networks[static_cast<std::size_t>(first)]);
      const PackedView& last = networks[static_cast<std::size_t>(end - 1)].down;
      const std::uint8_t* stop = last.panels + RoundUp(last.n, kPanelRows) / kPanelRows * last.panel_bytes;
      PreferNode(arena + (data - arena), static_cast<std::size_t>(stop - data),
                 nodes[static_cast<std::size_t>(NodeOfExpert(first, experts, count))]);
      first = end;
    }
  }
}

void Weights::Embed(std::int64_t token, float* dst) const {
  if (embedding_ == nullptr) {
    UnpackRow(output_, token, dst);
    return;
  }
  const std::int64_t row_bytes = quant::BytesOf(embedding_type_, d_model_);
  QUORUM_CHECK(quant::Dequantize(embedding_type_, embedding_ + token * row_bytes, dst, d_model_));
}

}  // namespace quorum::engine
