// Experts that were cut out of a file: the very bits of the file with them masked. Experts that were merged: what
// averages are.
#include "quant/expert_surgery.h"
#include "quant/alike_experts.h"
#include "quant/encode.h"
#include "quant/int8_exact.h"
#include "quant/upcycle.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/expert_options.h"
#include "engine/model.h"
#include "tests/quant/scratch.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

using quant::Folder;
using testing::LoadedFile;
using testing::LoadFile;
using testing::RandomTokens;
using testing::SameBits;
using testing::TinyShape;
using testing::WriteTiny;

/// A plan that keeps the experts of `keep[i]` in the i-th layer with experts.
std::vector<quant::LayerSurgery> KeepPlan(const quant::GgufFile& file,
                                          const std::vector<std::vector<std::int32_t>>& keep) {
  const auto layers = quant::ExpertLayers(file);
  REQUIRE(layers.ok());
  REQUIRE(layers->size() == keep.size());
  std::vector<quant::LayerSurgery> plan;
  for (std::size_t i = 0; i < keep.size(); ++i) {
    plan.push_back({(*layers)[i].layer, {}});
    for (const std::int32_t e : keep[i]) plan.back().experts.push_back({{{e, 1.0}}});
  }
  return plan;
}

std::vector<TinyShape> Families() {
  std::vector<TinyShape> shapes;
  shapes.push_back({.experts = 6});
  shapes.push_back({.experts = 6, .type = quant::DType::kQ8_0});
  shapes.push_back({.experts = 6, .single_experts = true});
  shapes.push_back({.d_model = 256,
                    .heads = 4,
                    .kv_heads = 2,
                    .head_dim = 64,
                    .ff = 256,
                    .experts = 6,
                    .type = quant::DType::kQ4_K});
  shapes.push_back({.architecture = "qwen3moe", .experts = 6});
  shapes.push_back({.architecture = "olmoe", .kv_heads = 4, .experts = 6});
  shapes.push_back({.architecture = "qwen2moe", .experts = 6, .shared_ff = 48});
  shapes.push_back({.architecture = "granitemoe", .experts = 6, .shared_ff = 48});
  shapes.push_back(
      {.architecture = "gpt-oss", .heads = 6, .ff = 72, .experts = 6, .top_k = 3, .window = 20, .tied = false});
  return shapes;
}

TEST_CASE("Pruned equals masked, bit for bit, in every family and type; pruning nothing is the original") {
  const std::vector<std::vector<std::int32_t>> keep = {{0, 2, 3, 5}, {1, 2, 4, 5}};
  for (const TinyShape& shape : Families()) {
    CAPTURE(shape.architecture, static_cast<int>(shape.type), shape.single_experts);
    const Folder folder;
    WriteTiny(shape, folder / "all.gguf");
    const auto file = quant::GgufFile::Open(folder / "all.gguf");
    REQUIRE(file.ok());
    const LoadedFile all = LoadFile(folder / "all.gguf");
    const std::vector<tok::TokenId> tokens = RandomTokens(70, all.model->vocab_size(), 9);
    const std::vector<float> whole = testing::RunSequence(*all.model, tokens, 33);

    const auto made = quant::RewriteExperts(*file, folder / "four.gguf", KeepPlan(*file, keep), {"pruned", false});
    if (!made.ok()) FAIL(made.error().message);
    CHECK(made->experts == 4);
    CHECK(made->old_experts == 6);
    CHECK(made->bytes == std::filesystem::file_size(folder / "four.gguf"));
    CHECK(made->retyped.empty());
    ExpertRequest request;
    for (std::int32_t layer = 0; layer < 2; ++layer) {
      for (std::int32_t e = 0; e < 6; ++e) {
        const auto& kept = keep[static_cast<std::size_t>(layer)];
        if (std::count(kept.begin(), kept.end(), e) == 0) request.masked.push_back({layer, e});
      }
    }
    const auto options = ResolveExperts(request, all.model->experts());
    REQUIRE(options.ok());
    const std::vector<float> masked = testing::RunSequence(*all.model, tokens, 33, 0, &*options);
    CHECK_FALSE(SameBits(masked, whole));
    const LoadedFile four = LoadFile(folder / "four.gguf");
    CHECK(four.model->experts().experts == std::vector<std::int32_t>{4, 4});
    CHECK(SameBits(testing::RunSequence(*four.model, tokens, 33), masked));

    const std::vector<std::int32_t> every = {0, 1, 2, 3, 4, 5};
    REQUIRE(quant::RewriteExperts(*file, folder / "six.gguf", KeepPlan(*file, {every, every}), {"pruned", false}).ok());
    CHECK(SameBits(testing::RunSequence(*LoadFile(folder / "six.gguf").model, tokens, 33), whole));
  }
}

