#include "engine/hf_config.h"

#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "engine/base/mapped_file.h"

namespace quorum::engine {
namespace {

using quant::JsonValue;

/// What transformers writes into every config, and what is used only to train or to generate (generation_config.json
/// has the word there).
constexpr std::string_view kWithoutMeaning[] = {
    "architectures",
    "model_type",
    "transformers_version",
    "torch_dtype",
    "dtype",
    "use_cache",
    "initializer_range",
    "auto_map",
    "_name_or_path",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "attn_implementation",
    "attention_dropout",
    "hidden_dropout",
    "embd_pdrop",
    "resid_pdrop",
    "attn_pdrop",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "unk_token_id",
    "sep_token_id",
    "decoder_start_token_id",
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "output_scores",
    "return_dict",
    "return_dict_in_generate",
    "router_aux_loss_coef",
    "aux_loss_alpha",
    "seq_aux",
    "router_jitter_noise",
    "input_jitter_noise",
    "router_z_loss_coef",
    "pretraining_tp",
    "torchscript",
    "use_bfloat16",
    "tf_legacy_loss",
    "pruned_heads",
    "is_decoder",
    "add_cross_attention",
    "cross_attention_hidden_size",
    "tie_encoder_decoder",
    "chunk_size_feed_forward",
    "max_length",
    "min_length",
    "do_sample",
    "early_stopping",
    "num_beams",
    "num_beam_groups",
    "diversity_penalty",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "repetition_penalty",
    "length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "num_return_sequences",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "remove_invalid_values",
    "exponential_decay_length_penalty",
    "suppress_tokens",
    "begin_suppress_tokens",
    "finetuning_task",
    "id2label",
    "label2id",
    "problem_type",
    "tokenizer_class",
    "prefix",
    "task_specific_params",
    "language",
    "quantization_config",
    "unsloth_version",
    "unsloth_fixed",
    "transformers.js_config",
    "use_flash_attn",
    "rope_interleaved",
    "ep_size",
};

}  // namespace

Result<HfConfig> HfConfig::Open(const std::string& path) {
  QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(path));
  return Parse({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path);
}

Result<HfConfig> HfConfig::Parse(std::string_view text, const std::string& path) {
  constexpr std::size_t kMost = 16 << 20;
  if (text.size() > kMost)
    return InvalidArgument(fmt::format("{}: {} bytes, expected at most {}", path, text.size(), kMost));
  Result<JsonValue> root = quant::ParseJson(text);
  if (!root.ok()) return InvalidArgument(path + ": " + root.error().message);
  if (root->As<JsonValue::Object>() == nullptr) {
    return InvalidArgument(fmt::format("{}: it holds {}, expected an object", path, root->Describe()));
  }
  return HfConfig(path, "", std::move(root).value());
}

const JsonValue* HfConfig::Get(std::string_view key) const {
  read_.insert(std::string(key));
  const JsonValue* value = root_.Find(key);
  return value == nullptr || value->is_null() ? nullptr : value;
}

bool HfConfig::Has(std::string_view key) const {
  const JsonValue* value = root_.Find(key);
  return value != nullptr && !value->is_null();
}

bool HfConfig::IsNull(std::string_view key) const {
  const JsonValue* value = root_.Find(key);
  return value != nullptr && value->is_null();
}

Error HfConfig::Fault(std::string_view key, const std::string& what) const {
  return InvalidArgument(fmt::format("{}: key '{}{}' {}", path_, prefix_, key, what));
}

Error HfConfig::Lacks(std::string_view key) const {
  const JsonValue* value = Get(key);
  return Unsupported(fmt::format("{}: key '{}{}' is {}, which Quorum does not have for this family", path_, prefix_,
                                 key, value == nullptr ? "absent" : value->Describe()));
}

Error HfConfig::Wrong(std::string_view key, const JsonValue& value, std::string_view expected) const {
  return Fault(key, fmt::format("is {}, expected {}", value.Describe(), expected));
}

Result<std::optional<std::int64_t>> HfConfig::Int(std::string_view key, std::int64_t lowest,
                                                  std::int64_t highest) const {
  const JsonValue* value = Get(key);
  if (value == nullptr) return std::optional<std::int64_t>();
  const auto* number = value->As<std::int64_t>();
  if (number == nullptr || *number < lowest || *number > highest) {
    return Wrong(key, *value, fmt::format("a whole number from {} to {}", lowest, highest));
  }
  return std::optional(*number);
}

Result<std::int32_t> HfConfig::RequiredInt(std::string_view key, std::int64_t lowest, std::int64_t highest) const {
  QUORUM_ASSIGN(const std::optional<std::int64_t> value, Int(key, lowest, highest));
  if (!value) return Fault(key, fmt::format("is missing, expected a whole number from {} to {}", lowest, highest));
  return static_cast<std::int32_t>(*value);
}

Result<std::int32_t> HfConfig::IntOr(std::string_view key, std::int32_t fallback, std::int64_t lowest,
                                     std::int64_t highest) const {
  QUORUM_ASSIGN(const std::optional<std::int64_t> value, Int(key, lowest, highest));
  return value ? static_cast<std::int32_t>(*value) : fallback;
}

Result<std::optional<double>> HfConfig::Float(std::string_view key) const {
  const JsonValue* value = Get(key);
  if (value == nullptr) return std::optional<double>();
  if (const auto* whole = value->As<std::int64_t>()) return std::optional(static_cast<double>(*whole));
  const auto* number = value->As<double>();
  if (number == nullptr || !std::isfinite(*number)) return Wrong(key, *value, "a finite number");
  return std::optional(*number);
}

Result<double> HfConfig::FloatOr(std::string_view key, double fallback) const {
  QUORUM_ASSIGN(const std::optional<double> value, Float(key));
  return value.value_or(fallback);
}

Result<bool> HfConfig::BoolOr(std::string_view key, bool fallback) const {
  const JsonValue* value = Get(key);
  if (value == nullptr) return fallback;
  const auto* flag = value->As<bool>();
  if (flag == nullptr) return Wrong(key, *value, "true or false");
  return *flag;
}

Result<std::string> HfConfig::StringOr(std::string_view key, std::string fallback) const {
  const JsonValue* value = Get(key);
  if (value == nullptr) return fallback;
  const auto* text = value->As<std::string>();
  if (text == nullptr) return Wrong(key, *value, "a string");
  return *text;
}

Result<std::vector<std::int64_t>> HfConfig::Ints(std::string_view key) const {
  std::vector<std::int64_t> out;
  const JsonValue* value = Get(key);
  if (value == nullptr) return out;
  const auto* list = value->As<JsonValue::Array>();
  if (list == nullptr) return Wrong(key, *value, "a list of whole numbers");
  for (const JsonValue& entry : *list) {
    const auto* number = entry.As<std::int64_t>();
    if (number == nullptr) return Fault(key, "holds " + entry.Describe() + ", expected whole numbers only");
    out.push_back(*number);
  }
  return out;
}

Result<std::vector<double>> HfConfig::Floats(std::string_view key) const {
  std::vector<double> out;
  const JsonValue* value = Get(key);
  if (value == nullptr) return out;
  const auto* list = value->As<JsonValue::Array>();
  if (list == nullptr) return Wrong(key, *value, "a list of numbers");
  for (const JsonValue& entry : *list) {
    const auto* whole = entry.As<std::int64_t>();
    const auto* number = entry.As<double>();
    if (whole == nullptr && (number == nullptr || !std::isfinite(*number))) {
      return Fault(key, "holds " + entry.Describe() + ", expected finite numbers only");
    }
    out.push_back(whole != nullptr ? static_cast<double>(*whole) : *number);
  }
  return out;
}

Result<std::vector<std::string>> HfConfig::Strings(std::string_view key) const {
  std::vector<std::string> out;
  const JsonValue* value = Get(key);
  if (value == nullptr) return out;
  const auto* list = value->As<JsonValue::Array>();
  if (list == nullptr) return Wrong(key, *value, "a list of strings");
  for (const JsonValue& entry : *list) {
    const auto* text = entry.As<std::string>();
    if (text == nullptr) return Fault(key, "holds " + entry.Describe() + ", expected strings only");
    out.push_back(*text);
  }
  return out;
}

Result<std::optional<HfConfig>> HfConfig::Section(std::string_view key) const {
  const JsonValue* value = Get(key);
  if (value == nullptr) return std::optional<HfConfig>();
  if (value->As<JsonValue::Object>() == nullptr) return Wrong(key, *value, "an object");
  return std::optional(HfConfig(path_, prefix_ + std::string(key) + ".", *value));
}

Status HfConfig::OnlyBool(std::string_view key, bool neutral) const {
  QUORUM_ASSIGN(const bool value, BoolOr(key, neutral));
  return value == neutral ? Status() : Lacks(key);
}

Status HfConfig::OnlyFloat(std::string_view key, double neutral) const {
  QUORUM_ASSIGN(const double value, FloatOr(key, neutral));
  return value == neutral ? Status() : Lacks(key);
}

Status HfConfig::OnlyString(std::string_view key, std::initializer_list<std::string_view> neutral) const {
  if (!Has(key)) return {};
  QUORUM_ASSIGN(const std::string value, StringOr(key, ""));
  std::string list;
  for (const std::string_view one : neutral) {
    if (one == value) return {};
    list += (list.empty() ? "" : ", ") + std::string(one);
  }
  return Unsupported(
      fmt::format("{}: key '{}{}' is '{}'; for this family Quorum has {}", path_, prefix_, key, value, list));
}

void HfConfig::Ignore(std::initializer_list<std::string_view> keys) const {
  for (const std::string_view key : keys) read_.insert(std::string(key));
}

std::vector<std::string> HfConfig::Unread() const {
  std::set<std::string_view> known(std::begin(kWithoutMeaning), std::end(kWithoutMeaning));
  std::vector<std::string> unread;
  const auto* members = root_.As<JsonValue::Object>();
  if (members == nullptr) return unread;
  for (const auto& [key, value] : *members) {
    if (!value.is_null() && !read_.contains(key) && !known.contains(key)) unread.push_back(prefix_ + key);
  }
  return unread;
}

}  // namespace quorum::engine
