// What is told about experts is exact: traces, their sums, logs, distances, and the expert that a model cannot do
// without.
#include "engine/expert_insight.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include "engine/expert_log.h"
#include "engine/expert_study.h"
#include "engine/expert_trace.h"
#include "engine/kernels/dispatch.h"
#include "engine/model_config.h"
#include "engine/text_run.h"
#include "tests/support/catch.h"
#include "tests/support/kernel_tables.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

using testing::LoadedTiny;
using testing::LoadTiny;
using testing::RandomTokens;
using testing::SameBits;
using testing::TinyShape;

const TinyShape kMoe{.layers = 3, .experts = 6, .top_k = 2};

/// Logits of a sequence whose steps of `chunk` tokens are traced; `traces` gets one a step.
std::vector<float> RunTraced(Model& model, std::span<const tok::TokenId> tokens, std::int64_t chunk,
                             const TraceParts& parts, std::vector<ExpertTrace>& traces,
                             const ExpertOptions* experts = nullptr) {
  const auto vocab = static_cast<std::size_t>(model.vocab_size());
  std::vector<std::int32_t> pages((tokens.size() + kPageTokens - 1) / kPageTokens);
  std::iota(pages.begin(), pages.end(), 0);
  std::vector<float> logits(tokens.size() * vocab);
  for (std::size_t pos = 0; pos < tokens.size(); pos += static_cast<std::size_t>(chunk)) {
    const std::size_t rows = std::min(static_cast<std::size_t>(chunk), tokens.size() - pos);
    ExpertTrace& trace =
        traces.emplace_back(model.experts(), experts != nullptr ? experts->top_k : 2, std::ssize(tokens), parts);
    const StepSlice slice{.tokens = tokens.subspan(pos, rows),
                          .pos = static_cast<std::int32_t>(pos),
                          .pages = pages,
                          .first_logits = 0,
                          .experts = experts,
                          .trace = &trace};
    REQUIRE(model.Step({&slice, 1}, std::span(logits).subspan(pos * vocab, rows * vocab)).ok());
  }
  return logits;
}

TraceParts AllParts(const Model& model) {
  return {.norms = true, .inputs = true, .hidden = true, .d_model = model.spec().d_model, .ff = model.spec().max_ff()};
}

TEST_CASE("A trace has the same bits in any chunks, on any threads and kernels, and changes none") {
  const LoadedTiny one = LoadTiny(kMoe, KvType::kF32, 1);
  const std::vector<tok::TokenId> tokens = RandomTokens(70, one.model->vocab_size(), 5);
  std::vector<ExpertTrace> whole;
  const std::vector<float> logits = RunTraced(*one.model, tokens, 70, AllParts(*one.model), whole);
  CHECK(SameBits(logits, testing::RunSequence(*one.model, tokens, 70)));
  for (const KernelTable* table : testing::AllTables()) {
    const LoadedTiny other = LoadTiny(kMoe, KvType::kF32, 2, table);
    std::vector<ExpertTrace> parts;
    RunTraced(*other.model, tokens, 9, AllParts(*other.model), parts);
    for (std::int64_t row = 0; row < std::ssize(tokens); ++row) {
      for (std::int32_t layer = 0; layer < 3; ++layer) {
        const ExpertTrace& part = parts[static_cast<std::size_t>(row / 9)];
        const ExpertTrace::Visits a = whole[0].At(layer, row), b = part.At(layer, row % 9);
        REQUIRE(std::equal(a.experts.begin(), a.experts.end(), b.experts.begin(), b.experts.end()));
        REQUIRE(SameBits(a.weights, b.weights));
        REQUIRE(SameBits(a.norms, b.norms));
        REQUIRE(SameBits({&a.margin, 1}, {&b.margin, 1}));
        REQUIRE(SameBits(whole[0].Input(layer, row), part.Input(layer, row % 9)));
        REQUIRE(SameBits(whole[0].Hidden(layer, row, 1), part.Hidden(layer, row % 9, 1)));
      }
    }
  }
}

