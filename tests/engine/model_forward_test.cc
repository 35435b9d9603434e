// The forward pass against the scalar reference, and against itself: one answer on every kernel table, number of
// threads, batch and chunking.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/cpu.h"
#include "engine/kernels/dispatch.h"
#include "engine/model.h"
#include "engine/reference.h"
#include "tests/support/catch.h"
#include "tests/support/kernel_tables.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

using quant::DType;
using testing::AllTables;
using testing::LargestDifference;
using testing::LoadedTiny;
using testing::LoadTiny;
using testing::RandomTokens;
using testing::RelativeError;
using testing::RunSequence;
using testing::SameBits;
using testing::TinyShape;

TinyShape Shape(const std::string& architecture) {
  TinyShape shape;
  shape.architecture = architecture;
  if (architecture == "qwen2moe") {
    shape.experts = 5;
    shape.shared_ff = 80;
  } else if (architecture == "qwen3moe" || architecture == "olmoe" || architecture == "grok") {
    shape.experts = 6;
    shape.top_k = 3;
  } else if (architecture == "gpt-oss") {
    shape = {.architecture = architecture, .heads = 6, .ff = 72, .experts = 6, .top_k = 3, .window = 20, .tied = false};
  } else if (architecture == "phimoe") {
    shape = {.architecture = architecture, .heads = 3, .kv_heads = 1, .experts = 6, .tied = false};
  } else if (architecture == "granitemoe") {
    shape.experts = 6;
    shape.shared_ff = 40;
    shape.edit = [](quant::GgufWriter& file) {
      file.SetFloat32("granitemoe.attention.scale", 0.1F);
      file.SetFloat32("granitemoe.embedding_scale", 12.0F);
      file.SetFloat32("granitemoe.residual_scale", 0.3F);
      file.SetFloat32("granitemoe.logit_scale", 6.0F);
    };
  } else if (architecture == "smollm3") {
    shape.layers = 4;
  }
  return shape;
}

/// Multi-head latent attention with sizes that are no whole vectors or panels.
TinyShape LatentShape() {
  TinyShape shape;
  shape.architecture = "deepseek2";
  shape.heads = 3;
  shape.head_dim = 20;  // 12 and 8 rotated
  shape.experts = 6;
  shape.top_k = 2;
  return shape;
}

/// As newer DeepSeek files have it: low-rank queries, split matrices, groups of experts, blocks of 32.
TinyShape SplitLatentShape(DType type) {
  TinyShape shape = LatentShape();
  shape.heads = 5;
  shape.head_dim = 40;
  shape.kv_rank = 64;
  shape.q_rank = 96;
  shape.value_dim = 32;
  shape.split_kv_b = true;
  shape.experts = 9;
  shape.top_k = 3;
  shape.groups = 3;
  shape.top_groups = 2;
  shape.shared_ff = 64;
  shape.type = type;
  return shape;
}

/// Everything in one file type that all block sizes divide.
TinyShape BlockShape(DType type, std::int32_t experts = 0) {
  TinyShape shape;
  shape.d_model = 256;
  shape.heads = 4;
  shape.head_dim = 64;
  shape.ff = 512;
  shape.experts = experts;
  shape.type = type;
  return shape;
}

std::vector<float> Expected(const LoadedTiny& loaded, std::span<const tok::TokenId> tokens,
                            bool round_activations = false) {
  return Reference(loaded.tiny->spec, loaded.tiny->tensors, round_activations).Logits(tokens);
}

