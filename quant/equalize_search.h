// Which scales of channels lose least: tried on the matrices that read them, as AWQ does (Lin et al. 2023,
// https://arxiv.org/abs/2306.00978, section 3.2).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "quant/quantize_model.h"

namespace quorum::quant {

/// A matrix that reads the channels as its columns.
struct ChannelReader {
  const SourceTensor* tensor = nullptr;
  std::int64_t first_row = 0, rows = 0;
  std::vector<float> means;  // mean squares of the columns' activations
  Encoding encoding;         // that it is going to have
};

/// (rms of a channel / geometric mean of rms)^p, within 1/16 to 16: what its columns are to be multiplied with and its
/// activations divided by. `squares` are the channels' mean squares over all readers, in any unit; those with 0 keep
/// their scale, as all do without readers. For readers of fewer than six bits, `p` is what makes their products'
/// relative squared errors least in all, of 0 to 0.7 (0: nothing is better), tried by quantizing some of their rows. In
/// finer types the rounding of int8 activations counts for more than that of weights, and `p` is 0.5 (Xiao et al.
/// 2022). `channel`: which one each column reads; empty: its own.
std::vector<float> SearchScales(std::span<const double> squares, std::span<const std::size_t> channel,
                                std::span<const ChannelReader> readers, int threads);

}  // namespace quorum::quant
