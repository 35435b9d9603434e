// Constants of activation quantization (kernel_table.h: quantize_row). No STL: kernel files include this.
#pragma once

#include <stdint.h>

namespace quorum::engine {

constexpr uint32_t kAbsMask = 0x7FFFFFFFU;   // clears a float's sign
constexpr uint32_t kInfBits = 0x7F800000U;   // |x| of at least this is infinite or NaN
constexpr uint32_t kTinyBits = 0x03800000U;  // 2^-120: blocks below count as zero, for 127 / max could overflow
constexpr int64_t kSumColumns = 16;          // columns of one entry of ActView::sum

}  // namespace quorum::engine
