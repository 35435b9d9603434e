// --target-bpw and --target-size of `quorum quantize`.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/quantize_flags.h"
#include "engine/base/result.h"
#include "quant/gguf_writer.h"
#include "quant/quantize_model.h"

namespace quorum::cli {

/// "900M", "4.5GB", "123456789": bytes, K, M and G being powers of 1000, Ki, Mi and Gi of 1024. Error kInvalidArgument.
Result<std::uint64_t> ParseBytes(const std::string& text);

/// Adds rules that meet the target to the plan. Errors: kInvalidArgument, kCancelled.
Status SpendBudget(const QuantizeFlags& flags, const std::vector<quant::SourceTensor>& sources,
                   const quant::GgufWriter& writer, quant::QuantizeOptions& options);

}  // namespace quorum::cli
