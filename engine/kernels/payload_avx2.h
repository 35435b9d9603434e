// Reads packed codes and scales with AVX2, for half a panel (8 lanes) at a time. Only for the files built with AVX2
// flags; all static and inlined, so no weak symbol arises.
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/pack_layout.h"

#define QUORUM_INLINE static inline __attribute__((always_inline))

namespace quorum::engine::avx2 {

constexpr int64_t kHalfLine = 32;  // bytes of 8 lanes in a line
constexpr int64_t kHalfLanes = 8;

QUORUM_INLINE __m256i LoadHalfLine(const uint8_t* p, int64_t line) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + line * kLineBytes));
}

// Moves bit `from` of every byte to bit `to`; other bits become rubbish.
template <int from, int to>
QUORUM_INLINE __m256i MoveBit(__m256i x) {
  if constexpr (from < to) return _mm256_slli_epi16(x, to - from);
  if constexpr (from > to) return _mm256_srli_epi16(x, from - to);
  return x;
}

QUORUM_INLINE __m256i AndBytes(__m256i x, int mask) {
  return _mm256_and_si256(x, _mm256_set1_epi8(static_cast<char>(mask)));
}

template <int quad>
QUORUM_INLINE __m256i NibbleCodes(const uint8_t* plane) {
  return AndBytes(MoveBit<quad / 4 * 4, 0>(LoadHalfLine(plane, quad % 4)), 15);
}
template <int quad>
QUORUM_INLINE __m256i PairCodes(const uint8_t* plane) {
  return AndBytes(MoveBit<quad % 4 * 2, 0>(LoadHalfLine(plane, quad / 4)), 3);
}

// Codes of column quad `quad` (0..7) of a group. `group` points at the first half line of the lanes wanted.
template <Payload payload, int quad>
QUORUM_INLINE __m256i LoadCodes(const uint8_t* group) {
  if constexpr (payload == Payload::kBits2) {
    return PairCodes<quad>(group);
  } else if constexpr (payload == Payload::kBits3) {
    return _mm256_or_si256(AndBytes(MoveBit<quad, 2>(LoadHalfLine(group, 2)), 4), PairCodes<quad>(group));
  } else if constexpr (payload == Payload::kBits4) {
    return NibbleCodes<quad>(group);
  } else if constexpr (payload == Payload::kBits5) {
    return _mm256_or_si256(AndBytes(MoveBit<quad, 4>(LoadHalfLine(group, 4)), 0x10), NibbleCodes<quad>(group));
  } else if constexpr (payload == Payload::kBits6) {
    const __m256i high = MoveBit<quad % 4 * 2, 4>(LoadHalfLine(group, 4 + quad / 4));
    return _mm256_or_si256(AndBytes(high, 0x30), NibbleCodes<quad>(group));
  } else {
    return LoadHalfLine(group, quad);
  }
}

// 8 f16 as floats.
QUORUM_INLINE __m256 LoadHalves(const uint8_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

QUORUM_INLINE __m128i LoadBytes8(const uint8_t* p) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)); }