TEST_CASE("Groups of experts: as many must go from each") {
  const Folder folder;
  TinyShape shape{.architecture = "deepseek2", .experts = 8, .top_k = 2, .shared_ff = 32, .groups = 2, .top_groups = 1};
  WriteTiny(shape, folder / "all.gguf");
  const auto file = quant::GgufFile::Open(folder / "all.gguf");
  REQUIRE(file.ok());
  const auto layers = quant::ExpertLayers(*file);
  REQUIRE(layers.ok());
  const std::vector<std::vector<std::int32_t>> even(layers->size(), {0, 3, 4, 6}), uneven(layers->size(), {0, 1, 2, 4});
  CHECK(quant::RewriteExperts(*file, folder / "x.gguf", KeepPlan(*file, uneven), {"", false}).error().code ==
        ErrorCode::kUnsupported);
  REQUIRE(quant::RewriteExperts(*file, folder / "four.gguf", KeepPlan(*file, even), {"", false}).ok());
  const LoadedFile all = LoadFile(folder / "all.gguf"), four = LoadFile(folder / "four.gguf");
  const std::vector<tok::TokenId> tokens = RandomTokens(50, all.model->vocab_size(), 2);
  const auto options = ResolveExperts({.masked = {{-1, 1}, {-1, 2}, {-1, 5}, {-1, 7}}}, all.model->experts());
  REQUIRE(options.ok());
  CHECK(SameBits(testing::RunSequence(*four.model, tokens, 50),
                 testing::RunSequence(*all.model, tokens, 50, 0, &*options)));
}

TEST_CASE("Fewer experts than a token used: it uses what is left") {
  const Folder folder;
  WriteTiny({.experts = 5, .top_k = 3}, folder / "all.gguf");
  const auto file = quant::GgufFile::Open(folder / "all.gguf");
  REQUIRE(file.ok());
  const auto made = quant::RewriteExperts(*file, folder / "two.gguf", KeepPlan(*file, {{1, 4}, {0, 2}}), {"", false});
  REQUIRE(made.ok());
  CHECK(made->top_k == 2);
  CHECK(made->old_top_k == 3);
  const LoadedFile all = LoadFile(folder / "all.gguf"), two = LoadFile(folder / "two.gguf");
  const std::vector<tok::TokenId> tokens = RandomTokens(40, all.model->vocab_size(), 2);
  const auto options =
      ResolveExperts({.masked = {{0, 0}, {0, 2}, {0, 3}, {1, 1}, {1, 3}, {1, 4}}}, all.model->experts());
  REQUIRE(options.ok());
  CHECK(SameBits(testing::RunSequence(*two.model, tokens, 40),
                 testing::RunSequence(*all.model, tokens, 40, 0, &*options)));
}

TEST_CASE("Plans that no file can have are refused and write nothing") {
  const Folder folder;
  WriteTiny({.experts = 4}, folder / "all.gguf");
  WriteTiny({}, folder / "dense.gguf");
  const auto file = quant::GgufFile::Open(folder / "all.gguf");
  REQUIRE(file.ok());
  const auto refused = [&](std::vector<quant::LayerSurgery> plan) {
    const auto made = quant::RewriteExperts(*file, folder / "x.gguf", plan, {"", false});
    return !made.ok() && made.error().code == ErrorCode::kInvalidArgument &&
           !std::filesystem::exists(folder / "x.gguf");
  };
  CHECK(refused({}));
  CHECK(refused(KeepPlan(*file, {{0, 1}, {0, 1, 2}})));
  CHECK(refused(KeepPlan(*file, {{}, {}})));
  CHECK(refused(KeepPlan(*file, {{0, 4}, {0, 1}})));
  CHECK(refused(KeepPlan(*file, {{0, 0}, {0, 1}})));
  CHECK(refused({{0, {{{{0, 1.0}, {1, 0.0}}}}}, {1, {{{{0, 1.0}}}}}}));
  CHECK(refused({{1, {{{{0, 1.0}}}}}, {0, {{{{0, 1.0}}}}}}));
  CHECK_FALSE(quant::RewriteExperts(*file, folder / "all.gguf", KeepPlan(*file, {{0}, {0}}), {"", true}).ok());
  CHECK_FALSE(quant::RewriteExperts(*file, folder / "dense.gguf", KeepPlan(*file, {{0}, {0}}), {"", false}).ok());
  const auto dense = quant::GgufFile::Open(folder / "dense.gguf");
  REQUIRE(dense.ok());
  CHECK_FALSE(quant::ExpertLayers(*dense).ok());
}

