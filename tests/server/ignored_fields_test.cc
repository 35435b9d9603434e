// Nothing silent: members of a request that nobody reads are named, wherever they stand, and what our own replies carry
// is not.
#include <map>
#include <set>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

const std::string kChat = "/v1/chat/completions", kResponses = "/v1/responses", kMessages = "/v1/messages";

std::string Ignored(const TestService& server, const std::string& path, const json& body) {
  const auto response = server.Post(path, body);
  CAPTURE(response.body);
  CHECK(response.status == 200);
  return response.Header("x-quorum-ignored");
}

json Chat(const json& messages, const json& extra = json::object()) {
  json body = TestService::ChatBody({{"messages", messages}, {"max_tokens", 3}});
  body.update(extra);
  return body;
}

json Function(const json& extra = json::object()) {
  json function = {{"name", "f"}, {"description", "d"}, {"parameters", {{"type", "object"}}}, {"strict", false}};
  function.update(extra);
  return function;
}

const json kUser = {{"role", "user"}, {"content", "Hi"}};
const json kHello = json::array({kUser});

TEST_CASE("Unknown members inside a chat request are named") {
  TestServiceOptions options;
  options.template_shows = "tool_calls 'tool'";
  TestService server(std::move(options));
  const json part = {{"type", "text"}, {"text", "Hi"}, {"cache_control", {{"type", "ephemeral"}}}};
  CHECK(Ignored(server, kChat, Chat({{{"role", "user"}, {"content", {part}}}})) ==
        "messages[].content[].cache_control");
  const json call = {{"id", "c"},
                     {"type", "function"},
                     {"index", 0},
                     {"x", 1},
                     {"function", {{"name", "f"}, {"arguments", "{}"}, {"parsed_arguments", 5}, {"y", 1}}}};
  CHECK(Ignored(server, kChat,
                Chat({kUser,
                      {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {call}}},
                      {{"role", "tool"}, {"tool_call_id", "c"}, {"content", "1"}}})) ==
        "messages[].tool_calls[].function.y, messages[].tool_calls[].x");
  const json tool = {
      {"type", "function"}, {"x", 1}, {"function", Function({{"y", 1}, {"return", {{"type", "null"}}}})}};
  CHECK(Ignored(server, kChat, Chat(kHello, {{"tools", {tool}}})) == "tools[].function.y, tools[].x");
  CHECK(Ignored(server, kChat, Chat(kHello, {{"functions", {Function({{"y", 1}})}}})) == "functions[].y");
  const json plain = {{"type", "function"}, {"function", Function()}};
  const json choice = {{"type", "function"}, {"x", 1}, {"function", {{"name", "f"}, {"y", 1}}}};
  CHECK(Ignored(server, kChat, Chat(kHello, {{"tools", {plain}}, {"tool_choice", choice}})) ==
        "tool_choice.function.y, tool_choice.x");
  const json allowed = {
      {"type", "allowed_tools"},
      {"x", 1},
      {"allowed_tools", {{"mode", "auto"}, {"y", 1}, {"tools", {{{"type", "function"}, {"name", "f"}}}}}}};
  CHECK(Ignored(server, kChat, Chat(kHello, {{"tools", {plain}}, {"tool_choice", allowed}})) ==
        "tool_choice.allowed_tools.y, tool_choice.x");
  CHECK(Ignored(server, kChat, Chat(kHello, {{"response_format", {{"type", "text"}, {"x", 1}}}})) ==
        "response_format.x");
  const json schema = {{"name", "s"}, {"strict", true}, {"y", 1}, {"schema", {{"type", "boolean"}}}};
  CHECK(Ignored(server, kChat,
                Chat(kHello, {{"response_format", {{"type", "json_schema"}, {"x", 1}, {"json_schema", schema}}}})) ==
        "response_format.json_schema.y, response_format.x");
}

TEST_CASE("What is not known of a tool does not reach the template") {
  TestService server;
  const json tool = {
      {"type", "function"}, {"secret1", 1}, {"function", Function({{"secret2", 1}, {"return", "kept"}})}};
  const std::string prompt =
      json::parse(server.Post("/apply-template", Chat(kHello, {{"tools", {tool}}})).body)["prompt"];
  CHECK(prompt.find("secret") == std::string::npos);
  CHECK(prompt.find("kept") != std::string::npos);
}

TEST_CASE("Rules that are empty are named: the output is free") {
  TestService server;
  const std::map<std::string, json> empties = {{"guided_regex", ""},
                                               {"guided_grammar", ""},
                                               {"grammar", ""},
                                               {"guided_choice", json::array()},
                                               {"guided_json", ""}};
  for (const auto& [name, value] : empties) CHECK(Ignored(server, kChat, Chat(kHello, {{name, value}})) == name);
  CHECK(Ignored(server, kChat, Chat(kHello, {{"grammar", nullptr}, {"guided_regex", nullptr}})).empty());
  CHECK(Ignored(server, kChat, Chat(kHello, {{"store", false}, {"modalities", json::array()}})).empty());
}

