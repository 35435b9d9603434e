// POST /v1/messages over HTTP (openai-conformance.md 70, 71).
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

const std::string kPath = "/v1/messages";

json Body(const json& extra = json::object()) {
  json body = {{"model", "test/model:1"},
               {"max_tokens", 100},
               {"temperature", 0},
               {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  body.update(extra);
  return body;
}

struct Named {
  std::string event;
  json data;
};

std::vector<Named> NamedEvents(const std::string& body) {
  std::vector<Named> events;
  std::size_t at = 0;
  while (at < body.size()) {
    const std::size_t end = body.find("\n\n", at);
    REQUIRE(end != std::string::npos);
    const std::string text = body.substr(at, end - at);
    at = end + 2;
    if (text.rfind(": ", 0) == 0) continue;
    REQUIRE(text.rfind("event: ", 0) == 0);
    const std::size_t line = text.find("\ndata: ");
    REQUIRE(line != std::string::npos);
    events.push_back({text.substr(7, line - 7), json::parse(text.substr(line + 7))});
    CHECK(events.back().data["type"] == events.back().event);
  }
  return events;
}

TEST_CASE("A message may ask for experts and reports as a chat does") {
  TestServiceOptions options;
  options.experts = {2, {0, 4, 4}};
  TestService server(std::move(options));
  const json asks = {
      {"moe", {{"top_k", 3}, {"report", true}}}, {"cache_report", true}, {"priority", 2}, {"timeout", 60}};
  const auto response = server.Post(kPath, Body(asks));
  REQUIRE(response.status == 200);
  CHECK(response.Header("x-quorum-ignored").empty());
  const json answer = json::parse(response.body);
  CHECK(answer["moe"]["layers"].size() == 2);
  CHECK(answer["cache"]["prompt_tokens"] == 21);
  CHECK_FALSE(answer.contains("timed_out"));

  json streamed = asks;
  streamed["stream"] = true;
  for (const Named& event : NamedEvents(server.Post(kPath, Body(streamed)).body)) {
    CHECK(event.data.contains("moe") == (event.event == "message_delta"));
    CHECK(event.data.contains("cache") == (event.event == "message_delta"));
  }
  CHECK(server.Post(kPath, Body({{"moe", {{"report", "tokens"}}}})).Header("x-quorum-ignored") == "moe.report");
  CHECK(server.Post(kPath, Body({{"moe", {{"top_k", 9}}}})).status == 400);
  const json thinking = {{"thinking", {{"type", "enabled"}, {"budget_tokens", 10}}}};
  CHECK(server.Post(kPath, Body(thinking)).Header("x-quorum-ignored") == "thinking, thinking.budget_tokens");
}

TEST_CASE("A message has Anthropic's shape") {
  TestService server;
  const auto response = server.Post(kPath, Body());
  REQUIRE(response.status == 200);
  const json answer = json::parse(response.body);
  CHECK(answer["id"].get<std::string>().rfind("msg_", 0) == 0);
  CHECK(answer["type"] == "message");
  CHECK(answer["role"] == "assistant");
  CHECK(answer["model"] == "test/model:1");
  CHECK(answer["content"] == json({{{"type", "text"}, {"text", "Hello, world!"}}}));
  CHECK(answer["stop_reason"] == "end_turn");
  CHECK(answer["stop_sequence"].is_null());
  CHECK(answer["usage"]["input_tokens"] == 21);
  CHECK(answer["usage"]["output_tokens"] == 10);
  CHECK_FALSE(response.Header("request-id").empty());
}

TEST_CASE("A stream has Anthropic's events in their order, and says the same") {
  TestService server;
  const auto response = server.Post(kPath, Body({{"stream", true}}));
  CHECK(response.Header("content-type") == "text/event-stream; charset=utf-8");
  const auto events = NamedEvents(response.body);
  REQUIRE(events.size() >= 6);
  CHECK(events[0].event == "message_start");
  CHECK(events[0].data["message"]["content"].empty());
  CHECK(events[0].data["message"]["usage"]["input_tokens"] == 21);
  CHECK(events[1].event == "content_block_start");
  CHECK(events[1].data["content_block"] == json({{"type", "text"}, {"text", ""}}));
  std::string text;
  for (std::size_t i = 2; i + 3 < events.size(); ++i) {
    CHECK(events[i].event == "content_block_delta");
    CHECK(events[i].data["index"] == 0);
    CHECK(events[i].data["delta"]["type"] == "text_delta");
    text += events[i].data["delta"]["text"].get<std::string>();
  }
  CHECK(text == "Hello, world!");
  CHECK(events[events.size() - 3].event == "content_block_stop");
  CHECK(events[events.size() - 2].event == "message_delta");
  CHECK(events[events.size() - 2].data["delta"]["stop_reason"] == "end_turn");
  CHECK(events[events.size() - 2].data["usage"]["output_tokens"] == 10);
  CHECK(events.back().event == "message_stop");
}

TEST_CASE("Stop reasons: limits and stop sequences") {
  TestService server;
  const json cut = json::parse(server.Post(kPath, Body({{"max_tokens", 3}})).body);
  CHECK(cut["stop_reason"] == "max_tokens");
  const json stopped = json::parse(server.Post(kPath, Body({{"stop_sequences", {"wor"}}})).body);
  CHECK(stopped["stop_reason"] == "stop_sequence");
  CHECK(stopped["stop_sequence"] == "wor");
  CHECK(stopped["content"][0]["text"] == "Hello, ");
}

TEST_CASE("Tools: calls become tool_use blocks, in a stream with their input as JSON text") {
  TestService server(
      {.reply = "Hm.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>"});
  const json tools = {{{"name", "weather"}, {"description", "x"}, {"input_schema", {{"type", "object"}}}}};
  const json answer = json::parse(server.Post(kPath, Body({{"tools", tools}})).body);
  CHECK(answer["stop_reason"] == "tool_use");
  REQUIRE(answer["content"].size() == 2);
  CHECK(answer["content"][0]["text"] == "Hm.");
  CHECK(answer["content"][1]["type"] == "tool_use");
  CHECK(answer["content"][1]["id"].get<std::string>().rfind("toolu_", 0) == 0);
  CHECK(answer["content"][1]["name"] == "weather");
  CHECK(answer["content"][1]["input"] == json({{"city", "Paris"}}));

  std::string input;
  std::vector<std::string> order;
  for (const Named& event : NamedEvents(server.Post(kPath, Body({{"tools", tools}, {"stream", true}})).body)) {
    if (event.event == "content_block_start") order.push_back(event.data["content_block"]["type"]);
    if (event.event == "content_block_stop") order.emplace_back("stop");
    if (event.event == "content_block_delta" && event.data["delta"]["type"] == "input_json_delta") {
      CHECK(event.data["index"] == 1);
      input += event.data["delta"]["partial_json"].get<std::string>();
    }
  }
  CHECK(order == std::vector<std::string>{"text", "stop", "tool_use", "stop"});
  CHECK(json::parse(input) == json({{"city", "Paris"}}));
  const json none = json::parse(server.Post(kPath, Body({{"tools", tools}, {"tool_choice", {{"type", "none"}}}})).body);
  CHECK(none["stop_reason"] == "end_turn");
}

std::string PromptOf(TestService& server, const json& body) {
  // What the model read, seen through the count of its bytes: control tokens count one.
  const auto response = server.Post("/v1/messages/count_tokens", body);
  REQUIRE(response.status == 200);
  return std::to_string(json::parse(response.body)["input_tokens"].get<int>());
}

TEST_CASE("System texts, blocks and billing headers; results of tools; prefill") {
  TestService server;
  const std::string with_system = PromptOf(server, Body({{"system", "Be brief"}}));
  CHECK(with_system == PromptOf(server, Body({{"system", {{{"type", "text"}, {"text", "Be brief"}}}}})));
  CHECK(with_system ==
        PromptOf(server,
                 Body({{"system",
                        {{{"type", "text"}, {"text", "x-anthropic-billing-header: cc_version=2.1; cch=a1b2c;"}},
                         {{"type", "text"}, {"text", "Be brief"}, {"cache_control", {{"type", "ephemeral"}}}}}}})));
  CHECK(with_system == PromptOf(server, Body({{"system", "x-anthropic-billing-header: cch=1\nBe brief"}})));
  CHECK(PromptOf(server, Body()) == PromptOf(server, Body({{"system", "x-anthropic-billing-header: cch=1"}})));
  const json history = {
      {{"role", "user"}, {"content", {{{"type", "text"}, {"text", "Weather?"}}}}},
      {{"role", "assistant"},
       {"content",
        {{{"type", "thinking"}, {"thinking", "hm"}, {"signature", ""}},
         {{"type", "tool_use"}, {"id", "toolu_1"}, {"name", "weather"}, {"input", {{"city", "Paris"}}}}}}},
      {{"role", "user"},
       {"content",
        {{{"type", "tool_result"}, {"tool_use_id", "toolu_1"}, {"content", {{{"type", "text"}, {"text", "mild"}}}}},
         {{"type", "text"}, {"text", "Well?"}}}}}};
  const auto answered = server.Post(kPath, Body({{"messages", history}}));
  CHECK(answered.status == 200);
  CHECK(PromptOf(server, Body({{"messages", history}})) ==
        std::to_string(json::parse(answered.body)["usage"]["input_tokens"].get<int>() +
                       json::parse(answered.body)["usage"]["cache_read_input_tokens"].get<int>()));
  const json prefill = {{{"role", "user"}, {"content", "Greet"}}, {{"role", "assistant"}, {"content", "Hello, "}}};
  CHECK(json::parse(server.Post(kPath, Body({{"messages", prefill}})).body)["content"][0]["text"] == "world!");
}

TEST_CASE("A message follows the schema of output_config, also by its older name") {
  TestService server;
  const json schema = {{"type", "object"},
                       {"properties", {{"size", {{"enum", {"small", "large"}}}}}},
                       {"required", {"size"}},
                       {"additionalProperties", false}};
  const json format = {{"type", "json_schema"}, {"schema", schema}};
  for (const json& asked : {json{{"output_config", {{"format", format}}}}, json{{"output_format", format}}}) {
    const auto answered = server.Post(kPath, Body(asked));
    REQUIRE(answered.status == 200);
    CHECK(answered.Header("x-quorum-ignored").empty());
    const json made = json::parse(json::parse(answered.body)["content"][0]["text"].get<std::string>());
    CHECK((made == json{{"size", "small"}} || made == json{{"size", "large"}}));
  }
  for (const json& wrong : {json{{"output_config", 5}}, json{{"output_config", {{"format", {{"type", "text"}}}}}},
                            json{{"output_format", {{"type", "json_schema"}, {"schema", {{"type", "odd"}}}}}}}) {
    CHECK(server.Post(kPath, Body(wrong)).status == 400);
  }
}

TEST_CASE("Models have Anthropic's shape for who sends its version") {
  TestService server;
  const std::string version = "anthropic-version: 2023-06-01\r\n";
  const json list = json::parse(server.Get("/v1/models", version).body);
  const json one = {
      {"type", "model"},         {"id", "test/model:1"}, {"display_name", "test/model:1"},      {"lifecycle", "active"},
      {"max_input_tokens", 2047}, {"max_tokens", 2047},    {"created_at", "1970-01-15T06:56:07Z"}};
  CHECK(list == json({{"data", {one}}, {"has_more", false}, {"first_id", one["id"]}, {"last_id", one["id"]}}));
  CHECK(json::parse(server.Get("/v1/models/test%2Fmodel:1", version).body) == one);
  CHECK(json::parse(server.Get("/v1/models").body)["object"] == "list");
}

TEST_CASE("Errors have Anthropic's shape; a key may come as x-api-key") {
  TestServiceOptions options;
  options.service.keys = *server::ApiKeys::FromText("secret", "keys");
  TestService server(std::move(options));
  const auto denied = server.Post(kPath, Body());
  CHECK(denied.status == 401);
  CHECK(json::parse(denied.body)["type"] == "error");
  CHECK(json::parse(denied.body)["error"]["type"] == "authentication_error");
  CHECK(server.Post(kPath, Body(), "x-api-key: secret\r\nanthropic-version: 2023-06-01\r\n").status == 200);
  CHECK(server.Post(kPath, Body(), "x-api-key: secre\r\n").status == 401);
  for (const json& wrong : {json{{"max_tokens", nullptr}}, json{{"messages", json::array()}}, json{{"system", 5}},
                            json{{"messages", {{{"role", "king"}, {"content", "x"}}}}},
                            json{{"messages", {{{"role", "user"}, {"content", {{{"type", "image"}}}}}}}},
                            json{{"tools", {{{"type", "bash_20250124"}, {"name", "bash"}}}}},
                            json{{"tool_choice", {{"type", "sometimes"}}}}, json{{"thinking", {{"type", "maybe"}}}},
                            json{{"stop_sequences", "x"}}}) {
    CAPTURE(wrong.dump());
    const auto response = server.Post(kPath, Body(wrong), "x-api-key: secret\r\n");
    CHECK(response.status == 400);
    CHECK(json::parse(response.body)["error"]["type"] == "invalid_request_error");
  }
}

}  // namespace
}  // namespace quorum::test