TEST_CASE("Merging: copies become one again, averages are means, experts alone stay verbatim") {
  const Folder folder;
  WriteTiny({.experts = 4, .copies = true}, folder / "copies.gguf");
  const auto copies = quant::GgufFile::Open(folder / "copies.gguf");
  REQUIRE(copies.ok());
  const std::vector<tok::TokenId> tokens = RandomTokens(40, 72, 2);
  const std::vector<quant::LayerSurgery> pairs = {{0, {{{{0, 1.0}, {3, 2.0}}}, {{{1, 1.0}, {2, 1.0}}}}},
                                                  {1, {{{{0, 1.0}, {1, 1.0}}}, {{{2, 5.0}, {3, 1.0}}}}}};
  REQUIRE(quant::RewriteExperts(*copies, folder / "two.gguf", pairs, {"", false}).ok());
  // All experts are the same network: whichever are averaged, the sum is it.
  const std::vector<float> before = testing::RunSequence(*LoadFile(folder / "copies.gguf").model, tokens, 40);
  CHECK(testing::LargestDifference(testing::RunSequence(*LoadFile(folder / "two.gguf").model, tokens, 40), before) <
        1e-4);

  WriteTiny({.experts = 4}, folder / "all.gguf");
  const auto file = quant::GgufFile::Open(folder / "all.gguf");
  REQUIRE(file.ok());
  const std::vector<quant::LayerSurgery> some = {{0, {{{{0, 1.0}, {3, 3.0}}}, {{{1, 1.0}}}, {{{2, 1.0}}}}},
                                                 {1, {{{{0, 1.0}}}, {{{1, 1.0}, {2, 1.0}}}, {{{3, 1.0}}}}}};
  REQUIRE(quant::RewriteExperts(*file, folder / "three.gguf", some, {"", false}).ok());
  const auto three = quant::GgufFile::Open(folder / "three.gguf");
  REQUIRE(three.ok());
  for (const char* name : {"blk.0.ffn_down_exps.weight", "blk.0.ffn_gate_inp.weight"}) {
    const quant::GgufTensor &old = *file->FindTensor(name), &now = *three->FindTensor(name);
    const std::size_t each = old.data.size() / 4;
    REQUIRE(now.data.size() == 3 * each);
    CHECK(std::memcmp(now.data.data() + each, old.data.data() + each, 2 * each) == 0);
    for (std::size_t at = 0; at < each; at += sizeof(float)) {
      float a = 0, b = 0, mean = 0;
      std::memcpy(&a, old.data.data() + at, sizeof a);
      std::memcpy(&b, old.data.data() + 3 * each + at, sizeof b);
      std::memcpy(&mean, now.data.data() + at, sizeof mean);
      REQUIRE(std::abs(mean - (0.25F * a + 0.75F * b)) <= 1e-6F);
    }
  }
}