TEST_CASE("Lengths of outputs, hidden units and margins are those of the experts' own weights") {
  TinyShape shape = kMoe;
  shape.single_experts = true;
  const LoadedTiny tiny = LoadTiny(shape);
  const std::vector<tok::TokenId> tokens = RandomTokens(20, tiny.model->vocab_size(), 6);
  std::vector<ExpertTrace> traces;
  RunTraced(*tiny.model, tokens, 20, AllParts(*tiny.model), traces);
  const ExpertTrace& trace = traces.front();
  for (std::int32_t layer = 0; layer < 3; ++layer) {
    const LayerTensors& tensors = tiny.tiny->tensors.layers[static_cast<std::size_t>(layer)];
    for (std::int64_t row = 0; row < 20; ++row) {
      const std::span<const float> x = trace.Input(layer, row);
      const auto product = [](const TensorRef& w, std::span<const float> in) {
        const std::vector<float> values = w.Floats();
        std::vector<double> out(static_cast<std::size_t>(w.rows));
        for (std::size_t i = 0; i < values.size(); ++i) {
          out[i / in.size()] += static_cast<double>(values[i]) * static_cast<double>(in[i % in.size()]);
        }
        return out;
      };
      const ExpertTrace::Visits visits = trace.At(layer, row);
      REQUIRE(visits.experts.size() == 2);
      for (std::size_t i = 0; i < 2; ++i) {
        const NetworkTensors& network = tensors.networks[static_cast<std::size_t>(visits.experts[i])];
        const std::vector<double> gate = product(network.gate, x), up = product(network.up, x);
        std::vector<float> hidden(gate.size());
        for (std::size_t j = 0; j < hidden.size(); ++j)
          hidden[j] = static_cast<float>(gate[j] / (1 + std::exp(-gate[j])) * up[j]);
        const std::span<const float> traced = trace.Hidden(layer, row, static_cast<std::int32_t>(i));
        CHECK(testing::RelativeError(traced.first(hidden.size()), hidden) < 1e-5);
        double squares = 0;
        for (const double y : product(network.down, hidden)) squares += y * y;
        CHECK(std::abs(static_cast<double>(visits.norms[i]) / std::sqrt(squares) - 1) < 1e-5);
      }
      const std::vector<double> logits = product(*tensors.router, x);
      double lowest = std::numeric_limits<double>::infinity(), highest = -lowest;
      for (std::int32_t e = 0; e < 6; ++e) {
        const bool chosen = std::count(visits.experts.begin(), visits.experts.end(), e) > 0;
        (chosen ? lowest : highest) = chosen ? std::min(lowest, logits[static_cast<std::size_t>(e)])
                                             : std::max(highest, logits[static_cast<std::size_t>(e)]);
      }
      CHECK(std::abs(static_cast<double>(visits.margin) - (lowest - highest)) < 1e-4);
    }
  }
}

TEST_CASE("Traces made for another model or too few rows are refused") {
  const LoadedTiny tiny = LoadTiny(kMoe);
  const std::vector<tok::TokenId> tokens = {1, 2, 3};
  const std::vector<std::int32_t> pages = {0};
  const auto refused = [&](ExpertTrace trace) {
    const StepSlice slice{.tokens = tokens, .pages = pages, .first_logits = 3, .trace = &trace};
    return !tiny.model->Step({&slice, 1}, {}).ok();
  };
  CHECK_FALSE(refused(ExpertTrace(tiny.model->experts(), 2, 3)));
  CHECK(refused(ExpertTrace(tiny.model->experts(), 2, 2)));
  CHECK(refused(ExpertTrace(tiny.model->experts(), 1, 3)));
  CHECK(refused(ExpertTrace({2, {6, 6}}, 2, 3)));
  CHECK(refused(ExpertTrace(tiny.model->experts(), 2, 3, {.inputs = true, .d_model = 8})));
}

