#include "cli/hub/model_choice.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace quorum::hub {
namespace {

bool IsGguf(std::string_view name) { return name.ends_with(".gguf"); }

std::string Lower(std::string_view text) {
  std::string lower(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  return lower;
}

/// Of NAME-00002-of-00005.gguf: where the number begins.
std::optional<std::size_t> PartNumber(std::string_view name) {
  constexpr std::string_view kTail = "00001-of-00001.gguf";
  if (name.size() <= kTail.size() + 1) return std::nullopt;
  const std::size_t begin = name.size() - kTail.size();
  for (std::size_t i = 0; i < kTail.size(); ++i) {
    const char c = name[begin + i];
    const bool digit = c >= '0' && c <= '9';
    if ((kTail[i] == '0' || kTail[i] == '1') ? !digit : c != kTail[i]) return std::nullopt;
  }
  return name[begin - 1] == '-' ? std::optional(begin) : std::nullopt;
}

/// All parts of the model that `name` is a part of, in order.
std::vector<std::string> PartsOf(const std::vector<std::string>& names, const std::string& name) {
  const auto number = PartNumber(name);
  if (!number) return {name};
  std::vector<std::string> parts;
  for (const std::string& other : names) {
    const bool same = other.size() == name.size() && PartNumber(other) &&
                      other.compare(0, *number, name, 0, *number) == 0 &&
                      other.compare(*number + 5, std::string::npos, name, *number + 5, std::string::npos) == 0;
    if (same) parts.push_back(other);
  }
  return parts;
}

/// What a folder is read from besides its weights.
bool IsSmallFile(std::string_view name) {
  constexpr std::array<std::string_view, 15> kNames = {"config.json",
                                                       "generation_config.json",
                                                       "tokenizer.json",
                                                       "tokenizer_config.json",
                                                       "tokenizer.model",
                                                       "special_tokens_map.json",
                                                       "added_tokens.json",
                                                       "vocab.json",
                                                       "merges.txt",
                                                       "chat_template.jinja",
                                                       "chat_template.json",
                                                       "spiece.model",
                                                       "tiktoken.model",
                                                       "quantize_config.json",
                                                       "model.safetensors.index.json"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end() ||
         (name.starts_with("additional_chat_templates/") && name.ends_with(".jinja"));
}

}  // namespace

Result<ModelChoice> ChooseFiles(std::vector<std::string> names, const std::string& wanted) {
  std::sort(names.begin(), names.end());
  const auto whole = [&names](const std::string& name) {
    ModelChoice choice;
    choice.files = PartsOf(names, name);
    choice.path = choice.files.front();
    return choice;
  };
  std::vector<std::string> models;  // of a split file its first part
  for (const std::string& name : names) {
    if (IsGguf(name) && PartsOf(names, name).front() == name) models.push_back(name);
  }
  if (!wanted.empty()) {
    if (std::binary_search(names.begin(), names.end(), wanted)) {
      if (!IsGguf(wanted)) return ModelChoice{{wanted}, wanted};
      return whole(wanted);
    }
    std::vector<std::string> fitting;
    for (const std::string& name : models) {
      if (Lower(name).find(Lower(wanted)) != std::string::npos) fitting.push_back(name);
    }
    if (fitting.size() > 1) {  // Q4_K is in Q4_K_M: a name that has it as a word of its own is meant
      std::vector<std::string> exact;
      for (const std::string& name : fitting) {
        const std::size_t at = Lower(name).rfind(Lower(wanted));
        const std::size_t end = at + wanted.size();
        const auto bound = [&name](std::size_t i) { return name[i] == '-' || name[i] == '.' || name[i] == '/'; };
        if ((at == 0 || bound(at - 1)) && (end == name.size() || bound(end))) exact.push_back(name);
      }
      if (exact.size() == 1) fitting = exact;
    }
    if (fitting.size() == 1) return whole(fitting.front());
    if (fitting.empty()) {
      return NotFound(fmt::format("there is no file '{}'{}{}", wanted,
                                  models.empty() ? "" : "; GGUF files are: ", fmt::join(models, ", ")));
    }
    return InvalidArgument(fmt::format("'{}' fits several files; name one: {}", wanted, fmt::join(fitting, ", ")));
  }
  ModelChoice folder;
  bool weights = false, config = false;
  for (const std::string& name : names) {
    const bool tensors = name.ends_with(".safetensors") && name.find('/') == std::string::npos;
    weights = weights || tensors;
    config = config || name == "config.json";
    if (tensors || IsSmallFile(name)) folder.files.push_back(name);
  }
  if (weights && config) {
    // Some repositories hold the weights twice: one file, and the shards that the index names.
    const auto has = [&folder](std::string_view name) {
      return std::find(folder.files.begin(), folder.files.end(), name) != folder.files.end();
    };
    const bool sharded = has("model.safetensors.index.json");
    const auto extra = [sharded](const std::string& name) {
      if (!name.ends_with(".safetensors")) return false;
      return name.starts_with("consolidated") || (sharded && name == "model.safetensors");
    };
    std::erase_if(folder.files, extra);
    return folder;
  }
  if (models.size() == 1) return whole(models.front());
  if (models.empty()) {
    return NotFound("there are neither safetensors with a config.json nor GGUF files in it");
  }
  return InvalidArgument(fmt::format("it holds several models; name one (':FILE'): {}", fmt::join(models, ", ")));
}

}  // namespace quorum::hub
