// Fewer experts in a GGUF file: some dropped, some averaged into one, the router's rows with them.
//
//  - Pruning keeps what it keeps verbatim, quantized blocks and router rows alike, so that the new file gives the very
//  bits of the
//    old one with the others masked (REAP: Lasby et al. 2025, arXiv:2510.13999, finds pruning better than merging for
//    generation).
//  - Merging averages weights and router rows of a group (Li et al. 2023, arXiv:2310.01334; Chen et al. 2024,
//  arXiv:2410.08589);
//    averages have the type that the tensor had, or Q8_0 where nothing here writes it (IQ4_NL, IQ4_XS), and an expert
//    that is a group of its own stays verbatim wherever the type does.
//
// GGUF has one number of experts for all layers, and its readers rely on it: every layer keeps equally many.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "quant/gguf.h"
#include "quant/gguf_writer.h"

namespace quorum::quant {

/// One expert of the new file: the mean of these experts of the old one's layer, weighted.
struct NewExpert {
  struct Part {
    std::int32_t expert = 0;
    double weight = 1;  // relative to the others'
  };
  std::vector<Part> parts;
};

/// What becomes of one layer's experts; ids count among the layer's own.
struct LayerSurgery {
  std::int32_t layer = 0;
  std::vector<NewExpert> experts;
};

struct SurgeryOptions {
  std::string method;    // for the metadata: "pruned by REAP"
  bool replace = false;  // write over an existing file
  int threads = 1;       // to average with
};

struct SurgerySummary {
  std::int32_t layers = 0;  // with experts
  std::int32_t experts = 0, old_experts = 0;
  std::int32_t top_k = 0, old_top_k = 0;  // of a token; lowered where fewer experts are left
  std::int64_t parameters = 0, old_parameters = 0;
  std::uint64_t bytes = 0, old_bytes = 0;
  std::vector<std::string> retyped;  // tensors that became Q8_0, because nothing here writes their type
};

/// The layers of a file that have experts, ascending, and how many each has.
struct ExpertLayer {
  std::int32_t layer = 0;
  std::int32_t experts = 0;
  std::int32_t groups = 1;  // neighbouring experts of equal number from which a token chooses first (DeepSeek)
};
/// Errors: kInvalidArgument for a file without experts, or whose numbers contradict each other.
Result<std::vector<ExpertLayer>> ExpertLayers(const GgufFile& file);

/// Writes `dst` with the experts of `plan`, which names every layer that has experts, each with the same number.
/// Errors: kInvalidArgument (a plan that does not fit; `dst` exists or is `src`), kUnsupported (groups of experts that
/// would no longer be of one size), and those of reading and writing.
Result<SurgerySummary> RewriteExperts(const GgufFile& src, const std::string& dst,
                                      const std::vector<LayerSurgery>& plan, const SurgeryOptions& options,
                                      const GgufWriter::Progress& progress = {});

/// Error kInvalidArgument when `dst` is one of `src`'s files, or exists and `replace` is false.
Status CheckDestination(const GgufFile& src, const std::string& dst, bool replace);

}  // namespace quorum::quant