TEST_CASE("Float weights give the reference's logits") {
  std::vector<TinyShape> shapes;
  for (const char* name : {"llama", "qwen2", "qwen2moe", "qwen3", "qwen3moe", "olmoe", "gpt-oss", "phimoe", "grok",
                           "granitemoe", "smollm3"}) {
    shapes.push_back(Shape(name));
  }
  shapes.push_back({.experts = 4});  // Mixtral
  shapes.push_back({.experts = 4, .top_k = 4, .single_experts = true});
  shapes.push_back({.tied = false, .biases = true});
  shapes.push_back({.window = 24});
  shapes.push_back({.heads = 3, .kv_heads = 1, .head_dim = 8, .vocab = 70});  // widths that are no whole panels
  shapes.push_back({.d_model = 40, .ff = 56, .vocab = 33, .experts = 3});
  shapes.push_back(LatentShape());
  shapes.push_back(SplitLatentShape(DType::kF32));
  for (const TinyShape& shape : shapes) {
    CAPTURE(shape.architecture, shape.experts, shape.window, shape.tied, shape.d_model);
    const LoadedTiny loaded = LoadTiny(shape);
    const std::vector<tok::TokenId> tokens = RandomTokens(70, loaded.model->vocab_size(), 5);
    const std::vector<float> expected = Expected(loaded, tokens);
    CHECK(RelativeError(expected, std::vector<float>(expected.size(), 1e-3F)) > 1.0);  // logits are not all but zero
    CHECK(LargestDifference(RunSequence(*loaded.model, tokens, 64), expected) < 2e-5);
  }
}

TEST_CASE("Rope scalings and further settings are honoured") {
  const auto with = [](auto edit) {
    TinyShape shape = Shape("llama");
    shape.edit = edit;
    return shape;
  };
  std::vector<TinyShape> shapes;
  shapes.push_back(with([](quant::GgufWriter& file) {
    file.SetString("llama.rope.scaling.type", "linear");
    file.SetFloat32("llama.rope.scaling.factor", 4.0F);
  }));
  shapes.push_back(with([](quant::GgufWriter& file) {
    file.SetString("llama.rope.scaling.type", "yarn");
    file.SetFloat32("llama.rope.scaling.factor", 8.0F);
    file.SetUint32("llama.rope.scaling.original_context_length", 64);
  }));
  shapes.push_back(with([](quant::GgufWriter& file) {
    static const std::vector<float> factors = {1, 1, 1.5F, 2, 4, 8, 8, 8};
    file.AddTensor("rope_freqs.weight", DType::kF32, {8}, std::as_bytes(std::span(factors)));
  }));
  shapes.push_back(with([](quant::GgufWriter& file) { file.SetFloat32("llama.attention.scale", 0.4F); }));
  shapes.push_back(with([](quant::GgufWriter& file) { file.SetUint32("llama.rope.dimension_count", 8); }));
  const LoadedTiny plain = LoadTiny(Shape("llama"));
  const std::vector<tok::TokenId> tokens = RandomTokens(70, plain.model->vocab_size(), 6);
  const std::vector<float> unscaled = RunSequence(*plain.model, tokens, 64);
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    CAPTURE(i);
    const LoadedTiny loaded = LoadTiny(shapes[i]);
    const std::vector<float> logits = RunSequence(*loaded.model, tokens, 64);
    CHECK(LargestDifference(logits, unscaled) > 1e-3);
    CHECK(LargestDifference(logits, Expected(loaded, tokens)) < 2e-5);
  }
}