TEST_CASE("Formats of strings that are not known are named, in answers and calls") {
  TestService server;
  const json schema = {{"type", "object"},
                       {"properties",
                        {{"a", {{"type", "string"}, {"format", "jwt"}, {"maxLength", 2}}},
                         {"b", {{"type", "string"}, {"format", "cuid"}, {"pattern", "^c[a-z]$"}}}}},
                       {"required", {"a", "b"}}};
  const json format = {{"type", "json_schema"}, {"json_schema", {{"name", "x"}, {"schema", schema}}}};
  const std::string named = "response_format.json_schema.schema: format jwt";
  for (int i = 0; i < 2; ++i) {  // made, and known
    CHECK(Ignored(server, kChat, Chat(kHello, {{"response_format", format}})) == named);
  }
  CHECK(Ignored(server, "/v1/completions", {{"prompt", "a"}, {"response_format", format}}) == named);
  CHECK(Ignored(
            server, kResponses,
            {{"input", "Hi"}, {"text", {{"format", {{"type", "json_schema"}, {"name", "x"}, {"schema", schema}}}}}}) ==
        "text.format.schema: format jwt");
  const json tool = {{"type", "function"}, {"function", Function({{"parameters", schema}})}};
  CHECK(Ignored(server, kChat, Chat(kHello, {{"tools", {tool}}, {"tool_choice", "required"}})) ==
        "tools[].function.parameters: format jwt");
}

TEST_CASE("A strict server refuses what is named") {
  TestServiceOptions options;
  options.service.strict = true;
  TestService server(std::move(options));
  const json part = {{"type", "text"}, {"text", "Hi"}, {"x", 1}};
  const auto refused = server.Post(kChat, Chat({{{"role", "user"}, {"content", {part}}}}));
  CHECK(refused.status == 400);
  CHECK(json::parse(refused.body)["error"]["param"] == "messages[].content[].x");
  const auto empty = server.Post(kChat, Chat(kHello, {{"guided_regex", ""}}));
  CHECK(json::parse(empty.body)["error"]["param"] == "guided_regex");
  const json schema = {{"type", "string"}, {"format", "jwt"}};
  CHECK(server.Post(kChat, Chat(kHello, {{"guided_json", schema}})).status == 400);
  CHECK(server.Post("/v1/completions", {{"prompt", "a"}, {"guided_json", schema}}).status == 400);
}

// Shows the roles of `shown`, and speaks of all.
class RolesTemplate final : public tok::ChatTemplate {
 public:
  explicit RolesTemplate(std::set<std::string> shown) : shown_(std::move(shown)) {}
  Result<std::string> Render(const tok::TemplateInput& input, const tok::TemplateBudget&) const override {
    std::string text;
    for (const auto& message : *input.messages) {
      const auto role = message.at("role").get<std::string>();
      if (shown_.count(role) != 0) text += role + ":" + message.at("content").get<std::string>() + "\n";
    }
    return text + "assistant:";
  }
  const std::string& source() const override { return source_; }

 private:
  const std::set<std::string> shown_;
  const std::string source_ = "'system' 'developer' 'tool'";
};

TEST_CASE("Messages of roles that a template drops are named, others not") {
  const auto named = [](std::set<std::string> shown, const json& messages) {
    TestServiceOptions options;
    options.own_template = std::make_shared<RolesTemplate>(std::move(shown));
    TestService server(std::move(options));
    return Ignored(server, kChat, Chat(messages));
  };
  for (const char* text : {"Be brief.", "A longer message, which is looked for in the prompt.", "Hi"}) {
    CAPTURE(text);
    const json system = {{"role", "system"}, {"content", text}},
               developer = {{"role", "developer"}, {"content", std::string(text) + "!"}};
    CHECK(named({"user"}, {system, kUser}) == "messages[].role.system");
    CHECK(named({"user", "system"}, {system, kUser}).empty());
    CHECK(named({"user", "system"}, {system, developer, kUser}) == "messages[].role.developer");
    CHECK(named({"user"}, {developer, kUser}) == "messages[].role.developer");
    CHECK(named({"user", "developer"}, {developer, kUser}).empty());
  }
  CHECK(named({"user"}, {{{"role", "system"}, {"content", " "}}, kUser}).empty());
}

