// Rotary positions: frequencies and angles, computed with an own list of operations, because glibc's sin, cos and pow
// pick variants by CPU and would give different bits on different hosts (DESIGN 4.4).
#pragma once

#include <cstdint>
#include <vector>

#include "engine/model_spec.h"

namespace quorum::engine {

/// What a RopeSpec comes to: the angle of pair i at position p is p * frequencies[i], and cosines and sines are
/// multiplied by `magnitude` (the temperature of YaRN and LongRoPE on the scores; 1 otherwise).
struct RopeTable {
  std::vector<double> frequencies;  // (dims / 2)
  double magnitude = 1.0;
};

/// REQUIRES: a spec that CheckSpec accepts.
RopeTable MakeRopeTable(const RopeSpec& spec);

/// Writes (dims / 2) cosines and as many sines of `position`. The same bits on every x86-64 host.
void RopeAngles(const RopeTable& table, std::int64_t position, float* cos, float* sin);

/// YaRN's temperature 0.1 mscale ln(factor) + 1, and 1 where nothing is stretched. DeepSeek multiplies the scale of
/// attention scores by its square, with a `mscale_all_dim` of its own, instead of cosines and sines by it.
double YarnTemperature(double factor, double mscale = 1.0);

/// Elementary functions from fixed operations only. Relative error below 1e-14; sine and cosine: absolute error below
/// 1e-14 for |x| < 1e6, growing to 1e-7 at 1e8.
double ExactExp(double x);  // |x| < 700
double ExactLog(double x);  // x positive and normal
void ExactSinCos(double x, double* sin, double* cos);

}  // namespace quorum::engine
