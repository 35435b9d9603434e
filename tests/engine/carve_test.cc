// Carved models are their dense originals when all parts are used; parts that work together are found; relatives become
// experts.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "engine/carve_plan.h"
#include "engine/domain_router.h"
#include "engine/expert_study.h"
#include "engine/model.h"
#include "engine/text_run.h"
#include "quant/add_experts.h"
#include "quant/carve.h"
#include "quant/dense_ffn.h"
#include "quant/expert_surgery.h"
#include "quant/quantize_model.h"
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
using testing::TinyShape;
using testing::WriteTiny;

TopicText TextOf(std::vector<tok::TokenId> tokens) {
  std::vector<std::int32_t> topics(tokens.size(), 0);
  return {std::move(tokens), std::move(topics)};
}

std::vector<std::vector<float>> Reach(const std::string& path) {
  const auto file = quant::GgufFile::Open(path);
  REQUIRE(file.ok());
  const auto dense = quant::FindDenseFfns(*file);
  REQUIRE(dense.ok());
  std::vector<std::vector<float>> reach;
  for (const quant::DenseFfn& ffn : dense->layers) reach.push_back(quant::NeuronReach(*ffn.down, path).value());
  return reach;
}

TEST_CASE("Every neuron is in one part, and with all parts the carved model is the dense one") {
  for (const quant::DType type : {quant::DType::kF32, quant::DType::kQ8_0}) {
    const Folder folder;
    WriteTiny({.ff = 192, .type = type}, folder / "dense.gguf");
    const LoadedFile dense = LoadFile(folder / "dense.gguf");
    const std::vector<TopicText> texts = {TextOf(RandomTokens(300, 72, 4))};
    const CarveRequest request{.experts = 4, .shared = 0.3, .window = 100, .memory = 1};  // one layer at a time
    std::int64_t told = 0;
    const auto plan = PlanCarving(*dense.model, texts, Reach(folder / "dense.gguf"), request,
                                  [&](std::int64_t done, std::int64_t total) {
                                    CHECK(total == 2);
                                    told = done;
                                    return true;
                                  });
    REQUIRE(plan.ok());
    CHECK(told == 2);
    for (const quant::CarvedLayer& layer : *plan) {
      std::vector<std::int32_t> all = layer.shared;
      CHECK(layer.shared.size() == 64);
      for (const auto& expert : layer.experts) {
        CHECK(expert.size() == 32);
        all.insert(all.end(), expert.begin(), expert.end());
      }
      std::sort(all.begin(), all.end());
      std::vector<std::int32_t> expected(192);
      std::iota(expected.begin(), expected.end(), 0);
      CHECK(all == expected);
    }
    const auto again = PlanCarving(*dense.model, texts, Reach(folder / "dense.gguf"),
                                   {.experts = 4, .shared = 0.3, .window = 100}, {});
    REQUIRE(again.ok());
    CHECK((*again)[1].experts == (*plan)[1].experts);
    CHECK(testing::SameBits((*again)[0].router, (*plan)[0].router));

    const auto made = quant::Carve(folder / "dense.gguf", folder / "all.gguf", *plan, {4, false});
    if (!made.ok()) FAIL(made.error().message);
    CHECK(made->parameters == made->dense_parameters + 2 * 4 * 64);
    const std::vector<tok::TokenId> tokens = RandomTokens(60, 72, 5);
    const std::vector<float> before = testing::RunSequence(*dense.model, tokens, 60);
    const LoadedFile all = LoadFile(folder / "all.gguf");
    const double tolerance = type == quant::DType::kF32 ? 1e-3 : 2e-2;
    CHECK(testing::RelativeError(testing::RunSequence(*all.model, tokens, 60), before) < tolerance);

    REQUIRE(quant::Carve(folder / "dense.gguf", folder / "two.gguf", *plan, {2, false}).ok());
    const LoadedFile two = LoadFile(folder / "two.gguf");
    CHECK(two.model->spec().active_weights() < dense.model->spec().active_weights());
    CHECK(testing::RelativeError(testing::RunSequence(*two.model, tokens, 60), before) > tolerance);
  }
}

