// Encoder-decoders against Hugging Face transformers, from safetensors and from GGUF: logits, the routers' choices and
// greedy replies (tests/oracle/families/t5.py).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/model.h"
#include "engine/model_files.h"
#include "engine/reference.h"
#include "quant/safetensors.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"
#include "tests/support/oracle_folder.h"
#include "tests/support/tiny_t5.h"

namespace quorum::engine {
namespace {

namespace fs = std::filesystem;
using testing::T5Run;
using Ids = std::vector<tok::TokenId>;

/// What the routers of one stack chose for each token; ids -1 where a layer has no experts.
struct Routing {
  std::vector<std::int32_t> ids;  // (layers, tokens)
  std::vector<float> margin;
};

struct Oracle {
  Ids tokens, reply, greedy;
  std::vector<float> logits;  // (reply, vocabulary)
  Routing encoder, decoder;
};

template <typename T>
std::vector<T> Values(const quant::SafetensorsModel& file, std::string_view name) {
  const quant::SafeTensor* tensor = file.Find(name);
  if (tensor == nullptr) return {};
  std::vector<T> values(tensor->data.size() / sizeof(T));
  std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
  return values;
}

Oracle ReadOracle(const std::string& path) {
  const auto mapped = MappedFile::Open(path);
  REQUIRE(mapped.ok());
  const auto file = quant::SafetensorsModel::Parse(mapped->bytes(), path);
  REQUIRE(file.ok());
  Oracle oracle;
  oracle.tokens = Values<tok::TokenId>(*file, "tokens");
  oracle.reply = Values<tok::TokenId>(*file, "reply");
  oracle.greedy = Values<tok::TokenId>(*file, "greedy");
  oracle.logits = Values<float>(*file, "logits");
  oracle.encoder = {Values<std::int32_t>(*file, "experts"), Values<float>(*file, "margin")};
  oracle.decoder = {Values<std::int32_t>(*file, "reply_experts"), Values<float>(*file, "reply_margin")};
  REQUIRE((oracle.tokens.size() == 75 && oracle.reply.size() == 40 && oracle.greedy.size() == 32));
  return oracle;
}

/// The largest difference, relative to the largest logit.
double ErrorOf(const std::vector<float>& logits, const std::vector<float>& expected) {
  double largest = 0;
  for (const float logit : expected) largest = std::max(largest, std::abs(static_cast<double>(logit)));
  return testing::LargestDifference(logits, expected) / largest;
}

std::unique_ptr<Model> Load(const std::string& path, ThreadPool& pool) {
  LoadOptions options;
  options.pool = &pool;
  options.kv_type = KvType::kF32;
  options.max_batch = 1;
  auto model = Model::Load(path, options);
  if (!model.ok()) FAIL(model.error().message);
  return std::move(model).value();
}

Ids Greedy(Model& model, const Oracle& oracle) {
  Ids reply = {oracle.reply.front()};
  std::vector<float> logits(static_cast<std::size_t>(model.vocab_size()));
  while (reply.size() <= oracle.greedy.size()) {
    const T5Run run(oracle.tokens, reply);
    const StepSlice source = run.Encoding();
    if (reply.size() == 1) REQUIRE(model.Step({&source, 1}, {}).ok());
    const StepSlice slice = run.Decoding(static_cast<std::int64_t>(reply.size()) - 1, 1);
    REQUIRE(model.Step({&slice, 1}, logits).ok());
    reply.push_back(static_cast<tok::TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin()));
  }
  return {reply.begin() + 1, reply.end()};
}

/// Counts of each (layer, expert) beside those of the oracle, where no choice was close.
void CheckCounts(const ExpertStats& stats, std::size_t first_layer, const Routing& routing, std::size_t tokens) {
  const auto experts = static_cast<std::size_t>(stats.experts);
  std::vector<std::uint64_t> expected(routing.ids.size() / tokens * experts);
  for (std::size_t i = 0; i < routing.ids.size(); ++i) {
    REQUIRE(routing.margin[i] > 1e-4F);
    if (routing.ids[i] >= 0) ++expected[i / tokens * experts + static_cast<std::size_t>(routing.ids[i])];
  }
  const auto* counted = stats.tokens.data() + first_layer * experts;
  CHECK(std::vector<std::uint64_t>(counted, counted + expected.size()) == expected);
}

TEST_CASE("Encoder-decoders compute what transformers computes") {
  SetLogLevel(LogLevel::kError);
  int run = 0;
  for (const auto& entry : fs::directory_iterator(testing::OracleFolder())) {
    const std::string folder = entry.path().string();
    if (!fs::exists(folder + "/oracle_seq2seq.safetensors")) continue;
    const Oracle oracle = ReadOracle(folder + "/oracle_seq2seq.safetensors");
    for (const std::string& path : {folder, folder + ".gguf"}) {
      if (!fs::exists(path)) continue;
      CAPTURE(path);
      ++run;
      {
        const auto files = ModelFiles::Open(path);
        if (!files.ok()) {
          FAIL_CHECK(files.error().message);
          continue;
        }
        const Reference reference((*files)->spec(), (*files)->tensors());
        CHECK(ErrorOf(reference.Logits(oracle.reply, oracle.tokens), oracle.logits) < 1e-4);
      }
      ThreadPool pool(2);
      const std::unique_ptr<Model> model = Load(path, pool);
      CHECK(model->decoder_start() == oracle.reply.front());
      const T5Run whole(oracle.tokens, oracle.reply);
      const std::vector<float> logits = whole.Run(*model, 40);
      CHECK(ErrorOf(logits, oracle.logits) < 1e-4);
      if (model->spec().has_experts()) {
        const ExpertStats stats = model->expert_stats();
        CheckCounts(stats, 0, oracle.decoder, oracle.reply.size());
        CheckCounts(stats, model->spec().layers.size(), oracle.encoder, oracle.tokens.size());
      }
      for (const std::int64_t chunk : {1, 7}) CHECK(testing::SameBits(whole.Run(*model, chunk), logits));
      CHECK(Greedy(*model, oracle) == oracle.greedy);
    }
  }
  CHECK((run == 5 || testing::IsOwnOracleFolder()));
}

}  // namespace
}  // namespace quorum::engine
