// The peak loop of vector instruction sets. No STL; static, so that no weak symbol arises.
#pragma once

#include <stdint.h>

namespace quorum::engine {

/// Runs `Unit`'s product on eight independent sums, which have names because g++ keeps an array of them in memory. A
/// Unit has
///   Vector                      a register of sums
///   kOperations                 of one Step
///   Zero(), Step(Vector& sum)   Step must stay one product: nothing may be computed once for all
template <typename Unit>
static inline int64_t RunPeakLoop(int64_t iterations) {
  using Vector = typename Unit::Vector;
  Unit unit;
  Vector s0 = Unit::Zero(), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
  for (int64_t i = 0; i < iterations; ++i) {
    unit.Step(s0);
    unit.Step(s1);
    unit.Step(s2);
    unit.Step(s3);
    unit.Step(s4);
    unit.Step(s5);
    unit.Step(s6);
    unit.Step(s7);
  }
  return iterations * 8 * Unit::kOperations;
}

}  // namespace quorum::engine
