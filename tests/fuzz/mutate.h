// Damaged copies of an input: what a fuzzer does first, without coverage guidance, so that every build and CI tries
// some.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <random>
#include <vector>

namespace quorum::testing {

using Bytes = std::vector<std::uint8_t>;

/// `input` with one to four changes drawn from `random`; pieces may come from `other`. Grows by at most 4 KiB.
inline Bytes Mutate(const Bytes& input, const Bytes& other, std::mt19937_64& random) {
  constexpr std::size_t kMaxPiece = 1024;
  constexpr std::array<std::uint8_t, 12> kBytes = {0, 1, 0x7f, 0x80, 0xff, '"', '\\', '{', '[', '0', '-', '\n'};
  const auto below = [&random](std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random() % n); };
  Bytes out = input;
  for (std::size_t change = below(4) + 1; change > 0; --change) {
    const std::size_t at = below(out.size() + 1);
    const std::size_t length = std::min(below(kMaxPiece) + 1, out.size() - at);
    const auto begin = out.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = begin + static_cast<std::ptrdiff_t>(length);
    switch (below(7)) {
      case 0:  // one bit
        if (at < out.size()) out[at] = static_cast<std::uint8_t>(out[at] ^ (1U << below(8)));
        break;
      case 1:  // one byte
        if (at < out.size()) out[at] = kBytes[below(kBytes.size())];
        break;
      case 2:  // eight bytes: a count or an offset
        for (std::size_t i = at; i < std::min(at + 8, out.size()); ++i) out[i] = kBytes[below(5)];
        break;
      case 3: out.insert(begin, kBytes[below(kBytes.size())]); break;
      case 4: out.erase(begin, end); break;
      case 5: {  // a piece twice
        const Bytes piece(begin, end);
        out.insert(out.begin() + static_cast<std::ptrdiff_t>(at), piece.begin(), piece.end());
        break;
      }
      default: {  // a piece of the other input
        const std::size_t from = below(other.size());
        const std::size_t count = std::min(below(kMaxPiece) + 1, other.size() - from);
        const auto source = other.begin() + static_cast<std::ptrdiff_t>(from);
        out.insert(begin, source, source + static_cast<std::ptrdiff_t>(count));
      }
    }
  }
  return out;
}

}  // namespace quorum::testing
