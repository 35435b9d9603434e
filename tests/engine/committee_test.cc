// The committee (tests/committee): a model that was really trained, on which claims about experts are claims about
// meaning. Its questions were held out of training.
#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <map>
#include <memory>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/expert_insight.h"
#include "engine/expert_study.h"
#include "engine/load_tokenizer.h"
#include "engine/model.h"
#include "engine/model_config.h"
#include "quant/gguf_writer.h"
#include "quant/quantize.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"

namespace quorum::engine {
namespace {

const std::string kModel = QUORUM_SOURCE_DIR "/cli/demo/committee.gguf";
const std::string kQuestions = QUORUM_SOURCE_DIR "/tests/committee/questions.txt";

/// One held-out line: what is asked, and the answer with its line end.
struct Question {
  std::string task;
  std::vector<tok::TokenId> tokens;  // asked and answered
  std::size_t asked = 0;             // tokens before the answer
};

struct Loaded {
  std::unique_ptr<ThreadPool> pool = std::make_unique<ThreadPool>(2);
  std::unique_ptr<Model> model;
};

LoadOptions Options(ThreadPool& pool) {
  LoadOptions options;
  options.pool = &pool;
  options.max_batch = 1;
  options.max_step_tokens = 256;
  options.max_step_logits = 256;
  return options;
}

Loaded LoadFile(const std::string& path) {
  SetLogLevel(LogLevel::kError);
  Loaded loaded;
  auto model = Model::Load(path, Options(*loaded.pool));
  REQUIRE(model.ok());
  loaded.model = std::move(model).value();
  return loaded;
}

struct Committee {
  quant::GgufFile file;
  LoadedTokenizer tokenizer;
  Loaded loaded;
  std::vector<Question> questions;
  std::vector<std::string> tasks;
};

const Committee& TheCommittee() {
  static const std::unique_ptr<Committee> committee = [] {
    auto file = quant::GgufFile::Open(kModel);
    REQUIRE(file.ok());
    auto tokenizer = LoadTokenizer(*file);
    REQUIRE(tokenizer.ok());
    auto made =
        std::make_unique<Committee>(Committee{std::move(*file), std::move(*tokenizer), LoadFile(kModel), {}, {}});
    std::ifstream lines(kQuestions);
    for (std::string line; std::getline(lines, line);) {
      const std::size_t equals = line.find('=');
      REQUIRE(equals != std::string::npos);
      Question question{line.substr(0, line.find(' ')), {}, 0};
      const auto asked = made->tokenizer.tokenizer->Encode(line.substr(0, equals + 1), {});
      const auto answer = made->tokenizer.tokenizer->Encode(line.substr(equals + 1) + "\n", {});
      REQUIRE((asked.ok() && answer.ok()));
      question.tokens = *asked;
      question.asked = asked->size();
      question.tokens.insert(question.tokens.end(), answer->begin(), answer->end());
      if (made->tasks.empty() || made->tasks.back() != question.task) made->tasks.push_back(question.task);
      made->questions.push_back(std::move(question));
    }
    return made;
  }();
  return *committee;
}

/// The model's answer is right: greedy decoding would write it, line end included.
bool Right(Model& model, const Question& question, const ExpertOptions* experts) {
  const std::vector<float> logits = testing::RunSequence(model, question.tokens, 256, 0, experts);
  const auto vocab = static_cast<std::size_t>(model.vocab_size());
  for (std::size_t at = question.asked - 1; at + 1 < question.tokens.size(); ++at) {
    const auto row = logits.begin() + static_cast<std::ptrdiff_t>(at * vocab);
    const auto best = std::max_element(row, row + static_cast<std::ptrdiff_t>(vocab)) - row;
    if (best != question.tokens[at + 1]) return false;
  }
  return true;
}

using Accuracy = std::map<std::string, double>;

/// The share of right answers of each task, and under "" of all. Every `stride`th question.
Accuracy AccuracyOf(Model& model, const ExpertOptions* experts = nullptr, std::size_t stride = 1) {
  std::map<std::string, std::array<double, 2>> counts;
  const auto& questions = TheCommittee().questions;
  for (std::size_t i = 0; i < questions.size(); i += stride) {
    const double right = Right(model, questions[i], experts) ? 1 : 0;
    for (const std::string& key : {questions[i].task, std::string()}) {
      counts[key][0] += right;
      counts[key][1] += 1;
    }
  }
  Accuracy accuracy;
  for (const auto& [task, count] : counts) accuracy[task] = count[0] / count[1];
  return accuracy;
}

ExpertOptions Resolve(Model& model, const ExpertRequest& request) {
  auto options = ResolveExperts(request, model.experts());
  REQUIRE(options.ok());
  return *options;
}

/// All questions with their answers as one text each, by task.
std::vector<TopicText> TaskTexts() {
  std::vector<TopicText> texts(TheCommittee().tasks.size());
  for (const Question& question : TheCommittee().questions) {
    const auto topic = std::find(TheCommittee().tasks.begin(), TheCommittee().tasks.end(), question.task) -
                       TheCommittee().tasks.begin();
    TopicText& text = texts[static_cast<std::size_t>(topic)];
    text.tokens.insert(text.tokens.end(), question.tokens.begin(), question.tokens.end());
    text.topics.resize(text.tokens.size(), static_cast<std::int32_t>(topic));
  }
  return texts;
}

const ExpertInsight& Insight() {
  static const ExpertInsight insight = [] {
    Model& model = *TheCommittee().loaded.model;
    ExpertInsight made(model.experts(), static_cast<std::int32_t>(TheCommittee().tasks.size()));
    const Status status = RouteTexts(model, TaskTexts(), 128, nullptr, [&](const RoutedToken& token) -> Status {
      made.Add(token);
      return {};
    });
    REQUIRE(status.ok());
    return made;
  }();
  return insight;
}

/// Experts that take more than a tenth of a task's visits, by layer.
ExpertRequest ExpertsOf(std::int32_t topic) {
  const ExpertInsight& insight = Insight();
  ExpertRequest request;
  for (std::int32_t layer = 0; layer < std::ssize(insight.shape().experts); ++layer) {
    double all = 0;
    for (std::int32_t e = 0; e < insight.shape().most(); ++e)
      all += static_cast<double>(insight.OfTopic(topic, layer, e));
    for (std::int32_t e = 0; e < insight.shape().most(); ++e) {
      if (static_cast<double>(insight.OfTopic(topic, layer, e)) > 0.1 * all) request.masked.push_back({layer, e});
    }
  }
  return request;
}

TEST_CASE("The committee answers questions that it was never trained on") {
  const Accuracy accuracy = AccuracyOf(*TheCommittee().loaded.model);
  REQUIRE(accuracy.size() == 9);
  for (const std::string& task : TheCommittee().tasks) {
    CAPTURE(task);
    CHECK(accuracy.at(task) >= 0.9);
  }
  CHECK(accuracy.at("") >= 0.95);
}

TEST_CASE("More and fewer experts: two are best, one loses much, all lose nothing that the router does not weigh") {
  Model& model = *TheCommittee().loaded.model;
  const ExpertOptions one = Resolve(model, {.top_k = 1});
  const ExpertOptions dense = Resolve(model, {.dense = true});
  const double two = AccuracyOf(model, nullptr, 2).at("");
  const double top1 = AccuracyOf(model, &one, 2).at("");
  const double all = AccuracyOf(model, &dense, 2).at("");
  CAPTURE(top1, two, all);
  CHECK(top1 < two);
  CHECK(all <= two + 0.02);
}

TEST_CASE("int4 weights keep 98 % of the committee's accuracy") {
  const Committee& committee = TheCommittee();
  quant::GgufWriter writer;
  for (const quant::GgufEntry& entry : committee.file.entries()) writer.SetRaw(entry.key, entry.type, entry.value);
  std::vector<std::vector<std::byte>> blocks;
  blocks.reserve(committee.file.tensors().size());
  std::int64_t small = 0;
  for (const quant::GgufTensor& tensor : committee.file.tensors()) {
    if (tensor.type != quant::DType::kQ8_0) {
      writer.AddTensor(tensor.name, tensor.type, tensor.dims, tensor.data);
      continue;
    }
    const std::int64_t n = tensor.elements();
    std::vector<float> values(static_cast<std::size_t>(n));
    REQUIRE(quant::Dequantize(tensor.type, tensor.data.data(), values.data(), n));
    auto& out = blocks.emplace_back(static_cast<std::size_t>(quant::BytesOf(quant::DType::kQ4_0, n)));
    REQUIRE(quant::Quantize(quant::DType::kQ4_0, values.data(), out.data(), n));
    writer.AddTensor(tensor.name, quant::DType::kQ4_0, tensor.dims, out);
    small += n;
  }
  CHECK(small > 1'500'000);
  const auto bytes = writer.ToBytes();
  REQUIRE(bytes.ok());
  const auto file = quant::GgufFile::Parse(*bytes, "committee in int4");
  REQUIRE(file.ok());
  auto spec = SpecFromGguf(*file);
  REQUIRE(spec.ok());
  const auto tensors = TensorsFromGguf(*file, *spec);
  REQUIRE(tensors.ok());
  ThreadPool pool(2);
  const auto model = Model::Create(*spec, *tensors, Options(pool));
  REQUIRE(model.ok());
  const double int8 = AccuracyOf(*committee.loaded.model).at("");
  const double int4 = AccuracyOf(**model).at("");
  CAPTURE(int8, int4);
  CHECK(int4 >= 0.98 * int8);
}

TEST_CASE("Every task has experts of its own, all are busy, and their choice tells the task") {
  const ExpertInsight& insight = Insight();
  for (std::int32_t layer = 0; layer < std::ssize(insight.shape().experts); ++layer) {
    std::vector<std::uint64_t> tokens;
    for (std::int32_t e = 0; e < insight.shape().most(); ++e) tokens.push_back(insight.At(layer, e).tokens);
    const double mean = static_cast<double>(std::accumulate(tokens.begin(), tokens.end(), std::uint64_t{0})) /
                        static_cast<double>(tokens.size());
    CAPTURE(layer);
    // Tasks have lines of different lengths, here in equal numbers; training balanced another mixture.
    CHECK(static_cast<double>(*std::max_element(tokens.begin(), tokens.end())) < 3.5 * mean);
    CHECK(*std::min_element(tokens.begin(), tokens.end()) > 0);
    CHECK(insight.TopicBits(layer) > 1.5);  // of 3
  }
}

TEST_CASE("Masking a task's experts destroys that task and hardly another") {
  Model& model = *TheCommittee().loaded.model;
  const Accuracy whole = AccuracyOf(model, nullptr, 4);
  std::size_t destroyed = 0, spared = 0, others = 0;
  for (std::size_t topic = 0; topic < TheCommittee().tasks.size(); ++topic) {
    const std::string& task = TheCommittee().tasks[topic];
    const ExpertOptions options = Resolve(model, ExpertsOf(static_cast<std::int32_t>(topic)));
    const Accuracy masked = AccuracyOf(model, &options, 4);
    CAPTURE(task, masked.at(task), whole.at(task));
    CHECK(masked.at(task) < 0.5 * whole.at(task));
    destroyed += masked.at(task) < 0.2 * whole.at(task) ? 1U : 0U;
    for (const std::string& other : TheCommittee().tasks) {
      if (other == task) continue;
      ++others;
      spared += masked.at(other) >= 0.95 * whole.at(other) ? 1U : 0U;
    }
  }
  CHECK(destroyed >= 7);
  CHECK(static_cast<double>(spared) >= 0.8 * static_cast<double>(others));
}

TEST_CASE("Ablation ranks a task's own experts first") {
  Model& model = *TheCommittee().loaded.model;
  std::vector<TopicText> texts = TaskTexts();
  for (TopicText& text : texts) {
    text.tokens.resize(256);
    text.topics.resize(256);
  }
  const auto topics = static_cast<std::int32_t>(texts.size());
  const auto ablated = AblateExperts(model, texts, topics, 128, {});
  REQUIRE(ablated.ok());
  const std::int32_t experts = model.experts().most();
  REQUIRE(std::ssize(*ablated) == std::ssize(model.experts().experts) * experts);
  int hits = 0, asked = 0;
  for (std::int32_t topic = 0; topic < topics; ++topic) {
    std::set<std::pair<std::int32_t, std::int32_t>> own;
    for (const auto& [layer, expert] : ExpertsOf(topic).masked) own.insert({layer, expert});
    std::vector<Ablated> ranked = *ablated;
    std::stable_sort(ranked.begin(), ranked.end(), [&](const Ablated& a, const Ablated& b) {
      return a.by_topic[static_cast<std::size_t>(topic)] > b.by_topic[static_cast<std::size_t>(topic)];
    });
    for (std::size_t i = 0; i < 3; ++i, ++asked) hits += own.contains({ranked[i].layer, ranked[i].expert}) ? 1 : 0;
  }
  CAPTURE(hits, asked);
  CHECK(10 * hits >= 9 * asked);  // a task shares some experts with its neighbours
}

TEST_CASE("Experts that a task leaves idle can go: its answers stay") {
  Model& model = *TheCommittee().loaded.model;
  const ExpertInsight& insight = Insight();
  for (std::int32_t topic = 0; topic < 3; ++topic) {
    ExpertRequest idle;
    for (std::int32_t layer = 0; layer < std::ssize(insight.shape().experts); ++layer) {
      for (std::int32_t e = 0; e < insight.shape().most(); ++e) {
        if (insight.OfTopic(topic, layer, e) == 0) idle.masked.push_back({layer, e});
      }
    }
    CAPTURE(topic);
    CHECK(idle.masked.size() > 8);
    const ExpertOptions options = Resolve(model, idle);
    for (const Question& question : TheCommittee().questions) {
      if (question.task == TheCommittee().tasks[static_cast<std::size_t>(topic)]) {
        CHECK(Right(model, question, nullptr) == Right(model, question, &options));
      }
    }
  }
}

}  // namespace
}  // namespace quorum::engine