TEST_CASE("Neurons that act together come together, and the router tells when") {
  // Six groups of 32 neurons; a token makes one group act, and 32 neurons act always.
  constexpr std::int64_t kTokens = 240, kK = 12;
  constexpr int kGroups = 6;
  constexpr std::size_t kNeurons = 32 * (kGroups + 1);
  const std::vector<tok::TokenId> noise = RandomTokens(kTokens * (kNeurons + kK), 1000, 7);
  std::vector<float> inputs(kTokens * kK), parts(kTokens * kNeurons);
  std::vector<int> group(kTokens);
  std::size_t next = 0;
  const auto small = [&] { return 0.1F * static_cast<float>(noise[next++]) / 1000.0F; };
  // Neuron i belongs to group i % 7; 6 is the one that always acts.
  for (std::size_t t = 0; t < kTokens; ++t) {
    group[t] = static_cast<int>((t * 5 + t / 7) % kGroups);
    for (std::size_t i = 0; i < kK; ++i) inputs[t * kK + i] = (static_cast<int>(i) == group[t] ? 1.0F : 0.0F) + small();
    for (std::size_t n = 0; n < kNeurons; ++n) {
      const int of = static_cast<int>(n % (kGroups + 1));
      parts[t * kNeurons + n] = (of == kGroups ? 2.0F : of == group[t] ? 1.0F : 0.0F) + small();
    }
  }
  // An eighth of 224 neurons is 28: those that always act are the strongest everywhere, and shared.
  const quant::CarvedLayer layer = CarveLayer(inputs, parts, kTokens, kGroups, 32);
  CHECK(std::all_of(layer.shared.begin(), layer.shared.end(),
                    [](std::int32_t n) { return n % (kGroups + 1) == kGroups; }));
  // Without them the groups are told apart.
  std::vector<float> without(kTokens * 32 * 7);
  for (std::size_t t = 0; t < kTokens; ++t) {
    for (std::size_t n = 0; n < 224; ++n) {
      const int of = static_cast<int>(n % 7);
      without[t * 224 + n] = of == kGroups ? 0.0F : parts[t * kNeurons + n];
    }
  }
  const quant::CarvedLayer clear = CarveLayer(inputs, without, kTokens, kGroups, 32);
  std::vector<int> group_of(kGroups, -1);
  std::size_t inside = 0;
  for (std::size_t e = 0; e < clear.experts.size(); ++e) {
    std::vector<std::size_t> counts(kGroups + 1);
    for (const std::int32_t n : clear.experts[e]) ++counts[static_cast<std::size_t>(n % 7)];
    const auto most = std::max_element(counts.begin(), counts.end());
    inside += *most;
    group_of[e] = static_cast<int>(most - counts.begin());
  }
  CHECK(inside >= 6 * 32 * 8 / 10);
  int right = 0;
  for (std::size_t t = 0; t < kTokens; ++t) {
    std::vector<float> logits(kGroups);
    for (std::size_t e = 0; e < kGroups; ++e) {
      for (std::size_t i = 0; i < kK; ++i) logits[e] += clear.router[e * kK + i] * inputs[t * kK + i];
    }
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    right += group_of[static_cast<std::size_t>(best)] == group[t] ? 1 : 0;
  }
  CHECK(right >= kTokens * 6 / 10);  // of six, with noise and with clusters that are filled up
}

TEST_CASE("What cannot be carved is refused") {
  const Folder folder;
  WriteTiny({.ff = 192}, folder / "dense.gguf");
  WriteTiny({.experts = 4}, folder / "moe.gguf");
  const LoadedFile dense = LoadFile(folder / "dense.gguf"), moe = LoadFile(folder / "moe.gguf");
  const auto reach = Reach(folder / "dense.gguf");
  const std::vector<TopicText> texts = {TextOf(RandomTokens(100, 72, 4))}, few = {TextOf(RandomTokens(20, 72, 4))};
  CHECK_FALSE(PlanCarving(*dense.model, few, reach, {.experts = 4}, {}).ok());
  CHECK_FALSE(PlanCarving(*dense.model, texts, reach, {.experts = 8}, {}).ok());
  CHECK_FALSE(PlanCarving(*moe.model, texts, reach, {.experts = 2}, {}).ok());
  CHECK(PlanCarving(*dense.model, texts, reach, {.experts = 4}, [](std::int64_t, std::int64_t) { return false; })
            .error()
            .code == ErrorCode::kCancelled);
  auto plan = PlanCarving(*dense.model, texts, reach, {.experts = 4}, {}).value();
  CHECK_FALSE(quant::Carve(folder / "dense.gguf", folder / "x.gguf", plan, {5, false}).ok());
  std::swap(plan[0].experts[0][0], plan[0].experts[1][0]);
  CHECK(quant::Carve(folder / "dense.gguf", folder / "x.gguf", plan, {2, false}).ok());
  plan[0].experts[0][0] = plan[0].experts[1][0];
  CHECK_FALSE(quant::Carve(folder / "dense.gguf", folder / "y.gguf", plan, {2, false}).ok());
  CHECK(quant::CarvedSize(1536, 8, 0.25) == 128);
  CHECK(quant::CarvedSize(96, 8, 0.25) == 0);
}

