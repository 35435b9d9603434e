// Reads packed codes and scales with AVX-512. Only for the files built with AVX-512 flags; all static and inlined, so
// no weak symbol arises.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/pack_layout.h"

#define QUORUM_INLINE static inline __attribute__((always_inline))
#define QUORUM_MEMBER inline __attribute__((always_inline))

namespace quorum::engine::avx512 {

QUORUM_INLINE __m512i LoadLine(const uint8_t* p, int64_t line) { return _mm512_loadu_si512(p + line * kLineBytes); }

// Moves bit `from` of every byte to bit `to`; other bits become rubbish.
template <int from, int to>
QUORUM_INLINE __m512i MoveBit(__m512i x) {
  if constexpr (from < to) return _mm512_slli_epi16(x, to - from);
  if constexpr (from > to) return _mm512_srli_epi16(x, from - to);
  return x;
}

// (x & mask) | low
QUORUM_INLINE __m512i OrMasked(__m512i x, int mask, __m512i low) {
  return _mm512_ternarylogic_epi32(x, _mm512_set1_epi8(static_cast<char>(mask)), low, 0xEA);
}

template <int quad>
QUORUM_INLINE __m512i NibbleCodes(const uint8_t* plane) {
  return _mm512_and_si512(MoveBit<quad / 4 * 4, 0>(LoadLine(plane, quad % 4)), _mm512_set1_epi8(15));
}
template <int quad>
QUORUM_INLINE __m512i PairCodes(const uint8_t* plane) {
  return _mm512_and_si512(MoveBit<quad % 4 * 2, 0>(LoadLine(plane, quad / 4)), _mm512_set1_epi8(3));
}

// Codes of column quad `quad` (0..7) of a group: byte 4 * lane + j is column 4 * quad + j.
template <Payload payload, int quad>
QUORUM_INLINE __m512i LoadCodes(const uint8_t* group) {
  if constexpr (payload == Payload::kBits2) {
    return PairCodes<quad>(group);
  } else if constexpr (payload == Payload::kBits3) {
    return OrMasked(MoveBit<quad, 2>(LoadLine(group, 2)), 4, PairCodes<quad>(group));
  } else if constexpr (payload == Payload::kBits4) {
    return NibbleCodes<quad>(group);
  } else if constexpr (payload == Payload::kBits5) {
    return OrMasked(MoveBit<quad, 4>(LoadLine(group, 4)), 0x10, NibbleCodes<quad>(group));
  } else if constexpr (payload == Payload::kBits6) {
    return OrMasked(MoveBit<quad % 4 * 2, 4>(LoadLine(group, 4 + quad / 4)), 0x30, NibbleCodes<quad>(group));
  } else {
    return LoadLine(group, quad);
  }
}

// The codes as value + bias, unsigned.
template <PackTraits traits, int quad>
QUORUM_INLINE __m512i LoadUnsigned(const uint8_t* group) {
  const __m512i codes = LoadCodes<traits.payload, quad>(group);
  if constexpr (traits.table == Table::kNone) {
    return codes;
  } else {
    const int8_t* values = traits.table == Table::kIq4 ? kIq4Values : kMxfp4Values;
    const __m128i table = _mm_add_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(values)),
                                       _mm_set1_epi8(static_cast<char>(traits.bias)));
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(table), codes);
  }
}

QUORUM_INLINE __m128i LoadBytes16(const uint8_t* p) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p)); }

// 16 f16 as floats.
QUORUM_INLINE __m512 LoadHalves(const uint8_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

// 16 bytes of E8M0 as floats: E8m0HalfBits in 16 lanes.
QUORUM_INLINE __m512 LoadE8m0(const uint8_t* p) {
  const __m512i e = _mm512_cvtepu8_epi32(LoadBytes16(p));
  const __m512i one = _mm512_set1_epi32(1);
  const __m512i normal = _mm512_slli_epi32(_mm512_sub_epi32(e, one), 23);
  const __m512i subnormal = _mm512_sllv_epi32(_mm512_set1_epi32(0x00200000), e);
  return _mm512_castsi512_ps(_mm512_mask_blend_epi32(_mm512_cmple_epu32_mask(e, one), normal, subnormal));
}

// Two levels: 16 integer scales of s-group `h`.
template <Scales kind>
QUORUM_INLINE __m512i LoadSmallScales(const uint8_t* scales, int64_t h) {
  const __m128i bytes = LoadBytes16(scales + h * kLanes);
  if constexpr (kind == Scales::kSigned) return _mm512_cvtepi8_epi32(bytes);
  return _mm512_cvtepu8_epi32(_mm_and_si128(bytes, _mm_set1_epi8(SmallScaleMask(kind))));
}

// Two levels: z of s-groups 2 * pair (low half of each lane) and 2 * pair + 1 (high half).
template <PackTraits traits>
QUORUM_INLINE __m512i LoadOffsetPair(const uint8_t* scales, int64_t pair) {
  const uint8_t* z = scales + (HasOffsetBytes(traits.scales) ? BehindScales(traits) : 0) + 2 * pair * kLanes;
  __m512i even = _mm512_cvtepu8_epi32(LoadBytes16(z));
  __m512i odd = _mm512_cvtepu8_epi32(LoadBytes16(z + kLanes));
  if constexpr (traits.scales == Scales::kNibbles) {
    even = _mm512_srli_epi32(even, 4);
    odd = _mm512_srli_epi32(odd, 4);
  }
  const __m512i both = _mm512_or_si512(even, _mm512_slli_epi32(odd, 16));
  return traits.scales == Scales::kBytes ? _mm512_and_si512(both, _mm512_set1_epi16(kSmallScale)) : both;
}

// 16 f16 in the highest bits of 128 bytes, as floats.
QUORUM_INLINE __m512 LoadSpread(const uint8_t* bytes) {
  const __m512i first = _mm512_and_si512(LoadLine(bytes, 0), _mm512_set1_epi8(static_cast<char>(0xC0)));
  const __m512i half = OrMasked(_mm512_srli_epi16(LoadLine(bytes, 1), 4), 0x0C, first);  // of each f16 four bits
  const __m256i others = _mm256_srli_epi16(_mm512_extracti64x4_epi64(half, 1), 2);
  return _mm512_cvtph_ps(_mm256_or_si256(_mm512_castsi512_si256(half), others));
}

// Two levels: d and dmin of 16 rows.
template <PackTraits traits>
QUORUM_INLINE __m512 LoadD(const uint8_t* scales) {
  return HasOffsetBytes(traits.scales) ? LoadSpread(scales) : LoadHalves(scales + BehindScales(traits));
}
template <PackTraits traits>
QUORUM_INLINE __m512 LoadDmin(const uint8_t* scales) {
  const uint8_t* behind = scales + BehindScales(traits);
  return HasOffsetBytes(traits.scales) ? LoadSpread(behind) : LoadHalves(behind + 2 * kLanes);
}

}  // namespace quorum::engine::avx512
