#include "engine/kernels/row_block.h"

#include <cstring>

#include "engine/base/check.h"
#include "quant/dtype.h"

namespace quorum::engine {
namespace {

constexpr std::int64_t kQuads = kGroup / 4;
constexpr std::uint32_t kOnes = 0x01010101U;

// Four neighbouring columns' bytes of one lane: a little-endian word.
std::uint32_t LoadWord(const std::uint8_t* p) {
  std::uint32_t word;
  std::memcpy(&word, p, sizeof word);
  return word;
}

void StoreWord(std::uint8_t* p, std::uint32_t word) { std::memcpy(p, &word, sizeof word); }

std::uint16_t LoadU16(const std::uint8_t* p) {
  std::uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

void StoreU16(std::uint8_t* p, std::uint16_t v) { std::memcpy(p, &v, sizeof v); }

// How a plane spreads a group over its lines: quad q lies in line q % lines (nibble) or q / per_line (pair, bit).
struct Plane {
  std::int64_t lines;
  int bits;   // of a code that it holds
  int shift;  // the lowest of them
};

// Planes of a payload, in memory order; `lines` 0 ends the list.
struct Planes {
  Plane plane[2];
};

Planes PlanesOf(Payload payload) {
  switch (payload) {
    case Payload::kNone: break;
    case Payload::kBits2: return {{{2, 2, 0}, {0, 0, 0}}};
    case Payload::kBits3: return {{{2, 2, 0}, {1, 1, 2}}};
    case Payload::kBits4: return {{{4, 4, 0}, {0, 0, 0}}};
    case Payload::kBits5: return {{{4, 4, 0}, {1, 1, 4}}};
    case Payload::kBits6: return {{{4, 4, 0}, {2, 2, 4}}};
    case Payload::kBits8: return {{{8, 8, 0}, {0, 0, 0}}};
  }
  return {};
}

// Line of a plane, and bit position in its bytes, of quad `quad`.
std::int64_t LineOf(const Plane& plane, std::int64_t quad) {
  return plane.bits == 4 ? quad % 4 : quad * plane.lines / kQuads;
}
int BitOf(const Plane& plane, std::int64_t quad) {
  const std::int64_t slot = plane.bits == 4 ? quad / 4 : quad % (kQuads / plane.lines);
  return static_cast<int>(slot) * plane.bits;
}

void StoreCodes(Payload payload, const std::uint8_t* codes, std::int64_t lane, std::uint8_t* group) {
  for (const Plane& plane : PlanesOf(payload).plane) {
    const std::uint32_t mask = kOnes * ((1U << plane.bits) - 1);
    std::uint32_t words[kQuads] = {};
    for (std::int64_t quad = 0; plane.lines != 0 && quad < kQuads; ++quad) {
      const std::uint32_t part = (LoadWord(codes + 4 * quad) >> plane.shift) & mask;
      words[LineOf(plane, quad)] |= part << BitOf(plane, quad);
    }
    for (std::int64_t line = 0; line < plane.lines; ++line) {
      StoreWord(group + line * kLineBytes + 4 * lane, words[line]);
    }
    group += plane.lines * kLineBytes;
  }
}

void LoadCodes(Payload payload, const std::uint8_t* group, std::int64_t lane, std::uint8_t* codes) {
  std::uint32_t words[kQuads] = {};
  for (const Plane& plane : PlanesOf(payload).plane) {
    const std::uint32_t mask = kOnes * ((1U << plane.bits) - 1);
    for (std::int64_t quad = 0; plane.lines != 0 && quad < kQuads; ++quad) {
      const std::uint32_t word = LoadWord(group + LineOf(plane, quad) * kLineBytes + 4 * lane);
      words[quad] |= ((word >> BitOf(plane, quad)) & mask) << plane.shift;
    }
    group += plane.lines * kLineBytes;
  }
  std::memcpy(codes, words, sizeof words);
}

/// The lane's f16 in the highest bits of 128 bytes of s or z, which are zero.
void StoreSpread(std::uint16_t half, std::int64_t lane, std::uint8_t* bytes) {
  for (int n = 0; n < 4; ++n) {
    for (int j = 0; j < 2; ++j) {
      bytes[32 * n + 2 * lane + j] |= static_cast<std::uint8_t>((half >> (8 * j + 6 - 2 * n) & 3) << 6);
    }
  }
}

std::uint16_t LoadSpread(const std::uint8_t* bytes, std::int64_t lane) {
  unsigned half = 0;
  for (int n = 0; n < 4; ++n) {
    for (int j = 0; j < 2; ++j) half |= static_cast<unsigned>(bytes[32 * n + 2 * lane + j] >> 6) << (8 * j + 6 - 2 * n);
  }
  return static_cast<std::uint16_t>(half);
}

}  // namespace

void StoreRow(const PackTraits& traits, const RowBlock& row, std::int64_t groups, std::int64_t lane,
              std::uint8_t* block) {
  for (std::int64_t g = 0; g < groups; ++g) {
    StoreCodes(traits.payload, row.code + g * kGroup, lane, block);
    block += GroupBytes(traits.payload);
  }
  // `block` is at the scales now.
  for (std::int64_t g = 0; g < groups; ++g) {
    switch (traits.scales) {
      case Scales::kHalf: StoreU16(block + (g * kLanes + lane) * 2, row.d[g]); break;
      case Scales::kHalfMin:
        StoreU16(block + (2 * g * kLanes + lane) * 2, row.d[g]);
        StoreU16(block + ((2 * g + 1) * kLanes + lane) * 2, row.m[g]);
        break;
      case Scales::kE8m0: block[g * kLanes + lane] = static_cast<std::uint8_t>(row.d[g]); break;
      default: break;
    }
  }
  if (!IsTwoLevel(traits.scales)) return;
  const std::int64_t s_groups = kBlock / traits.s_columns;
  for (std::int64_t h = 0; h < s_groups; ++h) {
    const std::int64_t i = h * traits.s_columns / 16;
    unsigned s = static_cast<unsigned>(row.s[i]) & 0xFFU;
    if (HasOffsetBytes(traits.scales)) {
      QUORUM_CHECK(s <= kSmallScale && row.z[i] <= (HasMin(traits.scales) ? kSmallScale : 127));
    }
    if (traits.scales == Scales::kNibbles) s |= static_cast<unsigned>(row.z[i]) << 4;
    block[h * kLanes + lane] |= static_cast<std::uint8_t>(s);
    if (HasOffsetBytes(traits.scales)) block[BehindScales(traits) + h * kLanes + lane] |= row.z[i];
  }
  std::uint8_t* behind = block + BehindScales(traits);
  if (HasOffsetBytes(traits.scales)) {
    StoreSpread(row.super_d, lane, block);
    if (HasMin(traits.scales)) StoreSpread(row.super_min, lane, behind);
  } else {
    StoreU16(behind + 2 * lane, row.super_d);
    StoreU16(behind + 2 * (kLanes + lane), row.super_min);
  }
}

void LoadRow(const PackTraits& traits, const std::uint8_t* block, std::int64_t groups, std::int64_t lane,
             RowBlock* row) {
  for (std::int64_t g = 0; g < groups; ++g) {
    LoadCodes(traits.payload, block, lane, row->code + g * kGroup);
    block += GroupBytes(traits.payload);
  }
  for (std::int64_t g = 0; g < groups; ++g) {
    row->d[g] = row->m[g] = 0;
    switch (traits.scales) {
      case Scales::kHalf: row->d[g] = LoadU16(block + (g * kLanes + lane) * 2); break;
      case Scales::kHalfMin:
        row->d[g] = LoadU16(block + (2 * g * kLanes + lane) * 2);
        row->m[g] = LoadU16(block + ((2 * g + 1) * kLanes + lane) * 2);
        break;
      case Scales::kE8m0: row->d[g] = block[g * kLanes + lane]; break;
      default: break;
    }
  }
  if (!IsTwoLevel(traits.scales)) return;
  for (std::int64_t i = 0; i < kBlock / 16; ++i) {
    const std::int64_t h = i * 16 / traits.s_columns;
    const std::uint8_t s = block[h * kLanes + lane];
    row->s[i] = s;
    row->z[i] = 0;
    if (traits.scales == Scales::kSigned) row->s[i] = static_cast<std::int8_t>(s);
    if (HasOffsetBytes(traits.scales)) {
      row->s[i] = s & kSmallScale;
      const std::uint8_t z = block[BehindScales(traits) + h * kLanes + lane];
      row->z[i] = HasMin(traits.scales) ? z & kSmallScale : z;
    }
    if (traits.scales == Scales::kNibbles) {
      row->s[i] = s & 15;
      row->z[i] = s >> 4;
    }
  }
  const std::uint8_t* behind = block + BehindScales(traits);
  if (HasOffsetBytes(traits.scales)) {
    row->super_d = LoadSpread(block, lane);
    row->super_min = HasMin(traits.scales) ? LoadSpread(behind, lane) : std::uint16_t{0};
  } else {
    row->super_d = LoadU16(behind + 2 * lane);
    row->super_min = LoadU16(behind + 2 * (kLanes + lane));
  }
}

void CodeValues(const PackTraits& traits, const std::uint8_t* codes, std::int64_t count, std::int8_t* q) {
  switch (traits.table) {
    case Table::kNone:
      for (std::int64_t c = 0; c < count; ++c) q[c] = static_cast<std::int8_t>(codes[c] - traits.bias);
      break;
    case Table::kIq4:
      for (std::int64_t c = 0; c < count; ++c) q[c] = kIq4Values[codes[c]];
      break;
    case Table::kMxfp4:
      for (std::int64_t c = 0; c < count; ++c) q[c] = kMxfp4Values[codes[c]];
      break;
  }
}

float GroupScale(const PackTraits& traits, std::uint16_t bits) {
  if (traits.scales != Scales::kE8m0) return quant::HalfToFloat(bits);
  const std::uint32_t word = E8m0HalfBits(bits);
  float d;
  std::memcpy(&d, &word, sizeof d);
  return d;
}

}  // namespace quorum::engine