/// The sums over some texts, and the lines of their log.
ExpertInsight InsightOf(Model& model, const std::vector<TopicText>& texts, std::string* log = nullptr) {
  ExpertInsight insight(model.experts(), 2);
  if (log != nullptr) *log = ExpertLogLine({"tiny", model.experts(), {"a", "b \xff"}});
  REQUIRE(RouteTexts(model, texts, 64, nullptr, [&](const RoutedToken& token) -> Status {
            insight.Add(token);
            if (log != nullptr) *log += ExpertLogLine(token, "t\xc3");
            return {};
          }).ok());
  return insight;
}

std::vector<TopicText> TwoTexts(const Model& model) {
  return {{RandomTokens(150, model.vocab_size(), 1), std::vector<std::int32_t>(150, 0)},
          {RandomTokens(90, model.vocab_size(), 2), std::vector<std::int32_t>(90, 1)}};
}

TEST_CASE(
    "Counts are exact: tokens times top-k in every layer, topics and pairs add up, and the model's own counters "
    "agree") {
  const LoadedTiny tiny = LoadTiny(kMoe);
  const ExpertStats before = tiny.model->expert_stats();
  const ExpertInsight insight = InsightOf(*tiny.model, TwoTexts(*tiny.model));
  const ExpertStats after = tiny.model->expert_stats();
  CHECK(insight.tokens() == 240);
  CHECK(insight.topics()[0].scored == 150 - 3);  // all but the first of each window of 64
  CHECK(insight.topics()[1].scored == 90 - 2);
  for (std::int32_t layer = 0; layer < 3; ++layer) {
    std::uint64_t visits = 0;
    double mass = 0;
    for (std::int32_t e = 0; e < 6; ++e) {
      const ExpertInsight::Cell& cell = insight.At(layer, e);
      const auto at = static_cast<std::size_t>(layer * 6 + e);
      CHECK(cell.tokens == after.tokens[at] - before.tokens[at]);
      CHECK(std::abs(cell.mass - (after.gate_mass[at] - before.gate_mass[at])) < 1e-6);
      CHECK(cell.tokens == insight.OfTopic(0, layer, e) + insight.OfTopic(1, layer, e));
      std::uint64_t together = 0;
      for (std::int32_t other = 0; other < 6; ++other) {
        CHECK(insight.Together(layer, e, other) == insight.Together(layer, other, e));
        together += insight.Together(layer, e, other);
      }
      CHECK(together == cell.tokens);  // with two experts a token, each has one other
      CHECK(insight.Together(layer, e, e) == 0);
      visits += cell.tokens;
      mass += cell.mass;
      CHECK(cell.reap <= cell.norm);  // weights are at most 1
    }
    CHECK(visits == 240 * 2);
    CHECK(std::abs(mass - 240) < 1e-9);  // weights of this family sum to exactly 1
    CHECK(insight.Margins(layer).size() == 240);
  }
}

