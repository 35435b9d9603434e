#include "engine/calibration.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/activation_tap.h"
#include "engine/base/units.h"
#include "engine/model.h"
#include "engine/weight_choice.h"
#include "quant/expert_places.h"

namespace quorum::engine {
namespace {

/// What a matrix reads.
struct Reads {
  TapPoint point = TapPoint::kFfnInput;
  std::int32_t part = ActivationTap::kWhole;
  bool stack = false;  // part i is for matrix i
};

/// By a matrix' name without "blk.N." and ".weight"; nothing for names that no layer of ours reads.
std::optional<Reads> ReadsOf(std::string_view role) {
  static constexpr std::pair<std::string_view, TapPoint> kAttention[] = {
      {"attn_q", TapPoint::kAttentionInput},       {"attn_k", TapPoint::kAttentionInput},
      {"attn_v", TapPoint::kAttentionInput},       {"attn_qkv", TapPoint::kAttentionInput},
      {"attn_q_a", TapPoint::kAttentionInput},     {"attn_kv_a_mqa", TapPoint::kAttentionInput},
      {"attn_q_b", TapPoint::kQueryLatent},        {"attn_kv_b", TapPoint::kLatent},
      {"attn_output", TapPoint::kAttentionOutput},
  };
  for (const auto& [name, point] : kAttention) {
    if (role == name) return Reads{.point = point};
  }
  if (role == "attn_k_b") return Reads{.point = TapPoint::kQueryHead, .stack = true};
  if (role == "attn_v_b") return Reads{.point = TapPoint::kMixedHead, .stack = true};
  if (!role.starts_with("ffn_")) return {};
  role.remove_prefix(4);
  static constexpr std::pair<std::string_view, TapPoint> kNetwork[] = {
      {"gate_up", TapPoint::kFfnInput},
      {"gate", TapPoint::kFfnInput},
      {"up", TapPoint::kFfnInput},
      {"down", TapPoint::kFfnHidden},
  };
  for (const auto& [name, point] : kNetwork) {
    if (!role.starts_with(name)) continue;
    std::string_view rest = role.substr(name.size());
    if (rest.empty()) return Reads{.point = point};
    if (rest == "_exps") return Reads{.point = point, .stack = true};
    if (rest == "_shexp") return Reads{.point = point, .part = ActivationTap::kShared};
    if (rest.front() != '.') continue;  // "gate_up" begins with "gate", "gate_inp" is the router
    rest.remove_prefix(1);
    std::int32_t expert = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), expert);
    if (error == std::errc() && end == rest.data() + rest.size()) return Reads{.point = point, .part = expert};
  }
  return {};
}

/// Layer and role of "blk.3.attn_q.weight".
std::optional<std::pair<std::size_t, std::string_view>> LayerAndRole(std::string_view name) {
  constexpr std::string_view kSuffix = ".weight";
  const auto split = quant::SplitLayer(name);
  if (!split || !split->second.ends_with(kSuffix)) return {};
  return std::pair(static_cast<std::size_t>(split->first),
                   split->second.substr(0, split->second.size() - kSuffix.size()));
}

struct Squares {
  std::vector<double> sums;
  std::int64_t count = 0;

  void Add(const TapRows& rows) {
    sums.resize(static_cast<std::size_t>(rows.cols));
    for (std::int64_t i = 0; i < rows.count; ++i) {
      const float* row = rows.Row(i);
      for (std::size_t c = 0; c < sums.size(); ++c) {
        sums[c] += static_cast<double>(row[c]) * static_cast<double>(row[c]);
      }
    }
    count += rows.count;
  }
};

/// The sums of one layer, and the stream behind it in place of the stream that reached it.
class LayerTap final : public ActivationTap {
 public:
  explicit LayerTap(std::vector<float>& stream) : stream_(stream) {}

  void Rows(TapPoint point, std::int32_t /*layer*/, std::int32_t part, const TapRows& rows) override {
    if (point != TapPoint::kResidual) return squares_[{point, part}].Add(rows);
    for (std::int64_t i = 0; i < rows.count; ++i) {
      std::copy_n(rows.Row(i), rows.cols, stream_.begin() + next_);
      next_ += rows.cols;
    }
  }
  void Choices(std::int32_t, const std::int32_t*, const std::int32_t*, std::int64_t, std::int64_t) override {}

  const Squares* Find(TapPoint point, std::int32_t part) const {
    const auto it = squares_.find({point, part});
    return it == squares_.end() ? nullptr : &it->second;
  }

 private:
  std::vector<float>& stream_;
  std::int64_t next_ = 0;
  std::map<std::pair<TapPoint, std::int32_t>, Squares> squares_;
};

