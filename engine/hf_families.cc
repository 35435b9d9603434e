#include <array>
#include <filesystem>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "engine/base/log.h"
#include "engine/hf_family.h"

namespace quorum::engine {
namespace {

constexpr HfFamily kFamilies[] = {
    {"llama", "Llama", HfLlamaSpec, HfLlamaTensors},
    {"mistral", "Mistral", HfMistralSpec, HfLlamaTensors},
    {"mixtral", "Mixtral", HfMixtralSpec, HfMixtralTensors},
    {"qwen2", "Qwen2", HfQwen2Spec, HfLlamaTensors},
    {"qwen2_moe", "Qwen2-MoE", HfQwen2MoeSpec, HfLlamaTensors},
    {"qwen3", "Qwen3", HfQwen3Spec, HfLlamaTensors},
    {"qwen3_moe", "Qwen3-MoE", HfQwen3MoeSpec, HfLlamaTensors},
    {"olmoe", "OLMoE", HfOlmoeSpec, HfLlamaTensors},
    {"smollm3", "SmolLM3", HfSmolLm3Spec, HfLlamaTensors},
    {"iquestcoder", "IQuest-Coder", HfIquestSpec, HfLlamaTensors},
    {"granite", "Granite", HfGraniteSpec, HfLlamaTensors},
    {"granitemoe", "GraniteMoE", HfGraniteMoeSpec, HfGraniteMoeTensors},
    {"granitemoeshared", "GraniteMoE with a shared expert", HfGraniteMoeSpec, HfGraniteMoeTensors},
    {"gpt_oss", "gpt-oss", HfGptOssSpec, HfGptOssTensors},
    {"phi3", "Phi-3", HfPhi3Spec, HfPhi3Tensors},
    {"phimoe", "Phi-3.5-MoE", HfPhimoeSpec, HfMixtralTensors},
    {"deepseek_v2", "DeepSeek-V2", HfDeepseekV2Spec, HfDeepseekTensors},
    {"deepseek_v3", "DeepSeek-V3", HfDeepseekV3Spec, HfDeepseekTensors},
    {"kimi_k2", "Kimi-K2", HfDeepseekV3Spec, HfDeepseekTensors},
    {"grok-1", "Grok-1", HfGrokSpec, HfGrokTensors},
};

Result<const HfFamily*> FindFamily(const HfFolder& folder) {
  QUORUM_ASSIGN(const std::string type, folder.config.StringOr("model_type", ""));
  if (type.empty()) return folder.config.Fault("model_type", "is missing, expected the name of a model family");
  for (const HfFamily& family : kFamilies) {
    if (family.model_type == type) return &family;
  }
  return Unsupported(fmt::format("{}: key 'model_type' is '{}', a family that is not supported; supported are {}",
                                 folder.config.path(), type, fmt::join(SupportedHfModelTypes(), ", ")));
}

Error Under(const std::string& path, const Error& error) {
  return Error{error.code, path + ": " + error.message, {}, {}};
}

}  // namespace

Result<HfFolder> OpenHfFolder(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::exists(path + "/config.json", ignored)) {
    return NotFound(path +
                    ": the folder has no config.json, so it is no Hugging Face model; for a GGUF model name the file");
  }
  QUORUM_ASSIGN(HfConfig config, HfConfig::Open(path + "/config.json"));
  QUORUM_ASSIGN(quant::SafetensorsModel weights, quant::SafetensorsModel::Open(path));
  return HfFolder{path, std::move(config), std::move(weights)};
}

std::vector<std::string> SupportedHfModelTypes() {
  std::vector<std::string> names;
  for (const HfFamily& family : kFamilies) names.emplace_back(family.model_type);
  return names;
}

std::string HfFamilyName(std::string_view model_type) {
  for (const HfFamily& family : kFamilies) {
    if (family.model_type == model_type) return std::string(family.name);
  }
  return "";
}

Result<ModelSpec> SpecFromHf(const HfFolder& folder) {
  QUORUM_ASSIGN(const HfFamily* family, FindFamily(folder));
  ModelSpec spec;
  spec.architecture = family->model_type;
  spec.name = std::filesystem::path(folder.path).filename().string();
  QUORUM_TRY(family->spec(folder, spec));
  if (const Status status = CheckSpec(spec); !status.ok()) return Under(folder.config.path(), status.error());
  if (const std::vector<std::string> unread = folder.config.Unread(); !unread.empty()) {
    Log(LogLevel::kWarn, "{}: left out of account, because Quorum does not know them: {}", folder.config.path(),
        fmt::join(unread, ", "));
  }
  return spec;
}

Result<ModelTensors> TensorsFromHf(const HfFolder& folder, const ModelSpec& spec) {
  QUORUM_ASSIGN(const HfFamily* family, FindFamily(folder));
  QUORUM_ASSIGN(const HfQuantization quantization, HfQuantization::Read(folder.config));
  HfTensors from(folder.weights, quantization);
  ModelTensors tensors;
  QUORUM_TRY(family->tensors(from, spec, tensors));
  QUORUM_TRY(from.AllUsed());
  if (const Status status = CheckTensors(spec, tensors); !status.ok()) return Under(folder.path, status.error());
  return tensors;
}

}  // namespace quorum::engine
