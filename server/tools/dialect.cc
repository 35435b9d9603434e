#include "server/tools/dialect.h"

#include <algorithm>
#include <array>
#include <utility>

namespace quorum::server {
namespace {

constexpr std::array<std::pair<ToolFormat, std::string_view>, 9> kNames = {{{ToolFormat::kNone, "none"},
                                                                            {ToolFormat::kHermes, "hermes"},
                                                                            {ToolFormat::kQwenXml, "qwen-xml"},
                                                                            {ToolFormat::kMistral, "mistral"},
                                                                            {ToolFormat::kLlama3, "llama3"},
                                                                            {ToolFormat::kDeepSeek, "deepseek"},
                                                                            {ToolFormat::kGranite, "granite"},
                                                                            {ToolFormat::kPhi, "phi"},
                                                                            {ToolFormat::kHarmony, "harmony"}}};

}  // namespace

std::vector<std::string> ToolFormatNames() {
  std::vector<std::string> names;
  for (const auto& [format, name] : kNames) names.emplace_back(name);
  return names;
}

std::optional<ToolFormat> ToolFormatNamed(std::string_view name) {
  for (const auto& [format, known] : kNames) {
    if (known == name) return format;
  }
  return std::nullopt;
}

std::string_view NameOfToolFormat(ToolFormat format) {
  for (const auto& [known, name] : kNames) {
    if (known == format) return name;
  }
  return "none";
}

ToolFormat DetectToolFormat(std::string_view source) {
  const auto has = [source](std::string_view word) { return source.find(word) != std::string_view::npos; };
  if (!has("tool")) return ToolFormat::kNone;
  if (has("<|channel|>") && has("<|start|>")) return ToolFormat::kHarmony;
  if (has("<function=") && has("<parameter=")) return ToolFormat::kQwenXml;
  if (has("<｜tool▁call▁begin｜>") || has("<｜tool▁calls▁begin｜>")) return ToolFormat::kDeepSeek;
  if (has("[TOOL_CALLS]")) return ToolFormat::kMistral;
  if (has("<|/tool_call|>") || has("functools")) return ToolFormat::kPhi;
  if (has("<|tool_call|>") || has("<function_call>")) return ToolFormat::kGranite;
  if (has("<tool_call>")) return ToolFormat::kHermes;
  if (has("<|python_tag|>") || (has("<|start_header_id|>") && has("\"parameters\""))) return ToolFormat::kLlama3;
  // It shows tools but no way of calling them: the most usual one.
  return has("tools") ? ToolFormat::kHermes : ToolFormat::kNone;
}

std::vector<std::string> ControlNames(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes:
    case ToolFormat::kQwenXml: return {"<tool_call>", "</tool_call>"};
    case ToolFormat::kMistral: return {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"};
    case ToolFormat::kLlama3: return {"<|python_tag|>"};
    case ToolFormat::kDeepSeek:
      return {"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>",
              "<｜tool▁calls▁end｜>"};
    case ToolFormat::kGranite: return {"<|tool_call|>", "<tool_call>", "<function_call>"};
    case ToolFormat::kPhi: return {"<|tool_call|>", "<|/tool_call|>"};
    case ToolFormat::kHarmony: return {"<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>"};
    case ToolFormat::kNone: break;
  }
  return {};
}

std::string_view CallMarker(ToolFormat format) {
  switch (format) {
    case ToolFormat::kHermes:
    case ToolFormat::kQwenXml: return "<tool_call>";
    case ToolFormat::kMistral: return "[TOOL_CALLS]";
    case ToolFormat::kLlama3: return "<|python_tag|>";
    case ToolFormat::kDeepSeek: return "<｜tool▁calls▁begin｜>";
    case ToolFormat::kGranite:
    case ToolFormat::kPhi: return "<|tool_call|>";
    case ToolFormat::kHarmony:
    case ToolFormat::kNone: break;
  }
  return {};
}

Dialect::Mark FindMark(std::string_view text, const std::vector<std::string>& marks, bool ended) {
  Dialect::Mark found;
  for (const std::string& mark : marks) {
    const std::size_t at = text.find(mark);
    if (at != std::string_view::npos && at < found.begin) found = {at, true};
    if (ended) continue;
    // The longest end of the text that begins the mark.
    for (std::size_t size = std::min(mark.size() - 1, text.size()); size > 0; --size) {
      if (text.size() - size >= found.begin) continue;
      if (text.substr(text.size() - size) == std::string_view(mark).substr(0, size)) {
        found = {text.size() - size, false};
        break;
      }
    }
  }
  return found;
}

Begins BeginsWith(std::string_view text, std::string_view word) {
  if (text.starts_with(word)) return Begins::kYes;
  return word.starts_with(text) ? Begins::kMaybe : Begins::kNo;
}

std::size_t SkipSpace(std::string_view text, std::size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r')) ++at;
  return at;
}

std::unique_ptr<Dialect> MakeDialect(ToolFormat format, const OfferedTools& tools) {
  switch (format) {
    case ToolFormat::kHermes:
    case ToolFormat::kLlama3:
    case ToolFormat::kGranite:
    case ToolFormat::kPhi: return MakeJsonDialect(format, tools);
    case ToolFormat::kQwenXml: return MakeXmlDialect(tools);
    case ToolFormat::kMistral: return MakeMistralDialect(tools);
    case ToolFormat::kDeepSeek: return MakeDeepSeekDialect(tools);
    case ToolFormat::kNone:
    case ToolFormat::kHarmony: break;
  }
  return nullptr;
}

}  // namespace quorum::server