/// What parts `find` gives, of `columns` columns, of which there are `matrices`. Nothing where none was seen.
template <typename Find>
std::optional<quant::ImportanceEntry> Entry(std::int64_t columns, std::int64_t matrices, const Find& find) {
  quant::ImportanceEntry entry;
  entry.counts.resize(static_cast<std::size_t>(matrices));
  entry.sums.resize(static_cast<std::size_t>(matrices * columns));
  bool any = false;
  for (std::int64_t i = 0; i < matrices; ++i) {
    const Squares* squares = find(static_cast<std::int32_t>(i));
    if (squares == nullptr) continue;
    if (std::ssize(squares->sums) != columns) return {};  // a matrix of another shape has nothing to do with it
    any = true;
    entry.counts[static_cast<std::size_t>(i)] = static_cast<float>(squares->count);
    std::ranges::transform(squares->sums, entry.sums.begin() + i * columns,
                           [](double sum) { return static_cast<float>(sum); });
  }
  return any ? std::optional(std::move(entry)) : std::nullopt;
}

class Calibration {
 public:
  Calibration(const ModelSpec& spec, const ModelTensors& tensors, std::span<const quant::SourceTensor> sources,
              const CalibrationOptions& options)
      : spec_(spec), tensors_(tensors), sources_(sources), options_(options) {}

  Result<quant::ImportanceMatrix> Run(std::span<const tok::TokenId> tokens) {
    QUORUM_TRY(Start(tokens));
    for (std::size_t i = 0; i < spec_.layers.size(); ++i) QUORUM_TRY(Layer(i));
    matrix_.chunk_size = window_;
    matrix_.chunks = static_cast<std::int32_t>(Windows());
    return std::move(matrix_);
  }

 private:
  std::int64_t Windows() const { return (rows_ + window_ - 1) / window_; }

  /// Windows of tokens, and their embeddings as the stream that reaches the first layer.
  Status Start(std::span<const tok::TokenId> tokens) {
    if (!spec_.encoder.empty()) return Unsupported("an encoder-decoder cannot be calibrated by a text alone");
    if (tokens.empty()) return InvalidArgument("the calibration text has no tokens");
    window_ = std::min(options_.window, spec_.context_length);
    const std::int64_t own = window_ - (options_.bos ? 1 : 0);
    if (own < 1) return InvalidArgument(fmt::format("windows of {} tokens are too short", window_));
    std::vector<tok::TokenId> all;
    for (std::int64_t at = 0; at < std::ssize(tokens); at += own) {
      if (options_.bos) all.push_back(*options_.bos);
      const auto part = tokens.subspan(static_cast<std::size_t>(at),
                                       static_cast<std::size_t>(std::min(own, std::ssize(tokens) - at)));
      all.insert(all.end(), part.begin(), part.end());
    }
    rows_ = std::ssize(all);
    const std::int64_t bytes = rows_ * spec_.d_model * static_cast<std::int64_t>(sizeof(float));
    const MemoryLimit memory = options_.memory.available > 0 ? options_.memory : AvailableMemory();
    if (2 * bytes > memory.available || rows_ > (1 << 24)) {
      return InvalidArgument(
          fmt::format("a calibration text of {} tokens takes {} of memory, of which {} are available ({}): a part of "
                      "it will do",
                      rows_, FormatBytes(2 * bytes), FormatBytes(memory.available), memory.source));
    }
    stream_.resize(static_cast<std::size_t>(rows_ * spec_.d_model));
    for (std::int64_t row = 0; row < rows_; ++row) {
      const tok::TokenId token = all[static_cast<std::size_t>(row)];
      if (token < 0 || token >= spec_.vocab_size) {
        return InvalidArgument(fmt::format("token {} is outside the vocabulary of {}", token, spec_.vocab_size));
      }
      float* x = stream_.data() + row * spec_.d_model;
      tensors_.embedding.Row(token, x);
      if (spec_.embedding_scale == 1.0F) continue;
      for (std::int64_t c = 0; c < spec_.d_model; ++c) x[c] *= spec_.embedding_scale;
    }
    return {};
  }

