// Buckets and tables of T5's relative position bias, against transformers' _relative_position_bucket.
#include <cstdint>
#include <vector>

#include "engine/position_bias.h"
#include "engine/step_model.h"
#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

std::vector<std::int32_t> Buckets(const RelativeBiasSpec& spec, bool bidirectional,
                                  const std::vector<std::int64_t>& distances) {
  std::vector<std::int32_t> buckets;
  for (const std::int64_t distance : distances) buckets.push_back(RelativeBucket(spec, bidirectional, distance));
  return buckets;
}

const std::vector<std::int64_t> kDistances = {
    -5000, -1000, -129, -128, -127, -126, -113, -100, -91, -90, -65, -64, -63, -50, -46, -45, -33,  -32, -31,
    -24,   -23,   -20,  -17,  -16,  -15,  -12,  -11,  -10, -9,  -8,  -7,  -6,  -5,  -4,  -3,  -2,   -1,  0,
    1,     2,     3,    4,    5,    6,    7,    8,    9,   10,  11,  12,  15,  16,  17,  20,  23,   24,  31,
    32,    33,    45,   46,   50,   63,   64,   65,   90,  91,  100, 113, 126, 127, 128, 129, 1000, 5000};

TEST_CASE("Buckets are those of transformers") {
  CHECK(Buckets({.buckets = 32, .max_distance = 128}, true, kDistances) ==
        std::vector<std::int32_t>{15, 15, 15, 15, 15, 15, 15, 15, 15, 14, 14, 14, 13, 13, 13, 12, 12, 12, 11,
                                  11, 11, 10, 10, 10, 9,  9,  8,  8,  8,  8,  7,  6,  5,  4,  3,  2,  1,  0,
                                  17, 18, 19, 20, 21, 22, 23, 24, 24, 24, 24, 25, 25, 26, 26, 26, 27, 27, 27,
                                  28, 28, 28, 29, 29, 29, 30, 30, 30, 31, 31, 31, 31, 31, 31, 31, 31, 31});
  CHECK(Buckets({.buckets = 32, .max_distance = 128}, false, kDistances) ==
        std::vector<std::int32_t>{31, 31, 31, 31, 31, 31, 31, 30, 29, 29, 26, 26, 26, 24, 24, 23, 21, 21, 21,
                                  19, 18, 17, 16, 16, 15, 12, 11, 10, 9,  8,  7,  6,  5,  4,  3,  2,  1,  0,
                                  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0});
  CHECK(Buckets({.buckets = 8, .max_distance = 20}, true, kDistances) ==
        std::vector<std::int32_t>{3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3,
                                  3, 3, 3, 3, 3, 3, 2, 2, 2, 2, 2, 1, 0, 5, 6, 6, 6, 6, 6, 7, 7, 7, 7, 7, 7,
                                  7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7});
  CHECK(Buckets({.buckets = 8, .max_distance = 20}, false, kDistances) ==
        std::vector<std::int32_t>{7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
                                  6, 6, 6, 6, 5, 5, 5, 4, 4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  CHECK(Buckets({.buckets = 12, .max_distance = 90}, true, kDistances) ==
        std::vector<std::int32_t>{5,  5,  5,  5,  5,  5,  5,  5,  5,  5,  5,  5,  5,  5,  5,  5,  5,  5,  5,
                                  4,  4,  4,  4,  4,  4,  4,  4,  4,  3,  3,  3,  3,  3,  3,  3,  2,  1,  0,
                                  7,  8,  9,  9,  9,  9,  9,  9,  9,  10, 10, 10, 10, 10, 10, 10, 10, 10, 11,
                                  11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11});
  CHECK(Buckets({.buckets = 12, .max_distance = 90}, false, kDistances) ==
        std::vector<std::int32_t>{11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 10, 10, 10, 9, 9, 9,
                                  9,  8,  8,  8,  8,  8,  7,  7,  7,  6,  6,  6,  6,  5,  4,  3,  2, 1, 0,
                                  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, 0, 0,
                                  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0, 0});
  CHECK(Buckets({.buckets = 64, .max_distance = 256}, true, kDistances) ==
        std::vector<std::int32_t>{31, 31, 28, 28, 27, 27, 27, 26, 26, 25, 24, 24, 23, 22, 22, 21, 20, 20, 19,
                                  18, 18, 17, 16, 16, 15, 12, 11, 10, 9,  8,  7,  6,  5,  4,  3,  2,  1,  0,
                                  33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 47, 48, 48, 49, 50, 50, 51,
                                  52, 52, 53, 54, 54, 55, 56, 56, 57, 58, 58, 59, 59, 59, 60, 60, 63, 63});
  CHECK(Buckets({.buckets = 64, .max_distance = 256}, false, kDistances) ==
        std::vector<std::int32_t>{63, 63, 53, 53, 53, 53, 51, 49, 48, 47, 42, 42, 42, 38, 37, 37, 32, 32, 31,
                                  24, 23, 20, 17, 16, 15, 12, 11, 10, 9,  8,  7,  6,  5,  4,  3,  2,  1,  0,
                                  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
                                  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0});
}

TEST_CASE("The table holds each distance's weight and is constant from its reach on") {
  const RelativeBiasSpec spec{.buckets = 8, .max_distance = 20};
  constexpr std::int32_t kHeads = 3;
  std::vector<float> weights;
  for (std::int32_t i = 0; i < spec.buckets * kHeads; ++i) weights.push_back(static_cast<float>(i));
  for (const bool bidirectional : {true, false}) {
    const PositionBias bias(spec, bidirectional, kHeads, weights);
    REQUIRE(bias.reach() >= 20);
    for (std::int64_t head = 0; head < kHeads; ++head) {
      for (std::int64_t d = -bias.reach() - kPageTokens; d < bias.reach() + kPageTokens; ++d) {
        CAPTURE(bidirectional, head, d);
        CHECK(bias.OfHead(head)[d] ==
              weights[static_cast<std::size_t>(RelativeBucket(spec, bidirectional, d) * kHeads + head)]);
      }
    }
  }
}

}  // namespace
}  // namespace quorum::engine