TEST_CASE("Averages have the type that their tensor had, where it can be made; whole experts stay verbatim") {
  using quant::DType;
  struct Kind {
    DType type;
    bool int8_exact;
    bool stacked;
    double most;  // of the averages' relative error
  };
  const Kind kinds[] = {
      {DType::kQ2_K, false, true, 0.35},   {DType::kQ3_K, false, true, 0.2},    {DType::kQ4_K, false, true, 0.1},
      {DType::kQ4_K, true, true, 0.1},     {DType::kQ4_K, true, false, 0.1},    {DType::kQ5_K, false, false, 0.05},
      {DType::kQ6_K, false, true, 0.03},   {DType::kQ5_1, false, true, 0.05},   {DType::kMXFP4, false, true, 0.2},
      {DType::kIQ4_XS, false, true, 0.01}, {DType::kIQ4_NL, false, false, 0.01}};
  for (const Kind& kind : kinds) {
    CAPTURE(quant::Info(kind.type).name, kind.int8_exact, kind.stacked);
    const Folder folder;
    WriteTiny({.d_model = 256,
               .heads = 4,
               .kv_heads = 2,
               .head_dim = 64,
               .ff = 768,
               .experts = 3,
               .single_experts = !kind.stacked,
               .type = kind.type,
               .int8_exact = kind.int8_exact},
              folder / "all.gguf");
    const auto file = quant::GgufFile::Open(folder / "all.gguf");
    REQUIRE(file.ok());
    const std::vector<quant::LayerSurgery> plan = {{0, {{{{0, 1.0}, {2, 3.0}}}, {{{1, 1.0}}}}},
                                                   {1, {{{{0, 1.0}}}, {{{1, 1.0}, {2, 1.0}}}}}};
    const auto made = quant::RewriteExperts(*file, folder / "two.gguf", plan, {"", false, 3});
    REQUIRE(made.ok());
    REQUIRE(quant::RewriteExperts(*file, folder / "alone.gguf", plan, {"", false, 1}).ok());
    CHECK((quant::ReadFile(folder / "alone.gguf") == quant::ReadFile(folder / "two.gguf")));  // whatever the threads
    CHECK(LoadFile(folder / "two.gguf").model->experts().most() == 2);
    const auto now = quant::GgufFile::Open(folder / "two.gguf");
    REQUIRE(now.ok());
    const bool kept = quant::CanEncode(kind.type);
    CHECK(made->retyped.empty() == kept);

    constexpr std::int64_t kEach = 256 * 768;  // three chunks
    const auto values = [&](const quant::GgufFile& in, std::size_t expert, std::size_t of, DType& type) {
      const std::string stacked = "blk.0.ffn_up_exps.weight";
      const quant::GgufTensor* tensor =
          in.FindTensor(kind.stacked ? stacked : "blk.0.ffn_up." + std::to_string(expert) + ".weight");
      REQUIRE(tensor != nullptr);
      type = tensor->type;
      const std::byte* data =
          kind.stacked ? tensor->data.data() + expert * (tensor->data.size() / of) : tensor->data.data();
      if (type == kind.type && kind.int8_exact) CHECK(quant::IsInt8Exact(data, kEach));
      std::vector<float> floats(kEach);
      REQUIRE(quant::Dequantize(type, data, floats.data(), kEach));
      return floats;
    };
    DType type = DType::kF32;
    const auto first = values(*file, 0, 3, type), whole = values(*file, 1, 3, type), third = values(*file, 2, 3, type);
    const auto same = values(*now, 1, 2, type);
    CHECK(type == (kept || !kind.stacked ? kind.type : DType::kQ8_0));
    const auto mean = values(*now, 0, 2, type);
    CHECK(type == (kept ? kind.type : DType::kQ8_0));
    if (kept || !kind.stacked) CHECK(same == whole);
    double error = 0, power = 0;
    for (std::size_t i = 0; i < mean.size(); ++i) {
      const double want = 0.25 * static_cast<double>(first[i]) + 0.75 * static_cast<double>(third[i]);
      power += want * want;
      error += (static_cast<double>(mean[i]) - want) * (static_cast<double>(mean[i]) - want);
    }
    CHECK(std::sqrt(error / power) < kind.most);
  }
}