/// Domains that use other tokens.
std::vector<TopicText> Domains(std::size_t count) {
  std::vector<TopicText> domains;
  for (std::size_t d = 0; d < count; ++d) {
    std::vector<tok::TokenId> tokens = RandomTokens(150, 20, d);
    for (tok::TokenId& token : tokens) token += static_cast<tok::TokenId>(20 * d);
    domains.push_back(TextOf(std::move(tokens)));
  }
  return domains;
}

/// The same file but for its feed-forward networks, which are those of another seed.
void WriteRelative(const std::string& base, std::uint64_t seed, const std::string& path,
                   quant::DType type = quant::DType::kF32) {
  const auto file = quant::GgufFile::Open(base);
  REQUIRE(file.ok());
  const std::vector<std::byte> bytes = testing::MakeTinyGguf({.seed = seed, .type = type});
  const auto other = quant::GgufFile::Parse(bytes, "other");
  REQUIRE(other.ok());
  quant::GgufWriter writer;
  for (const quant::GgufEntry& entry : file->entries()) writer.SetRaw(entry.key, entry.type, entry.value);
  for (const quant::GgufTensor& tensor : file->tensors()) {
    const bool ffn = tensor.name.find(".ffn_") != std::string::npos && tensor.name.find("norm") == std::string::npos;
    const quant::GgufTensor& from = ffn ? *other->FindTensor(tensor.name) : tensor;
    writer.AddTensor(tensor.name, from.type, from.dims, from.data);
  }
  REQUIRE(writer.Write(path, true).ok());
}

double OwnShare(Model& model, const std::vector<TopicText>& domains, std::size_t domain, std::int32_t expert) {
  ExpertInsight insight(model.experts(), 1);
  REQUIRE(
      RouteTexts(model, std::span(domains).subspan(domain, 1), 64, nullptr, [&](const RoutedToken& token) -> Status {
        insight.Add(token);
        return {};
      }).ok());
  double own = 0;
  for (std::int32_t layer = 0; layer < 2; ++layer) own += static_cast<double>(insight.At(layer, expert).tokens);
  return own / (2.0 * static_cast<double>(insight.tokens()));
}

TEST_CASE("Relatives become experts of a dense base: their blocks verbatim, their domains' tokens go to them") {
  const Folder folder;
  WriteTiny({}, folder / "base.gguf");
  WriteRelative(folder / "base.gguf", 11, folder / "one.gguf");
  WriteRelative(folder / "base.gguf", 12, folder / "two.gguf", quant::DType::kQ8_0);
  const LoadedFile base = LoadFile(folder / "base.gguf");
  const std::vector<TopicText> domains = Domains(3);
  const auto views = ViewDomains(*base.model, domains, 64, {});
  REQUIRE(views.ok());
  quant::AddPlan plan{{folder / "one.gguf", folder / "two.gguf"}, {}, 1, false};
  for (const DomainView& view : *views) plan.router.push_back(DomainRows(view, true));
  const auto made = quant::AddExperts(folder / "base.gguf", folder / "moe.gguf", plan);
  if (!made.ok()) FAIL(made.error().message);
  const LoadedFile moe = LoadFile(folder / "moe.gguf");
  CHECK(moe.model->experts().experts == std::vector<std::int32_t>{3, 3});
  CHECK(moe.model->experts().top_k == 1);
  const auto file = quant::GgufFile::Open(folder / "moe.gguf"), one = quant::GgufFile::Open(folder / "one.gguf");
  REQUIRE((file.ok() && one.ok()));
  const quant::GgufTensor &stack = *file->FindTensor("blk.1.ffn_down_exps.weight"),
                          &part = *one->FindTensor("blk.1.ffn_down.weight");
  REQUIRE(stack.data.size() == 3 * part.data.size());
  CHECK(std::memcmp(stack.data.data() + part.data.size(), part.data.data(), part.data.size()) == 0);
  for (std::size_t d = 0; d < 3; ++d) CHECK(OwnShare(*moe.model, domains, d, static_cast<std::int32_t>(d)) > 0.6);

  // And to a model that has experts.
  WriteRelative(folder / "base.gguf", 13, folder / "three.gguf");
  const std::vector<TopicText> two = {domains[0], domains[2]};
  std::vector<std::vector<float>> routers;
  for (int layer = 0; layer < 2; ++layer)
    routers.push_back(
        quant::TensorFloats(*file->FindTensor(quant::LayerName(layer, "ffn_gate_inp.weight")), "moe").value());
  const auto more = ViewDomains(*moe.model, two, 64, routers);
  REQUIRE(more.ok());
  quant::AddPlan next{{folder / "three.gguf"}, {}, 0, false};
  for (const DomainView& view : *more) next.router.push_back(DomainRows(view, false));
  REQUIRE(quant::AddExperts(folder / "moe.gguf", folder / "four.gguf", next).ok());
  const LoadedFile four = LoadFile(folder / "four.gguf");
  CHECK(four.model->experts().most() == 4);
  CHECK(OwnShare(*four.model, domains, 2, 3) > 0.6);
  CHECK(OwnShare(*four.model, domains, 0, 3) < 0.3);
}