TEST_CASE("Unknown members inside a response request are named in its own words") {
  TestService server;
  const auto ignored = [&](json body) {
    body["max_output_tokens"] = 3;
    return Ignored(server, kResponses, body);
  };
  const json part = {{"type", "input_text"}, {"text", "Hi"}, {"y", 1}};
  CHECK(ignored({{"input", {{{"role", "user"}, {"x", 1}, {"content", {part}}}}}}) == "input[].content[].y, input[].x");
  const json call = {{"type", "function_call"}, {"call_id", "c"}, {"name", "f"}, {"arguments", "{}"}, {"x", 1}};
  const json result = {{"type", "function_call_output"}, {"call_id", "c"}, {"output", "1"}, {"y", 1}};
  const std::string calls = ignored({{"input", {{{"role", "user"}, {"content", "Hi"}}, call, result}}});
  CHECK(calls.find("input[].x, input[].y") != std::string::npos);
  json tool = Function({{"type", "function"}, {"x", 1}});
  CHECK(ignored({{"input", "Hi"}, {"tools", {tool}}}) == "tools[].x");
  CHECK(ignored({{"input", "Hi"}, {"tools", {{{"type", "function"}, {"x", 1}, {"function", Function()}}}}}) ==
        "tools[].x");
  const json format = {{"type", "json_schema"}, {"name", "s"}, {"schema", {{"type", "boolean"}}}, {"x", 1}};
  CHECK(ignored({{"input", "Hi"}, {"text", {{"format", format}}}}) == "text.format.x");
  CHECK(ignored({{"input", "Hi"}, {"reasoning", {{"effort", "low"}}}}) == "reasoning.effort");
  CHECK(ignored({{"input", "Hi"}, {"include", {"file_search_call.results"}}}) == "include.file_search_call.results");
  for (const json& odd : {json(1), json(nullptr), json::object()}) {
    const auto refused = server.Post(kResponses, {{"input", "Hi"}, {"include", {odd}}});
    CHECK(refused.status == 400);
    CHECK(json::parse(refused.body)["error"]["param"] == "include");
  }
}

TEST_CASE("Unknown members inside a message request are named; cache_control holds anyway") {
  TestService server;
  const auto ignored = [&](const json& extra) {
    json body = Chat(kHello);
    body.update(extra);
    return Ignored(server, kMessages, body);
  };
  const json cached = {{"type", "text"}, {"text", "Be kind"}, {"cache_control", {{"type", "ephemeral"}}}};
  json odd = cached;
  odd["x"] = 1;
  odd["citations"] = {{{"type", "char_location"}}};
  CHECK(ignored({{"system", {cached}}, {"messages", {{{"role", "user"}, {"content", {cached}}}}}}).empty());
  CHECK(ignored({{"system", {odd}}}) == "system[].citations, system[].x");
  CHECK(ignored({{"messages", {{{"role", "user"}, {"content", {odd}}}}}}) ==
        "messages[].content[].citations, messages[].content[].x");
  const json tool = {
      {"name", "f"}, {"input_schema", {{"type", "object"}}}, {"x", 1}, {"cache_control", {{"type", "ephemeral"}}}};
  CHECK(ignored({{"tools", {tool}}, {"tool_choice", {{"type", "auto"}, {"y", 1}}}}) == "tool_choice.y, tools[].x");
  const json use = {{"type", "tool_use"}, {"id", "t"}, {"name", "f"}, {"input", json::object()}, {"x", 1}};
  const json failed = {{"type", "tool_result"}, {"tool_use_id", "t"}, {"is_error", true}, {"content", {odd}}};
  const std::string turn = ignored(
      {{"messages", {kUser, {{"role", "assistant"}, {"content", {use}}}, {{"role", "user"}, {"content", {failed}}}}}});
  for (const char* name :
       {"messages[].content[].x", "messages[].content[].is_error", "messages[].content[].content[].x"})
    CHECK(turn.find(name) != std::string::npos);
}

TEST_CASE("Our own replies come back without anything to name") {
  const std::string said = R"(Hm.<tool_call>{"name": "f", "arguments": {}}</tool_call>)";
  TestServiceOptions options;
  options.reply = said;
  options.template_shows = "tool_calls 'tool'";
  TestService server(std::move(options));
  const json tools = {{{"type", "function"}, {"function", Function()}}};
  json body = Chat(kHello, {{"tools", tools}, {"max_tokens", 100}, {"logprobs", true}});
  const json message = json::parse(server.Post(kChat, body).body)["choices"][0]["message"];
  REQUIRE(message["tool_calls"].size() == 1);
  body["messages"].push_back(message);
  body["messages"].push_back({{"role", "tool"}, {"tool_call_id", message["tool_calls"][0]["id"]}, {"content", "1"}});
  CHECK(Ignored(server, kChat, body).empty());

  json flat = Function({{"type", "function"}});
  json ask = {{"input", {kUser}}, {"tools", {flat}}, {"temperature", 0}, {"include", {"message.output_text.logprobs"}}};
  const json response = json::parse(server.Post(kResponses, ask).body);
  REQUIRE(response["output"].size() == 2);
  for (const json& item : response["output"]) ask["input"].push_back(item);
  ask["input"].push_back(
      {{"type", "function_call_output"}, {"call_id", response["output"][1]["call_id"]}, {"output", "1"}});
  CHECK(Ignored(server, kResponses, ask).empty());

  json talk = Chat(kHello, {{"tools", {{{"name", "f"}, {"input_schema", {{"type", "object"}}}}}}, {"max_tokens", 100}});
  const json reply = json::parse(server.Post(kMessages, talk).body);
  REQUIRE(reply["content"].size() == 2);
  talk["messages"].push_back({{"role", "assistant"}, {"content", reply["content"]}});
  talk["messages"].push_back(
      {{"role", "user"}, {"content", {{{"type", "tool_result"}, {"tool_use_id", reply["content"][1]["id"]}}}}});
  CHECK(Ignored(server, kMessages, talk).empty());
}

}  // namespace
}  // namespace quorum::test