TEST_CASE("Parts that no architecture uses yet: soft-cap, sinks, multipliers, router scores") {
  auto tiny = testing::MakeTinyModel({.experts = 6, .top_k = 3});
  ModelSpec& spec = tiny->spec;
  std::vector<float> sinks = {0.5F, -1.0F, 2.0F, 0.0F};
  SECTION("soft-cap") { spec.attention.softcap = 0.7F; }
  SECTION("sinks") {
    spec.attention.sinks = true;
    for (LayerTensors& layer : tiny->tensors.layers) {
      layer.sinks = TensorRef{"sinks", DType::kF32, 1, 4, std::as_bytes(std::span(sinks))};
    }
  }
  SECTION("multipliers") {
    spec.embedding_scale = 3.0F;
    spec.residual_scale = 0.6F;
    spec.logit_scale = 0.25F;
  }
  SECTION("soft-caps of logits and router") {
    spec.logit_softcap = 0.5F;
    spec.router.softcap = 0.2F;
  }
  SECTION("clamped SwiGLU") { spec.activation = Activation::kClampedSwiGlu; }
  SECTION("no rotation in a layer") { spec.layers[1].rope = false; }
  SECTION("SparseMixer") {
    spec.router = {RouterScore::kSparseMixer, 3, false, 1.0F};
    spec.router.jitter = 0.2F;
  }
  SECTION("softmax over the chosen") { spec.router = {RouterScore::kTopKSoftmax, 3, false, 1.5F}; }
  SECTION("sigmoid") { spec.router = {RouterScore::kSigmoid, 3, false, 1.0F}; }
  SECTION("sigmoid, renormalised and scaled") { spec.router = {RouterScore::kSigmoid, 2, true, 2.5F}; }
  const LoadedTiny plain = LoadTiny(TinyShape{.experts = 6, .top_k = 3});
  const LoadedTiny loaded = LoadTiny(std::move(tiny));
  const std::vector<tok::TokenId> tokens = RandomTokens(70, loaded.model->vocab_size(), 7);
  const std::vector<float> logits = RunSequence(*loaded.model, tokens, 64);
  CHECK(LargestDifference(logits, RunSequence(*plain.model, tokens, 64)) > 1e-3);
  CHECK(LargestDifference(logits, Expected(loaded, tokens)) < 5e-5);
}

TEST_CASE("Quantized weights give the reference's logits, and nearly those of float activations") {
  for (const DType type :
       {DType::kF16, DType::kBF16, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0, DType::kQ5_1, DType::kQ8_0, DType::kIQ4_NL,
        DType::kMXFP4, DType::kQ2_K, DType::kQ3_K, DType::kQ4_K, DType::kQ5_K, DType::kQ6_K, DType::kIQ4_XS}) {
    CAPTURE(quant::Info(type).name);
    TinyShape shape = BlockShape(type);
    shape.layers = 1;
    const LoadedTiny loaded = LoadTiny(shape);
    const std::vector<tok::TokenId> tokens = RandomTokens(20, loaded.model->vocab_size(), 8);
    const std::vector<float> logits = RunSequence(*loaded.model, tokens, 64);
    const std::vector<float> rounded = Expected(loaded, tokens, true);
    // A float sum that rounds otherwise may move one int8 activation by one step, and with it a row.
    CHECK(RelativeError(logits, rounded) < 0.02);
    const auto vocab = static_cast<std::size_t>(loaded.model->vocab_size());
    int moved = 0;
    for (std::size_t row = 0; row < tokens.size(); ++row) {
      const auto part = [&](const std::vector<float>& all) { return std::span(all).subspan(row * vocab, vocab); };
      if (LargestDifference(part(logits), part(rounded)) > 1e-5) ++moved;
    }
    CHECK(moved <= 2);
    // Random weights with large minima are the worst case for int8 activations.
    CHECK(RelativeError(logits, Expected(loaded, tokens)) < 0.15);
  }
}

TEST_CASE("int16 activations follow float activations closely") {
  std::vector<TinyShape> shapes;
  for (const DType type : {DType::kQ4_0, DType::kQ4_1, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K, DType::kQ4_K}) {
    shapes.push_back(BlockShape(type, 4));
  }
  shapes.back().int8_exact = true;
  for (const TinyShape& shape : shapes) {
    CAPTURE(quant::Info(shape.type).name, shape.int8_exact);
    const auto run = [&](ActPrecision activations) {
      const LoadedTiny loaded = LoadTiny(shape, KvType::kF32, 1, nullptr, activations);
      const std::vector<tok::TokenId> tokens = RandomTokens(20, loaded.model->vocab_size(), 16);
      return RelativeError(RunSequence(*loaded.model, tokens, 64), Expected(loaded, tokens));
    };
    const double coarse = run(ActPrecision::kInt8);
    const double fine = run(ActPrecision::kInt16);
    CHECK(coarse > 1e-3);
    CHECK(fine < coarse / 50);
  }
}

