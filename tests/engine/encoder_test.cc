// Encoder-decoder models: the forward pass against the scalar reference, and against itself: one answer on every kernel
// table, number of threads, batch, chunking and size of the encoder's blocks.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/kernels/dispatch.h"
#include "engine/model.h"
#include "engine/reference.h"
#include "tests/support/catch.h"
#include "tests/support/kernel_tables.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_t5.h"

namespace quorum::engine {
namespace {

using quant::DType;
using testing::LargestDifference;
using testing::MakeTinyT5;
using testing::RandomTokens;
using testing::RelativeError;
using testing::SameBits;
using testing::T5Run;
using testing::TinyT5;
using testing::TinyT5Shape;

struct Loaded {
  std::unique_ptr<TinyT5> tiny;
  std::unique_ptr<ThreadPool> pool;
  std::unique_ptr<Model> model;
};

struct How {
  KvType kv = KvType::kF32;
  int threads = 1;
  const KernelTable* kernels = nullptr;
  std::int32_t step_tokens = 300;
  ActPrecision activations = ActPrecision::kInt8;
};

Loaded Load(std::unique_ptr<TinyT5> tiny, const How& how = {}) {
  SetLogLevel(LogLevel::kError);
  Loaded loaded;
  loaded.tiny = std::move(tiny);
  loaded.pool = std::make_unique<ThreadPool>(how.threads);
  LoadOptions options;
  options.pool = loaded.pool.get();
  options.kernels = how.kernels;
  options.max_batch = 4;
  options.kv_type = how.kv;
  options.activations = how.activations;
  options.max_step_tokens = how.step_tokens;
  options.max_step_logits = how.step_tokens;
  Result<std::unique_ptr<Model>> model = Model::Create(loaded.tiny->spec, loaded.tiny->tensors, options);
  if (!model.ok()) UNSCOPED_INFO(model.error().message);
  REQUIRE(model.ok());
  loaded.model = std::move(model).value();
  return loaded;
}
Loaded Load(const TinyT5Shape& shape, const How& how = {}) { return Load(MakeTinyT5(shape), how); }

T5Run SomeRun(const Model& model, std::int64_t source, std::int64_t reply, std::uint64_t seed,
              std::int32_t first_page = 0) {
  return {RandomTokens(source, model.vocab_size(), seed), RandomTokens(reply, model.vocab_size(), seed + 1),
          first_page};
}

std::vector<float> Expected(const Loaded& loaded, const T5Run& run, bool round_activations = false) {
  return Reference(loaded.tiny->spec, loaded.tiny->tensors, round_activations).Logits(run.reply(), run.source());
}

TEST_CASE("Encoder and decoder give the reference's logits") {
  std::vector<TinyT5Shape> shapes(1);
  shapes.push_back({.experts = 5});
  shapes.push_back({.gated = true, .tied = false});
  shapes.push_back({.encoder_layers = 1, .decoder_layers = 3, .heads = 5, .head_dim = 16, .experts = 3, .gated = true});
  shapes.push_back({.max_distance = 100});
  for (const TinyT5Shape& shape : shapes) {
    CAPTURE(shape.experts, shape.gated, shape.max_distance);
    const Loaded loaded = Load(shape);
    CHECK(loaded.model->decoder_start() == 0);
    for (const std::int64_t source : {1, 37, 140}) {
      const T5Run run = SomeRun(*loaded.model, source, 70, 5);
      const std::vector<float> expected = Expected(loaded, run);
      CHECK(RelativeError(expected, std::vector<float>(expected.size(), 1e-3F)) > 1.0);
      CHECK(LargestDifference(run.Run(*loaded.model, 64), expected) < 3e-5);
    }
  }
}

TEST_CASE("The source, its order and both biases matter") {
  const Loaded loaded = Load(TinyT5Shape{});
  const std::vector<tok::TokenId> source = RandomTokens(30, 67, 1);
  const std::vector<tok::TokenId> reply = RandomTokens(20, 67, 2);
  const std::vector<float> logits = T5Run(source, reply).Run(*loaded.model, 20);
  std::vector<tok::TokenId> other = source;
  std::swap(other[3], other[20]);
  CHECK(LargestDifference(T5Run(other, reply).Run(*loaded.model, 20), logits) > 1e-3);
  for (const bool encoder : {true, false}) {
    auto tiny = MakeTinyT5({});
    (encoder ? tiny->tensors.encoder_position_bias : tiny->tensors.position_bias) =
        (encoder ? tiny->tensors.position_bias : tiny->tensors.encoder_position_bias);
    CHECK(LargestDifference(T5Run(source, reply).Run(*Load(std::move(tiny)).model, 20), logits) > 1e-3);
  }
}

TEST_CASE("Quantized encoder-decoders give nearly the reference's logits") {
  for (const DType type : {DType::kBF16, DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
    CAPTURE(quant::Info(type).name);
    const Loaded loaded = Load(TinyT5Shape{.encoder_layers = 2,
                                           .d_model = 256,
                                           .heads = 4,
                                           .head_dim = 64,
                                           .ff = 512,
                                           .experts = 3,
                                           .gated = type == DType::kQ4_K,
                                           .type = type},
                               {.activations = ActPrecision::kInt16});
    const T5Run run = SomeRun(*loaded.model, 20, 12, 8);
    CHECK(RelativeError(run.Run(*loaded.model, 12), Expected(loaded, run)) < 5e-3);
  }
}

std::vector<TinyT5Shape> BitShapes() {
  std::vector<TinyT5Shape> shapes = {{.experts = 4}, {.gated = true, .tied = false}};
  shapes.push_back(
      {.encoder_layers = 2, .d_model = 256, .heads = 4, .head_dim = 64, .ff = 256, .experts = 3, .type = DType::kQ4_K});
  return shapes;
}

TEST_CASE("Encoder-decoders: same bits on every kernel table, number of threads, chunk and block") {
  for (const TinyT5Shape& shape : BitShapes()) {
    const KvType kv = shape.gated ? KvType::kF32 : KvType::kInt8;
    const Loaded golden = Load(shape, {.kv = kv, .kernels = &ScalarKernels()});
    const T5Run run = SomeRun(*golden.model, 150, 90, 11);
    const std::vector<float> expected = run.Run(*golden.model, 90);
    for (const KernelTable* table : testing::AllTables()) {
      for (const int threads : {1, 3}) {
        const std::int32_t rows = threads == 1 ? 7 : 64;  // of a step, and so of a block of the encoder
        CAPTURE(shape.experts, table->name, threads);
        const Loaded loaded = Load(shape, {.kv = kv, .threads = threads, .kernels = table, .step_tokens = rows});
        CHECK(SameBits(run.Run(*loaded.model, rows), expected));
      }
    }
  }
}

TEST_CASE("Encoder-decoders: same bits alone and in a mixed batch") {
  for (const TinyT5Shape& shape : BitShapes()) {
    const Loaded loaded = Load(shape, {.kv = KvType::kInt8, .threads = 2});
    Model& model = *loaded.model;
    const auto vocab = static_cast<std::size_t>(model.vocab_size());
    std::vector<T5Run> runs;
    std::vector<std::vector<float>> alone;
    for (std::int32_t i = 0; i < 4; ++i) {
      runs.push_back(SomeRun(model, 1 + 47 * i, 20 + 7 * i, static_cast<std::uint64_t>(30 + i), 5 * i));
      alone.push_back(runs.back().Run(model, 1000));
    }
    // Step s encodes the source s, beside all who decode: the first and the second sources go together.
    std::vector<std::vector<float>> together(4);
    std::vector<std::int64_t> pos(4, -1);
    for (int step = 0;; ++step) {
      std::vector<StepSlice> slices;
      std::vector<std::pair<std::size_t, std::int64_t>> parts;
      std::int64_t rows = 0;
      for (std::size_t i = 0; i < 4; ++i) {
        const std::int64_t length = std::ssize(runs[i].reply());
        if (pos[i] < 0) {
          if (static_cast<int>(i) > step + 1) continue;
          slices.push_back(runs[i].Encoding());
          pos[i] = 0;
        } else if (pos[i] < length) {
          const std::int64_t count = std::min(length - pos[i], static_cast<std::int64_t>(1 + 2 * i));
          slices.push_back(runs[i].Decoding(pos[i], count));
          parts.emplace_back(i, count);
          pos[i] += count;
          rows += count;
        }
      }
      if (slices.empty()) break;
      std::vector<float> logits(static_cast<std::size_t>(rows) * vocab);
      REQUIRE(model.Step(slices, logits).ok());
      auto at = logits.begin();
      for (const auto& [i, count] : parts) {
        const auto end = at + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(count) * vocab);
        together[i].insert(together[i].end(), at, end);
        at = end;
      }
    }
    for (std::size_t i = 0; i < 4; ++i) {
      CAPTURE(shape.experts, i);
      CHECK(SameBits(together[i], alone[i]));
    }
  }
}

TEST_CASE("Experts of the encoder are counted behind those of the decoder, once a token") {
  const Loaded loaded = Load(TinyT5Shape{.experts = 4});
  SomeRun(*loaded.model, 100, 33, 3).Run(*loaded.model, 10);
  const ExpertStats stats = loaded.model->expert_stats();
  REQUIRE(stats.layers == 5);  // two of the decoder, three of the encoder; the second of each has experts
  REQUIRE(stats.experts == 4);
  const auto tokens = [&](std::int32_t layer) {
    std::uint64_t sum = 0;
    for (std::int32_t e = 0; e < 4; ++e) sum += stats.tokens[static_cast<std::size_t>(layer * 4 + e)];
    return sum;
  };
  CHECK(tokens(0) == 0);
  CHECK(tokens(1) == 33);
  CHECK(tokens(2) == 0);
  CHECK(tokens(3) == 100);
  CHECK(tokens(4) == 0);
}

TEST_CASE("Slices that do not fit an encoder-decoder are refused") {
  const Loaded loaded = Load(TinyT5Shape{}, {.step_tokens = 64});
  Model& model = *loaded.model;
  const T5Run run = SomeRun(model, 100, 10, 3);
  std::vector<float> logits(static_cast<std::size_t>(10 * model.vocab_size()));
  const auto refused = [&](const StepSlice& slice) {
    const Status status = model.Step({&slice, 1}, logits);
    return !status.ok() && status.error().code == ErrorCode::kInvalidArgument;
  };
  CHECK_FALSE(refused(run.Encoding()));  // longer than a step has rows
  CHECK_FALSE(refused(run.Decoding(0, 10)));
  StepSlice slice = run.Encoding();
  slice.first_logits = 99;
  CHECK(refused(slice));
  slice = run.Encoding();
  slice.pos = 1;
  CHECK(refused(slice));
  slice = run.Encoding();
  slice.pages = slice.pages.first(1);
  CHECK(refused(slice));
  slice = run.Decoding(0, 10);
  slice.source_tokens = 0;
  CHECK(refused(slice));
  slice = run.Decoding(0, 10);
  slice.source_tokens = 1000;
  CHECK(refused(slice));
  slice = run.Decoding(0, 10);
  slice.source_pages = slice.source_pages.first(1);
  CHECK(refused(slice));
  const std::vector<StepSlice> many(6, run.Encoding());  // 600 tokens, the context has 512
  CHECK_FALSE(model.Step(many, logits).ok());

  const testing::LoadedTiny decoder = testing::LoadTiny(testing::TinyShape{});
  const StepSlice source = run.Encoding();
  CHECK_FALSE(decoder.model->Step({&source, 1}, logits).ok());
}

TEST_CASE("Specs and tensors that do not make an encoder-decoder are refused") {
  const auto tiny = MakeTinyT5({});
  REQUIRE(CheckSpec(tiny->spec).ok());
  REQUIRE(CheckTensors(tiny->spec, tiny->tensors).ok());
  const auto bad_spec = [&](auto edit) {
    ModelSpec spec = tiny->spec;
    edit(spec);
    return !CheckSpec(spec).ok();
  };
  CHECK(bad_spec([](ModelSpec& spec) { spec.decoder_start = 67; }));
  CHECK(bad_spec([](ModelSpec& spec) { spec.rope.dims = 8; }));
  CHECK(bad_spec([](ModelSpec& spec) { spec.layers[0].window = 5; }));
  CHECK(bad_spec([](ModelSpec& spec) { spec.attention.qkv_bias = true; }));
  CHECK(bad_spec([](ModelSpec& spec) { spec.encoder[1].experts = 2, spec.router.top_k = 3; }));
  CHECK(bad_spec([](ModelSpec& spec) { spec.relative_bias.max_distance = 3; }));
  const auto bad_tensors = [&](auto edit) {
    ModelTensors tensors = tiny->tensors;
    edit(tensors);
    return !CheckTensors(tiny->spec, tensors).ok();
  };
  CHECK(bad_tensors([](ModelTensors& tensors) { tensors.layers[1].cross.reset(); }));
  CHECK(bad_tensors([](ModelTensors& tensors) { tensors.encoder[0].cross = tensors.layers[0].cross; }));
  CHECK(bad_tensors([](ModelTensors& tensors) { tensors.layers[0].cross->k.rows = 1; }));
  CHECK(bad_tensors([](ModelTensors& tensors) { tensors.encoder.pop_back(); }));
  CHECK(bad_tensors([](ModelTensors& tensors) { tensors.encoder_norm.reset(); }));
  CHECK(bad_tensors([](ModelTensors& tensors) { tensors.position_bias.reset(); }));
  CHECK(bad_tensors(
      [](ModelTensors& tensors) { tensors.layers[0].networks[0].gate = tensors.layers[0].networks[0].up; }));
}

}  // namespace
}  // namespace quorum::engine
