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
    {"t5", "T5", HfT5Spec, HfT5Tensors},
    {"mt5", "mT5", HfT5Spec, HfT5Tensors},
    {"switch_transformers", "Switch Transformers", HfSwitchSpec, HfT5Tensors},
};

const HfFamily* FamilyOf(std::string_view type) {
  for (const HfFamily& family : kFamilies) {
    if (family.model_type == type) return &family;
  }
  return nullptr;
}

Result<const HfFamily*> FindFamily(const HfFolder& folder) {
  QUORUM_ASSIGN(const std::string type, folder.config.StringOr("model_type", ""));
  if (type.empty()) return folder.config.Fault("model_type", "is missing, expected the name of a model family");
  if (const HfFamily* family = FamilyOf(type)) return family;
  return Unsupported(fmt::format("{}: key 'model_type' is '{}', a family that is not supported; supported are {}",
                                 folder.config.path(), type, fmt::join(SupportedHfModelTypes(), ", ")));
}

Error Under(const std::string& path, const Error& error) {
  return Error{error.code, path + ": " + error.message, {}, {}};
}

/// The decoder of a model that also sees or hears: its config is a section of its own, and its tensors are named below
/// "language_model". What is beside it is left out. Nothing where the config is no such model's.
Result<std::optional<HfConfig>> TextConfig(const HfConfig& config) {
  const Result<std::string> outer = config.StringOr("model_type", "");
  if (!config.Has("text_config") || (outer.ok() && FamilyOf(*outer) != nullptr)) return std::optional<HfConfig>();
  QUORUM_ASSIGN(std::optional<HfConfig> text, config.Section("text_config"));
  QUORUM_ASSIGN(const std::string type, text->StringOr("model_type", ""));
  if (FamilyOf(type) == nullptr || config.Has("quantization_config")) return std::optional<HfConfig>();
  return text;
}

/// "model." before the names of a decoder's tensors, whatever the file has there.
void UsualNames(quant::SafetensorsModel& weights, bool is_part) {
  constexpr std::string_view kEmbedding = "embed_tokens.weight";
  for (const std::string_view prefix : {"language_model.model.", "model.language_model.", ""}) {
    if (weights.Find("model.embed_tokens.weight") != nullptr) break;
    if (weights.Find(std::string(prefix) + std::string(kEmbedding)) == nullptr) continue;
    if (!prefix.empty()) {
      weights.RenamePrefix(prefix, "model.");
      weights.RenamePrefix("language_model.lm_head.", "lm_head.");
    } else {  // saved without its head
      for (const std::string_view part : {"embed_tokens.", "layers.", "norm."}) {
        weights.RenamePrefix(part, "model." + std::string(part));
      }
    }
  }
  if (!is_part) return;
  const auto other = [](std::string_view name) {
    return !name.starts_with("model.layers.") && !name.starts_with("model.embed_tokens.") &&
           !name.starts_with("model.norm.") && !name.starts_with("lm_head.");
  };
  if (const std::size_t dropped = weights.Drop(other); dropped > 0) {
    Log(LogLevel::kWarn, "{}: the decoder alone is used; {} tensors of other parts are left out", weights.path(),
        dropped);
  }
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
  QUORUM_ASSIGN(std::optional<HfConfig> text, TextConfig(config));
  UsualNames(weights, text.has_value());
  if (text) config = *std::move(text);
  return HfFolder{path, std::move(config), std::move(weights)};
}

std::vector<std::string> SupportedHfModelTypes() {
  std::vector<std::string> names;
  for (const HfFamily& family : kFamilies) names.emplace_back(family.model_type);
  return names;
}

std::string HfFamilyName(std::string_view model_type) {
  const HfFamily* family = FamilyOf(model_type);
  return family == nullptr ? std::string() : std::string(family->name);
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
