#include "tests/support/model_runner.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"
#include "engine/kernels/dispatch.h"
#include "tests/support/catch.h"

namespace quorum::testing {

namespace {

LoadedTiny Load(std::unique_ptr<TinyModel> tiny, std::unique_ptr<engine::ThreadPool> pool, engine::KvType kv,
                const engine::KernelTable* kernels, engine::ActPrecision activations) {
  SetLogLevel(LogLevel::kError);
  LoadedTiny loaded;
  loaded.tiny = std::move(tiny);
  loaded.pool = std::move(pool);
  engine::LoadOptions options;
  options.pool = loaded.pool.get();
  options.kernels = kernels != nullptr ? kernels : &engine::KernelsFor(DetectIsa());
  options.max_batch = 8;
  options.kv_type = kv;
  options.activations = activations;
  options.max_step_tokens = 600;
  options.max_step_logits = 600;
  Result<std::unique_ptr<engine::Model>> model =
      engine::Model::Create(loaded.tiny->spec, loaded.tiny->tensors, options);
  if (!model.ok()) std::fprintf(stderr, "%s\n", model.error().message.c_str());
  QUORUM_CHECK(model.ok());
  loaded.model = std::move(model).value();
  return loaded;
}

}  // namespace

LoadedTiny LoadTiny(const TinyShape& shape, engine::KvType kv, int threads, const engine::KernelTable* kernels,
                    engine::ActPrecision activations) {
  return LoadTiny(MakeTinyModel(shape), kv, threads, kernels, activations);
}

LoadedTiny LoadTiny(std::unique_ptr<TinyModel> tiny, engine::KvType kv, int threads, const engine::KernelTable* kernels,
                    engine::ActPrecision activations) {
  return Load(std::move(tiny), std::make_unique<engine::ThreadPool>(threads), kv, kernels, activations);
}

LoadedTiny LoadTiny(const TinyShape& shape, engine::KvType kv, const engine::Placement& placement) {
  return Load(MakeTinyModel(shape), std::make_unique<engine::ThreadPool>(placement), kv, nullptr,
              engine::ActPrecision::kInt8);
}

LoadedFile LoadFile(const std::string& path) {
  SetLogLevel(LogLevel::kError);
  LoadedFile loaded;
  loaded.pool = std::make_unique<engine::ThreadPool>(1);
  engine::LoadOptions options;
  options.pool = loaded.pool.get();
  options.max_batch = 4;
  options.max_step_tokens = 600;
  options.max_step_logits = 600;
  auto model = engine::Model::Load(path, options);
  if (!model.ok()) FAIL(model.error().message);
  loaded.model = std::move(model).value();
  return loaded;
}

void WriteTiny(const TinyShape& shape, const std::string& path) {
  const std::vector<std::byte> bytes = MakeTinyGguf(shape);
  std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
}

std::vector<tok::TokenId> RandomTokens(std::int64_t n, std::int32_t vocab, std::uint64_t seed) {
  std::vector<tok::TokenId> tokens;
  for (std::int64_t i = 0; i < n; ++i) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    tokens.push_back(static_cast<tok::TokenId>((seed >> 33) % static_cast<std::uint64_t>(vocab)));
  }
  return tokens;
}

std::vector<float> RunSequence(engine::StepModel& model, std::span<const tok::TokenId> tokens, std::int64_t chunk,
                               std::int32_t first_page, const engine::ExpertOptions* experts,
                               engine::ExpertTally* tally) {
  const std::int64_t n = std::ssize(tokens);
  const std::int64_t vocab = model.vocab_size();
  std::vector<std::int32_t> pages;
  for (std::int64_t page = 0; page * engine::kPageTokens < n; ++page) {
    pages.push_back(first_page + static_cast<std::int32_t>(page));
  }
  std::vector<float> logits(static_cast<std::size_t>(n * vocab));
  for (std::int64_t pos = 0; pos < n; pos += chunk) {
    const std::int64_t count = std::min(chunk, n - pos);
    const engine::StepSlice slice{
        .tokens = tokens.subspan(static_cast<std::size_t>(pos), static_cast<std::size_t>(count)),
        .pos = static_cast<std::int32_t>(pos),
        .pages = pages,
        .first_logits = 0,
        .experts = experts,
        .tally = tally};
    const Status status = model.Step({&slice, 1}, std::span(logits).subspan(static_cast<std::size_t>(pos * vocab),
                                                                            static_cast<std::size_t>(count * vocab)));
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.error().message.c_str());
    QUORUM_CHECK(status.ok());
  }
  return logits;
}

double LargestDifference(std::span<const float> a, std::span<const float> b) {
  QUORUM_CHECK(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double difference = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    largest = difference > largest || std::isnan(difference) ? difference : largest;
  }
  return largest;
}

double RelativeError(std::span<const float> a, std::span<const float> b) {
  QUORUM_CHECK(a.size() == b.size());
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

bool SameBits(std::span<const float> a, std::span<const float> b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

}  // namespace quorum::testing
