// Where every byte of a packed matrix lies. No STL: kernel files include this. Everything is `static`, so that a
// kernel file keeps no weak symbol.
//
// A panel holds 16 rows ("lanes" 0..15). Float formats store column after column, 16 values each. Integer formats
// store blocks of 256 columns (the last one may be shorter, a multiple of 32); a block of G groups of 32 columns is
//
//     payload of group 0 | ... | payload of group G-1 | scales, padded to a multiple of 64 bytes
//
// and every payload is made of 64-byte lines, in which byte 4 * lane + j belongs to column 4 * quad + j of that lane:
// the operand order of vpdpbusd. A group has 8 quads of columns. A code's bits are spread over the planes of its
// payload:
//
//     byte plane    8 lines: line `quad` holds the codes                                          512 bytes a group
//     nibble plane  4 lines: line quad % 4, low nibble for quads 0..3, high nibble for 4..7       256 bytes
//     pair plane    2 lines: line quad / 4, bits 2 * (quad % 4) and the next                      128 bytes
//     bit plane     1 line: bit `quad`                                                             64 bytes
//
// One-level scales: for each group 16 f16 d, and 16 f16 m where the format has a minimum (E8M0: 16 bytes).
// Two-level scales: for each s-group (32 or 16 columns) 16 bytes s; then, where the format has offsets, 16 bytes z
// for each s-group (Q2_K: s and z share a byte, s low); then one line with 16 f16 d and 16 f16 dmin (or zero). Formats
// that have bytes z need no such line: six bits are enough for s, and the highest two of byte 2 * lane of the n-th 32
// bytes of s, n = 0 to 3, are bits 6 - 2n and 7 - 2n of that lane's d, those of the byte behind 14 - 2n and 15 - 2n.
// The highest bits of z hold dmin in the same way; int8-exact z take seven bits, and there is no dmin.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/kernel_table.h"

