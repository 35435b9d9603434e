// The AMX tile unit in plain C++, with the interface of engine/kernels/tile_unit_amx.h: gemm_amx.cc runs on it where
// the host has no AMX, or may not use it. Strict where the hardware would fault: tiles that are not configured, or
// whose shapes do not fit together, end the program.
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

namespace quorum::engine::amx {

class EmulatedTiles {
 public:
  static void Configure(int depth) {
    if (depth <= 0 || depth > kRowBytes || depth % 4 != 0) abort();
    memset(&unit, 0, sizeof unit);
    for (int t = 0; t < 8; ++t) {
      unit.rows[t] = t < 6 ? 16 : depth / 4;
      unit.row_bytes[t] = t == 4 || t == 5 ? depth : kRowBytes;
    }
  }
  static void Release() { memset(&unit, 0, sizeof unit); }

  template <int tile>
  static void Zero() {
    Check(tile);
    memset(unit.data[tile], 0, sizeof unit.data[tile]);
  }
  template <int tile>
  static void Load(const void* from, int64_t stride) {
    Zero<tile>();
    for (int r = 0; r < unit.rows[tile]; ++r) {
      memcpy(unit.data[tile][r], static_cast<const char*>(from) + r * stride,
             static_cast<size_t>(unit.row_bytes[tile]));
    }
  }
  template <int tile>
  static void Store(void* to, int64_t stride) {
    Check(tile);
    for (int r = 0; r < unit.rows[tile]; ++r) {
      memcpy(static_cast<char*>(to) + r * stride, unit.data[tile][r], static_cast<size_t>(unit.row_bytes[tile]));
    }
  }
  template <int c, int a, int b, bool unsigned_b>
  static void Dot() {
    static_assert(c != a && c != b && a != b);
    Check(c);
    Check(a);
    Check(b);
    const int quads = unit.row_bytes[a] / 4;
    if (unit.rows[c] != unit.rows[a] || unit.row_bytes[c] != unit.row_bytes[b] || quads != unit.rows[b]) abort();
    const int columns = unit.row_bytes[c] / 4;
    for (int i = 0; i < unit.rows[c]; ++i) {
      int32_t sum[kRowBytes / 4];
      memcpy(sum, unit.data[c][i], sizeof sum);
      for (int q = 0; q < quads; ++q) {
        for (int j = 0; j < columns; ++j) {
          for (int k = 0; k < 4; ++k) {
            const uint8_t byte = unit.data[b][q][4 * j + k];
            const int32_t weight = unsigned_b ? int32_t{byte} : int32_t{static_cast<int8_t>(byte)};
            sum[j] += static_cast<int8_t>(unit.data[a][i][4 * q + k]) * weight;
          }
        }
      }
      memcpy(unit.data[c][i], sum, sizeof sum);
    }
  }

 private:
  static constexpr int kRowBytes = 64;
  struct Unit {
    int rows[8];
    int row_bytes[8];
    uint8_t data[8][16][kRowBytes];
  };
  static inline thread_local Unit unit;

  static void Check(int tile) {
    if (unit.rows[tile] == 0) abort();
  }
};

}  // namespace quorum::engine::amx
