// A counter-based random number generator: numbers are a pure function of (seed, choice, position), so a sampled token
// never depends on what else ran, and a preempted sequence draws the same numbers again. No state.
#pragma once

#include <array>
#include <cstdint>

namespace quorum::engine {

/// Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
inline std::array<std::uint32_t, 4> Philox4x32(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9U;
    key[1] += 0xBB67AE85U;
  }
  return counter;
}

/// The uniform number in (0, 1) with which choice `choice` draws the token that stands at `position`: a multiple of
/// 2^-53 plus 2^-54, hence never 0 or 1.
inline double UniformDraw(std::uint64_t seed, std::int32_t choice, std::int32_t position) {
  const auto words = Philox4x32({static_cast<std::uint32_t>(position), static_cast<std::uint32_t>(choice), 0, 0},
                                {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
  const std::uint64_t bits = (std::uint64_t{words[0]} << 32 | words[1]) >> 11;
  return (static_cast<double>(bits) + 0.5) * 0x1p-53;
}

}  // namespace quorum::engine
