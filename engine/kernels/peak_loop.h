// The loops that measure a machine: the most products of a vector instruction set, and the most bytes. No STL; static,
// so that no weak symbol arises.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "engine/kernels/gemm_driver.h"

namespace quorum::engine {

/// Runs `Unit`'s product on independent sums, as many as its latency needs; they have names because g++ keeps an array
/// of them in memory. A Unit has
///   Vector                      a register of sums
///   kSums                       8, 12 or 16: latency in cycles times products a cycle, at least
///   kOperations                 of one Step
///   Zero(), Step(Vector& sum)   Step must stay one product: nothing may be computed once for all
template <typename Unit>
static inline int64_t RunPeakLoop(int64_t iterations) {
  using Vector = typename Unit::Vector;
  Unit unit;
  Vector s0 = Unit::Zero(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  Vector s8 = s0, s9 = s0, s10 = s0, s11 = s0, s12 = s0, s13 = s0, s14 = s0, s15 = s0;
  for (int64_t i = 0; i < iterations; ++i) {
    unit.Step(s0);
    unit.Step(s1);
    unit.Step(s2);
    unit.Step(s3);
    unit.Step(s4);
    unit.Step(s5);
    unit.Step(s6);
    unit.Step(s7);
    if constexpr (Unit::kSums > 8) {
      unit.Step(s8);
      unit.Step(s9);
      unit.Step(s10);
      unit.Step(s11);
    }
    if constexpr (Unit::kSums > 12) {
      unit.Step(s12);
      unit.Step(s13);
      unit.Step(s14);
      unit.Step(s15);
    }
  }
  return iterations * Unit::kSums * Unit::kOperations;
}

/// KernelTable::read_loop by registers of a Vector, which has Load(from) and ^. Lines are asked for ahead, as
/// products of few rows do: that reads a little more than loads alone.
template <typename Vector>
static inline uint64_t RunReadLoop(const uint8_t* from, int64_t bytes) {
  constexpr int64_t kVector = sizeof(Vector);
  constexpr int64_t kStep = 256;
  Vector a = Vector::Load(from) ^ Vector::Load(from);
  Vector b = a, c = a, d = a;
  for (int64_t at = 0; at < bytes; at += kStep) {
    PrefetchAhead(from + at, kStep, {kAhead, kNear});
    for (int64_t part = 0; part < kStep; part += 4 * kVector) {
      a = a ^ Vector::Load(from + at + part);
      b = b ^ Vector::Load(from + at + part + kVector);
      c = c ^ Vector::Load(from + at + part + 2 * kVector);
      d = d ^ Vector::Load(from + at + part + 3 * kVector);
    }
  }
  const Vector all = (a ^ b) ^ (c ^ d);
  uint64_t words[sizeof(Vector) / sizeof(uint64_t)];
  __builtin_memcpy(words, &all, sizeof all);
  uint64_t result = 0;
  for (uint64_t word : words) result ^= word;
  return result;
}

}  // namespace quorum::engine
