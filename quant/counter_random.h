// Random numbers that depend only on (seed, stream, index): the same on every machine and in any order of asking.
#pragma once

#include <cstdint>

namespace quorum::quant {

/// SplitMix64's output function (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014)
/// applied to key + index * gamma; the key is mixed from the seed and the stream.
class CounterRandom {
 public:
  CounterRandom(std::uint64_t seed, std::uint64_t stream) : key_(Mix(Mix(seed + kGamma) + stream * kGamma)) {}

  std::uint64_t Bits(std::uint64_t index) const { return Mix(key_ + (index + 1) * kGamma); }

  /// Approximately normal, mean 0, variance 1: the sum of twelve uniform numbers less six, in integers until the last
  /// step, because the logarithm of the usual methods differs between C libraries. No value is beyond +-6.
  double Normal(std::uint64_t index) const {
    std::uint64_t sum = 0;  // of twelve 32-bit numbers
    for (std::uint64_t i = 0; i < 6; ++i) {
      const std::uint64_t bits = Bits(6 * index + i);
      sum += (bits >> 32) + (bits & 0xffffffffU);
    }
    return (static_cast<double>(sum) + 6.0) * 0x1p-32 - 6.0;  // + 6: each number stands for the middle of its step
  }

 private:
  static constexpr std::uint64_t kGamma = 0x9e3779b97f4a7c15U;

  static std::uint64_t Mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }

  std::uint64_t key_;
};

}  // namespace quorum::quant
