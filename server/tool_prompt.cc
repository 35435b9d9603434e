#include "server/tool_prompt.h"

#include <algorithm>
#include <string>
#include <utility>

#include <fmt/format.h>

namespace quorum::server {
namespace {

std::string Described(const Json& tools) {
  std::string list;
  for (const Json& tool : tools) list += DumpJson(tool["function"]) + "\n";
  return fmt::format(
      "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are provided with function "
      "signatures within <tools></tools> XML tags:\n<tools>\n{}</tools>\n\nFor each function call, return a json "
      "object with function name and arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{{\"name\": "
      "<function-name>, \"arguments\": <args-json-object>}}\n</tool_call>",
      list);
}

std::string Called(const Json& message) {
  std::string text = message.value("content", Json()).is_string() ? message["content"].get<std::string>() : "";
  for (const Json& call : message["tool_calls"]) {
    const Json& function = call["function"];
    const Json& arguments = function["arguments"];
    text += fmt::format("{}<tool_call>\n{{\"name\": {}, \"arguments\": {}}}\n</tool_call>", text.empty() ? "" : "\n",
                        DumpJson(function["name"]),
                        arguments.is_string() ? arguments.get<std::string>() : DumpJson(arguments));
  }
  return text;
}

std::string Joined(const std::string& first, const std::string& second) {
  return first + (first.empty() || second.empty() ? "" : "\n\n") + second;
}

}  // namespace

Json WithToolsInWords(const Json& messages, const Json& tools, ToolPlace place) {
  Json out = Json::array();
  for (const Json& message : messages) {
    if (message.contains("tool_calls")) {
      Json said = message;
      said["content"] = Called(message);
      said.erase("tool_calls");
      out.push_back(std::move(said));
    } else if (message["role"] == "tool") {
      const std::string result =
          fmt::format("<tool_response>\n{}\n</tool_response>", message["content"].get<std::string>());
      // Results of one turn are one message: templates may want the roles to alternate.
      const bool follows = !out.empty() && out.back().value("role", Json()) == "user" &&
                           out.back()["content"].get_ref<const std::string&>().starts_with("<tool_response>");
      if (follows) {
        out.back()["content"] = out.back()["content"].get<std::string>() + "\n" + result;
      } else {
        out.push_back({{"role", "user"}, {"content", result}});
      }
    } else {
      out.push_back(message);
    }
  }
  if (tools.empty()) return out;
  const char* role = place == ToolPlace::kSystem ? "system" : "user";
  const auto first = std::find_if(out.begin(), out.end(), [&](const Json& message) { return message["role"] == role; });
  if (first != out.end()) {
    const std::string content = (*first)["content"].get<std::string>();
    (*first)["content"] =
        place == ToolPlace::kSystem ? Joined(content, Described(tools)) : Joined(Described(tools), content);
  } else {
    out.insert(out.begin(), Json{{"role", role}, {"content", Described(tools)}});
  }
  return out;
}

}  // namespace quorum::server
