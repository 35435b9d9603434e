// Hugging Face folders written as GGUF: what is loaded from the new file computes what the folder computes.
#include "engine/gguf_export.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/model.h"
#include "engine/model_files.h"
#include "tests/quant/scratch.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"
#include "tests/support/oracle_folder.h"

namespace quorum::engine {
namespace {

namespace fs = std::filesystem;

/// Writes the folder's tensors as `type` to `dst`; the error where it cannot be said in GGUF.
Status Export(const std::string& folder, const std::string& dst, const char* type) {
  QUORUM_ASSIGN(const auto files, ModelFiles::Open(folder));
  QUORUM_ASSIGN(const auto sources,
                GgufTensorsOf(files->spec(), files->tensors(),
                              [&](std::span<const std::byte> part) { CHECK(files->Release(part).ok()); }));
  quant::GgufWriter writer;
  QUORUM_TRY(WriteGgufSpec(files->spec(), writer));
  quant::QuantizeOptions options;
  options.plan.base = *quant::FindEncoding(type);
  options.threads = 2;
  options.requantize = true;
  QUORUM_ASSIGN(const auto report, quant::QuantizeTensors(writer, sources, options, dst));
  CHECK(report.tensors.size() == sources.size());
  QUORUM_ASSIGN(const auto made, quant::GgufFile::Open(dst));
  return CheckGgufSpec(files->spec(), made);
}

std::vector<float> LogitsOf(const std::string& path) {
  ThreadPool pool(1);
  LoadOptions options;
  options.weights = WeightChoice::kF32;
  options.pool = &pool;
  options.kv_type = KvType::kF32;
  options.max_batch = 1;
  options.max_step_logits = 64;
  const auto model = Model::Load(path, options);
  if (!model.ok()) FAIL(model.error().message);
  const auto tokens = testing::RandomTokens(24, (*model)->vocab_size(), 5);
  return testing::RunSequence(**model, tokens, 24);
}

TEST_CASE("Folders of every family with a GGUF architecture become files that compute the same") {
  SetLogLevel(LogLevel::kError);
  std::size_t made = 0;
  std::vector<std::string> refused;
  for (const auto& entry : fs::directory_iterator(testing::OracleFolder())) {
    if (!entry.is_directory() || !fs::exists(entry.path() / "config.json")) continue;
    const std::string folder = entry.path().string();
    CAPTURE(folder);
    const auto files = ModelFiles::Open(folder);
    REQUIRE(files.ok());
    if (GgufArchitectureOf((*files)->spec().architecture).empty()) continue;  // T5, Switch
    const quant::Folder scratch;
    const Status status = Export(folder, scratch / "m.gguf", "f32");
    if (!status.ok()) {
      CHECK(status.error().code == ErrorCode::kUnsupported);
      refused.push_back(entry.path().filename().string());
      continue;
    }
    ++made;
    CHECK(testing::RelativeError(LogitsOf(scratch / "m.gguf"), LogitsOf(folder)) < 2e-5);
  }
  if (testing::IsOwnOracleFolder()) return;
  std::sort(refused.begin(), refused.end());
  // Heads of latent attention rotated in halves, windows of some layers: GGUF has no words for these.
  CHECK(refused == std::vector<std::string>{"deepseek3_neox", "qwen2_window"});
  CHECK(made >= 18);
}

TEST_CASE("LongRoPE is named in the file: llama.cpp takes a Llama's factors only then") {
  const quant::Folder scratch;
  REQUIRE(Export(testing::OracleFolder() + "/phi3", scratch / "m.gguf", "f32").ok());
  const auto made = quant::GgufFile::Open(scratch / "m.gguf");
  REQUIRE(made.ok());
  CHECK(*made->GetString("phi3.rope.scaling.type") == "longrope");
}

TEST_CASE("Smaller types of a folder are those of the file that has its weights") {
  SetLogLevel(LogLevel::kError);
  const quant::Folder scratch;
  const std::string folder = testing::OracleFolder() + "/mixtral";
  REQUIRE(Export(folder, scratch / "plain.gguf", "f32").ok());
  REQUIRE(Export(folder, scratch / "small.gguf", "q8_0").ok());
  const auto plain = quant::GgufFile::Open(scratch / "plain.gguf");
  REQUIRE(plain.ok());
  quant::GgufWriter writer;
  quant::CopyMetadata(*plain, writer);
  const auto sources = quant::SourcesOf(*plain);
  quant::QuantizeOptions options;
  options.plan.base = *quant::FindEncoding("q8_0");
  REQUIRE(quant::QuantizeTensors(writer, sources, options, scratch / "again.gguf").ok());
  const auto small = quant::GgufFile::Open(scratch / "small.gguf");
  const auto again = quant::GgufFile::Open(scratch / "again.gguf");
  REQUIRE((small.ok() && again.ok()));
  REQUIRE(small->tensors().size() == again->tensors().size());
  for (const quant::GgufTensor& tensor : small->tensors()) {
    const quant::GgufTensor* other = again->FindTensor(tensor.name);
    REQUIRE(other != nullptr);
    CHECK(std::ranges::equal(tensor.data, other->data));
  }
}

}  // namespace
}  // namespace quorum::engine
