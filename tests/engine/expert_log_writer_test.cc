// The log that a server writes: all that was computed, within its bounds, and no word of it unless asked.
#include "engine/expert_log_writer.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "engine/engine.h"
#include "engine/expert_insight.h"
#include "engine/expert_log.h"
#include "tests/support/catch.h"
#include "tests/support/fake_model.h"
#include "tests/support/model_runner.h"

namespace quorum::engine {
namespace {

using testing::LoadedTiny;
using testing::LoadTiny;
using testing::RandomTokens;

/// A folder of its own, gone afterwards.
struct Folder {
  std::filesystem::path path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "quorum-log-XXXXXX").string();
    path = ::mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path); }
  std::string File(const std::string& name) const { return (path / name).string(); }
};

std::string Read(const std::string& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// The sums over a log; `texts` gets the tokens' texts.
ExpertInsight Sum(const std::string& path, std::vector<std::string>* texts = nullptr) {
  std::optional<ExpertInsight> insight;
  std::ifstream in(path);
  const Status status = ReadExpertLog(
      in, path,
      [&](const ExpertLogHead& head) -> Status {
        CHECK(head.topics == std::vector<std::string>{"prompts", "replies"});
        insight.emplace(head.shape, 2);
        return {};
      },
      [&](const RoutedToken& token, const std::string& text) -> Status {
        insight->Add(token);
        if (texts != nullptr) texts->push_back(text);
        return {};
      });
  REQUIRE(status.ok());
  return *insight;
}

std::shared_ptr<ExpertLogWriter> Open(ExpertLogOptions options, const ExpertShape& shape) {
  auto writer = ExpertLogWriter::Open(std::move(options), "tiny", shape);
  REQUIRE(writer.ok());
  return std::move(*writer);
}

TEST_CASE("Requests at once: their reports, the model's counters and the log agree to the token") {
  const Folder folder;
  const LoadedTiny tiny = LoadTiny({.layers = 3, .experts = 6}, KvType::kInt8, 2);
  const test::FakeTokenizer tokenizer(tiny.model->vocab_size());
  const ExpertShape shape = tiny.model->experts();
  const ExpertStats before = tiny.model->expert_stats();
  std::vector<ExpertTally> tallies(12);
  std::vector<std::uint64_t> visits_of_layer(tallies.size());
  {
    const auto engine =
        MakeEngine(*tiny.model, tokenizer,
                   {.max_batch = 5, .prefill_chunk = 16, .expert_log = Open({.path = folder.File("log")}, shape)});
    const auto ask = [&](std::size_t i) {
      GenerationRequest request;
      request.prompt = RandomTokens(5 + 9 * static_cast<std::int64_t>(i), tiny.model->vocab_size(), i);
      request.max_tokens = 3 + static_cast<std::int32_t>(i);
      request.n = i % 4 == 1 ? 2 : 1;
      request.ignore_eos = true;
      request.experts.report = true;
      request.experts.dense = i % 6 == 3;
      if (i % 3 == 2) request.experts.top_k = 1 + static_cast<std::int32_t>(i % 4);
      auto generation = engine->Submit(request);
      if (!generation.ok()) return;
      while (!(*generation)->done()) {
        const auto event = (*generation)->Next(std::chrono::hours(1));
        if (event && event->experts != nullptr) tallies[i] = *event->experts;
      }
      const int top_k = request.experts.dense ? 6 : request.experts.top_k == 0 ? 2 : request.experts.top_k;
      visits_of_layer[i] = static_cast<std::uint64_t>(tallies[i].rows) * static_cast<std::uint64_t>(top_k);
    };
    std::vector<std::thread> clients;
    for (std::size_t i = 0; i < tallies.size(); ++i) clients.emplace_back(ask, i);
    for (std::thread& client : clients) client.join();
  }
  const ExpertStats after = tiny.model->expert_stats();
  const ExpertInsight log = Sum(folder.File("log"));
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < tallies.size(); ++i) {
    CAPTURE(i);
    REQUIRE(tallies[i].rows > 0);
    rows += tallies[i].rows;
    for (std::size_t layer = 0; layer < 3; ++layer) {
      std::uint64_t visits = 0;
      for (std::size_t e = 0; e < 6; ++e) visits += tallies[i].tokens[layer * 6 + e];
      CHECK(visits == visits_of_layer[i]);
    }
  }
  CHECK(log.tokens() == rows);
  CHECK(log.topics()[ExpertLogWriter::kReply].tokens > 0);
  CHECK(log.topics()[ExpertLogWriter::kPrompt].tokens > 0);
  for (std::int32_t layer = 0; layer < 3; ++layer) {
    for (std::int32_t e = 0; e < 6; ++e) {
      const auto cell = static_cast<std::size_t>(layer * 6 + e);
      std::uint64_t reported = 0;
      for (const ExpertTally& tally : tallies) reported += tally.tokens[cell];
      CHECK(after.tokens[cell] - before.tokens[cell] == reported);
      CHECK(log.At(layer, e).tokens == reported);
    }
  }
  const std::string text = Read(folder.File("log"));
  CHECK(text.find("\"t\":") == std::string::npos);
  CHECK(text.find("\"s\":") == std::string::npos);
  CHECK(log.Favourites(0, 3)[0].empty());
  const auto others = std::filesystem::perms::group_all | std::filesystem::perms::others_all;
  CHECK((std::filesystem::status(folder.File("log")).permissions() & others) == std::filesystem::perms::none);
}