TEST_CASE("A layer may mix file types") {
  TinyShape shape = BlockShape(DType::kQ4_K, 4);
  shape.int8_exact = GENERATE(false, true);
  shape.down_type = DType::kQ6_K;
  SECTION("K-quants: gate and up alike, down other") {}
  SECTION("gate and up differ") { shape.up_type = DType::kQ8_0; }
  SECTION("down with blocks of 32") { shape.down_type = DType::kQ8_0; }
  SECTION("down in floats") { shape.down_type = DType::kF16; }
  SECTION("gate in floats") {
    shape.type = DType::kF32;
    shape.up_type = DType::kQ4_K;
  }
  SECTION("quantized, tied embedding") { shape.embedding_type = DType::kQ8_0; }
  SECTION("quantized embedding beside an output matrix") {
    shape.embedding_type = DType::kQ5_0;
    shape.tied = false;
  }
  const LoadedTiny loaded = LoadTiny(shape);
  const std::vector<tok::TokenId> tokens = RandomTokens(20, loaded.model->vocab_size(), 9);
  CHECK(RelativeError(RunSequence(*loaded.model, tokens, 64), Expected(loaded, tokens, true)) < 2e-3);
}

TEST_CASE("Latent attention: matrices of keys and values in one, quantized, and split give the reference's logits") {
  TinyShape combined = SplitLatentShape(DType::kQ8_0);
  combined.split_kv_b = false;
  TinyShape rotated_less = SplitLatentShape(DType::kQ4_0);
  rotated_less.q_rank = 0;
  for (const TinyShape& shape :
       {SplitLatentShape(DType::kQ8_0), combined, rotated_less, SplitLatentShape(DType::kF16)}) {
    CAPTURE(quant::Info(shape.type).name, shape.split_kv_b, shape.q_rank);
    const LoadedTiny loaded = LoadTiny(shape);
    const std::vector<tok::TokenId> tokens = RandomTokens(40, loaded.model->vocab_size(), 18);
    const std::vector<float> logits = RunSequence(*loaded.model, tokens, 64);
    CHECK(RelativeError(logits, Expected(loaded, tokens, true)) < 0.02);
    const LoadedTiny fine = LoadTiny(shape, KvType::kF32, 1, nullptr, ActPrecision::kInt16);
    CHECK(RelativeError(RunSequence(*fine.model, tokens, 64), Expected(loaded, tokens)) < 2e-3);
  }
}

TEST_CASE("Latent attention: the cache holds the latent and the shared key, once") {
  const LoadedTiny loaded = LoadTiny(SplitLatentShape(DType::kF32), KvType::kBf16);
  CHECK(loaded.model->memory().kv_cache == std::int64_t{loaded.model->num_pages()} * kPageTokens * 2 * (64 + 8) * 2);
}

TEST_CASE("int8 and bf16 KV caches stay near the float one") {
  TinyShape latent = SplitLatentShape(DType::kF32);
  latent.experts = latent.groups = latent.shared_ff = 0;  // whose choices may flip
  const TinyShape shape = GENERATE_COPY(Shape("llama"), latent);
  const LoadedTiny exact = LoadTiny(shape);
  const std::vector<tok::TokenId> tokens = RandomTokens(100, exact.model->vocab_size(), 10);
  const std::vector<float> expected = RunSequence(*exact.model, tokens, 64);
  const std::vector<float> int8 = RunSequence(*LoadTiny(shape, KvType::kInt8).model, tokens, 64);
  const std::vector<float> bf16 = RunSequence(*LoadTiny(shape, KvType::kBf16).model, tokens, 64);
  CHECK(RelativeError(int8, expected) < 0.02);
  CHECK(RelativeError(bf16, expected) < 0.01);
  CHECK_FALSE(SameBits(int8, expected));
}