TEST_CASE("A log gives back the very sums, and says which line is damaged") {
  const LoadedTiny tiny = LoadTiny(kMoe);
  std::string log;
  const ExpertInsight insight = InsightOf(*tiny.model, TwoTexts(*tiny.model), &log);
  const auto read = [](const std::string& text, ExpertInsight* into) {
    std::istringstream in(text);
    return ReadExpertLog(
        in, "log",
        [&](const ExpertLogHead& head) -> Status {
          if (into != nullptr) *into = ExpertInsight(head.shape, static_cast<std::int32_t>(head.topics.size()));
          return {};
        },
        [&](const RoutedToken& token, const std::string& spelled) -> Status {
          CHECK(spelled == "t\xef\xbf\xbd");
          if (into != nullptr) into->Add(token);
          return {};
        });
  };
  ExpertInsight again({}, 0);
  REQUIRE(read(log, &again).ok());
  CHECK(again.tokens() == insight.tokens());
  CHECK(again.sequence() == insight.sequence());
  for (std::int32_t layer = 0; layer < 3; ++layer) {
    for (std::int32_t e = 0; e < 6; ++e) {
      CHECK(again.At(layer, e).tokens == insight.At(layer, e).tokens);
      CHECK(again.At(layer, e).mass == insight.At(layer, e).mass);
      CHECK(again.At(layer, e).reap == insight.At(layer, e).reap);
      CHECK(again.OfTopic(1, layer, e) == insight.OfTopic(1, layer, e));
    }
    CHECK(again.Margins(layer) == insight.Margins(layer));
  }
  const std::string head = log.substr(0, log.find('\n') + 1);
  const auto refused = [&](const std::string& text, const std::string& part) {
    const Status status = read(text, nullptr);
    return !status.ok() && status.error().message.find(part) != std::string::npos;
  };
  CHECK(refused("", "empty"));
  CHECK(refused("{}\n", "line 1"));
  CHECK(refused("{\"quorum_expert_log\": 2}\n", "version"));
  CHECK(refused(R"({"quorum_expert_log":1,"model":"","top_k":1,"experts":[2],"topics":["a"],"share":2})", "share"));
  CHECK(head.find("share") == std::string::npos);  // it has all
  double share = 0;
  std::istringstream part(ExpertLogLine(ExpertLogHead{"m", {1, {2}}, {"a"}, 0.25}));
  const auto begin = [&share](const ExpertLogHead& of_part) -> Status {
    share = of_part.share;
    return {};
  };
  REQUIRE(ReadExpertLog(part, "log", begin, [](const RoutedToken&, const std::string&) { return Status(); }).ok());
  CHECK(share == 0.25);
  CHECK(refused(head + "{\"t\": 1}\n", "line 2"));
  CHECK(refused(head + "{\"t\": 1, \"e\": [[[[]]]]}\n", "nested"));
  CHECK(refused(head + R"({"t":1,"e":[[0,6],[],[]],"w":[[1,1],[],[]],"m":[0,0,0]})", "layer 0"));
  CHECK(refused(head + R"({"t":1,"e":[[1,1],[],[]],"w":[[1,1],[],[]],"m":[0,0,0]})", "layer 0"));
  CHECK(refused(head + R"({"t":1,"e":[[0,1],[],[]],"w":[[1],[],[]],"m":[0,0,0]})", "layer 0"));
  CHECK(refused(head + R"({"t":1,"topic":2,"e":[[],[],[]],"w":[[],[],[]],"m":[0,0,0]})", "topic"));
  CHECK(refused(R"({"quorum_expert_log":1,"model":"","top_k":2,"experts":[4096],"topics":[)" + std::string("\"a\"") +
                    std::string(20000 * 4, ' ') + "]}\n{\"t\":0}",
                "line 2"));
}

TEST_CASE("Distances between spreads: none, whole, and what chance alone would show") {
  const std::vector<std::uint64_t> a = {10, 30, 60, 0}, twice = {20, 60, 120, 0}, other = {0, 0, 0, 5},
                                   none = {0, 0, 0, 0};
  CHECK(CompareSpreads(a, twice).divergence == 0);
  CHECK(CompareSpreads(a, twice).moved == 0);
  CHECK(std::abs(CompareSpreads(a, other).divergence - 1) < 1e-12);
  CHECK(std::abs(CompareSpreads(a, other).moved - 1) < 1e-12);
  CHECK(CompareSpreads(a, none).divergence == 0);
  // Samples from one spread lie about `noise` apart.
  double divergence = 0, noise = 0;
  std::uint64_t state = 1;
  for (int round = 0; round < 200; ++round) {
    std::vector<std::uint64_t> x(8), y(8);
    for (int i = 0; i < 1000; ++i) {
      for (auto* sample : {&x, &y}) {
        state = state * 6364136223846793005U + 1442695040888963407U;
        ++(*sample)[(state >> 33) % 8];
      }
    }
    const SpreadDistance distance = CompareSpreads(x, y);
    divergence += distance.divergence;
    noise += distance.noise;
  }
  CHECK(std::abs(divergence / noise - 1) < 0.15);
}

