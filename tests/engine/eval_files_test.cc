// What `quorum eval` reads, keeps and counts: task files, saved logits, differences of logits.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "engine/eval_task.h"
#include "engine/logit_compare.h"
#include "engine/logit_file.h"
#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

TEST_CASE("Task files are read, and errors name the line") {
  const auto tasks = ParseEvalTasks(
      "{\"prompt\": \"2+2=\", \"choices\": [\"4\", \"5\"], \"answer\": 1, \"id\": 7}\n\n"
      "{\"prompt\": \"say\", \"answer\": \"x\", \"max_tokens\": 3, \"other\": []}");
  REQUIRE(tasks.ok());
  REQUIRE(tasks->size() == 2);
  CHECK((*tasks)[0].choices == std::vector<std::string>{"4", "5"});
  CHECK((*tasks)[0].answer == 1);
  CHECK((*tasks)[0].id == "7");
  CHECK((*tasks)[1].text == "x");
  CHECK((*tasks)[1].max_tokens == 3);
  for (const char* bad :
       {"{", "[]", "{\"answer\": \"a\"}", "{\"prompt\": 1, \"answer\": \"a\"}", "{\"prompt\": \"p\"}",
        "{\"prompt\": \"p\", \"answer\": 1}", "{\"prompt\": \"p\", \"choices\": [\"a\", \"b\"], \"answer\": 2}",
        "{\"prompt\": \"p\", \"choices\": [\"a\", \"b\"], \"answer\": \"a\"}",
        "{\"prompt\": \"p\", \"choices\": [\"a\"], \"answer\": 0}",
        "{\"prompt\": \"p\", \"choices\": [\"a\", \"\"], \"answer\": 0}",
        "{\"prompt\": \"p\", \"answer\": \"a\", \"max_tokens\": 0}", "{\"prompt\": \"p\", \"answer\": \" \\n\"}",
        "{\"prompt\": \"p\", \"answer\": \"a\\nb\"}", "\xff"}) {
    INFO(bad);
    const auto failed = ParseEvalTasks(std::string("\n") + bad);
    REQUIRE_FALSE(failed.ok());
    CHECK(failed.error().message.starts_with("line 2: "));
  }
  CHECK_FALSE(ParseEvalTasks("\n \n").ok());
  CHECK_FALSE(ParseEvalTasks(std::string(100000, '[')).ok());
  CHECK(ParseEvalTasks("{\"prompt\": \"p\", \"answer\": \"\\n a b \\n\"}").ok());  // one line with space around it
  CHECK(MatchesAnswer(" 42 \nmore", "42"));
  CHECK_FALSE(MatchesAnswer("421", "42"));
  CHECK_FALSE(MatchesAnswer("", "42"));
}

TEST_CASE("KL divergence, agreement and intervals are what they say") {
  const std::vector<float> a = {std::log(0.5F), std::log(0.25F), std::log(0.25F)};
  const std::vector<float> b = {std::log(0.25F) + 3, std::log(0.5F) + 3,
                                std::log(0.25F) + 3};  // a constant changes nothing
  const PositionDifference same = Compare(a, a);
  CHECK(same.kl < 1e-7);
  CHECK(same.same_top);
  const PositionDifference other = Compare(a, b);
  CHECK(std::fabs(other.kl - (0.5 * std::log(2.0) - 0.25 * std::log(2.0))) < 1e-6);
  CHECK_FALSE(other.same_top);
  CHECK(std::fabs(LogSumExp(b) - 3) < 1e-6);
  const LogitReport report = Summarize(std::vector{same, other}, std::vector{1.0, 3.0}, std::vector{1.0, 2.0});
  CHECK(report.positions == 2);
  CHECK(report.same_top.fraction == 0.5);
  // Wilson's intervals: Brown, Cai and DasGupta 2001 have the formula; these ends were worked out by hand.
  const Proportion all = ProportionOf(3, 3), none = ProportionOf(0, 3), most = ProportionOf(3, 4);
  CHECK(all.fraction == 1);
  CHECK(all.high == 1);
  CHECK(std::fabs(all.low - 3 / (3 + 3.841458820694124)) < 1e-12);
  CHECK(std::fabs(none.high - 3.841458820694124 / (3 + 3.841458820694124)) < 1e-12);
  CHECK(none.low == 0);
  CHECK(most.fraction == 0.75);
  CHECK(std::fabs(most.low - 0.3006) < 1e-4);
  CHECK(std::fabs(most.high - 0.9544) < 1e-4);
  CHECK(ProportionOf(0, 0).high == 1);
  CHECK(report.loss_difference.mean == 0.5);
  CHECK(report.kl_max == other.kl);
  CHECK(std::fabs(report.kl.mean - other.kl / 2) < 1e-7);
  const MeanInterval mean = MeanOf(std::vector{1.0, 2.0, 3.0});
  CHECK(mean.mean == 2);
  CHECK(std::fabs(mean.half_width - 1.96 / std::sqrt(3.0)) < 1e-3);
  CHECK(std::fabs(mean.low() - (2 - 1.959964 / std::sqrt(3.0))) < 1e-6);
  CHECK(std::isnan(MeanOf(std::vector{1.0}).half_width));  // one value tells nothing of their spread
  CHECK(Quantile({3, 1, 2}, 0.5) == 2);
  CHECK(Quantile({}, 0.5) == 0);
}

TEST_CASE("Saved logits come back, and what is cut is refused") {
  const std::string path = (std::filesystem::temp_directory_path() / "quorum-logits-test").string();
  const LogitHeader header{4, 5, {0, 1, 2, 3, 4, 0}};
  REQUIRE(header.positions() == 4);
  std::vector<std::vector<float>> rows;
  {
    auto writer = LogitWriter::Create(path, header, false);
    REQUIRE(writer.ok());
    for (int i = 0; i < 4; ++i) {
      std::vector<float>& row = rows.emplace_back();
      for (int t = 0; t < 5; ++t) row.push_back(static_cast<float>((i * 7 + t * 3) % 11) * 1.3F - 4.0F);
      REQUIRE(writer->Add(row).ok());
    }
    REQUIRE(writer->Finish().ok());
  }
  std::ifstream in(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  std::filesystem::remove(path);
  const auto bytes = std::as_bytes(std::span(text));
  const auto reader = LogitReader::Parse(bytes);
  REQUIRE(reader.ok());
  CHECK(reader->header().tokens == header.tokens);
  CHECK(reader->header().window == 4);
  std::vector<float> row(5);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    reader->Row(static_cast<std::int64_t>(i), row);
    for (std::size_t t = 0; t < row.size(); ++t) CHECK(std::fabs(row[t] - rows[i][t]) < 2e-4F);
    CHECK(Compare(rows[i], row).kl < 1e-6);
  }
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) CHECK_FALSE(LogitReader::Parse(bytes.first(cut)).ok());
}

}  // namespace
}  // namespace quorum::engine