/// What the bit-for-bit tests run: every act block, floats, dense and MoE, odd widths.
std::vector<TinyShape> BitShapes() {
  std::vector<TinyShape> shapes = {Shape("llama"),   Shape("qwen2moe"), Shape("olmoe"),
                                   Shape("gpt-oss"), Shape("phimoe"),   Shape("grok")};
  shapes.push_back(Shape("gpt-oss"));
  shapes.back().type = DType::kMXFP4;
  shapes.back().ff = 96;
  shapes.push_back({.heads = 3, .kv_heads = 1, .head_dim = 8, .vocab = 70, .experts = 3, .window = 40});
  shapes.push_back(BlockShape(DType::kQ4_1));
  shapes.push_back(BlockShape(DType::kQ4_K, 8));
  shapes.back().down_type = DType::kQ6_K;
  shapes.back().embedding_type = DType::kQ8_0;
  shapes.push_back(BlockShape(DType::kQ4_K, 8));
  shapes.back().int8_exact = true;
  shapes.push_back(LatentShape());
  shapes.push_back(SplitLatentShape(DType::kQ8_0));
  return shapes;
}

TEST_CASE("Same bits on every kernel table and number of threads") {
  for (const TinyShape& shape : BitShapes()) {
    for (const KvType kv : {KvType::kInt8, KvType::kBf16, KvType::kF32}) {
      CAPTURE(shape.architecture, shape.experts, static_cast<int>(kv));
      const LoadedTiny golden = LoadTiny(shape, kv, 1, &ScalarKernels());
      const std::vector<tok::TokenId> tokens = RandomTokens(90, golden.model->vocab_size(), 11);  // two pages
      const std::vector<float> expected = RunSequence(*golden.model, tokens, 64);
      std::vector<const KernelTable*> tables = AllTables();
      for (const KernelTable* table : testing::MatmulTables()) {
        const bool there = std::find(tables.begin(), tables.end(), table) != tables.end();
        if (kv == KvType::kInt8 && !there) tables.push_back(table);
      }
      for (const KernelTable* table : tables) {
        for (const int threads : {1, 3}) {
          if (kv != KvType::kInt8 && threads == 1) continue;
          CAPTURE(table->name, threads);
          const LoadedTiny loaded = LoadTiny(shape, kv, threads, table);
          CHECK(std::string(loaded.model->kernels().name) == table->name);
          CHECK(SameBits(RunSequence(*loaded.model, tokens, 90), expected));
        }
      }
    }
  }
}

TEST_CASE("int16 activations: same bits on every kernel table, number of threads and chunking") {
  for (const TinyShape& shape : BitShapes()) {
    const LoadedTiny golden = LoadTiny(shape, KvType::kInt8, 1, &ScalarKernels(), ActPrecision::kInt16);
    const std::vector<tok::TokenId> tokens = RandomTokens(90, golden.model->vocab_size(), 17);
    const std::vector<float> expected = RunSequence(*golden.model, tokens, 64);
    for (const KernelTable* table : AllTables()) {
      for (const int threads : {1, 3}) {
        CAPTURE(shape.architecture, shape.experts, table->name, threads);
        const LoadedTiny loaded = LoadTiny(shape, KvType::kInt8, threads, table, ActPrecision::kInt16);
        for (const std::int64_t chunk :
             threads == 1 ? std::vector<std::int64_t>{90} : std::vector<std::int64_t>{1, 7}) {
          CHECK(SameBits(RunSequence(*loaded.model, tokens, chunk), expected));
        }
      }
    }
  }
}

TEST_CASE("Same bits for every chunking of the prompt") {
  for (const TinyShape& shape : BitShapes()) {
    const LoadedTiny loaded = LoadTiny(shape, KvType::kInt8, 2);
    const std::vector<tok::TokenId> tokens = RandomTokens(200, loaded.model->vocab_size(), 12);
    const std::vector<float> expected = RunSequence(*loaded.model, tokens, 1);
    for (const std::int64_t chunk : {7, 64, 200}) {
      CAPTURE(shape.architecture, shape.experts, chunk);
      CHECK(SameBits(RunSequence(*loaded.model, tokens, chunk, 1), expected));
    }
  }
}

