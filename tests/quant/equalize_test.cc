// Equalization: what the model computes stays, what is quantized gets more even.
#include "quant/equalize.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

constexpr std::int64_t kModel = 8, kHeads = 4, kKv = 2, kHead = 2, kFf = 6, kExperts = 3;

struct Made {
  std::map<std::string, std::vector<float>> values;
  std::vector<SourceTensor> sources;

  void Add(const std::string& name, std::vector<std::int64_t> dims, std::mt19937& random) {
    std::int64_t n = 1;
    for (const std::int64_t dim : dims) n *= dim;
    std::normal_distribution<float> normal;
    std::vector<float>& x = values[name];
    for (std::int64_t i = 0; i < n; ++i) x.push_back(normal(random));
    SourceTensor source;
    source.name = name;
    source.dims = std::move(dims);
    source.read = [&x, cols = source.dims[0]](std::int64_t first, std::int64_t count, float* dst) {
      std::copy_n(x.begin() + first * cols, count * cols, dst);
    };
    sources.push_back(std::move(source));
  }

  std::vector<float> Read(const std::string& name) const {
    for (const SourceTensor& source : sources) {
      if (source.name != name) continue;
      std::vector<float> out(static_cast<std::size_t>(source.rows() * source.dims[0]));
      source.read(0, source.rows(), out.data());
      return out;
    }
    return {};
  }
};

bool Near(float a, float b) { return std::fabs(a - b) <= 1e-5F * (std::fabs(a) + std::fabs(b)); }

TEST_CASE("Equalizing keeps every product and evens the channels") {
  std::mt19937 random(3);
  Made made;
  const std::string p = "blk.0.";
  made.Add(p + "attn_norm.weight", {kModel}, random);
  made.Add(p + "attn_q.weight", {kModel, kHeads * kHead}, random);
  made.Add(p + "attn_k.weight", {kModel, kKv * kHead}, random);
  made.Add(p + "attn_v.weight", {kModel, kKv * kHead}, random);
  made.Add(p + "attn_v.bias", {kKv * kHead}, random);
  made.Add(p + "attn_output.weight", {kHeads * kHead, kModel}, random);
  made.Add(p + "ffn_norm.weight", {kModel}, random);
  made.Add(p + "ffn_gate_inp.weight", {kModel, kExperts}, random);
  made.Add(p + "ffn_gate_exps.weight", {kModel, kFf, kExperts}, random);
  made.Add(p + "ffn_up_exps.weight", {kModel, kFf, kExperts}, random);
  made.Add(p + "ffn_down_exps.weight", {kFf, kModel, kExperts}, random);
  ImportanceMatrix matrix;
  const auto squares = [&](std::size_t n) {
    std::vector<float> out;
    for (std::size_t i = 0; i < n; ++i) out.push_back(std::exp(std::normal_distribution<float>(0, 2)(random)));
    return out;
  };
  matrix.entries[p + "attn_q.weight"] = {squares(kModel), {1}};
  matrix.entries[p + "attn_output.weight"] = {squares(kHeads * kHead), {1}};
  matrix.entries[p + "ffn_gate_exps.weight"] = {squares(kModel * kExperts), {1, 2, 0}};
  matrix.entries[p + "ffn_down_exps.weight"] = {squares(kFf * kExperts), {1, 2, 0}};
  const ImportanceMatrix before = matrix;

  QuantizePlan plan;
  plan.base = *FindEncoding("q8_0");
  const auto pairs = Equalize({"llama", kHeads, kKv}, {plan, 1, {}}, made.sources, matrix);
  REQUIRE(pairs.ok());
  CHECK(*pairs == 4);
  const auto at = [](const std::vector<float>& x, std::int64_t i) { return x[static_cast<std::size_t>(i)]; };
  bool changed = false;
  // A norm's weight times a column.
  for (const auto& [norm, reader] : {std::pair{"attn_norm", "attn_q"}, std::pair{"attn_norm", "attn_k"},
                                     std::pair{"ffn_norm", "ffn_gate_inp"}, std::pair{"ffn_norm", "ffn_gate_exps"}}) {
    const std::string norm_name = p + norm + ".weight";
    const std::string name = p + reader + ".weight";
    const auto g = made.Read(norm_name);
    const auto w = made.Read(name);
    for (std::size_t i = 0; i < w.size(); ++i) {
      CHECK(Near(g[i % kModel] * w[i], made.values[norm_name][i % kModel] * made.values[name][i]));
      changed = changed || !Near(w[i], made.values[name][i]);
    }
  }
  CHECK(changed);
  // norm x V x output, through the group of each head.
  const auto g = made.Read(p + "attn_norm.weight");
  const auto v = made.Read(p + "attn_v.weight");
  const auto o = made.Read(p + "attn_output.weight");
  const auto b = made.Read(p + "attn_v.bias");
  for (std::int64_t row = 0; row < kModel; ++row) {
    for (std::int64_t c = 0; c < kHeads * kHead; ++c) {
      const std::int64_t source = c / kHead / (kHeads / kKv) * kHead + c % kHead;
      const float out_now = at(o, row * kHeads * kHead + c);
      const float out_then = at(made.values[p + "attn_output.weight"], row * kHeads * kHead + c);
      CHECK(Near(out_now * at(b, source), out_then * at(made.values[p + "attn_v.bias"], source)));
      for (std::int64_t k = 0; k < kModel; ++k) {
        CHECK(Near(out_now * at(v, source * kModel + k) * at(g, k),
                   out_then * at(made.values[p + "attn_v.weight"], source * kModel + k) *
                       at(made.values[p + "attn_norm.weight"], k)));
      }
    }
  }
  // norm x up x down of each expert.
  const auto gf = made.Read(p + "ffn_norm.weight");
  const auto up = made.Read(p + "ffn_up_exps.weight");
  const auto down = made.Read(p + "ffn_down_exps.weight");
  for (std::int64_t e = 0; e < kExperts; ++e) {
    for (std::int64_t h = 0; h < kFf; ++h) {
      const std::int64_t u = (e * kFf + h) * kModel + 1;
      const std::int64_t d = (e * kModel + 2) * kFf + h;
      CHECK(Near(at(gf, 1) * at(up, u) * at(down, d), at(made.values[p + "ffn_norm.weight"], 1) *
                                                          at(made.values[p + "ffn_up_exps.weight"], u) *
                                                          at(made.values[p + "ffn_down_exps.weight"], d)));
    }
  }
  // What is said of the channels is of the new model: log squares are halved about their middle.
  const auto spread = [](const std::vector<float>& x) {
    double sum = 0, squares_sum = 0;
    for (const float value : x) {
      sum += std::log(static_cast<double>(value));
      squares_sum += std::log(static_cast<double>(value)) * std::log(static_cast<double>(value));
    }
    const auto n = static_cast<double>(x.size());
    return squares_sum / n - sum / n * sum / n;
  };
  const std::string q = p + "attn_q.weight";
  CHECK(spread(matrix.Find(q)->sums) < 0.3 * spread(before.Find(q)->sums));

  const auto stopped =
      Equalize({"llama", kHeads, kKv}, {plan, 1, [](auto, auto) { return false; }}, made.sources, matrix);
  REQUIRE_FALSE(stopped.ok());
  CHECK(stopped.error().code == ErrorCode::kCancelled);
  CHECK_FALSE(Equalize({"gpt-oss", kHeads, kKv}, {plan, 1, {}}, made.sources, matrix).ok());
  CHECK_FALSE(Equalize({"llama", 3, 2}, {plan, 1, {}}, made.sources, matrix).ok());
}

}  // namespace
}  // namespace quorum::quant
