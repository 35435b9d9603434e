// The costs that `quorum bench` compares with the roof, against sums by hand; and the roof's own loops.
#include "engine/step_cost.h"

#include <algorithm>
#include <span>
#include <vector>

#include "engine/model.h"
#include "engine/roof.h"
#include "tests/support/catch.h"
#include "tests/support/kernel_tables.h"
#include "tests/support/model_runner.h"

namespace quorum::engine {
namespace {

TEST_CASE("Costs of matrices add up to those of the model, experts apart") {
  testing::TinyShape shape;
  shape.experts = 4;
  const auto loaded = testing::LoadTiny(shape, KvType::kBf16);
  const Model* model = loaded.model.get();
  const WeightCosts costs = model->weight_costs();
  const std::int64_t d = shape.d_model;
  const std::int64_t attention = d * shape.heads * shape.head_dim * 2 + d * shape.kv_heads * shape.head_dim * 2;
  CHECK(costs.always.weights == shape.layers * (attention + d * shape.experts));
  CHECK(costs.output.weights == d * shape.vocab);
  CHECK(costs.output.bytes == (shape.vocab + 15) / 16 * 16 * d * 4);  // float panels of 16 rows
  REQUIRE(costs.experts.size() == static_cast<std::size_t>(shape.layers * shape.experts));
  for (const MatrixCost& expert : costs.experts) {
    CHECK(expert.weights == 3 * d * shape.ff);
    CHECK(expert.bytes == 3 * d * shape.ff * 4);
  }
}

TEST_CASE("A step costs its matrices once, its visited experts once, and each sequence's cache") {
  testing::TinyShape shape;
  shape.experts = 4;
  const auto loaded = testing::LoadTiny(shape, KvType::kBf16);
  const Model* model = loaded.model.get();
  const WeightCosts costs = model->weight_costs();
  std::vector<std::uint64_t> visits(costs.experts.size());
  visits[1] = 3;
  visits[6] = 1;
  const std::vector<CostRows> sequences{{.pos = 64, .rows = 1, .logits = 1}, {.pos = 0, .rows = 2, .logits = 0}};
  const StepCost cost = CostOf(model->spec(), costs, model->kv_shape(), sequences, visits);
  const std::int64_t page = KvCache::BytesPerPage(model->kv_shape());
  CHECK(cost.bytes == costs.always.bytes + costs.output.bytes + 2 * costs.experts[0].bytes + (2 + 1) * page);
  const std::int64_t seen = 65 + (1 + 2);
  CHECK(cost.operations == 2 * (3 * costs.always.weights + costs.output.weights + 4 * costs.experts[0].weights +
                                seen * shape.layers * shape.heads * 2 * shape.head_dim));
}

TEST_CASE("What steps have read is counted: matrices once a step, experts where tokens went, and the cache") {
  testing::TinyShape shape;
  shape.experts = 4;
  const auto loaded = testing::LoadTiny(shape, KvType::kBf16);
  Model* model = loaded.model.get();
  CHECK(model->bytes_read().weights == 0);
  const WeightCosts costs = model->weight_costs();
  const std::vector<tok::TokenId> tokens{1, 2, 3};
  const std::vector<std::int32_t> pages{0, 1};
  std::vector<float> logits(static_cast<std::size_t>(shape.vocab));
  const StepSlice prompt{tokens, 62, pages, 3};
  REQUIRE(model->Step({&prompt, 1}, {}).ok());
  const StepSlice decode{std::span(tokens).first(1), 0, pages, 0};
  REQUIRE(model->Step({&decode, 1}, logits).ok());
  const ExpertStats experts = model->expert_stats();
  std::int64_t visited = 0;
  for (std::size_t e = 0; e < experts.steps.size(); ++e) {
    CHECK(experts.steps[e] <= std::min<std::uint64_t>(experts.tokens[e], 2));
    CHECK((experts.steps[e] > 0) == (experts.tokens[e] > 0));
    visited += static_cast<std::int64_t>(experts.steps[e]) * costs.experts[e].bytes;
  }
  CHECK(visited > 0);
  CHECK(model->bytes_read().weights == 2 * costs.always.bytes + costs.output.bytes + visited);
  CHECK(model->bytes_read().cache == 3 * KvCache::BytesPerPage(model->kv_shape()));
}

TEST_CASE("A window bounds what a step reads of the cache") {
  testing::TinyShape shape;
  shape.architecture = "phi3";
  shape.window = 70;
  const auto loaded = testing::LoadTiny(shape, KvType::kBf16);
  const Model* model = loaded.model.get();
  REQUIRE(model->spec().layers[0].window == 70);
  const WeightCosts costs = model->weight_costs();
  const std::vector<CostRows> far{{.pos = 400, .rows = 1, .logits = 0}};
  const StepCost cost = CostOf(model->spec(), costs, model->kv_shape(), far, {});
  // Positions 331 to 400 lie in the pages 5 and 6.
  CHECK(cost.bytes == costs.always.bytes + 2 * KvCache::BytesPerPage(model->kv_shape()));
  CHECK(cost.operations ==
        2 * (costs.always.weights + std::int64_t{70} * shape.layers * shape.heads * 2 * shape.head_dim));
}

TEST_CASE("Every instruction set's peak loop counts its operations, its read loop reads all, the roof is above zero") {
  std::vector<std::uint8_t> bytes(1024);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * i / 7 + i);
  std::vector<const KernelTable*> tables = testing::MatmulTables();
  tables.push_back(&ScalarKernels());
  for (const KernelTable* table : tables) {
    CAPTURE(table->name);
    const std::int64_t once = table->peak_loop(1);
    CHECK(once > 0);
    CHECK(table->peak_loop(10) == 10 * once);
    std::vector<std::uint8_t> read = bytes;
    const std::uint64_t all = ScalarKernels().read_loop(read.data(), 1024);
    CHECK(table->read_loop(read.data(), 1024) == all);
    for (const std::size_t at : {std::size_t{0}, std::size_t{333}, std::size_t{1023}}) {
      read[at] ^= 1;
      CHECK(table->read_loop(read.data(), 1024) == ScalarKernels().read_loop(read.data(), 1024));
      CHECK(table->read_loop(read.data(), 1024) != all);
      read[at] ^= 1;
    }
  }
  ThreadPool pool(2);
  const auto roof = MeasureRoof(ScalarKernels(), pool, 4 << 20);
  REQUIRE(roof.ok());
  CHECK(roof->bytes_per_second > 0);
  CHECK(roof->operations_per_second > 0);
}

}  // namespace
}  // namespace quorum::engine
