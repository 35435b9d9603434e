// Hugging Face folders: config.json and safetensors to ModelSpec and ModelTensors.
//
// To add a family:
//   1. write engine/hf_<family>.cc with two functions of the types below. Start from HfDecoderSpec and HfDecoderTensors
//   and the
//      parts beside them; a key that means something must be read, refused (HfConfig::Only...) or the reader warns of
//      it;
//   2. declare them at the end of this file and add one line to kFamilies in hf_families.cc;
//   3. add a small random model to tests/oracle/make_fixtures.py.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "engine/hf_config.h"
#include "engine/hf_tensors.h"
#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "quant/safetensors.h"

namespace quorum::engine {

/// An opened folder.
struct HfFolder {
  std::string path;
  HfConfig config;
  quant::SafetensorsModel weights;
};

/// A line of the table of families.
struct HfFamily {
  std::string_view model_type;  // as config.json has it
  std::string_view name;        // for people
  /// Fills `spec` in from folder.config (and from what tensors there are, where the config leaves it open).
  Status (*spec)(const HfFolder& folder, ModelSpec& spec);
  /// Finds the tensors. CheckTensors and HfTensors::AllUsed run afterwards.
  Status (*tensors)(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors);
};

/// Opens `path`/config.json and the weights beside it.
/// Errors: those of HfConfig::Open and SafetensorsModel::Open.
Result<HfFolder> OpenHfFolder(const std::string& path);

/// The `model_type`s that can be read, in the order of the table.
std::vector<std::string> SupportedHfModelTypes();

/// The family's name for people: "Mixtral" for "mixtral". Empty for one that is not known.
std::string HfFamilyName(std::string_view model_type);

/// Errors: kUnsupported (family, with the list of those that can be read; a setting that Quorum lacks),
/// kInvalidArgument (missing, out of range, inconsistent), each naming file, key, what was expected and what was found.
/// Keys that nobody knows are named in a warning.
Result<ModelSpec> SpecFromHf(const HfFolder& folder);

/// The tensors of `spec`; they point into the folder's files, which must outlive them.
/// Errors: kInvalidArgument (missing tensor, wrong shape), kUnsupported (a tensor that `spec` has no use for).
Result<ModelTensors> TensorsFromHf(const HfFolder& folder, const ModelSpec& spec);

// ---------------------------------------------------------------- parts of specs

/// What nearly all decoders say alike: sizes, heads, norm epsilon (`rms_norm_eps`), activation, tied embeddings, rope
/// with NeoX pairs, and `layers` dense layers of width `intermediate_size`.
Status HfDecoderSpec(const HfFolder& folder, ModelSpec& spec);

/// `rope_parameters` (transformers 5) or `rope_theta` with `rope_scaling` (before): default, linear, yarn, llama3,
/// longrope. `theta` is the base where the config has none. Part of HfDecoderSpec. REQUIRES: head_dim and
/// context_length are set.
Status HfRope(const HfConfig& config, double theta, ModelSpec& spec);

/// `sliding_window` for the layers that `layer_types` calls "sliding_attention"; without such a list for those from
/// layer `first` on. `absent` is the window where the key is missing (0: none), as null it means none.
Status HfWindows(const HfConfig& config, std::int32_t first, std::int32_t absent, ModelSpec& spec);

/// `clip_qkv`: what queries, keys and values are cut to; null and 0 mean no limit.
Status HfClipQkv(const HfConfig& config, ModelSpec& spec);

/// Makes every layer a mixture of `experts` (the key's value) networks of width `ff`, `num_experts_per_tok` for a
/// token.
Status HfExperts(const HfConfig& config, std::string_view experts_key, std::int32_t ff, ModelSpec& spec);

// ---------------------------------------------------------------- families (hf_<family>.cc)

Status HfLlamaSpec(const HfFolder& folder, ModelSpec& spec);
Status HfSmolLm3Spec(const HfFolder& folder, ModelSpec& spec);
Status HfIquestSpec(const HfFolder& folder, ModelSpec& spec);
Status HfMistralSpec(const HfFolder& folder, ModelSpec& spec);
Status HfMixtralSpec(const HfFolder& folder, ModelSpec& spec);
Status HfMixtralTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors);
Status HfQwen2Spec(const HfFolder& folder, ModelSpec& spec);
Status HfQwen3Spec(const HfFolder& folder, ModelSpec& spec);
Status HfQwen2MoeSpec(const HfFolder& folder, ModelSpec& spec);
Status HfQwen3MoeSpec(const HfFolder& folder, ModelSpec& spec);
Status HfOlmoeSpec(const HfFolder& folder, ModelSpec& spec);
Status HfGptOssSpec(const HfFolder& folder, ModelSpec& spec);
Status HfGptOssTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors);
Status HfGraniteSpec(const HfFolder& folder, ModelSpec& spec);
Status HfGraniteMoeSpec(const HfFolder& folder, ModelSpec& spec);
Status HfGraniteMoeTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors);
Status HfPhi3Spec(const HfFolder& folder, ModelSpec& spec);
Status HfPhi3Tensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors);
Status HfPhimoeSpec(const HfFolder& folder, ModelSpec& spec);
Status HfGrokSpec(const HfFolder& folder, ModelSpec& spec);
Status HfGrokTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors);
Status HfDeepseekV2Spec(const HfFolder& folder, ModelSpec& spec);
Status HfDeepseekV3Spec(const HfFolder& folder, ModelSpec& spec);
Status HfDeepseekTensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors);
Status HfT5Spec(const HfFolder& folder, ModelSpec& spec);
Status HfSwitchSpec(const HfFolder& folder, ModelSpec& spec);
Status HfT5Tensors(HfTensors& from, const ModelSpec& spec, ModelTensors& tensors);

}  // namespace quorum::engine
