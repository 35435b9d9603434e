#include <fmt/format.h>

#include "engine/hf_quantized.h"

namespace quorum::engine {
namespace {

using Method = HfQuantization::Method;

Status ReadGptq(const HfConfig& keys, HfQuantization& out) {
  out.method = Method::kGptq;
  QUORUM_ASSIGN(out.bits, keys.RequiredInt("bits", 2, 8));
  if (out.bits != 4 && out.bits != 8) return keys.Lacks("bits");
  QUORUM_ASSIGN(const std::optional<std::int64_t> group, keys.Int("group_size", -1, 1 << 20));
  out.group = static_cast<std::int32_t>(group.value_or(-1));
  if (out.group == 0) return keys.Fault("group_size", "is 0, expected -1 or a number of columns");
  QUORUM_ASSIGN(const std::string format, keys.StringOr("checkpoint_format", "gptq"));
  if (format != "gptq" && format != "gptq_v2") return keys.Lacks("checkpoint_format");
  out.zero_plus_one = format == "gptq";
  return {};
}

Status ReadAwq(const HfConfig& keys, HfQuantization& out) {
  out.method = Method::kAwq;
  QUORUM_ASSIGN(out.bits, keys.RequiredInt("bits", 2, 8));
  if (out.bits != 4) return keys.Lacks("bits");
  QUORUM_ASSIGN(const std::optional<std::int64_t> group, keys.Int("group_size", -1, 1 << 20));
  out.group = static_cast<std::int32_t>(group.value_or(128));
  if (out.group == 0) return keys.Fault("group_size", "is 0, expected -1 or a number of columns");
  out.zero_plus_one = false;
  QUORUM_TRY(keys.OnlyBool("zero_point", true));
  QUORUM_ASSIGN(const std::string version, keys.StringOr("version", "gemm"));
  return version == "gemm" || version == "GEMM" ? Status() : keys.Lacks("version");
}

Status ReadFp8(const HfConfig& keys, HfQuantization& out) {
  out.method = Method::kFp8;
  QUORUM_ASSIGN(const std::vector<std::int64_t> block, keys.Ints("weight_block_size"));
  if (block.empty()) return {};
  if (block.size() != 2 || block[0] < 1 || block[1] < 1 || block[0] > 1 << 20 || block[1] > 1 << 20) {
    return keys.Fault("weight_block_size", "is not two positive numbers, rows and columns");
  }
  out.block_rows = static_cast<std::int32_t>(block[0]);
  out.block_cols = static_cast<std::int32_t>(block[1]);
  return {};
}

}  // namespace

Result<HfQuantization> HfQuantization::Read(const HfConfig& config) {
  HfQuantization out;
  QUORUM_ASSIGN(const std::optional<HfConfig> keys, config.Section("quantization_config"));
  if (!keys) return out;
  QUORUM_ASSIGN(const std::string method, keys->StringOr("quant_method", ""));
  if (method == "gptq") {
    QUORUM_TRY(ReadGptq(*keys, out));
  } else if (method == "awq") {
    QUORUM_TRY(ReadAwq(*keys, out));
  } else if (method == "fp8") {
    QUORUM_TRY(ReadFp8(*keys, out));
  } else if (method == "mxfp4") {
    out.method = Method::kMxfp4;
  } else if (method == "compressed-tensors") {
    QUORUM_TRY(keys->OnlyString("format", {"float-quantized", "naive-quantized"}));
    out.method = Method::kFp8;
  } else {
    return Unsupported(
        fmt::format("{}: key 'quantization_config.quant_method' is '{}'; Quorum reads gptq, awq, fp8, mxfp4 and "
                    "compressed-tensors with F8 weights",
                    config.path(), method));
  }
  return out;
}

}  // namespace quorum::engine
