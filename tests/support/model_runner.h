// Runs a whole sequence through a Model in chosen pieces, for tests.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/model.h"
#include "engine/step_model.h"
#include "tests/support/tiny_model.h"

namespace quorum::testing {

/// A model over a tiny file with its own pool.
struct LoadedTiny {
  std::unique_ptr<TinyModel> tiny;
  std::unique_ptr<engine::ThreadPool> pool;
  std::unique_ptr<engine::Model> model;
};
LoadedTiny LoadTiny(const TinyShape& shape, engine::KvType kv = engine::KvType::kF32, int threads = 1,
                    const engine::KernelTable* kernels = nullptr,
                    engine::ActPrecision activations = engine::ActPrecision::kInt8);
LoadedTiny LoadTiny(std::unique_ptr<TinyModel> tiny, engine::KvType kv = engine::KvType::kF32, int threads = 1,
                    const engine::KernelTable* kernels = nullptr,
                    engine::ActPrecision activations = engine::ActPrecision::kInt8);

LoadedTiny LoadTiny(const TinyShape& shape, engine::KvType kv, const engine::Placement& placement);

/// A model read from a file, with its own pool of one thread.
struct LoadedFile {
  std::unique_ptr<engine::ThreadPool> pool;
  std::unique_ptr<engine::Model> model;
};
/// Fails the test where it cannot be loaded.
LoadedFile LoadFile(const std::string& path);

/// Writes MakeTinyGguf(shape) to `path`.
void WriteTiny(const TinyShape& shape, const std::string& path);

/// `n` token ids below `vocab`, from `seed`.
std::vector<tok::TokenId> RandomTokens(std::int64_t n, std::int32_t vocab, std::uint64_t seed);

/// Logits (tokens, vocab) of one sequence whose prompt goes in steps of `chunk` tokens, in pages from `first_page` on.
std::vector<float> RunSequence(engine::StepModel& model, std::span<const tok::TokenId> tokens, std::int64_t chunk,
                               std::int32_t first_page = 0, const engine::ExpertOptions* experts = nullptr,
                               engine::ExpertTally* tally = nullptr);

/// The largest |a - b|. REQUIRES: equal lengths.
double LargestDifference(std::span<const float> a, std::span<const float> b);
/// sqrt(sum (a - b)^2 / sum b^2)
double RelativeError(std::span<const float> a, std::span<const float> b);
/// Whether the bytes are equal.
bool SameBits(std::span<const float> a, std::span<const float> b);

}  // namespace quorum::testing
