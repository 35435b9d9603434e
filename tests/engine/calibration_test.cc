// What calibration takes down: exact counts, squares that a look at the activations gives too, within one layer's
// memory.
#include "engine/calibration.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/activation_tap.h"
#include "engine/base/log.h"
#include "engine/gguf_export.h"
#include "engine/model_files.h"
#include "engine/text_run.h"
#include "engine/weight_choice.h"
#include "tests/quant/scratch.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"

namespace quorum::engine {
namespace {

constexpr std::int64_t kTokens = 150;
constexpr std::int32_t kWindow = 64;

/// Sums of squares over a whole model, by place.
class Sums final : public ActivationTap {
 public:
  void Rows(TapPoint point, std::int32_t layer, std::int32_t part, const TapRows& rows) override {
    std::vector<double>& sums = squares[{layer, point, part}];
    sums.resize(static_cast<std::size_t>(rows.cols));
    for (std::int64_t i = 0; i < rows.count; ++i) {
      for (std::int64_t c = 0; c < rows.cols; ++c) {
        sums[static_cast<std::size_t>(c)] += static_cast<double>(rows.Row(i)[c]) * static_cast<double>(rows.Row(i)[c]);
      }
    }
  }
  void Choices(std::int32_t, const std::int32_t*, const std::int32_t*, std::int64_t, std::int64_t) override {}
  std::map<std::tuple<std::int32_t, TapPoint, std::int32_t>, std::vector<double>> squares;
};

std::vector<float> AsFloats(const std::vector<double>& sums) { return {sums.begin(), sums.end()}; }

quant::ImportanceMatrix Calibrated(const ModelFiles& files, std::span<const quant::SourceTensor> sources,
                                   std::span<const tok::TokenId> tokens, int threads,
                                   std::optional<tok::TokenId> bos = {}) {
  ThreadPool pool(threads);
  CalibrationOptions options;
  options.pool = &pool;
  options.window = kWindow;
  options.bos = bos;
  auto matrix = Calibrate(files.spec(), files.tensors(), sources, tokens, options);
  if (!matrix.ok()) FAIL(matrix.error().message);
  return std::move(matrix).value();
}

std::vector<quant::SourceTensor> SourcesOf(const ModelFiles& files) {
  if (files.gguf() != nullptr) return quant::SourcesOf(*files.gguf());
  auto sources = GgufTensorsOf(files.spec(), files.tensors(), {});
  if (!sources.ok()) FAIL(sources.error().message);
  return std::move(sources).value();
}

bool IsRouter(const std::string& name) { return name.find("ffn_gate_inp") != std::string::npos; }

/// Every matrix of every layer is known, and layer by layer gives what the whole model shows.
void CheckModel(const std::string& path) {
  INFO(path);
  const auto files = ModelFiles::Open(path);
  REQUIRE(files.ok());
  const ModelSpec& spec = (*files)->spec();
  const auto tokens = testing::RandomTokens(kTokens, spec.vocab_size, 3);
  const auto sources = SourcesOf(**files);
  const quant::ImportanceMatrix matrix = Calibrated(**files, sources, tokens, 2);
  const bool tied = std::ranges::none_of(sources, [](const auto& source) { return source.name == "output.weight"; });
  for (const quant::SourceTensor& source : sources) {
    if (source.dims.size() < 2 || !source.name.ends_with(".weight") || IsRouter(source.name) ||
        (!tied && source.name == "token_embd.weight"))
      continue;
    INFO(source.name);
    const quant::ImportanceEntry* entry = matrix.Find(source.name);
    REQUIRE(entry != nullptr);
    CHECK(entry->columns() == source.dims[0]);
    CHECK(entry->matrices() == (source.dims.size() > 2 ? source.dims[2] : 1));
    const float visits = source.name.find("_exps") == std::string::npos ? static_cast<float>(entry->matrices())
                                                                        : static_cast<float>(spec.router.top_k);
    if (source.name.find("ffn_") == std::string::npos || source.dims.size() > 2) {
      CHECK(std::accumulate(entry->counts.begin(), entry->counts.end(), 0.0F) == visits * static_cast<float>(kTokens));
    }
  }

  ThreadPool pool(1);
  LoadOptions options;
  options.pool = &pool;
  options.max_batch = 1;
  options.context = kWindow;
  options.max_step_tokens = kTextRows;
  options.max_step_logits = kTextRows;
  options.kv_type = KvType::kF32;
  ModelTensors layers = ChooseWeights((*files)->tensors(), WeightChoice::kBf16);
  layers.embedding = (*files)->tensors().embedding;  // calibration reads it as it is
  auto whole = Model::Create(spec, layers, options);
  if (!whole.ok()) FAIL(whole.error().message);
  Sums sums;
  (*whole)->SetTap(&sums);
  REQUIRE(RunText(**whole, tokens, {.window = kWindow}, [](const TextRows&) { return Status(); }).ok());
  (*whole)->SetTap(nullptr);
  std::int64_t compared = 0;
  for (const auto& [place, squares] : sums.squares) {
    const auto& [layer, point, part] = place;
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    const auto same = [&](const std::string& role, std::int32_t at) {
      const quant::ImportanceEntry* entry = matrix.Find(prefix + role + ".weight");
      if (entry == nullptr) return;
      INFO(prefix + role);
      const auto begin = entry->sums.begin() + at * entry->columns();
      CHECK(std::vector<float>(begin, begin + entry->columns()) == AsFloats(squares));
      ++compared;
    };
    switch (point) {
      case TapPoint::kAttentionInput: same("attn_q", 0); break;
      case TapPoint::kAttentionOutput: same("attn_output", 0); break;
      case TapPoint::kQueryLatent: same("attn_q_b", 0); break;
      case TapPoint::kQueryHead: same("attn_k_b", part); break;
      case TapPoint::kMixedHead: same("attn_v_b", part); break;
      case TapPoint::kFfnHidden:
        if (part >= 0) same("ffn_down_exps", part);
        if (part == ActivationTap::kWhole) same("ffn_down", 0);
        break;
      default: break;
    }
  }
  CHECK(compared >= 2 * std::ssize(spec.layers));
}

TEST_CASE("Calibration knows all matrices of every family, in files and folders") {
  SetLogLevel(LogLevel::kError);
  const std::string folder = QUORUM_FIXTURES "/model/";
  for (const char* name : {"llama.gguf",
                           "llama_bias.gguf",
                           "deepseek2.gguf",
                           "deepseek2_lite.gguf",
                           "deepseek3.gguf",
                           "gpt_oss.gguf",
                           "granitemoe_shared.gguf",
                           "grok_caps.gguf",
                           "mixtral.gguf",
                           "olmoe.gguf",
                           "phi3.gguf",
                           "phimoe.gguf",
                           "qwen2_moe.gguf",
                           "qwen3_moe.gguf",
                           "smollm3.gguf",
                           "deepseek3",
                           "gpt_oss_mxfp4",
                           "granitemoe",
                           "phi3",
                           "qwen2_moe_sparse",
                           "mixtral_awq",
                           "qwen3_moe_fp8"}) {
    CheckModel(folder + name);
  }
}

testing::TinyShape Mixture() {
  testing::TinyShape shape;
  shape.architecture = "qwen2moe";
  shape.experts = 6;
  shape.top_k = 2;
  shape.shared_ff = 32;
  return shape;
}

std::unique_ptr<ModelFiles> WriteAndOpen(const testing::TinyShape& shape, const std::string& path) {
  testing::WriteTiny(shape, path);
  auto files = ModelFiles::Open(path);
  if (!files.ok()) FAIL(files.error().message);
  return std::move(files).value();
}

TEST_CASE("Squares are those of the rows that experts read, whatever the number of threads") {
  const quant::Folder folder;
  const auto files = WriteAndOpen(Mixture(), folder / "a.gguf");
  const auto sources = SourcesOf(*files);
  const auto tokens = testing::RandomTokens(kTokens, files->spec().vocab_size, 3);
  const quant::ImportanceMatrix matrix = Calibrated(*files, sources, tokens, 1);
  const quant::ImportanceMatrix again = Calibrated(*files, sources, tokens, 2);
  for (const auto& [name, entry] : matrix.entries) {
    INFO(name);
    REQUIRE(again.Find(name) != nullptr);
    CHECK(again.Find(name)->sums == entry.sums);
    CHECK(again.Find(name)->counts == entry.counts);
  }
  CHECK(matrix.chunk_size == kWindow);
  CHECK(matrix.chunks == 3);

  // From another place: what a trace says that networks have read, by two experts a row.
  auto tiny = testing::LoadTiny(Mixture());
  double squares = 0;
  const TextRun run{.window = kWindow, .trace = true, .parts = {.inputs = true}};
  REQUIRE(RunText(*tiny.model, tokens, run, [&](const TextRows& rows) -> Status {
            for (std::int64_t i = 0; i < std::ssize(rows.losses); ++i) {
              for (const float x : rows.trace->Input(1, i)) squares += static_cast<double>(x) * static_cast<double>(x);
            }
            return {};
          }).ok());
  const quant::ImportanceEntry* up = matrix.Find("blk.1.ffn_up_exps.weight");
  REQUIRE(up != nullptr);
  const double sum = std::accumulate(up->sums.begin(), up->sums.end(), 0.0);
  CHECK(std::abs(sum - 2 * squares) < 0.02 * sum);  // the one ran in bf16, the other in f32
  const quant::ImportanceEntry* shared = matrix.Find("blk.1.ffn_up_shexp.weight");
  REQUIRE(shared != nullptr);
  CHECK(shared->counts == std::vector<float>{static_cast<float>(kTokens)});
}

TEST_CASE("Experts that no token visited are named, and have neither counts nor sums") {
  const quant::Folder folder;
  const auto files = WriteAndOpen(Mixture(), folder / "a.gguf");
  const auto tokens = testing::RandomTokens(2, files->spec().vocab_size, 3);
  const quant::ImportanceMatrix matrix = Calibrated(*files, SourcesOf(*files), tokens, 1);
  const quant::ImportanceEntry* down = matrix.Find("blk.0.ffn_down_exps.weight");
  REQUIRE(down != nullptr);
  const std::vector<std::string> unvisited = matrix.Unvisited();
  std::int64_t missing = 0;
  for (std::int64_t e = 0; e < 6; ++e) {
    const bool none = down->counts[static_cast<std::size_t>(e)] == 0.0F;
    missing += none ? 1 : 0;
    const std::string name = "blk.0.ffn_down_exps.weight[" + std::to_string(e) + "]";
    CHECK((std::ranges::find(unvisited, name) != unvisited.end()) == none);
    CHECK(matrix.Means("blk.0.ffn_down_exps.weight", e, down->columns()).empty() == none);
  }
  CHECK(missing >= 2);
}

TEST_CASE("A BOS stands before each window's tokens") {
  const quant::Folder folder;
  const auto files = WriteAndOpen(Mixture(), folder / "a.gguf");
  const auto sources = SourcesOf(*files);
  const auto tokens = testing::RandomTokens(kTokens, files->spec().vocab_size, 3);
  std::vector<tok::TokenId> with;
  for (std::int64_t i = 0; i < kTokens; ++i) {
    if (i % (kWindow - 1) == 0) with.push_back(1);
    with.push_back(tokens[static_cast<std::size_t>(i)]);
  }
  const auto bos = Calibrated(*files, sources, tokens, 1, 1);
  const auto plain = Calibrated(*files, sources, with, 1);
  CHECK(bos.entries.size() == plain.entries.size());
  for (const auto& [name, entry] : plain.entries) CHECK(bos.entries.at(name).sums == entry.sums);
}

TEST_CASE("Calibration needs the memory of a layer, not of the model") {
  SetLogLevel(LogLevel::kError);
  const quant::Folder folder;
  testing::TinyShape shape = Mixture();
  shape.layers = 24;
  shape.d_model = 256;
  shape.ff = 512;
  const auto files = WriteAndOpen(shape, folder / "a.gguf");
  const auto sources = SourcesOf(*files);
  const auto tokens = testing::RandomTokens(40, files->spec().vocab_size, 3);
  ThreadPool pool(1);
  CalibrationOptions options;
  options.pool = &pool;
  options.window = kWindow;
  LoadOptions whole;
  whole.pool = &pool;
  whole.max_batch = 1;
  whole.context = kWindow;
  whole.max_step_tokens = kWindow;
  whole.weights = WeightChoice::kBf16;
  options.memory = whole.memory = {std::int64_t{24} << 20, "this test"};
  CHECK_FALSE(Model::Load(folder / "a.gguf", whole).ok());
  CHECK(Calibrate(files->spec(), files->tensors(), sources, tokens, options).ok());
  options.memory.available = std::int64_t{1} << 20;
  const auto layer = Calibrate(files->spec(), files->tensors(), sources, tokens, options);
  REQUIRE_FALSE(layer.ok());
  CHECK(layer.error().message.starts_with("layer 0: "));
  options.memory.available = 50'000;
  const auto text = Calibrate(files->spec(), files->tensors(), sources, tokens, options);
  REQUIRE_FALSE(text.ok());
  CHECK(text.error().message.find("40 tokens") != std::string::npos);
}

TEST_CASE("Calibration says what it cannot do, and stops when told to") {
  SetLogLevel(LogLevel::kError);
  ThreadPool pool(1);
  CalibrationOptions options;
  options.pool = &pool;
  const auto t5 = ModelFiles::Open(QUORUM_FIXTURES "/model/flan_t5.gguf");
  REQUIRE(t5.ok());
  const std::vector<tok::TokenId> tokens = {1, 2, 3};
  const auto refused = Calibrate((*t5)->spec(), (*t5)->tensors(), SourcesOf(**t5), tokens, options);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == ErrorCode::kUnsupported);
  const auto llama = ModelFiles::Open(QUORUM_FIXTURES "/model/llama.gguf");
  REQUIRE(llama.ok());
  const auto run = [&](std::span<const tok::TokenId> text) {
    return Calibrate((*llama)->spec(), (*llama)->tensors(), SourcesOf(**llama), text, options);
  };
  CHECK_FALSE(run({}).ok());
  const std::vector<tok::TokenId> outside = {1, (*llama)->spec().vocab_size};
  CHECK_FALSE(run(outside).ok());
  options.progress = [](std::int64_t done, std::int64_t total) { return done + 1 < total; };
  const auto stopped = run(tokens);
  REQUIRE_FALSE(stopped.ok());
  CHECK(stopped.error().code == ErrorCode::kCancelled);
}

}  // namespace
}  // namespace quorum::engine
