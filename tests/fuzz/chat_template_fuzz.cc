// libFuzzer target: ChatTemplate::Parse, then Render with a small budget. Input: a template, a NUL, a JSON object with
// "messages" and "tools" (both optional) and further variables; without the object, a conversation of every kind.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "tokenizer/chat_template.h"
#include "tokenizer/jinja/unicode.h"

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kConversation = R"({
  "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "naïve 日本 😀 <b>"},
    {"role": "assistant", "content": null, "reasoning_content": "hm", "tool_calls": [{"id": "c1", "type": "function",
      "function": {"name": "f", "arguments": {"x": [1, 2.5, true, null]}}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "4"}, {"role": "user", "content": [{"type": "text", "text": "a"}]}],
  "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object",
    "properties": {"x": {"type": "array", "items": {"type": "number"}}}, "required": ["x"]}}}],
  "n": 7, "f": 2.5, "s": "Hello World", "l": [3, 1, 2], "d": {"b": 1, "a": {"x": [10, 20]}}, "t": true, "nil": null})";

void Require(bool condition) {
  if (!condition) std::abort();
}

// Takes `name` out of `object`.
Json Take(Json& object, const char* name) {
  const auto it = object.find(name);
  if (it == object.end()) return nullptr;
  Json value = std::move(*it);
  object.erase(it);
  return value;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::size_t end = input.find('\0');
  const std::string_view source = input.substr(0, end);
  Json variables = Json::parse(end == std::string_view::npos ? kConversation : input.substr(end + 1), nullptr, false);
  if (!variables.is_object()) variables = Json::object();
  Json messages = Take(variables, "messages");
  if (!messages.is_array()) messages = Json::array();
  const Json tools = Take(variables, "tools");

  const auto parsed = quorum::tok::ChatTemplate::Parse(source);
  if (!parsed.ok()) {
    Require(!parsed.error().message.empty());
    return 0;
  }
  quorum::tok::TemplateInput in;
  in.messages = &messages;
  in.tools = &tools;
  in.extra = &variables;
  in.bos_token = "<s>";
  in.eos_token = "</s>";
  in.now_unix = 1732276805;
  quorum::tok::TemplateBudget budget;
  budget.steps = 20'000;
  budget.output_bytes = 1 << 16;
  budget.depth = 40;
  const auto first = (*parsed)->Render(in, budget);
  const auto second = (*parsed)->Render(in, budget);
  Require(first.ok() == second.ok());
  if (first.ok()) {
    Require(*first == *second);
    Require(first->size() <= static_cast<std::size_t>(budget.output_bytes));
    Require(quorum::tok::jinja::IsValidUtf8(*first));
  } else {
    Require(!first.error().message.empty() && first.error().message == second.error().message);
  }
  return 0;
}