namespace quorum::engine {

constexpr int64_t kLanes = 16;       // rows of a panel
constexpr int64_t kGroup = 32;       // columns of a group
constexpr int64_t kBlock = 256;      // columns of a block
constexpr int64_t kBlockGroups = 8;  // groups of a whole block
constexpr int64_t kLineBytes = 64;

enum class Payload : uint8_t {
  kNone,   // float formats
  kBits2,  // pair plane
  kBits3,  // pair plane (low 2 bits), bit plane (bit 2)
  kBits4,  // nibble plane
  kBits5,  // nibble plane (low 4 bits), bit plane (bit 4)
  kBits6,  // nibble plane (low 4 bits), pair plane (bits 4, 5)
  kBits8,  // byte plane
};

enum class Scales : uint8_t {
  kNone,     // float formats
  kHalf,     // one level: f16 d per group
  kHalfMin,  // one level: f16 d and m per group
  kE8m0,     // one level: a power of two per group, E8M0Half
  kSigned,   // two levels: signed s, f16 d
  kBytes,    // two levels: unsigned s and z of 6 bits, f16 d and dmin in their bytes
  kExact,    // two levels: unsigned s of 6 bits and f16 d in its bytes, unsigned z; s * q - z fits int8
  kNibbles,  // two levels: unsigned s and z of 4 bits in one byte, f16 d and dmin
};

enum class Table : uint8_t { kNone, kIq4, kMxfp4 };

/// What distinguishes the formats. A weight's integer value is code - bias, or the table's entry at its code.
struct PackTraits {
  Payload payload;
  Scales scales;
  Table table;
  int32_t bias;       // with a table: what makes its entries unsigned, entry + bias >= 0
  int32_t s_columns;  // two levels: columns that share s and z, 32 or 16
};

/// Entries of IQ4_NL, IQ4_XS (ggml's kvalues_iq4nl) and of MXFP4 (E2M1 doubled; the scale is halved).
constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
constexpr int8_t kMxfp4Values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static constexpr PackTraits TraitsOf(PackFormat format) {
  switch (format) {
    case PackFormat::kF32:
    case PackFormat::kF16:
    case PackFormat::kBf16: break;
    case PackFormat::kG32U4: return {Payload::kBits4, Scales::kHalfMin, Table::kNone, 0, 0};
    case PackFormat::kG32S4: return {Payload::kBits4, Scales::kHalf, Table::kNone, 8, 0};
    case PackFormat::kG32U5: return {Payload::kBits5, Scales::kHalfMin, Table::kNone, 0, 0};
    case PackFormat::kG32S5: return {Payload::kBits5, Scales::kHalf, Table::kNone, 16, 0};
    case PackFormat::kG32S8: return {Payload::kBits8, Scales::kHalf, Table::kNone, 128, 0};
    case PackFormat::kG32Iq4: return {Payload::kBits4, Scales::kHalf, Table::kIq4, 128, 0};
    case PackFormat::kG32Mxfp4: return {Payload::kBits4, Scales::kE8m0, Table::kMxfp4, 12, 0};
    case PackFormat::kK256U2: return {Payload::kBits2, Scales::kNibbles, Table::kNone, 0, 16};
    case PackFormat::kK256S3: return {Payload::kBits3, Scales::kSigned, Table::kNone, 4, 16};
    case PackFormat::kK256U4: return {Payload::kBits4, Scales::kBytes, Table::kNone, 0, 32};
    case PackFormat::kK256X4: return {Payload::kBits4, Scales::kExact, Table::kNone, 0, 32};
    case PackFormat::kK256Iq4: return {Payload::kBits4, Scales::kSigned, Table::kIq4, 128, 32};
    case PackFormat::kK256U5: return {Payload::kBits5, Scales::kBytes, Table::kNone, 0, 32};
    case PackFormat::kK256S6: return {Payload::kBits6, Scales::kSigned, Table::kNone, 32, 16};
  }
  return {Payload::kNone, Scales::kNone, Table::kNone, 0, 0};
}

static constexpr bool IsTwoLevel(Scales scales) {
  return scales == Scales::kSigned || scales == Scales::kBytes || scales == Scales::kExact ||
         scales == Scales::kNibbles;
}

/// Offsets with a float scale of their own.
static constexpr bool HasMin(Scales scales) {
  return scales == Scales::kHalfMin || scales == Scales::kBytes || scales == Scales::kNibbles;
}

/// Two levels, s * q - z times one float: offsets are part of the integer sum.
static constexpr bool IsExact(const PackTraits& t) { return t.scales == Scales::kExact; }

/// Whether s-groups have offsets.
static constexpr bool HasOffsets(const PackTraits& t) { return HasMin(t.scales) || IsExact(t); }

/// Two levels: bytes z of their own.
static constexpr bool HasOffsetBytes(Scales scales) { return scales == Scales::kBytes || scales == Scales::kExact; }

/// Bytes of the payload of one group of 32 columns.
static constexpr int64_t GroupBytes(Payload payload) {
  switch (payload) {
    case Payload::kNone: return 0;
    case Payload::kBits2: return 2 * kLineBytes;
    case Payload::kBits3: return 3 * kLineBytes;
    case Payload::kBits4: return 4 * kLineBytes;
    case Payload::kBits5: return 5 * kLineBytes;
    case Payload::kBits6: return 6 * kLineBytes;
    case Payload::kBits8: return 8 * kLineBytes;
  }
  return 0;
}

/// Bytes of the scales of a block of `groups` groups, without the padding.
static constexpr int64_t ScaleBytes(const PackTraits& t, int64_t groups) {
  switch (t.scales) {
    case Scales::kNone: return 0;
    case Scales::kHalf: return groups * kLanes * 2;
    case Scales::kHalfMin: return groups * kLanes * 4;
    case Scales::kE8m0: return groups * kLanes;
    case Scales::kSigned:
    case Scales::kNibbles: return groups * (kGroup / t.s_columns) * kLanes + kLineBytes;
    case Scales::kBytes:
    case Scales::kExact: return 2 * groups * (kGroup / t.s_columns) * kLanes;
  }
  return 0;
}

/// Bytes of a block of `groups` groups, a multiple of 64.
static constexpr int64_t BlockBytes(const PackTraits& t, int64_t groups) {
  const int64_t bytes = groups * GroupBytes(t.payload) + ScaleBytes(t, groups);
  return (bytes + kLineBytes - 1) / kLineBytes * kLineBytes;
}

/// Offset of what follows a two-level block's s, from the start of its scales: z (HasOffsetBytes), or the line of d and
/// dmin. Two-level blocks are always whole.
static constexpr int64_t BehindScales(const PackTraits& t) { return kBlock / t.s_columns * kLanes; }

/// The bits of a byte s, and of kBytes' z, that are their own.
constexpr int kSmallScale = 63;
/// The bits of a byte that are an unsigned s.
static constexpr int SmallScaleMask(Scales scales) { return scales == Scales::kNibbles ? 15 : kSmallScale; }

/// Bits of the float 2^(e - 128): half of the E8M0 scale 2^(e - 127), exact also where it is subnormal.
static constexpr uint32_t E8m0HalfBits(uint32_t e) { return e < 2 ? 0x00200000U << e : (e - 1) << 23; }

}  // namespace quorum::engine
