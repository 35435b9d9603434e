// Bits are spent where they help, and never more than there are.
#include "quant/bit_budget.h"

#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "tests/quant/scratch.h"
#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

constexpr std::int64_t kCols = 256, kRows = 32, kExperts = 4;

SourceTensor Matrix(std::string name, std::int64_t experts, unsigned seed, bool coarse) {
  SourceTensor source;
  source.name = std::move(name);
  source.dims = {kCols, kRows};
  if (experts > 0) source.dims.push_back(experts);
  source.read = [seed, coarse](std::int64_t first, std::int64_t count, float* dst) {
    for (std::int64_t r = first; r < first + count; ++r) {
      std::mt19937 random(seed + static_cast<unsigned>(r));
      std::normal_distribution<float> normal;
      for (std::int64_t c = 0; c < kCols; ++c, ++dst) {
        // Of three values that two bits hold exactly, or of any.
        *dst = coarse ? static_cast<float>(static_cast<int>(random() % 3) - 1) : normal(random);
      }
    }
  };
  return source;
}

struct Setup {
  std::vector<SourceTensor> sources;
  QuantizeOptions options;
  BudgetOptions budget;
  Setup() {
    sources.push_back(Matrix("blk.0.attn_q.weight", 0, 1, false));
    sources.push_back(Matrix("blk.0.attn_v.weight", 0, 100, true));
    sources.push_back(Matrix("blk.0.ffn_up_exps.weight", kExperts, 200, false));
    sources.push_back(Matrix("blk.0.attn_norm.weight", 0, 900, false));
    options.plan.base = *FindEncoding("q4_k");
    options.plan.pure = true;
    options.threads = 2;
    for (const char* type : {"q2_k", "q4_k", "q6_k", "q8_0"}) budget.types.push_back(*FindEncoding(type));
  }
};

std::uint64_t Total(const std::vector<PlanRule>& rules) {
  std::uint64_t bytes = 0;
  for (const PlanRule& rule : rules) {
    std::int64_t matrices = rule.pattern.find("_exps") == std::string::npos ? 1 : kExperts;
    if (!rule.experts.empty()) matrices = rule.experts.front().second - rule.experts.front().first + 1;
    bytes += static_cast<std::uint64_t>(BytesOf(rule.encoding.type, kCols * kRows * matrices));
  }
  return bytes;
}

TEST_CASE("Prices are a falling curve, and a matrix that two bits hold is not given more") {
  const Setup setup;
  const auto units = MeasureUnits(setup.sources, setup.options, setup.budget);
  REQUIRE(units.ok());
  REQUIRE(units->size() == 3);
  for (const BudgetUnit& unit : *units) {
    for (std::size_t i = 1; i < unit.prices.size(); ++i) {
      CHECK(unit.prices[i].bytes > unit.prices[i - 1].bytes);
      CHECK(unit.prices[i].error < unit.prices[i - 1].error);
    }
  }
  const auto average = static_cast<std::uint64_t>(BytesOf(DType::kQ4_K, kCols * kRows * (2 + kExperts)));
  // What attn_v leaves does not quite make six bits of attn_q's four: 66 bytes a block more, 60 are left.
  const std::uint64_t missing = 6 * kRows;
  const auto rules = SpendBytes(*units, average + missing);
  REQUIRE(rules.ok());
  CHECK(Total(*rules) == average + missing);
  std::map<std::string, std::string> types;
  for (const PlanRule& rule : *rules) types[rule.pattern] = NameOf(rule.encoding);
  CHECK(types["blk.0.attn_v.weight"] == "q2_k");
  CHECK(types["blk.0.attn_q.weight"] == "q6_k");
  CHECK(types["blk.0.ffn_up_exps.weight"] == "q4_k");
}

TEST_CASE("More bytes never mean a larger error, and too few are refused with what is needed") {
  const Setup setup;
  const auto units = MeasureUnits(setup.sources, setup.options, setup.budget);
  REQUIRE(units.ok());
  const auto least = static_cast<std::uint64_t>(BytesOf(DType::kQ2_K, kCols * kRows * (2 + kExperts)));
  CHECK_FALSE(SpendBytes(*units, least - 1).ok());
  double last = 1e9;
  for (std::uint64_t bytes = least; bytes < 4 * least; bytes += least / 8) {
    const auto rules = SpendBytes(*units, bytes);
    REQUIRE(rules.ok());
    CHECK(Total(*rules) <= bytes);
    double error = 0;
    for (const PlanRule& rule : *rules) {
      for (const BudgetUnit& unit : *units) {
        for (const BudgetUnit::Price& price : unit.prices) {
          if (unit.name == rule.pattern && price.encoding == rule.encoding) error += price.error;
        }
      }
    }
    CHECK(error <= last);
    last = error;
  }
}

TEST_CASE("Experts that more tokens visit get more bits, and the file has the bytes that were planned") {
  Setup setup;
  ImportanceMatrix importance;
  for (const SourceTensor& source : setup.sources) {
    if (source.dims.size() < 3) continue;
    ImportanceEntry& entry = importance.entries[source.name];
    entry.counts = {1000.0F, 10.0F, 10.0F, 0.0F};
    entry.sums.assign(static_cast<std::size_t>(kCols * kExperts), 1.0F);
  }
  setup.options.importance = &importance;
  setup.budget.by_expert = true;
  const auto units = MeasureUnits(setup.sources, setup.options, setup.budget);
  REQUIRE(units.ok());
  REQUIRE(units->size() == 2 + kExperts);
  const auto average = static_cast<std::uint64_t>(BytesOf(DType::kQ4_K, kCols * kRows * (2 + kExperts)));
  const auto rules = SpendBytes(*units, average);
  REQUIRE(rules.ok());
  CHECK(Total(*rules) <= average);
  setup.options.plan.rules = *rules;
  const auto choices = ChooseTypes(setup.sources, setup.options);
  REQUIRE(choices.ok());
  std::map<std::string, std::int64_t> bytes;
  std::uint64_t sum = 0;
  for (const TensorChoice& choice : *choices) {
    bytes[choice.name] = BytesOf(choice.encoding.type, choice.rows * kCols);
    sum += static_cast<std::uint64_t>(bytes[choice.name]);
  }
  CHECK(bytes["blk.0.ffn_up.0.weight"] > bytes["blk.0.ffn_up.1.weight"]);
  CHECK(bytes["blk.0.ffn_up.1.weight"] == bytes["blk.0.ffn_up.2.weight"]);
  CHECK(bytes["blk.0.ffn_up.3.weight"] >= bytes["blk.0.ffn_up.1.weight"]);  // of which nothing is known
  const Folder folder;
  GgufWriter writer;
  writer.SetString("general.architecture", "llama");
  const auto planned = SizeOf(writer, setup.sources, setup.options);
  REQUIRE(planned.ok());
  const auto report = QuantizeTensors(writer, setup.sources, setup.options, folder / "m.gguf");
  REQUIRE(report.ok());
  CHECK(planned->tensor_bytes == sum);
  CHECK(planned->file_bytes == report->file_bytes);
  CHECK(ReadFile(folder / "m.gguf").size() == planned->file_bytes);
}

}  // namespace
}  // namespace quorum::quant
