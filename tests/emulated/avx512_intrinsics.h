// AVX-512 intrinsics in plain C++ and AVX2, for hosts that lack the instructions: SIMDe's, and those that SIMDe 0.7.4
// does not have. Included in front of every *_avx512.cc of engine/kernels (CMakeLists.txt beside this file).
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>

#include <stdint.h>
#include <string.h>

namespace quorum_emulated {

using F32x16 = simde__m512;
using I32x16 = simde__m512i;

template <typename To, typename From>
inline To Bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

struct Floats16 {
  float v[16];
};
struct Ints16 {
  int32_t v[16];
};

/// 16 integers of type T from memory layout `from`, widened.
template <typename T, typename From>
inline I32x16 Widen(const From& from) {
  T values[16];
  memcpy(values, &from, sizeof values);
  Ints16 wide;
  for (int i = 0; i < 16; ++i) wide.v[i] = values[i];
  return Bits<I32x16>(wide);
}

/// 32 bytes as int16.
inline I32x16 WidenBytes(__m256i from) {
  uint8_t bytes[32];
  memcpy(bytes, &from, sizeof bytes);
  struct {
    int16_t v[32];
  } wide;
  for (int i = 0; i < 32; ++i) wide.v[i] = bytes[i];
  return Bits<I32x16>(wide);
}

inline int32_t Sum(I32x16 from) {
  const Ints16 ints = Bits<Ints16>(from);
  int32_t sum = 0;
  for (const int32_t v : ints.v) sum += v;
  return sum;
}

/// The low bits of each integer.
template <typename T, typename To>
inline To Narrow(I32x16 from) {
  const Ints16 wide = Bits<Ints16>(from);
  T values[16];
  for (int i = 0; i < 16; ++i) values[i] = static_cast<T>(wide.v[i]);
  To to;
  static_assert(sizeof to == sizeof values);
  memcpy(&to, values, sizeof to);
  return to;
}

inline F32x16 ToFloats(I32x16 from) {
  const Ints16 ints = Bits<Ints16>(from);
  Floats16 floats;
  for (int i = 0; i < 16; ++i) floats.v[i] = static_cast<float>(ints.v[i]);
  return Bits<F32x16>(floats);
}

inline F32x16 HalvesToFloats(__m256i halves) {
  const __m256 low = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
  const __m256 high = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
  Floats16 floats;
  memcpy(floats.v, &low, sizeof low);
  memcpy(floats.v + 8, &high, sizeof high);
  return Bits<F32x16>(floats);
}

/// Rounds half to even, as MXCSR's default says; lanes outside `mask` are zero, what does not fit is INT_MIN.
inline I32x16 MaskzToInts(uint16_t mask, F32x16 from) {
  Floats16 floats = Bits<Floats16>(from);
  Ints16 ints;
  for (int half = 0; half < 2; ++half) {
    const __m256i rounded = _mm256_cvtps_epi32(_mm256_loadu_ps(floats.v + 8 * half));
    memcpy(ints.v + 8 * half, &rounded, sizeof rounded);
  }
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1) == 0) ints.v[i] = 0;
  }
  return Bits<I32x16>(ints);
}

/// Memory of lanes outside the mask is not touched.
template <typename Vector>
inline Vector MaskedLoad(Vector otherwise, uint32_t mask, const void* from) {
  constexpr int kLanes = sizeof(Vector) / 4;
  int32_t values[kLanes];
  memcpy(values, &otherwise, sizeof values);
  for (int i = 0; i < kLanes; ++i) {
    if ((mask >> i & 1) != 0) memcpy(&values[i], static_cast<const char*>(from) + 4 * i, 4);
  }
  Vector out;
  memcpy(&out, values, sizeof out);
  return out;
}

inline void MaskedStore(void* to, uint16_t mask, F32x16 from) {
  const Floats16 floats = Bits<Floats16>(from);
  for (int i = 0; i < 16; ++i) {
    if ((mask >> i & 1) != 0) memcpy(static_cast<char*>(to) + 4 * i, &floats.v[i], 4);
  }
}

inline I32x16 And(I32x16 a, I32x16 b) { return simde_mm512_and_si512(a, b); }

inline __m256 Half(F32x16 from, int half) {
  const Floats16 floats = Bits<Floats16>(from);
  return _mm256_loadu_ps(floats.v + 8 * half);
}

