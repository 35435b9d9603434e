// Loading from a real file: packing, memory plan and limits, and the tokenizer beside the weights.
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/load_tokenizer.h"
#include "engine/memory_limit.h"
#include "engine/model.h"
#include "engine/model_config.h"
#include "engine/window_pages.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

namespace fs = std::filesystem;
using testing::TinyShape;

/// A folder of its own that goes away with the object.
class TempFolder {
 public:
  TempFolder() : path_(fs::temp_directory_path() / ("quorum-model-load-" + std::to_string(::getpid()))) {
    fs::create_directories(path_);
  }
  ~TempFolder() { fs::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;

  std::string Write(const std::string& name, const std::string& text) const {
    const fs::path path = path_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }
  std::string Write(const std::string& name, const std::vector<std::byte>& bytes) const {
    return Write(name, std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  }
  std::string path() const { return path_.string(); }

 private:
  fs::path path_;
};

LoadOptions Options(ThreadPool& pool) {
  SetLogLevel(LogLevel::kOff);
  LoadOptions options;
  options.kv_type = KvType::kInt8;
  options.activations = ActPrecision::kInt8;  // as LoadTiny
  options.pool = &pool;
  options.max_batch = 2;
  return options;
}

TinyShape MixedShape() {
  TinyShape shape;
  shape.experts = 4;
  shape.type = quant::DType::kQ4_1;
  shape.embedding_type = quant::DType::kQ8_0;
  return shape;
}

TEST_CASE("A file gives the same logits as its bytes, with progress and a plan") {
  const TempFolder folder;
  const std::string path = folder.Write("model.gguf", testing::MakeTinyGguf(MixedShape()));
  ThreadPool pool(2);
  LoadOptions options = Options(pool);
  std::vector<std::int64_t> steps;
  std::int64_t total = 0;
  options.progress = [&](std::int64_t done, std::int64_t all) {
    steps.push_back(done);
    total = all;
    return true;
  };
  const auto model = Model::Load(path, options);
  REQUIRE(model.ok());
  CHECK(std::is_sorted(steps.begin(), steps.end()));
  CHECK(steps.back() == total);
  CHECK(total > 0);
  CHECK((*model)->memory().weights > total / 2);
  CHECK((*model)->memory().kv_cache > 0);
  CHECK((*model)->memory().workspace > 0);
  CHECK((*model)->context_length() == 512);
  CHECK((*model)->num_pages() == 16);
  CHECK((*model)->kv_type() == KvType::kInt8);

  const std::vector<tok::TokenId> tokens = testing::RandomTokens(50, (*model)->vocab_size(), 1);
  const testing::LoadedTiny parsed = testing::LoadTiny(MixedShape(), KvType::kInt8);
  CHECK(testing::SameBits(testing::RunSequence(**model, tokens, 50), testing::RunSequence(*parsed.model, tokens, 50)));
}

TEST_CASE("Files that cannot be loaded are refused") {
  const TempFolder folder;
  ThreadPool pool(1);
  const auto missing = Model::Load(folder.path() + "/none.gguf", Options(pool));
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().code == ErrorCode::kNotFound);
  std::vector<std::byte> bytes = testing::MakeTinyGguf(MixedShape());
  bytes.resize(bytes.size() / 2);
  const auto cut = Model::Load(folder.Write("cut.gguf", bytes), Options(pool));
  REQUIRE_FALSE(cut.ok());
  CHECK(cut.error().code == ErrorCode::kDataLoss);
}

TEST_CASE("Loading and steps end when they are told to") {
  const TempFolder folder;
  const std::string path = folder.Write("model.gguf", testing::MakeTinyGguf(MixedShape()));
  ThreadPool pool(1);
  LoadOptions options = Options(pool);
  options.progress = [](std::int64_t, std::int64_t) { return false; };
  const auto cancelled = Model::Load(path, options);
  REQUIRE_FALSE(cancelled.ok());
  CHECK(cancelled.error().code == ErrorCode::kCancelled);
  options.progress = {};
  int asked = 0, allowed = 1000;
  options.stop = [&] { return ++asked > allowed; };
  const auto model = Model::Load(path, options);
  REQUIRE(model.ok());
  const std::vector<tok::TokenId> tokens = {1, 2, 3};
  const std::vector<std::int32_t> pages = {0};
  const StepSlice slice{.tokens = tokens, .pos = 0, .pages = pages, .first_logits = 2};
  std::vector<float> logits(static_cast<std::size_t>((*model)->vocab_size()));
  REQUIRE((*model)->Step({&slice, 1}, logits).ok());
  CHECK(asked == std::ssize((*model)->spec().layers));
  allowed = asked + 1;  // one layer more
  const Status stopped = (*model)->Step({&slice, 1}, logits);
  REQUIRE_FALSE(stopped.ok());
  CHECK(stopped.error().code == ErrorCode::kCancelled);
  CHECK(asked == allowed + 1);
}

TEST_CASE("A model that does not fit is refused with the sum; one without a wish is cut to what fits") {
  const auto tiny = testing::MakeTinyModel(MixedShape());
  ThreadPool pool(1);
  LoadOptions options = Options(pool);
  options.memory = {100000, "memory.max of cgroup /test"};
  const auto refused = Model::Create(tiny->spec, tiny->tensors, options);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == ErrorCode::kInvalidArgument);
  for (const char* part : {"weights", "KV cache", "workspace", "100.0 kB", "memory.max of cgroup /test"}) {
    CAPTURE(refused.error().message);
    CHECK(refused.error().message.find(part) != std::string::npos);
  }