TEST_CASE("Same bits alone and in a mixed batch") {
  for (const TinyShape& shape : BitShapes()) {
    const LoadedTiny loaded = LoadTiny(shape, KvType::kInt8, 2);
    const std::int64_t vocab = loaded.model->vocab_size();
    // Five sequences of different lengths; each is put in with pieces of its own length, beside the others.
    std::vector<std::vector<tok::TokenId>> tokens;
    std::vector<std::vector<float>> alone;
    std::vector<std::vector<std::int32_t>> pages;
    for (std::uint64_t i = 0; i < 5; ++i) {
      tokens.push_back(RandomTokens(static_cast<std::int64_t>(30 + 31 * i), loaded.model->vocab_size(), 20 + i));
      alone.push_back(RunSequence(*loaded.model, tokens.back(), 1000));
      pages.push_back({});
      for (std::int32_t page = 0; page < 3; ++page)
        pages.back().push_back(4 + 3 * page + 9 * static_cast<std::int32_t>(i));
    }
    std::vector<std::int64_t> pos(5, 0);
    std::vector<std::vector<float>> together(5);
    while (std::any_of(pos.begin(), pos.end(), [&](const std::int64_t& p) {
      return p < std::ssize(tokens[static_cast<std::size_t>(&p - pos.data())]);
    })) {
      std::vector<StepSlice> slices;
      std::vector<std::pair<std::size_t, std::int64_t>> parts;
      for (std::size_t i = 0; i < 5; ++i) {
        const std::int64_t left = std::ssize(tokens[i]) - pos[i];
        const std::int64_t count = std::min<std::int64_t>(left, i == 0 ? 1 : static_cast<std::int64_t>(5 * i));
        if (count == 0) continue;
        slices.push_back(
            {std::span(tokens[i]).subspan(static_cast<std::size_t>(pos[i]), static_cast<std::size_t>(count)),
             static_cast<std::int32_t>(pos[i]), pages[i], 0});
        parts.emplace_back(i, count);
        pos[i] += count;
      }
      std::int64_t rows = 0;
      for (const auto& part : parts) rows += part.second;
      std::vector<float> logits(static_cast<std::size_t>(rows * vocab));
      REQUIRE(loaded.model->Step(slices, logits).ok());
      auto at = logits.begin();
      for (const auto& [i, count] : parts) {
        together[i].insert(together[i].end(), at, at + count * vocab);
        at += count * vocab;
      }
    }
    for (std::size_t i = 0; i < 5; ++i) {
      CAPTURE(shape.architecture, shape.experts, i);
      CHECK(SameBits(together[i], alone[i]));
    }
  }
}

TEST_CASE("Pages of a shared prefix serve another sequence, also where windows are smaller than them") {
  std::vector<TinyShape> shapes = {Shape("llama"), Shape("gpt-oss")};
  shapes.push_back({.experts = 3, .window = 24});
  for (const TinyShape& shape : shapes) {
    for (const KvType kv : {KvType::kInt8, KvType::kF32}) {
      CAPTURE(shape.architecture, shape.window, static_cast<int>(kv));
      const LoadedTiny loaded = LoadTiny(shape, kv, 2);
      const std::vector<tok::TokenId> first = RandomTokens(150, loaded.model->vocab_size(), 31);
      std::vector<tok::TokenId> second = RandomTokens(140, loaded.model->vocab_size(), 32);
      std::copy_n(first.begin(), 128, second.begin());  // two whole pages
      const std::vector<float> alone = RunSequence(*loaded.model, second, 64, 4);
      RunSequence(*loaded.model, first, 64);  // pages 0, 1, 2
      const std::vector<std::int32_t> pages = {0, 1, 9};
      std::vector<float> logits(static_cast<std::size_t>(12 * loaded.model->vocab_size()));
      const StepSlice rest{std::span(second).subspan(128), 128, pages, 0};
      REQUIRE(loaded.model->Step({&rest, 1}, logits).ok());
      CHECK(SameBits(logits, std::span(alone).last(logits.size())));
    }
  }
}

