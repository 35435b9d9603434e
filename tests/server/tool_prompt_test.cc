// Tools for templates that know none: they are described in words, and calls of them work like any.
#include <fstream>
#include <iterator>
#include <string>

#include "server/tool_prompt.h"
#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

const std::string kChat = "/v1/chat/completions";
const json kTool = {{"type", "function"},
                    {"function",
                     {{"name", "get_weather"},
                      {"parameters",
                       {{"type", "object"},
                        {"properties", {{"city", {{"enum", {"Paris", "Rome"}}}}}},
                        {"required", {"city"}},
                        {"additionalProperties", false}}}}}};

std::string PromptOf(const TestService& server, const json& body) {
  return json::parse(server.Post("/apply-template", body).body)["prompt"];
}

std::size_t Count(const std::string& text, const std::string& what) {
  std::size_t count = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++count;
  return count;
}

TEST_CASE("A template without tools has them in its system message, and earlier calls in the text") {
  TestServiceOptions options;
  options.template_knows_tools = false;
  options.template_knows_system = GENERATE(true, false);
  CAPTURE(options.template_knows_system);
  const bool knows_system = options.template_knows_system;
  TestService server(std::move(options));
  const json call = {{"id", "call_1"},
                     {"type", "function"},
                     {"function", {{"name", "get_weather"}, {"arguments", "{\"city\":\"Paris\"}"}}}};
  json second = call;
  second["id"] = "call_2";
  json messages = {{{"role", "user"}, {"content", "Weather?"}},
                   {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {call, second}}},
                   {{"role", "tool"}, {"tool_call_id", "call_2"}, {"content", "rain"}},
                   {{"role", "tool"}, {"tool_call_id", "call_1"}, {"content", "sun"}}};
  const std::string prompt = PromptOf(server, {{"messages", messages}, {"tools", {kTool}}});
  CAPTURE(prompt);
  CHECK(prompt.rfind(std::string("<|im_start|>") + (knows_system ? "system" : "user") + "\n# Tools", 0) == 0);
  CHECK(Count(prompt, "\"enum\":[\"Paris\",\"Rome\"]") == 1);
  CHECK(Count(prompt, "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\":\"Paris\"}}\n</tool_call>") ==
        2);
  CHECK(
      prompt.find("user\n<tool_response>\nsun\n</tool_response>\n<tool_response>\nrain\n</tool_response><|im_end|>") !=
      std::string::npos);
  CHECK(Count(prompt, "<|im_start|>") == (knows_system ? 5 : 4));  // the last begins the reply

  const auto answered = server.Post(kChat, TestService::ChatBody({{"messages", messages}, {"tools", {kTool}}}));
  CHECK(answered.status == 200);
  CHECK(answered.Header("x-quorum-ignored").empty());
  if (!knows_system) return;
  messages.insert(messages.begin(), json{{"role", "system"}, {"content", "Be brief."}});
  const std::string merged = PromptOf(server, {{"messages", messages}, {"tools", {kTool}}});
  CHECK(merged.rfind("<|im_start|>system\nBe brief.\n\n# Tools", 0) == 0);
  CHECK(Count(merged, "system\n") == 1);
}

TEST_CASE("Ids of any length go into templates that want them short, results by their calls") {
  std::ifstream file(std::string(QUORUM_FIXTURES) + "/templates/models/mistral-nemo.jinja");
  const auto parsed = tok::ChatTemplate::Parse(std::string(std::istreambuf_iterator<char>(file), {}));
  REQUIRE(parsed.ok());
  TestServiceOptions options;
  options.own_template = *parsed;
  TestService server(std::move(options));
  json first = {{"id", "call_0123456789abcdef"},
                {"type", "function"},
                {"function", {{"name", "get_weather"}, {"arguments", "{\"city\":\"Paris\"}"}}}};
  json second = first;
  second["id"] = "call_fedcba9876543210";
  const json messages = {{{"role", "user"}, {"content", "Weather?"}},
                         {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {first, second}}},
                         {{"role", "tool"}, {"tool_call_id", second["id"]}, {"content", "rain"}},
                         {{"role", "tool"}, {"tool_call_id", first["id"]}, {"content", "sun"}}};
  const std::string prompt = PromptOf(server, {{"messages", messages}, {"tools", {kTool}}});
  CAPTURE(prompt);
  const auto sun = prompt.find("\"content\": sun, \"call_id\": \"call00000\"");
  const auto rain = prompt.find("\"content\": rain, \"call_id\": \"call00001\"");
  CHECK(sun != std::string::npos);
  CHECK(rain != std::string::npos);
  CHECK(sun < rain);
  CHECK(prompt.find("call_0123") == std::string::npos);
}

TEST_CASE("Calls are demanded and read where the template knows no tools") {
  TestServiceOptions options;
  options.template_knows_tools = false;
  TestService server(std::move(options));
  const json body = TestService::ChatBody(
      {{"tools", {kTool}}, {"tool_choice", "required"}, {"parallel_tool_calls", false}, {"max_tokens", 400}});
  const json choice = json::parse(server.Post(kChat, body).body)["choices"][0];
  CHECK(choice["finish_reason"] == "tool_calls");
  REQUIRE(choice["message"]["tool_calls"].size() == 1);
  const json& function = choice["message"]["tool_calls"][0]["function"];
  CHECK(function["name"] == "get_weather");
  const json city = json::parse(function["arguments"].get<std::string>())["city"];
  CHECK((city == "Paris" || city == "Rome"));
}

}  // namespace
}  // namespace quorum::test
