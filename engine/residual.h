// The residual stream of some rows, and what the blocks of a layer take from it and give to it.
#pragma once

#include <cstdint>

#include "engine/forward_buffers.h"
#include "engine/kernels/kernel_table.h"
#include "engine/model_spec.h"
#include "engine/weights.h"

namespace quorum::engine {

/// Views of (rows, d_model) arrays; rows may be worked on by several threads, each its own.
struct ResidualRows {
  const ModelSpec& spec;
  const KernelTable& kernels;
  float* x;       // the stream
  float* block;   // what a block adds to it
  ActBuffer* in;  // normed, the input of the next block

  /// x += residual_scale * block, where block is normed first if there is a weight for that.
  void Add(const float* post_norm, std::int64_t row) const;
  /// Row `to` of `in`, in the forms wanted, from row `row` of x.
  void Norm(const NormWeights& norm, const ActForms& forms, std::int64_t row, std::int64_t to) const;
};

}  // namespace quorum::engine
