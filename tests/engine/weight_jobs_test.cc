// How packing finds out what is int8-exact.
#include "engine/weight_jobs.h"

#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "engine/kernels/packed_matrix.h"
#include "tests/engine/random_weights.h"
#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

using quant::DType;
using test::Random;

constexpr std::int64_t kRows = 1000;  // several tasks
constexpr std::int64_t kColumns = 1024;

/// Rows of int8-exact Q4_K.
struct Source {
  std::vector<std::uint8_t> file;
  TensorRef tensor;

  explicit Source(Random& random) : file(test::RandomFileRows({DType::kQ4_K, true}, kRows, kColumns, 1.0F, random)) {
    tensor = {"source", DType::kQ4_K, kRows, kColumns, std::as_bytes(std::span(file))};
  }
  /// Makes row `row` anything but int8-exact.
  void Spoil(std::int64_t row) { test::PutHalf(-1.0F, file.data() + row * tensor.row_bytes()); }
};

/// What RunPackJobs makes of one job: whether it was exact, and all bytes.
struct Outcome {
  bool exact;
  std::vector<std::uint8_t> bytes;
  std::int64_t released;
};

Outcome Run(const PackJob& job, std::int64_t bytes) {
  const test::AlignedBytes arena(bytes);
  ThreadPool pool(2);
  std::int64_t released = 0;
  const PackReleaseFn release = [&](std::span<const std::byte> part) {
    released += std::ssize(part);
    return Status();
  };
  const auto exact = RunPackJobs({job}, arena.data(), pool, release, {});
  REQUIRE(exact.ok());
  REQUIRE(exact->size() == 1);
  return {exact->front(), {arena.data(), arena.data() + bytes}, released};
}

std::vector<std::uint8_t> Packed(const Source& source, PackFormat format) {
  const std::int64_t bytes = PackedBytes(format, kRows, kColumns);
  const test::AlignedBytes panels(bytes);
  REQUIRE(PackMatrix(DType::kQ4_K, format, source.file.data(), kRows, kColumns, panels.data()).ok());
  return {panels.data(), panels.data() + bytes};
}

TEST_CASE("a matrix is int8-exact when all of its rows are") {
  Random random(41);
  Source source(random);
  const std::int64_t bytes = PackedBytes(PackFormat::kK256X4, kRows, kColumns);
  const PackJob job = {PackKind::kMatrix, &source.tensor, nullptr, 0};
  const Outcome exact = Run(job, bytes);
  CHECK(exact.exact);
  CHECK(exact.bytes == Packed(source, PackFormat::kK256X4));
  CHECK(exact.released == std::ssize(source.file));
  for (const std::int64_t row : {std::int64_t{0}, std::int64_t{500}, kRows - 1}) {
    CAPTURE(row);
    Source other = source;
    other.tensor.data = std::as_bytes(std::span(other.file));
    other.Spoil(row);
    const Outcome plain = Run({PackKind::kMatrix, &other.tensor, nullptr, 0}, bytes);
    CHECK_FALSE(plain.exact);
    CHECK(plain.bytes == Packed(other, PackFormat::kK256U4));
  }
}

TEST_CASE("gate and up are int8-exact together") {
  Random random(42);
  Source gate(random);
  Source up(random);
  const std::int64_t bytes = 2 * PackedBytes(PackFormat::kK256X4, kRows, kColumns);
  const PackJob job = {PackKind::kGateUp, &gate.tensor, &up.tensor, 0};
  CHECK(Run(job, bytes).exact);
  Source& spoilt = GENERATE(0, 1) == 0 ? gate : up;
  spoilt.Spoil(kRows - 1);
  const Outcome plain = Run(job, bytes);
  CHECK_FALSE(plain.exact);
  const test::AlignedBytes expected(bytes);
  REQUIRE(
      PackGateUp(DType::kQ4_K, PackFormat::kK256U4, gate.file.data(), up.file.data(), kRows, kColumns, expected.data())
          .ok());
  CHECK(std::memcmp(plain.bytes.data(), expected.data(), plain.bytes.size()) == 0);
}

TEST_CASE("packing ends when it is told to, also while it packs again") {
  Random random(43);
  Source source(random);
  source.Spoil(kRows - 1);
  const test::AlignedBytes arena(PackedBytes(PackFormat::kK256U4, kRows, kColumns));
  ThreadPool pool(1);
  int calls = 0;
  const int last = GENERATE(1, 2);
  const auto result = RunPackJobs({{PackKind::kMatrix, &source.tensor, nullptr, 0}}, arena.data(), pool, {},
                                  [&](std::int64_t done, std::int64_t total) {
                                    CHECK(done == total);
                                    return ++calls < last;
                                  });
  REQUIRE_FALSE(result.ok());
  CHECK(result.error().code == ErrorCode::kCancelled);
  CHECK(calls == last);
}

}  // namespace
}  // namespace quorum::engine