TEST_CASE("Logits come only for the tokens asked for") {
  const LoadedTiny loaded = LoadTiny(Shape("llama"));
  const std::vector<tok::TokenId> tokens = RandomTokens(10, loaded.model->vocab_size(), 13);
  const auto vocab = static_cast<std::size_t>(loaded.model->vocab_size());
  const std::vector<float> all = RunSequence(*loaded.model, tokens, 10);
  const std::vector<std::int32_t> pages = {3};
  std::vector<float> last(vocab + 1, 777.0F);
  const StepSlice slice{tokens, 0, pages, 9};
  REQUIRE(loaded.model->Step({&slice, 1}, last).ok());
  CHECK(SameBits(std::span(last).first(vocab), std::span(all).last(vocab)));
  CHECK(last.back() == 777.0F);
  const StepSlice none{tokens, 0, pages, 10};
  CHECK(loaded.model->Step({&none, 1}, {}).ok());
}

TEST_CASE("Damaged weights give wrong numbers, nothing worse") {
  for (const DType type : {DType::kF32, DType::kQ4_1, DType::kQ6_K}) {
    auto tiny = testing::MakeTinyModel(BlockShape(type, 4));
    // Everything behind the header: NaN, infinities, huge and denormal scales in all tensors, router and norms
    // included.
    std::uint64_t state = 99;
    const std::size_t data = static_cast<std::size_t>(tiny->tensors.embedding.data.data() - tiny->bytes.data());
    for (std::size_t i = data; i < tiny->bytes.size(); ++i) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      tiny->bytes[i] = static_cast<std::byte>(state >> 56);
    }
    const LoadedTiny loaded = LoadTiny(std::move(tiny), KvType::kInt8, 2);
    const std::vector<tok::TokenId> tokens = RandomTokens(80, loaded.model->vocab_size(), 15);
    CHECK(RunSequence(*loaded.model, tokens, 64).size() == 80U * 72U);
    std::uint64_t routed = 0;
    for (const std::uint64_t n : loaded.model->expert_stats().tokens) routed += n;
    CHECK(routed == 2U * 2U * 80U);
  }
}

TEST_CASE("Steps outside the limits are refused") {
  const LoadedTiny loaded = LoadTiny(Shape("llama"));
  Model& model = *loaded.model;
  const std::vector<tok::TokenId> tokens = RandomTokens(70, model.vocab_size(), 14);
  const std::vector<std::int32_t> pages = {0, 1, 2, 3, 4, 5, 6, 7};
  std::vector<float> logits(static_cast<std::size_t>(70 * model.vocab_size()));
  const auto refused = [&](const StepSlice& slice, std::span<float> room) {
    const Status status = model.Step({&slice, 1}, room);
    return !status.ok() && status.error().code == ErrorCode::kInvalidArgument;
  };
  CHECK_FALSE(refused({tokens, 0, pages, 0}, logits));
  CHECK(refused({{}, 0, pages, 0}, logits));
  CHECK(refused({tokens, -1, pages, 0}, logits));
  CHECK(refused({tokens, model.context_length() - 69, pages, 0}, logits));
  CHECK(refused({tokens, 0, std::span(pages).first(1), 0}, logits));
  CHECK(refused({tokens, 0, pages, 71}, logits));
  CHECK(refused({tokens, 0, pages, -1}, logits));
  CHECK(refused({tokens, 0, pages, 0}, std::span(logits).first(10)));
  const std::vector<std::int32_t> wrong_pages = {0, model.num_pages()};
  CHECK(refused({tokens, 0, wrong_pages, 0}, logits));
  for (const tok::TokenId wrong : {-1, model.vocab_size()}) {
    std::vector<tok::TokenId> bad = tokens;
    bad[3] = wrong;
    CHECK(refused({bad, 0, pages, 0}, logits));
  }
}

}  // namespace
}  // namespace quorum::engine
