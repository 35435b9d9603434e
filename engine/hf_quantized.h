// Quantized matrices of Hugging Face folders as rows that Quorum has packed forms for. Exact where the format allows
// it:
//   gpt-oss MXFP4         -> MXFP4 blocks, bit for bit
//   GPTQ, AWQ of 4 bits   -> w = s (q - z) with q - z in -15..15: Q4_0 where every z is 8, else Q5_0, with the file's
//   f16 scale GPTQ of 8 bits, z 128 -> Q8_0
// Others come as exact floats with RowSource::Smaller() = Q8_0: F8 with scales, GPTQ whose columns are in the order of
// their activations (desc_act: neighbours have different scales), groups that are no multiple of 32.
#pragma once

#include <cstdint>
#include <string>

#include "engine/base/result.h"
#include "engine/hf_config.h"
#include "engine/model_tensors.h"
#include "quant/safetensors.h"

namespace quorum::engine {

/// `quantization_config` of a config.json.
struct HfQuantization {
  enum class Method : std::uint8_t { kNone, kGptq, kAwq, kFp8, kMxfp4 };
  Method method = Method::kNone;
  std::int32_t bits = 0;                            // GPTQ: 4 or 8; AWQ: 4
  std::int32_t group = 0;                           // GPTQ, AWQ: columns that share a scale; -1: all
  bool zero_plus_one = true;                        // GPTQ: the file holds z - 1 (all but checkpoint_format "gptq_v2")
  std::int32_t block_rows = 128, block_cols = 128;  // F8 with weight_scale_inv

  /// Errors: kUnsupported (method, bits, packing), kInvalidArgument; each names the key.
  static Result<HfQuantization> Read(const HfConfig& config);
};

/// Tensors of one linear layer of (rows, cols). Absent ones are null.
struct HfLinearParts {
  std::string name;  // for messages
  const quant::SafeTensor* weight = nullptr;
  const quant::SafeTensor* scale = nullptr;  // F8
  const quant::SafeTensor* qweight = nullptr;
  const quant::SafeTensor* qzeros = nullptr;
  const quant::SafeTensor* scales = nullptr;
  const quant::SafeTensor* g_idx = nullptr;
};

/// GPTQ: qweight I32 (cols / 8, rows), 8 codes of a column in one word; qzeros I32 (groups, rows / 8); scales (groups,
/// rows); g_idx I32 (cols), the group of each column. AWQ: qweight I32 (cols, rows / 8), qzeros likewise, the rows of a
/// word in the order 0 2 4 6 1 3 5 7. Errors: kInvalidArgument (a part is missing or has another shape).
Result<TensorRef> HfIntMatrix(const HfQuantization& how, const HfLinearParts& parts);

/// F8_E4M3 or F8_E5M2 (rows, cols) times `scale`: one for all, one a row, or one for each block of rows and columns.
Result<TensorRef> HfFp8Matrix(const HfQuantization& how, const HfLinearParts& parts);

/// Matrix `i` of `count` as gpt-oss has them: blocks U8 (count, rows, cols / 32, 16), byte j holding columns 2j (low
/// nibble) and 2j + 1; scales U8 (count, rows, cols / 32), powers of two.
Result<TensorRef> HfMxfp4Matrix(const std::string& name, const quant::SafeTensor& blocks,
                                const quant::SafeTensor& scales, std::int64_t i, std::int64_t count);

}  // namespace quorum::engine