/// A trace of `rows` rows in one layer of 4 experts; row i visits expert (first + i) % 4.
std::shared_ptr<const ExpertTrace> Trace(std::int32_t rows, std::int32_t first = 0) {
  auto trace = std::make_shared<ExpertTrace>(ExpertShape{1, {4}}, 1, rows);
  for (std::int32_t i = 0; i < rows; ++i) {
    const std::int32_t expert = (first + i) % 4;
    std::vector<float> logits(4, 0.0F);
    logits[static_cast<std::size_t>(expert)] = 1.5F;
    trace->SetChoice(0, i, std::span(&expert, 1), std::vector<float>{1.0F}, logits, nullptr);
  }
  return trace;
}

TEST_CASE("With texts the log says which tokens, of prompts and of replies; an older log is kept beside it") {
  const Folder folder;
  const std::string path = folder.File("log");
  std::ofstream(path) << "older";
  {
    const auto writer =
        Open({.path = path, .text = [](tok::TokenId id) { return "<" + std::to_string(id) + "\xff>"; }}, {1, {4}});
    writer->Push(Trace(3), std::vector<tok::TokenId>{7, 8, 9}, ExpertLogWriter::kPrompt);
    writer->Push(Trace(1, 3), std::vector<tok::TokenId>{10}, ExpertLogWriter::kReply);
  }
  CHECK(Read(path + ".1") == "older");
  std::vector<std::string> texts;
  const ExpertInsight log = Sum(path, &texts);
  CHECK(texts == std::vector<std::string>{"<7\xef\xbf\xbd>", "<8\xef\xbf\xbd>", "<9\xef\xbf\xbd>", "<10\xef\xbf\xbd>"});
  CHECK(log.sequence() == std::vector<tok::TokenId>{7, 8, 9, 10});
  CHECK(log.topic_of() == std::vector<std::int32_t>{0, 0, 0, 1});
  CHECK(log.OfTopic(ExpertLogWriter::kReply, 0, 3) == 1);
  CHECK(log.Margins(0) == std::vector<float>(4, 1.5F));
}

TEST_CASE("The log begins anew at its limit, and two files hold the last tokens") {
  const Folder folder;
  const std::string path = folder.File("log");
  constexpr std::int64_t kLimit = 2000;
  {
    const auto writer = Open({.path = path, .max_bytes = kLimit, .text = [](tok::TokenId) { return "x"; }}, {1, {4}});
    for (std::int32_t i = 0; i < 200; ++i) {
      writer->Push(Trace(1, i), std::vector<tok::TokenId>{i}, ExpertLogWriter::kPrompt);
    }
    while (writer->left_out() > 0) FAIL("nothing is to be left out");
  }
  CHECK(std::filesystem::file_size(path) <= kLimit);
  CHECK(std::filesystem::file_size(path + ".1") <= kLimit);
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path), {}) == 2);
  std::vector<tok::TokenId> last = Sum(path + ".1").sequence();
  const std::vector<tok::TokenId> newest = Sum(path).sequence();
  last.insert(last.end(), newest.begin(), newest.end());
  REQUIRE(last.size() > 20);
  CHECK(last.back() == 199);
  CHECK(std::adjacent_find(last.begin(), last.end(), [](auto a, auto b) { return a + 1 != b; }) == last.end());
}

TEST_CASE("What does not fit the queue is counted; a share is spread evenly") {
  const Folder folder;
  const auto writer = Open({.path = folder.File("log"), .share = 0.25, .max_rows = 4}, {1, {4}});
  writer->Push(Trace(5), std::vector<tok::TokenId>(5, 1), ExpertLogWriter::kPrompt);
  CHECK(writer->left_out() == 5);
  std::string wanted;
  for (int i = 0; i < 12; ++i) wanted += writer->Wants(ExpertLogWriter::kPrompt) ? '1' : '0';
  CHECK(wanted == "000100010001");
  CHECK_FALSE(writer->Wants(ExpertLogWriter::kReply));  // counted for itself
}

TEST_CASE("A log that cannot be written is an error at the start, and later the end of the log alone") {
  const Folder folder;
  const auto refused = [](const std::string& path) {
    const auto writer = ExpertLogWriter::Open({.path = path}, "tiny", {1, {4}});
    return !writer.ok() && writer.error().message.find(path) != std::string::npos;
  };
  CHECK(refused(folder.File("none/log")));
  CHECK(refused(folder.path.string()));
  if (std::filesystem::exists("/dev/full")) CHECK(refused("/dev/full"));
  // The folder vanishes, so that the file cannot begin anew.
  std::filesystem::create_directory(folder.File("sub"));
  const auto writer = Open({.path = folder.File("sub/log"), .max_bytes = 400}, {1, {4}});
  std::filesystem::remove_all(folder.File("sub"));
  for (std::int32_t i = 0; i < 50; ++i) {
    writer->Push(Trace(1, i), std::vector<tok::TokenId>{i}, ExpertLogWriter::kPrompt);
  }
  while (writer->left_out() == 0) std::this_thread::yield();
}

}  // namespace
}  // namespace quorum::engine
