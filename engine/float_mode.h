// The float control word that Quorum's bits are defined for.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace quorum::engine {

/// While it lives, the calling thread rounds to nearest even, keeps denormals and masks exceptions, whatever the
/// program that embeds Quorum set before. All threads that compute hold one (DESIGN 4.4).
class FloatMode {
 public:
#if defined(__SSE2__)
  FloatMode() : saved_(_mm_getcsr()) { _mm_setcsr(kDefault); }
  ~FloatMode() { _mm_setcsr(saved_); }
#else
  FloatMode() = default;
  ~FloatMode() = default;
#endif
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

#if defined(__SSE2__)
 private:
  static constexpr unsigned kDefault = 0x1F80;
  unsigned saved_;
#endif
};

}  // namespace quorum::engine
