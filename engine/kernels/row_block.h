// One row's part of a packed block, taken out of its panel: codes and raw scales. What packing writes, unpacking reads
// back, and the scalar kernel computes with.
#pragma once

#include <cstdint>

#include "engine/kernels/pack_layout.h"

namespace quorum::engine {

/// Up to 256 columns of one row. Which scales are used depends on the format; unused ones are zero.
struct RowBlock {
  std::uint8_t code[kBlock];  // column c's code; the value is code - bias, or the table's entry at code

  // One level: f16 bits (E8M0 in d for MXFP4) of each group of 32.
  std::uint16_t d[kBlockGroups];
  std::uint16_t m[kBlockGroups];

  // Two levels, for each 16 columns; a pair is equal where the format has one for 32.
  std::int16_t s[kBlock / 16];
  std::uint8_t z[kBlock / 16];
  std::uint16_t super_d;    // f16 bits
  std::uint16_t super_min;  // f16 bits
};

/// Writes a row of `groups` groups into lane `lane` (0..15) of the block at `block`; other lanes stay as they are.
/// REQUIRES: the lane is zero; rows of one block are written one after the other, for some bytes belong to two lanes.
void StoreRow(const PackTraits& traits, const RowBlock& row, std::int64_t groups, std::int64_t lane,
              std::uint8_t* block);

/// Reads it back.
void LoadRow(const PackTraits& traits, const std::uint8_t* block, std::int64_t groups, std::int64_t lane,
             RowBlock* row);

/// The codes' integer values q, each in -128..127.
void CodeValues(const PackTraits& traits, const std::uint8_t* codes, std::int64_t count, std::int8_t* q);

/// The float that a group's raw one-level scale d stands for.
float GroupScale(const PackTraits& traits, std::uint16_t bits);

}  // namespace quorum::engine
