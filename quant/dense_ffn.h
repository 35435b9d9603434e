// The feed-forward networks of a dense GGUF model, as the tools that make experts of them see them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "quant/gguf.h"

namespace quorum::quant {

/// y = down (silu(gate x) * (up x)) of one layer.
struct DenseFfn {
  const GgufTensor* gate = nullptr;  // {k, n}
  const GgufTensor* up = nullptr;    // {k, n}
  const GgufTensor* down = nullptr;  // {n, k}
  const GgufTensor* norm = nullptr;  // {k}, or null

  std::int64_t k() const { return gate->dim(0); }
  std::int64_t n() const { return gate->dim(1); }
};

struct DenseModel {
  std::string architecture;  // llama or qwen3
  std::vector<DenseFfn> layers;
};

/// The networks of `src`. Errors: kInvalidArgument (not a dense model, a tensor missing or of another shape),
/// kUnsupported (another architecture; parts of a network, such as biases, that the MoE form has no place for).
Result<DenseModel> FindDenseFfns(const GgufFile& src);

/// "blk.3.ffn_up.weight" of (3, "ffn_up.weight").
std::string LayerName(std::int64_t layer, std::string_view rest);

/// "576 x 1536", for messages.
std::string ShapeText(const GgufTensor& tensor);

/// All values. Error kUnsupported for a type without weights, naming `path`.
Result<std::vector<float>> TensorFloats(const GgufTensor& tensor, const std::string& path);

}  // namespace quorum::quant