TEST_CASE("Tokens that several layers were unsure about come first") {
  const ExpertShape shape{1, {2, 2}};
  ExpertInsight insight(shape, 1);
  const std::vector<std::int32_t> experts = {0};
  const std::vector<float> one = {1};
  const auto add = [&](tok::TokenId id, float first, float second) {
    insight.Add({id, 0, 0, {{experts, one, one, first}, {experts, one, one, second}}});
  };
  add(7, 1.0F, 1.0F);
  add(8, 0.05F, 2.0F);
  add(9, 0.02F, 0.06F);
  add(10, 0.01F, 3.0F);
  const auto unsure = insight.UnsureTokens(0.1F, 10);
  REQUIRE(unsure.size() == 3);
  CHECK(unsure[0].position == 2);
  CHECK(unsure[1].position == 3);
  CHECK(unsure[2].position == 1);
  CHECK(insight.UnsureTokens(0.1F, 1).size() == 1);
}

TEST_CASE("An expert's favourite tokens are those that it reads more than others do") {
  ExpertInsight insight({1, {2}}, 1);
  const std::vector<std::int32_t> first = {0}, second = {1};
  const std::vector<float> one = {1};
  for (int i = 0; i < 10; ++i) {
    insight.Add({5, 0, 0, {{first, one, one, 1}}});
    insight.Add({6, 0, 0, {{i < 5 ? first : second, one, one, 1}}});
    insight.Add({7, 0, 0, {{second, one, one, 1}}});
  }
  const auto favourites = insight.Favourites(0, 8);
  REQUIRE(favourites[0].size() == 1);
  CHECK(favourites[0][0].token == 5);
  CHECK(favourites[0][0].visits == 10);
  CHECK(std::abs(favourites[0][0].lift - 2) < 1e-12);
  REQUIRE(favourites[1].size() == 1);
  CHECK(favourites[1][0].token == 7);
}

/// A model of whose experts all but one give almost nothing.
std::unique_ptr<testing::TinyModel> Planted(std::int32_t layer, std::int32_t expert,
                                            std::vector<std::vector<std::byte>>& kept) {
  TinyShape shape = kMoe;
  shape.single_experts = true;
  const std::unique_ptr<testing::TinyModel> tiny = testing::MakeTinyModel(shape);
  quant::GgufWriter writer;
  for (const quant::GgufEntry& entry : tiny->file.entries()) writer.SetRaw(entry.key, entry.type, entry.value);
  const std::string planted = "blk." + std::to_string(layer) + ".ffn_down." + std::to_string(expert) + ".weight";
  for (const quant::GgufTensor& tensor : tiny->file.tensors()) {
    std::vector<std::byte>& bytes = kept.emplace_back(tensor.data.begin(), tensor.data.end());
    const bool down = tensor.name.find(".ffn_down.") != std::string::npos;
    for (std::size_t at = 0; down && at < bytes.size(); at += sizeof(float)) {
      float value = 0;
      std::memcpy(&value, bytes.data() + at, sizeof value);
      value *= tensor.name == planted ? 4.0F : 0.001F;
      std::memcpy(bytes.data() + at, &value, sizeof value);
    }
    writer.AddTensor(tensor.name, tensor.type, tensor.dims, bytes);
  }
  auto made = std::make_unique<testing::TinyModel>();
  auto written = writer.ToBytes();
  REQUIRE(written.ok());
  made->bytes = std::move(*written);
  auto file = quant::GgufFile::Parse(made->bytes, "planted");
  REQUIRE(file.ok());
  made->file = std::move(*file);
  made->spec = tiny->spec;
  auto tensors = TensorsFromGguf(made->file, made->spec);
  REQUIRE(tensors.ok());
  made->tensors = std::move(*tensors);
  return made;
}