TEST_CASE("Relatives are rounded to the type of a quantized base") {
  const Folder folder;
  WriteTiny({}, folder / "base.gguf");
  WriteRelative(folder / "base.gguf", 11, folder / "one.gguf");
  const auto plain = quant::GgufFile::Open(folder / "base.gguf"), one = quant::GgufFile::Open(folder / "one.gguf");
  REQUIRE((plain.ok() && one.ok()));
  const std::vector<quant::SourceTensor> sources = quant::SourcesOf(*plain);
  quant::GgufWriter writer;
  quant::CopyMetadata(*plain, writer);
  quant::QuantizeOptions options;
  options.plan.base = *quant::FindEncoding("q5_0");
  REQUIRE(quant::QuantizeTensors(writer, sources, options, folder / "small.gguf").ok());
  const std::vector<std::vector<float>> router(2, std::vector<float>(2 * 64, 0.1F));
  const auto made =
      quant::AddExperts(folder / "small.gguf", folder / "moe.gguf", {{folder / "one.gguf"}, router, 1, false});
  if (!made.ok()) FAIL(made.error().message);
  const auto moe = quant::GgufFile::Open(folder / "moe.gguf");
  REQUIRE(moe.ok());
  const quant::GgufTensor& stack = *moe->FindTensor("blk.1.ffn_down_exps.weight");
  CHECK(stack.type == quant::DType::kQ5_0);
  const std::vector<float> values = quant::TensorFloats(*one->FindTensor("blk.1.ffn_down.weight"), "one").value();
  std::vector<std::byte> blocks(stack.data.size() / 2);
  REQUIRE(quant::Encode(options.plan.base, values.data(), nullptr, blocks.data(), std::ssize(values)));
  CHECK(std::memcmp(stack.data.data() + blocks.size(), blocks.data(), blocks.size()) == 0);
}

TEST_CASE("What cannot become an expert is refused") {
  const Folder folder;
  WriteTiny({}, folder / "base.gguf");
  WriteTiny({.ff = 128}, folder / "wide.gguf");
  WriteTiny({.layers = 3}, folder / "deep.gguf");
  WriteTiny({.experts = 4}, folder / "moe.gguf");
  WriteTiny({.architecture = "qwen3"}, folder / "qwen.gguf");
  const std::vector<std::vector<float>> router(2, std::vector<float>(2 * 64));
  const auto refused = [&](const std::string& expert, std::vector<std::vector<float>> rows, int top_k) {
    return !quant::AddExperts(folder / "base.gguf", folder / "x.gguf",
                              {{folder / expert}, std::move(rows), top_k, false})
                .ok();
  };
  CHECK_FALSE(refused("base.gguf", router, 2));
  for (const char* expert : {"wide.gguf", "deep.gguf", "moe.gguf", "qwen.gguf", "none.gguf"})
    CHECK(refused(expert, router, 1));
  CHECK(refused("base.gguf", router, 1));  // x.gguf exists by now
  std::filesystem::remove(folder / "x.gguf");
  CHECK(refused("base.gguf", router, 3));
  CHECK(refused("base.gguf", {router[0]}, 1));
  CHECK(refused("base.gguf", {router[0], std::vector<float>(64)}, 1));
  CHECK(refused("base.gguf", {router[0], std::vector<float>(128, std::nanf(""))}, 1));
}

TEST_CASE("Rows of the least norm meet their targets") {
  const std::vector<std::vector<float>> centroids = {{3, 0, 0, 1}, {0, 2, 0, 1}};
  const std::vector<float> rows = RowsFor(centroids, {{1, -1}, {0, 4}});
  REQUIRE(rows.size() == 8);
  const auto product = [&](std::size_t row, std::size_t d) {
    float sum = 0;
    for (std::size_t i = 0; i < 4; ++i) sum += rows[row * 4 + i] * centroids[d][i];
    return static_cast<double>(sum);
  };
  CHECK(std::abs(product(0, 0) - 1) < 1e-2);
  CHECK(std::abs(product(0, 1) + 1) < 1e-2);
  CHECK(std::abs(product(1, 1) - 4) < 1e-2);
  CHECK(std::abs(rows[2]) < 1e-6F);  // no centroid has it
}

}  // namespace
}  // namespace quorum::engine
