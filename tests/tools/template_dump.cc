// Renders chat templates, for template_diff.py, which builds and runs this. Not part of the build.
// Input: one JSON object a line: "source", "messages", "tools", "extra", "add_generation_prompt", "now_unix". Output: one
// line each, {"text": "..."} or {"error": "..."}.
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>

#include "tokenizer/chat_template.h"

int main() {
  using Json = nlohmann::ordered_json;
  for (std::string line; std::getline(std::cin, line);) {
    const Json request = Json::parse(line);
    quorum::tok::TemplateInput input;
    input.messages = &request.at("messages");
    input.tools = &request.at("tools");
    input.extra = &request.at("extra");
    input.bos_token = "<s>";
    input.eos_token = "</s>";
    input.add_generation_prompt = request.at("add_generation_prompt").get<bool>();
    input.now_unix = request.at("now_unix").get<std::int64_t>();
    const auto parsed = quorum::tok::ChatTemplate::Parse(request.at("source").get<std::string>());
    quorum::Result<std::string> text = parsed.ok() ? (*parsed)->Render(input) : quorum::Result<std::string>(parsed.error());
    Json answer;
    if (text.ok()) {
      answer["text"] = *text;
    } else {
      answer["error"] = text.error().message;
    }
    std::cout << answer.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  }
  return 0;
}