TEST_CASE("Ablation finds the planted expert") {
  for (const auto& [layer, expert] : {std::pair{1, 4}, std::pair{2, 0}}) {
    std::vector<std::vector<std::byte>> kept;
    const LoadedTiny tiny = LoadTiny(Planted(layer, expert, kept), KvType::kF32, 1);
    // A text that this model predicts: each token is the likeliest after a random one.
    const std::vector<tok::TokenId> seeds = RandomTokens(60, tiny.model->vocab_size(), 3);
    const auto vocab = static_cast<std::size_t>(tiny.model->vocab_size());
    std::vector<TopicText> texts;
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      std::vector<tok::TokenId> text = {seeds[i]};
      while (text.size() < 4) {
        const std::vector<float> logits = testing::RunSequence(*tiny.model, text, 4);
        const auto row = logits.end() - static_cast<std::ptrdiff_t>(vocab);
        text.push_back(static_cast<tok::TokenId>(std::max_element(row, logits.end()) - row));
      }
      texts.push_back({text, std::vector<std::int32_t>(4, 0)});
    }
    std::int64_t passes = 0;
    const auto ablated = AblateExperts(*tiny.model, texts, 1, 64, [&](std::int64_t done, std::int64_t total) {
      CHECK(total == 18);
      passes = done;
      return true;
    });
    REQUIRE(ablated.ok());
    CHECK(passes == 18);
    REQUIRE(ablated->size() == 18);
    const auto worst = std::max_element(ablated->begin(), ablated->end(),
                                        [](const Ablated& a, const Ablated& b) { return a.increase < b.increase; });
    CHECK(worst->layer == layer);
    CHECK(worst->expert == expert);
    CHECK(std::abs(worst->by_topic[0] - worst->increase) < 1e-12);
    for (const Ablated& one : *ablated) {
      // Without another, tokens may come to the planted one that did not.
      if (one.layer != layer || one.expert != expert) CHECK(std::abs(one.increase) < 0.5 * worst->increase);
    }
    const auto stopped =
        AblateExperts(*tiny.model, texts, 1, 64, [](std::int64_t done, std::int64_t) { return done < 3; });
    CHECK(stopped.error().code == ErrorCode::kCancelled);
  }
}

TEST_CASE("Samples are whole windows from all over the texts") {
  std::vector<TopicText> texts(2);
  for (int i = 0; i < 1000; ++i) {
    TopicText& text = texts[i < 700 ? 0 : 1];
    text.tokens.push_back(i);
    text.topics.push_back(i < 700 ? 0 : 1);
  }
  const std::vector<TopicText> all = SampleWindows(texts, 100, 5000);
  CHECK(all.size() == 10);
  const std::vector<TopicText> some = SampleWindows(texts, 100, 300);
  REQUIRE(some.size() == 3);
  CHECK(some[0].tokens.front() == 0);
  CHECK(some[2].topics.front() == 1);
  for (const TopicText& text : some) CHECK((text.tokens.size() == 100 && text.tokens.front() % 100 == 0));
  CHECK(SampleWindows(texts, 5000, 1).size() == 1);
}

TEST_CASE("A text's losses do not depend on how it is cut into steps") {
  const LoadedTiny tiny = LoadTiny(kMoe);
  const std::vector<tok::TokenId> tokens = RandomTokens(200, tiny.model->vocab_size(), 4);
  const auto losses = TextLosses(*tiny.model, tokens, {.window = 150});
  REQUIRE(losses.ok());
  REQUIRE(losses->size() == 200);
  const std::vector<float> first = testing::RunSequence(*tiny.model, std::span(tokens).first(150), 150);
  const std::vector<float> second = testing::RunSequence(*tiny.model, std::span(tokens).subspan(150), 50);
  const auto vocab = static_cast<std::size_t>(tiny.model->vocab_size());
  for (std::size_t at = 0; at < 200; ++at) {
    const std::size_t in = at < 150 ? at : at - 150;
    if (in == 0) {
      CHECK(std::isnan((*losses)[at]));
      continue;
    }
    const float* row = (at < 150 ? first : second).data() + (in - 1) * vocab;
    const auto loss = static_cast<float>(tiny.model->kernels().log_sum_exp(row, static_cast<std::int64_t>(vocab)) -
                                         static_cast<double>(row[tokens[at]]));
    CHECK(SameBits({&loss, 1}, {&(*losses)[at], 1}));
  }
  CHECK_FALSE(TextLosses(*tiny.model, tokens, {.window = 1}).ok());
  CHECK_FALSE(TextLosses(*tiny.model, tokens, {.window = 513}).ok());
  CHECK(std::isnan(MeanLoss({})));
}

}  // namespace
}  // namespace quorum::engine