  options.memory = {};
  options.kv_bytes = 3 * KvCache::BytesPerPage({2, 2, 16, 16, KvType::kInt8});
  const auto cut = Model::Create(tiny->spec, tiny->tensors, options);
  REQUIRE(cut.ok());
  CHECK((*cut)->num_pages() == 3);
  CHECK((*cut)->context_length() == 192);
  options.kv_bytes = 1;
  CHECK_FALSE(Model::Create(tiny->spec, tiny->tensors, options).ok());

  options = Options(pool);
  options.context = 100;
  const auto shorter = Model::Create(tiny->spec, tiny->tensors, options);
  REQUIRE(shorter.ok());
  CHECK((*shorter)->context_length() == 100);
  CHECK((*shorter)->num_pages() == 4);
  options.context = -1;
  CHECK_FALSE(Model::Create(tiny->spec, tiny->tensors, options).ok());
}

TEST_CASE("Available memory is the least of the host's and every enclosing cgroup's") {
  const TempFolder root;
  root.Write("proc/meminfo", "MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable:    9000 kB\n");
  CHECK(AvailableMemory(root.path()).available == 9000 * 1024);
  root.Write("proc/self/cgroup", "0::/a/b\n");
  CHECK(AvailableMemory(root.path()).available == 9000 * 1024);
  root.Write("sys/fs/cgroup/a/b/memory.max", "max\n");
  root.Write("sys/fs/cgroup/a/b/memory.current", "5\n");
  root.Write("sys/fs/cgroup/a/memory.max", "5000000\n");
  root.Write("sys/fs/cgroup/a/memory.current", "3000000\n");
  CHECK(AvailableMemory(root.path()).available == 2000000);
  root.Write("sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 100000\nactive_file 200000\n");
  const MemoryLimit limit = AvailableMemory(root.path());
  CHECK(limit.available == 2300000);
  CHECK(limit.source == "memory.max of cgroup /a");
  root.Write("proc/self/cgroup", "7:cpu,memory:/x\n");
  root.Write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4096000\n");
  root.Write("sys/fs/cgroup/memory/memory.usage_in_bytes", "5096000\n");
  CHECK(AvailableMemory(root.path()).available == 0);
  CHECK(AvailableMemory(root.path() + "/nothing").available == std::numeric_limits<std::int64_t>::max());
}

TEST_CASE("The tokenizer comes from the same file") {
  TinyShape shape;
  shape.tokenizer = true;
  const auto tiny = testing::MakeTinyModel(shape);
  const Result<LoadedTokenizer> loaded = LoadTokenizer(tiny->file);
  REQUIRE(loaded.ok());
  CHECK(loaded->bos_token == "<|im_start|>");
  CHECK(loaded->eos_token == "<|im_end|>");
  CHECK(loaded->chat_template.starts_with("{% for message in messages %}"));
  CHECK(loaded->tokenizer->vocab_size() == 260);
  const auto ids = loaded->tokenizer->Encode("Hi <|im_end|>", {.parse_special = true});
  REQUIRE(ids.ok());
  CHECK(*ids == std::vector<tok::TokenId>{'H', 'i', ' ', 258});
  CHECK(loaded->tokenizer->IsEndOfGeneration(258));
}

