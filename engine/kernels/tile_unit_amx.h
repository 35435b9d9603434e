// The AMX tile unit: eight tiles of up to 16 rows of 64 bytes (Intel SDM vol. 1, chapter 18). Only for *_amx.cc. Their
// code takes the unit as a template parameter; tests/emulated/tile_unit.h is one in plain C++.
//
// Own assembly in place of the compiler's intrinsics: those name tiles by literals, which a template cannot pass, and
// g++ 12's _tile_loadconfig does not say that it reads memory.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace quorum::engine::amx {

/// Every tile number is a constant, 0 to 7.
struct HardwareTiles {
  /// Shapes for products over `depth` bytes (a multiple of 4, at most 64): `c` tiles 0..3 of 16 x 16 int32, `a` tiles
  /// 4 and 5 of 16 rows of `depth` bytes, `b` tiles 6 and 7 of depth / 4 rows of 64 bytes.
  static inline __attribute__((always_inline)) void Configure(int depth) {
    struct alignas(64) Config {
      uint8_t palette, start_row, reserved[14];
      uint16_t row_bytes[16];
      uint8_t rows[16];
    } config = {};
    config.palette = 1;
    for (int tile = 0; tile < 8; ++tile) {
      config.rows[tile] = static_cast<uint8_t>(tile < 6 ? 16 : depth / 4);
      config.row_bytes[tile] = static_cast<uint16_t>(tile == 4 || tile == 5 ? depth : 64);
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory");
  }
  /// Frees the tiles, so that the kernel need not save them.
  static inline __attribute__((always_inline)) void Release() { __asm__ volatile("tilerelease" : : : "memory"); }

  template <int tile>
  static inline __attribute__((always_inline)) void Zero() {
    __asm__ volatile("tilezero %%tmm%c0" : : "i"(tile));
  }
  /// Rows at `from`, `from + stride`, ...
  template <int tile>
  static inline __attribute__((always_inline)) void Load(const void* from, int64_t stride) {
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(tile) : "memory");
  }
  template <int tile>
  static inline __attribute__((always_inline)) void Store(void* to, int64_t stride) {
    __asm__ volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(tile) : "memory");
  }
  /// c[i][j] += sum over q and b of a[i][4q + b] * b[q][4j + b]: a signed, b unsigned or signed bytes.
  template <int c, int a, int b, bool unsigned_b>
  static inline __attribute__((always_inline)) void Dot() {
    if constexpr (unsigned_b) {
      __asm__ volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
    } else {
      __asm__ volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(c), "i"(a), "i"(b));
    }
  }
};

}  // namespace quorum::engine::amx