TEST_CASE("Upcycling adds noise to K-quants, too, and keeps their types") {
  const Folder folder;
  WriteTiny({.d_model = 256, .heads = 4, .kv_heads = 2, .head_dim = 64, .ff = 256, .type = quant::DType::kQ5_K},
            folder / "dense.gguf");
  quant::UpcycleOptions options;
  options.experts = 2;
  options.noise = 0.5;
  REQUIRE(quant::Upcycle(folder / "dense.gguf", folder / "moe.gguf", options).ok());
  const auto dense = quant::GgufFile::Open(folder / "dense.gguf"), moe = quant::GgufFile::Open(folder / "moe.gguf");
  const quant::GgufTensor &from = *dense->FindTensor("blk.1.ffn_down.weight"),
                          &to = *moe->FindTensor("blk.1.ffn_down_exps.weight");
  REQUIRE(to.type == quant::DType::kQ5_K);
  REQUIRE(to.elements() == 2 * from.elements());
  std::vector<float> before(static_cast<std::size_t>(from.elements())), after(2 * before.size());
  REQUIRE(quant::Dequantize(from.type, from.data.data(), before.data(), from.elements()));
  REQUIRE(quant::Dequantize(to.type, to.data.data(), after.data(), to.elements()));
  for (std::size_t expert = 0; expert < 2; ++expert) {
    double noise = 0, power = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      const double d = static_cast<double>(after[expert * before.size() + i]) - static_cast<double>(before[i]);
      noise += d * d;
      power += static_cast<double>(before[i]) * static_cast<double>(before[i]);
    }
    CHECK(std::fabs(std::sqrt(noise / power) - 0.5) < 0.05);
  }
}

TEST_CASE("Alike experts are found") {
  const Folder folder;
  // Experts 0 and 2, and 1 and 3, differ by noise only.
  const TinyShape shape{.experts = 4, .single_experts = true};
  const std::vector<std::byte> bytes = testing::MakeTinyGguf(shape);
  const auto file = quant::GgufFile::Parse(bytes, "tiny");
  REQUIRE(file.ok());
  quant::GgufWriter writer;
  for (const quant::GgufEntry& entry : file->entries()) writer.SetRaw(entry.key, entry.type, entry.value);
  std::vector<std::vector<float>> made;
  made.reserve(file->tensors().size());
  for (const quant::GgufTensor& tensor : file->tensors()) {
    std::string twin = tensor.name;
    for (const char* matrix : {"ffn_gate.", "ffn_up.", "ffn_down."}) {
      const std::size_t at = twin.find(matrix);
      if (at == std::string::npos || twin[at + std::strlen(matrix)] < '2' || twin[at + std::strlen(matrix)] > '3')
        continue;
      twin[at + std::strlen(matrix)] = static_cast<char>(twin[at + std::strlen(matrix)] - 2);
    }
    std::vector<float>& values = made.emplace_back(static_cast<std::size_t>(tensor.elements()));
    std::memcpy(values.data(), file->FindTensor(twin)->data.data(), values.size() * sizeof(float));
    if (twin != tensor.name) {
      std::vector<float> noise(values.size());
      std::memcpy(noise.data(), tensor.data.data(), tensor.data.size());
      for (std::size_t i = 0; i < values.size(); ++i) values[i] += 0.3F * noise[i];
    }
    writer.AddTensor(tensor.name, tensor.type, tensor.dims, std::as_bytes(std::span(values)));
  }
  REQUIRE(writer.Write(folder / "twins.gguf", false).ok());
  const auto twins = quant::GgufFile::Open(folder / "twins.gguf");
  REQUIRE(twins.ok());
  using Groups = std::vector<std::vector<std::int32_t>>;
  for (std::int32_t layer = 0; layer < 2; ++layer) {
    CHECK(quant::GroupAlike(*twins, {layer, 4}, 2).value() == Groups{{0, 2}, {1, 3}});
    CHECK(quant::GroupAlike(*twins, {layer, 4}, 4).value() == Groups{{0}, {1}, {2}, {3}});
    CHECK(quant::GroupAlike(*twins, {layer, 4}, 1).value() == Groups{{0, 1, 2, 3}});
    CHECK(quant::GroupAlike(*twins, {layer, 4}, 2, 3).value() == Groups{{0, 2}, {1, 3}});
    // Twins in different groups, from which tokens choose first, stay apart.
    CHECK(quant::GroupAlike(*twins, {layer, 4, 2}, 2).value() == Groups{{0, 1}, {2, 3}});
  }
  CHECK_FALSE(quant::GroupAlike(*twins, {0, 4}, 0).ok());
  CHECK_FALSE(quant::GroupAlike(*twins, {0, 4, 2}, 3).ok());
  CHECK_FALSE(quant::GroupAlike(*twins, {7, 4}, 2).ok());
}

}  // namespace
}  // namespace quorum::engine
