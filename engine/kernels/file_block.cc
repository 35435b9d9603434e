#include "engine/kernels/file_block.h"

#include <cstring>

#include "engine/base/check.h"

namespace quorum::engine {
namespace {

using quant::DType;

std::uint16_t LoadU16(const std::uint8_t* p) {
  std::uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

std::uint32_t LoadU32(const std::uint8_t* p) {
  std::uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

// 16 bytes whose low nibbles are columns 0..15 and whose high nibbles are columns 16..31.
void ReadNibbles(const std::uint8_t* qs, std::uint8_t* code) {
  for (int i = 0; i < 16; ++i) {
    code[i] = qs[i] & 15;
    code[i + 16] = qs[i] >> 4;
  }
}

// Bit c of `bits` is bit 4 of column c's code.
void AddFifthBits(std::uint32_t bits, std::uint8_t* code) {
  for (int c = 0; c < 32; ++c) code[c] = static_cast<std::uint8_t>(code[c] | (((bits >> c) & 1U) << 4));
}

// A block of 32 columns: {d, [m,] [fifth bits,] codes}.
void ReadSmallBlock(DType type, const std::uint8_t* src, std::int64_t g, RowBlock* row) {
  std::uint8_t* code = row->code + g * kGroup;
  row->d[g] = type == DType::kMXFP4 ? src[0] : LoadU16(src);
  switch (type) {
    case DType::kQ4_1:
      row->m[g] = LoadU16(src + 2);
      ReadNibbles(src + 4, code);
      break;
    case DType::kQ5_0:
      ReadNibbles(src + 6, code);
      AddFifthBits(LoadU32(src + 2), code);
      break;
    case DType::kQ5_1:
      row->m[g] = LoadU16(src + 2);
      ReadNibbles(src + 8, code);
      AddFifthBits(LoadU32(src + 4), code);
      break;
    case DType::kQ8_0:
      for (int c = 0; c < 32; ++c) code[c] = src[2 + c] ^ 0x80;
      break;
    case DType::kMXFP4: ReadNibbles(src + 1, code); break;
    default: ReadNibbles(src + 2, code); break;  // Q4_0, IQ4_NL
  }
}

// Scales of s-group i (16 columns) for both halves of a group of 32.
void SetPair(std::int64_t g, int s, int z, RowBlock* row) {
  row->s[2 * g] = row->s[2 * g + 1] = static_cast<std::int16_t>(s);
  row->z[2 * g] = row->z[2 * g + 1] = static_cast<std::uint8_t>(z);
}

// Q4_K and Q5_K: eight 6-bit s and z in 12 bytes.
void ReadSixBitScales(const std::uint8_t* p, RowBlock* row) {
  for (int g = 0; g < 4; ++g) {
    SetPair(g, p[g] & 63, p[g + 4] & 63, row);
    SetPair(g + 4, (p[g + 8] & 15) | ((p[g] >> 6) << 4), (p[g + 8] >> 4) | ((p[g + 4] >> 6) << 4), row);
  }
}

// Q4_K and Q5_K: 32 bytes hold columns c (low nibbles) and c + 32 (high nibbles) of each 64.
void ReadNibblePairs(const std::uint8_t* qs, std::uint8_t* code) {
  for (int c = 0; c < 256; ++c) code[c] = (qs[c / 64 * 32 + c % 32] >> (c % 64 / 32 * 4)) & 15;
}

// Q2_K and Q3_K: 32 bytes hold columns c, c + 32, c + 64, c + 96 of each 128, two bits each.
void ReadBitPairs(const std::uint8_t* qs, std::uint8_t* code) {
  for (int c = 0; c < 256; ++c) code[c] = (qs[c / 128 * 32 + c % 32] >> (c % 128 / 32 * 2)) & 3;
}

// d and dmin follow 16 bytes of scales and 64 of codes.
void ReadQ2K(const std::uint8_t* src, RowBlock* row) {
  for (int h = 0; h < 16; ++h) {
    row->s[h] = src[h] & 15;
    row->z[h] = src[h] >> 4;
  }
  ReadBitPairs(src + 16, row->code);
  row->super_d = LoadU16(src + 80);
  row->super_min = LoadU16(src + 82);
}

// 32 bytes of third bits, 64 of codes, 12 of 6-bit scales (32 added), d.
void ReadQ3K(const std::uint8_t* src, RowBlock* row) {
  ReadBitPairs(src + 32, row->code);
  for (int c = 0; c < 256; ++c) {
    row->code[c] = static_cast<std::uint8_t>(row->code[c] | (((src[c % 32] >> (c / 32)) & 1) << 2));
  }
  const std::uint8_t* scales = src + 96;
  for (int h = 0; h < 16; ++h) {
    const int low = (scales[h % 8] >> (h / 8 * 4)) & 15;
    const int high = (scales[8 + h % 4] >> (h / 4 * 2)) & 3;
    row->s[h] = static_cast<std::int16_t>((low | (high << 4)) - 32);
  }
  row->super_d = LoadU16(src + 108);
}

// d, dmin, 12 bytes of scales, [32 bytes of fifth bits,] 128 of codes.
void ReadQ45K(const std::uint8_t* src, bool five_bits, RowBlock* row) {
  row->super_d = LoadU16(src);
  row->super_min = LoadU16(src + 2);
  ReadSixBitScales(src + 4, row);
  ReadNibblePairs(src + (five_bits ? 48 : 16), row->code);
  if (!five_bits) return;
  for (int c = 0; c < 256; ++c) {
    row->code[c] = static_cast<std::uint8_t>(row->code[c] | (((src[16 + c % 32] >> (c / 32)) & 1) << 4));
  }
}

// 128 bytes of low nibbles, 64 of bit pairs, 16 signed scales, d.
void ReadQ6K(const std::uint8_t* src, RowBlock* row) {
  for (int c = 0; c < 256; ++c) {
    const int half = c / 128;
    const int low = (src[half * 64 + c % 64] >> (c % 128 / 64 * 4)) & 15;
    const int high = (src[128 + half * 32 + c % 32] >> (c % 128 / 32 * 2)) & 3;
    row->code[c] = static_cast<std::uint8_t>(low | (high << 4));
  }
  for (int h = 0; h < 16; ++h) row->s[h] = static_cast<std::int8_t>(src[192 + h]);
  row->super_d = LoadU16(src + 208);
}

// d, 2 bytes of high scale bits, 4 bytes of low ones (32 added), 128 of codes.
void ReadIq4Xs(const std::uint8_t* src, RowBlock* row) {
  row->super_d = LoadU16(src);
  const int high_bits = LoadU16(src + 2);
  for (int g = 0; g < 8; ++g) {
    const int low = (src[4 + g / 2] >> (g % 2 * 4)) & 15;
    const int high = (high_bits >> (2 * g)) & 3;
    SetPair(g, (low | (high << 4)) - 32, 0, row);
    ReadNibbles(src + 8 + 16 * g, row->code + 32 * g);
  }
}

}  // namespace

void ReadFileBlock(DType type, const std::uint8_t* src, std::int64_t groups, RowBlock* row) {
  *row = {};
  switch (type) {
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ5_0:
    case DType::kQ5_1:
    case DType::kQ8_0:
    case DType::kIQ4_NL:
    case DType::kMXFP4:
      for (std::int64_t g = 0; g < groups; ++g) ReadSmallBlock(type, src + g * quant::Info(type).bytes, g, row);
      break;
    case DType::kQ2_K: ReadQ2K(src, row); break;
    case DType::kQ3_K: ReadQ3K(src, row); break;
    case DType::kQ4_K: ReadQ45K(src, false, row); break;
    case DType::kQ5_K: ReadQ45K(src, true, row); break;
    case DType::kQ6_K: ReadQ6K(src, row); break;
    case DType::kIQ4_XS: ReadIq4Xs(src, row); break;
    default: QUORUM_CHECK(false && "type without integer blocks");
  }
}

}  // namespace quorum::engine