// 8 bytes of E8M0 as floats: E8m0HalfBits in 8 lanes.
QUORUM_INLINE __m256 LoadE8m0(const uint8_t* p) {
  const __m256i e = _mm256_cvtepu8_epi32(LoadBytes8(p));
  const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
  const __m256i subnormal = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
  return _mm256_castsi256_ps(_mm256_blendv_epi8(normal, subnormal, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
}

// 16 f16 in the highest bits of 128 bytes, as floats.
QUORUM_INLINE void LoadSpread(const uint8_t* bytes, __m256 (&floats)[2]) {
  const __m256i* at = reinterpret_cast<const __m256i*>(bytes);
  const __m256i a = AndBytes(_mm256_loadu_si256(at), 0xC0);
  const __m256i b = AndBytes(_mm256_srli_epi16(_mm256_loadu_si256(at + 1), 2), 0x30);
  const __m256i c = AndBytes(_mm256_srli_epi16(_mm256_loadu_si256(at + 2), 4), 0x0C);
  const __m256i d = AndBytes(_mm256_srli_epi16(_mm256_loadu_si256(at + 3), 6), 0x03);
  const __m256i halves = _mm256_or_si256(_mm256_or_si256(a, b), _mm256_or_si256(c, d));
  floats[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
  floats[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
}

// Two levels: d of 16 rows, and dmin of formats that have it.
template <PackTraits traits>
QUORUM_INLINE void LoadSuper(const uint8_t* scales, __m256 (&d)[2], __m256 (&dmin)[2]) {
  const uint8_t* behind = scales + BehindScales(traits);
  if constexpr (HasOffsetBytes(traits.scales)) {
    LoadSpread(scales, d);
    if constexpr (HasMin(traits.scales)) LoadSpread(behind, dmin);
  } else {
    for (int64_t h = 0; h < 2; ++h) {
      d[h] = LoadHalves(behind + 2 * h * kHalfLanes);
      if constexpr (HasMin(traits.scales)) dmin[h] = LoadHalves(behind + 2 * (kLanes + h * kHalfLanes));
    }
  }
}

// The 16 bytes in either half of `bytes`, 8 lanes each, in both int16 halves of every lane.
QUORUM_INLINE void Spread16(__m256i bytes, __m256i (&s)[2]) {
  const __m256i first = _mm256_setr_epi8(0, -1, 0, -1, 1, -1, 1, -1, 2, -1, 2, -1, 3, -1, 3, -1,  //
                                         4, -1, 4, -1, 5, -1, 5, -1, 6, -1, 6, -1, 7, -1, 7, -1);
  const __m256i eight = _mm256_set1_epi16(8);
  s[0] = _mm256_shuffle_epi8(bytes, first);
  s[1] = _mm256_shuffle_epi8(bytes, _mm256_add_epi8(first, eight));
}

// Two levels: the 16 integer scales of s-group `h`, 8 lanes each, in both int16 halves of every lane.
template <Scales kind>
QUORUM_INLINE void LoadSmallScales(const uint8_t* scales, int64_t h, __m256i (&s)[2]) {
  const __m128i* at = reinterpret_cast<const __m128i*>(scales + h * kLanes);
  if constexpr (kind == Scales::kSigned) {
    const __m128i bytes = _mm_loadu_si128(at);
    s[0] = _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(bytes, bytes));
    s[1] = _mm256_cvtepi8_epi16(_mm_unpackhi_epi8(bytes, bytes));
    return;
  }
  // All 16 in either half of the register, of which each shuffle takes its own four, and zeros.
  const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128(at));
  Spread16(AndBytes(bytes, SmallScaleMask(kind)), s);
}

// Two levels: what is multiplied with the sums of s-groups 2 * pair (low int16) and 2 * pair + 1 (high): z, or s where
// the format has no minimum.
template <PackTraits traits>
QUORUM_INLINE __m256i LoadOffsetPair(const uint8_t* scales, int64_t pair) {
  const uint8_t* z = scales + (HasOffsetBytes(traits.scales) ? BehindScales(traits) : 0) + 2 * pair * kLanes;
  __m128i both = _mm_unpacklo_epi8(LoadBytes8(z), LoadBytes8(z + kLanes));
  if constexpr (traits.scales == Scales::kSigned) return _mm256_cvtepi8_epi16(both);
  if constexpr (traits.scales == Scales::kNibbles) {
    both = _mm_and_si128(_mm_srli_epi16(both, 4), _mm_set1_epi8(15));
  }
  if constexpr (traits.scales == Scales::kBytes) both = _mm_and_si128(both, _mm_set1_epi8(kSmallScale));
  return _mm256_cvtepu8_epi16(both);
}

}  // namespace quorum::engine::avx2