  /// Layer `i` alone.
  Result<std::unique_ptr<Model>> Load(std::size_t i) const {
    ModelSpec spec = spec_;
    spec.layers = {spec_.layers[i]};
    spec.vocab_size = static_cast<std::int32_t>(rows_);
    spec.tied_embeddings = true;
    spec.logit_bias = false;
    spec.embedding_scale = 1.0F;
    ModelTensors layer;
    layer.layers = {tensors_.layers[i]};
    layer = ChooseWeights(layer, WeightChoice::kBf16);
    layer.final_norm = tensors_.final_norm;
    layer.final_norm_bias = tensors_.final_norm_bias;
    layer.position_bias = tensors_.position_bias;
    layer.embedding = {.name = "the stream between layers",
                       .type = quant::DType::kF32,
                       .rows = rows_,
                       .cols = spec_.d_model,
                       .data = std::as_bytes(std::span(stream_))};
    const std::span<const std::byte> stream = layer.embedding.data;
    LoadOptions options;
    options.pool = options_.pool;
    options.context = window_;
    options.max_batch = 1;
    options.kv_type = KvType::kF32;
    options.activations = ActPrecision::kInt16;  // nothing is quantized: matrices are floats
    options.max_step_tokens = window_;
    options.max_step_logits = 1;
    options.memory = options_.memory;
    options.quiet = true;
    const auto release = [&](std::span<const std::byte> part) -> Status {
      const bool ours = part.data() >= stream.data() && part.data() < stream.data() + stream.size();
      return ours || !options_.release ? Status() : options_.release(part);
    };
    auto model = Model::Create(std::move(spec), layer, options, release);
    if (!model.ok()) return Error{model.error().code, fmt::format("layer {}: {}", i, model.error().message), {}, {}};
    return model;
  }

  Status Layer(std::size_t i) {
    QUORUM_ASSIGN(const std::unique_ptr<Model> model, Load(i));
    LayerTap tap(stream_);  // the model has the stream that it reads itself
    model->SetTap(&tap);
    const bool last = i + 1 == spec_.layers.size();
    Squares final_rows;
    std::vector<tok::TokenId> ids(static_cast<std::size_t>(window_));
    std::vector<float> hidden(static_cast<std::size_t>(window_) * static_cast<std::size_t>(spec_.d_model));
    std::vector<std::int32_t> pages(static_cast<std::size_t>((window_ + kPageTokens - 1) / kPageTokens));
    std::iota(pages.begin(), pages.end(), 0);
    for (std::int64_t start = 0; start < rows_; start += window_) {
      const std::int64_t count = std::min<std::int64_t>(window_, rows_ - start);
      std::iota(ids.begin(), ids.end(), static_cast<tok::TokenId>(start));
      const StepSlice slice{.tokens = std::span(ids).first(static_cast<std::size_t>(count)),
                            .pos = 0,
                            .pages = pages,
                            .first_logits = static_cast<std::int32_t>(count),
                            .hidden = hidden.data()};
      QUORUM_TRY(model->Step({&slice, 1}, {}));
      if (last) final_rows.Add({hidden.data(), spec_.d_model, spec_.d_model, count, nullptr});
      const auto done = static_cast<std::int64_t>(i) * Windows() + start / window_ + 1;
      if (options_.progress && !options_.progress(done, Windows() * std::ssize(spec_.layers))) {
        return Error{ErrorCode::kCancelled, "calibration was interrupted", {}, {}};
      }
    }
    Keep(i, tap);
    if (last) KeepOutput(final_rows);
    return {};
  }

  void Keep(std::size_t layer, const LayerTap& tap) {
    for (const quant::SourceTensor& source : sources_) {
      const auto at = LayerAndRole(source.name);
      if (!at || at->first != layer || source.dims.size() < 2) continue;
      const std::optional<Reads> reads = ReadsOf(at->second);
      if (!reads || reads->stack != (source.dims.size() > 2)) continue;
      auto entry = Entry(source.dims[0], reads->stack ? source.dims[2] : 1,
                         [&](std::int32_t i) { return tap.Find(reads->point, reads->stack ? i : reads->part); });
      if (entry) matrix_.entries[source.name] = *std::move(entry);
    }
  }

  void KeepOutput(const Squares& rows) {
    const bool tied = std::ranges::none_of(sources_, [](const auto& source) { return source.name == "output.weight"; });
    for (const quant::SourceTensor& source : sources_) {
      if (source.name != (tied ? "token_embd.weight" : "output.weight")) continue;
      auto entry = Entry(source.dims[0], 1, [&](std::int32_t) { return &rows; });
      if (entry) matrix_.entries[source.name] = *std::move(entry);
    }
  }

  const ModelSpec& spec_;
  const ModelTensors& tensors_;
  std::span<const quant::SourceTensor> sources_;
  const CalibrationOptions& options_;
  std::int64_t rows_ = 0;
  std::int32_t window_ = 0;
  std::vector<float> stream_;  // (rows, d_model)
  quant::ImportanceMatrix matrix_;
};

}  // namespace

Result<quant::ImportanceMatrix> Calibrate(const ModelSpec& spec, const ModelTensors& tensors,
                                          std::span<const quant::SourceTensor> sources,
                                          std::span<const tok::TokenId> tokens, const CalibrationOptions& options) {
  return Calibration(spec, tensors, sources, options).Run(tokens);
}

}  // namespace quorum::engine