inline F32x16 Permute(F32x16 from, int control) {
  const Floats16 a = Bits<Floats16>(from);
  Floats16 out;
  for (int i = 0; i < 16; ++i) out.v[i] = a.v[i / 4 * 4 + (control >> (i % 4 * 2) & 3)];
  return Bits<F32x16>(out);
}

/// Two quarters of a, then two of b.
inline F32x16 ShuffleQuarters(F32x16 first, F32x16 second, int control) {
  const Floats16 a = Bits<Floats16>(first);
  const Floats16 b = Bits<Floats16>(second);
  Floats16 out;
  for (int i = 0; i < 16; ++i) out.v[i] = (i < 8 ? a : b).v[(control >> (i / 4 * 2) & 3) * 4 + i % 4];
  return Bits<F32x16>(out);
}

/// a * 2^floor(b), rounded once; SIMDe's overflows and loses denormals on the way.
inline F32x16 Scalef(F32x16 from, F32x16 by) {
  Floats16 a = Bits<Floats16>(from);
  const Floats16 b = Bits<Floats16>(by);
  for (int i = 0; i < 16; ++i) {
    const float power = __builtin_floorf(b.v[i]);
    if (power != power) {
      a.v[i] = power;
    } else {
      a.v[i] = __builtin_ldexpf(a.v[i], static_cast<int>(power > 400 ? 400 : power < -400 ? -400 : power));
    }
  }
  return Bits<F32x16>(a);
}

inline __m128i NarrowTo16(__m256i from) {
  int32_t wide[8];
  memcpy(wide, &from, sizeof wide);
  int16_t values[8];
  for (int i = 0; i < 8; ++i) values[i] = static_cast<int16_t>(wide[i]);
  return Bits<__m128i>(values);
}

}  // namespace quorum_emulated

// SIMDe's macro takes exactly two arguments, and a template's argument list has commas of its own.
#undef _mm512_and_si512
#define _mm512_and_si512(...) (quorum_emulated::And(__VA_ARGS__))

#undef _mm512_scalef_ps
#define _mm512_scalef_ps(a, b) (quorum_emulated::Scalef((a), (b)))

#define _mm512_cvtepu8_epi32(a) (quorum_emulated::Widen<uint8_t>(a))
#define _mm512_cvtepi8_epi32(a) (quorum_emulated::Widen<int8_t>(a))
#define _mm512_cvtepu16_epi32(a) (quorum_emulated::Widen<uint16_t>(a))
#define _mm512_cvtepi16_epi32(a) (quorum_emulated::Widen<int16_t>(a))
#define _mm512_cvtepu8_epi16(a) (quorum_emulated::WidenBytes(a))
#define _mm512_reduce_add_epi32(a) (quorum_emulated::Sum(a))
#define _mm512_cvtepi32_epi8(a) (quorum_emulated::Narrow<int8_t, __m128i>(a))
#define _mm512_cvtepi32_epi16(a) (quorum_emulated::Narrow<int16_t, __m256i>(a))
#define _mm256_cvtepi32_epi16(a) (quorum_emulated::NarrowTo16(a))
#define _mm512_cvtepi32_ps(a) (quorum_emulated::ToFloats(a))
#define _mm512_cvtph_ps(a) (quorum_emulated::HalvesToFloats(a))
#define _mm512_maskz_cvtps_epi32(k, a) (quorum_emulated::MaskzToInts((k), (a)))
#define _mm512_maskz_loadu_epi32(k, p) (quorum_emulated::MaskedLoad(_mm512_setzero_si512(), (k), (p)))
#define _mm512_mask_loadu_ps(s, k, p) (quorum_emulated::MaskedLoad((s), (k), (p)))
#define _mm256_maskz_loadu_ps(k, p) (quorum_emulated::MaskedLoad(_mm256_setzero_ps(), (k), (p)))
#define _mm512_mask_storeu_ps(p, k, a) (quorum_emulated::MaskedStore((p), (k), (a)))
#define _mm512_extractf32x8_ps(a, half) (quorum_emulated::Half((a), (half)))
#define _mm512_permute_ps(a, control) (quorum_emulated::Permute((a), (control)))
#define _mm512_shuffle_f32x4(a, b, control) (quorum_emulated::ShuffleQuarters((a), (b), (control)))