TEST_CASE("Vocabularies that do not fit are refused, short ones are padded") {
  TinyShape shape;
  shape.tokenizer = true;
  const auto error = [&](const std::function<void(quant::GgufWriter&)>& edit) {
    shape.edit = edit;
    const std::vector<std::byte> bytes = testing::MakeTinyGguf(shape);
    const auto file = quant::GgufFile::Parse(bytes, "some.gguf");
    REQUIRE(file.ok());
    const auto loaded = LoadTokenizer(*file);
    return loaded.ok() ? std::string() : loaded.error().message;
  };
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  CHECK(error([](quant::GgufWriter&) {}).empty());
  CHECK(has(error([](auto& file) { file.Erase("tokenizer.ggml.model"); }), "'tokenizer.ggml.model' is missing"));
  CHECK(has(error([](auto& file) { file.Erase("tokenizer.ggml.tokens"); }), "'tokenizer.ggml.tokens' is missing"));
  CHECK(has(error([](auto& file) { file.Erase("tokenizer.ggml.merges"); }), "'tokenizer.ggml.merges' is missing"));
  CHECK(has(error([](auto& file) { file.SetUint32("tokenizer.ggml.eos_token_id", 260); }),
            "'tokenizer.ggml.eos_token_id' is 260, outside the vocabulary of 260"));
  CHECK(has(error([](auto& file) { file.SetInt32s("tokenizer.ggml.token_type", {1, 2, 3}); }),
            "has 3 entries for 260 tokens"));
  CHECK(has(error([](auto& file) { file.SetInt32s("tokenizer.ggml.token_type", std::vector<std::int32_t>(260, 9)); }),
            "entry 9"));
  CHECK(has(error([](auto& file) {
              file.SetStrings("tokenizer.ggml.tokens", std::vector<std::string>(261, "x"));
              file.SetInt32s("tokenizer.ggml.token_type", std::vector<std::int32_t>(261, 1));
            }),
            "has 261 entries, but there are only 260 embeddings"));
  CHECK(has(error([](auto& file) { file.SetString("tokenizer.ggml.model", "bert"); }), "some.gguf"));

  shape.edit = [](quant::GgufWriter& file) {
    file.SetStrings("tokenizer.ggml.tokens", {"a", "b", "<|im_start|>"});
    file.SetInt32s("tokenizer.ggml.token_type", {1, 1, 3});
    for (const char* key : {"eos", "bos", "unknown", "padding"}) {
      file.SetUint32("tokenizer.ggml." + std::string(key) + "_token_id", 2);
    }
  };
  const auto tiny = testing::MakeTinyModel(shape);
  const auto padded = LoadTokenizer(tiny->file);
  REQUIRE(padded.ok());
  CHECK(padded->tokenizer->vocab_size() == 260);
  CHECK(padded->tokenizer->TokenBytes(200).empty());
}

TEST_CASE("A small model is computed finely unless the options say otherwise; a large one is not") {
  ThreadPool pool(1);
  const auto tiny = testing::MakeTinyModel(MixedShape());
  LoadOptions options = Options(pool);
  options.kv_type.reset();
  options.activations.reset();
  const auto by_default = Model::Create(tiny->spec, tiny->tensors, options);
  REQUIRE(by_default.ok());
  CHECK((*by_default)->kv_type() == KvType::kF32);
  CHECK((*by_default)->activations() == ActPrecision::kInt16);
  options.kv_type = KvType::kBf16;
  options.activations = ActPrecision::kInt8;
  const auto asked = Model::Create(tiny->spec, tiny->tensors, options);
  REQUIRE(asked.ok());
  CHECK((*asked)->kv_type() == KvType::kBf16);
  CHECK((*asked)->activations() == ActPrecision::kInt8);

  ModelSpec large = tiny->spec;  // only its shape is asked
  CHECK(FineByDefault(large));
  for (LayerSpec& layer : large.layers) layer.ff = 3'000'000;
  CHECK_FALSE(FineByDefault(large));
}

TEST_CASE("Windowed layers get memory for the windows, a step and a quarter of the pages") {
  const auto tiny = testing::MakeTinyModel(
      {.architecture = "gpt-oss", .heads = 6, .ff = 72, .experts = 6, .window = 20, .tied = false});  // every second
  ThreadPool pool(1);
  LoadOptions options = Options(pool);
  options.context = 64 * 1024;
  options.max_step_tokens = 128;
  const auto whole = Model::Create(tiny->spec, tiny->tensors, options);
  REQUIRE(whole.ok());
  CHECK((*whole)->window_memory().places == 0);
  options.map_windows = true;
  const auto mapped = Model::Create(tiny->spec, tiny->tensors, options);
  REQUIRE(mapped.ok());
  CHECK((*mapped)->num_pages() == (*whole)->num_pages());
  const std::int64_t pages = (*mapped)->num_pages();
  const std::int64_t places = WindowPages::Enough(2, 20, 128) + pages / 4;
  CHECK((*mapped)->window_memory().places == places);
  CHECK((*mapped)->window_memory().window == 20);
  CHECK((*mapped)->memory().kv_cache == (*mapped)->page_bytes() / 2 * (pages + places));
  // With as much memory as asked for, more pages.
  options.kv_bytes = 500 * (*mapped)->page_bytes();
  const auto some = Model::Create(tiny->spec, tiny->tensors, options);
  REQUIRE(some.ok());
  CHECK((*some)->num_pages() > 750);
  CHECK((*some)->memory().kv_cache <= options.kv_bytes);
  // A step on pages that are not mapped computes nothing.
  const std::vector<tok::TokenId> tokens = {1, 2, 3};
  const std::vector<std::int32_t> table = {7};
  std::vector<float> logits(static_cast<std::size_t>((*some)->vocab_size()));
  const StepSlice slice{.tokens = tokens, .pages = table, .first_logits = 2};
  CHECK((*some)->Step(std::span(&slice, 1), logits).error().code == ErrorCode::kInvalidArgument);
  (*some)->MapWindow(7, 3);
  CHECK((*some)->Step(std::span(&slice, 1), logits).ok());
}

}  // namespace
}  // namespace quorum::engine
