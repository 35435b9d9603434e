// What the command line of `quorum quantize` says.
#pragma once

#include <string>
#include <vector>

#include "engine/thread_pool.h"

namespace quorum::cli {

/// What the command line says.
struct QuantizeFlags {
  std::string src, dst, type = "q4x", plan, imatrix, calibrate, save_imatrix, target_size;
  std::vector<std::string> target_types = {"q2_k", "q3_k", "q4x", "q5_k", "q6_k", "q8_0"};
  double target_bits = 0;
  int threads = 0;
  /// As many as the machine allows where nobody says.
  int thread_count() const { return threads > 0 ? threads : engine::UsableCpus(); }
  bool target() const { return target_bits > 0 || !target_size.empty(); }
  bool pure = false, replace = false, requantize = false, measure = false, dry_run = false, equalize = false,
       json = false, verify = false, by_expert = false;
};

}  // namespace quorum::cli
