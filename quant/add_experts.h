// Branch, train, mix (Sukhbaatar et al. 2024, arXiv:2403.07816): the feed-forward networks of dense models that grew
// out of one base become experts of one Mixture-of-Experts model. What is not a feed-forward network stays the
// source's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "quant/gguf_writer.h"
#include "quant/upcycle.h"

namespace quorum::quant {

struct AddPlan {
  std::vector<std::string> experts;  // dense GGUF files
  /// By layer the new rows (rows, k): one an expert of `experts`, and for a dense source first one for its own network.
  std::vector<std::vector<float>> router;
  int top_k = 0;         // 0: as the source has it; of a dense source 2
  bool replace = false;  // write over an existing file
};

/// Errors that AddExperts would give before it looks at the plan's router, which may be empty.
Status CheckAddExperts(const std::string& src, const std::string& dst, const AddPlan& plan);

/// Reads `src`, dense or with experts (architecture llama, qwen3 or qwen3moe), and writes `dst` with the networks of
/// the plan's models as further experts of every layer that has experts (of a dense source: every layer). Blocks are
/// copied verbatim where types agree, and made anew in the source's type otherwise. Errors: kInvalidArgument (shapes
/// that differ, options, `dst` exists), kUnsupported (an architecture; a type that cannot be made), and those of
/// reading and writing.
Result<UpcycleSummary> AddExperts(const std::string& src, const std::string& dst, const AddPlan& plan,
                                  const GgufWriter::Progress& progress = {});

}  // namespace quorum::quant
