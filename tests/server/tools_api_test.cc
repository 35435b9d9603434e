// Tools over HTTP: requests, calls in whole answers and in streams (openai-conformance.md 20 to 31).
#include <set>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

const std::string kChat = "/v1/chat/completions";
const std::string kCall =
    "Hm.\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>";

json Tool(const std::string& name) {
  return {{"type", "function"}, {"function", {{"name", name}, {"parameters", {{"type", "object"}}}}}};
}
const json kTools = {Tool("get_weather"), Tool("now")};

struct Streamed {
  std::string content, finish;
  json calls = json::array();
  int finishes = 0;
};

// As the SDKs put a stream together, and what they rely on.
Streamed Assemble(const std::string& body) {
  const EventStream stream = ParseEvents(body);
  CHECK(stream.done);
  Streamed message;
  for (const json& chunk : stream.events) {
    for (const json& choice : chunk["choices"]) {
      const json& delta = choice["delta"];
      if (delta.contains("content") && !delta["content"].is_null()) {
        message.content += delta["content"].get<std::string>();
      }
      if (delta.contains("tool_calls")) {
        for (const json& entry : delta["tool_calls"]) {
          const std::size_t index = entry["index"];
          if (index == message.calls.size()) {
            CHECK(entry["id"].get<std::string>().rfind("call_", 0) == 0);
            CHECK(entry["type"] == "function");
            CHECK_FALSE(entry["function"]["name"].get<std::string>().empty());
            message.calls.push_back(entry);
            continue;
          }
          REQUIRE(index < message.calls.size());
          CHECK_FALSE(entry.contains("id"));
          CHECK_FALSE(entry.contains("type"));
          CHECK_FALSE(entry["function"].contains("name"));
          message.calls[index]["function"]["arguments"] =
              message.calls[index]["function"]["arguments"].get<std::string>() +
              entry["function"]["arguments"].get<std::string>();
        }
      }
      if (!choice["finish_reason"].is_null()) {
        ++message.finishes;
        message.finish = choice["finish_reason"];
      }
    }
  }
  return message;
}

TEST_CASE("A call is a call, in one piece and in a stream") {
  TestService server({.reply = kCall});
  const json answer = json::parse(server.Post(kChat, TestService::ChatBody({{"tools", kTools}})).body);
  const json& choice = answer["choices"][0];
  CHECK(choice["finish_reason"] == "tool_calls");
  CHECK(choice["message"]["content"] == "Hm.");
  REQUIRE(choice["message"]["tool_calls"].size() == 1);
  const json& call = choice["message"]["tool_calls"][0];
  CHECK(call["id"].get<std::string>().rfind("call_", 0) == 0);
  CHECK(call["type"] == "function");
  CHECK(call["function"] == json({{"name", "get_weather"}, {"arguments", R"({"city": "Paris"})"}}));
  CHECK(choice["message"]["refusal"].is_null());

  for (const bool logprobs : {false, true}) {
    json body = TestService::ChatBody({{"tools", kTools}, {"stream", true}});
    if (logprobs) body["logprobs"] = true;
    const Streamed streamed = Assemble(server.Post(kChat, body).body);
    CHECK(streamed.content == "Hm.");
    CHECK(streamed.finish == "tool_calls");
    CHECK(streamed.finishes == 1);
    REQUIRE(streamed.calls.size() == 1);
    CHECK(streamed.calls[0]["function"] == call["function"]);
  }
}

TEST_CASE("Several choices call each for themselves, and each call has an id of its own") {
  TestService server({.reply = kCall});
  const json answer = json::parse(server.Post(kChat, TestService::ChatBody({{"tools", kTools}, {"n", 3}})).body);
  std::set<std::string> ids;
  for (const json& choice : answer["choices"]) ids.insert(choice["message"]["tool_calls"][0]["id"].get<std::string>());
  CHECK(ids.size() == 3);
}

TEST_CASE("Without a call in it a message has no tool_calls; with nothing but calls its content is null") {
  TestService plain;
  const json message =
      json::parse(plain.Post(kChat, TestService::ChatBody({{"tools", kTools}})).body)["choices"][0]["message"];
  CHECK_FALSE(message.contains("tool_calls"));
  TestService server({.reply = R"(<tool_call>{"name": "now"}</tool_call>)"});
  const json called =
      json::parse(server.Post(kChat, TestService::ChatBody({{"tools", kTools}})).body)["choices"][0]["message"];
  CHECK(called["content"].is_null());
  CHECK(called["tool_calls"][0]["function"]["arguments"] == "{}");
  for (const bool logprobs : {false, true}) {
    const auto streamed = ParseEvents(
        server.Post(kChat, TestService::ChatBody({{"tools", kTools}, {"stream", true}, {"logprobs", logprobs}})).body);
    const json first = streamed.events.at(0)["choices"][0]["delta"];
    CHECK(first["role"] == "assistant");
    if (!logprobs) CHECK(first["content"].is_null());
    for (const json& event : streamed.events) CHECK(event["choices"][0]["delta"].value("content", json()).is_null());
  }
  const auto text =
      ParseEvents(plain.Post(kChat, TestService::ChatBody({{"tools", kTools}, {"stream", true}})).body).events;
  CHECK(text.at(0)["choices"][0]["delta"] == json({{"role", "assistant"}, {"content", ""}}));
}

TEST_CASE("What does not parse, names no offered tool or may not be called is content") {
  TestService server({.reply = kCall});
  for (const json& extra : {json{{"tools", {Tool("other")}}}, json{{"tools", kTools}, {"tool_choice", "none"}},
                            json::object(), json{{"tools", json::array()}}}) {
    CAPTURE(extra.dump());
    const json answer = json::parse(server.Post(kChat, TestService::ChatBody(extra)).body);
    CHECK(answer["choices"][0]["message"]["content"] == kCall);
    CHECK(answer["choices"][0]["finish_reason"] == "stop");
    json streaming = TestService::ChatBody(extra);
    streaming["stream"] = true;
    const Streamed streamed = Assemble(server.Post(kChat, streaming).body);
    CHECK(streamed.content == kCall);
    CHECK(streamed.calls.empty());
  }
}

TEST_CASE("A call that a limit cuts has finish_reason length") {
  TestService server({.reply = kCall});
  const json body = TestService::ChatBody({{"tools", kTools}, {"max_tokens", 70}});
  const json answer = json::parse(server.Post(kChat, body).body);
  CHECK(answer["choices"][0]["finish_reason"] == "length");
  REQUIRE(answer["choices"][0]["message"]["tool_calls"].size() == 1);
  json streaming = body;
  streaming["stream"] = true;
  const Streamed streamed = Assemble(server.Post(kChat, streaming).body);
  CHECK(streamed.finish == "length");
  CHECK(streamed.calls[0]["function"] == answer["choices"][0]["message"]["tool_calls"][0]["function"]);
}

TEST_CASE("allowed_tools narrows what may be called; parallel_tool_calls false keeps one") {
  TestService server({.reply = kCall + "\n<tool_call>\n{\"name\": \"now\"}\n</tool_call>"});
  const auto calls = [&](const json& extra) {
    const json answer = json::parse(server.Post(kChat, TestService::ChatBody(extra)).body);
    std::vector<std::string> names;
    for (const json& call : answer["choices"][0]["message"].value("tool_calls", json::array()))
      names.push_back(call["function"]["name"]);
    return names;
  };
  CHECK(calls({{"tools", kTools}}) == std::vector<std::string>{"get_weather", "now"});
  CHECK(calls({{"tools", kTools}, {"parallel_tool_calls", false}}) == std::vector<std::string>{"get_weather"});
  const json now = {{"type", "function"}, {"function", {{"name", "now"}}}};
  CHECK(
      calls({{"tools", kTools},
             {"tool_choice", {{"type", "allowed_tools"}, {"allowed_tools", {{"mode", "auto"}, {"tools", {now}}}}}}}) ==
      std::vector<std::string>{"now"});
}

TEST_CASE("A wrong choice of tools is 400 and never a silent default") {
  TestService server;
  const json unknown = {{"type", "function"}, {"function", {{"name", "nope"}}}};
  for (const json& choice :
       {json("always"), json(5), json::array(), json{{"type", "function"}}, unknown, json{{"type", "custom"}},
        json{{"type", "allowed_tools"}, {"mode", "auto"}, {"tools", {unknown}}},
        json{{"type", "allowed_tools"}, {"mode", "never"}, {"tools", {Tool("now")}}},
        json{{"type", "allowed_tools"}, {"mode", "auto"}}}) {
    CAPTURE(choice.dump());
    const auto response = server.Post(kChat, TestService::ChatBody({{"tools", kTools}, {"tool_choice", choice}}));
    CHECK(response.status == 400);
    CHECK(json::parse(response.body)["error"]["param"].get<std::string>().rfind("tool_choice", 0) == 0);
  }
  for (const json& tool : {json{{"type", "web_search"}}, json{{"type", "function"}, {"function", {{"name", ""}}}},
                           json(1), json{{"type", "function"}, {"function", {{"name", "f"}, {"parameters", "x"}}}}}) {
    CHECK(server.Post(kChat, TestService::ChatBody({{"tools", {tool}}})).status == 400);
  }
  CHECK(server.Post(kChat, TestService::ChatBody({{"tools", {{{"type", "function"}, {"function", {{"name", "f"}}}}}}}))
            .status == 200);
}

TEST_CASE("Who asks with functions is answered with one function_call, in one piece and in a stream") {
  TestService server({.reply = kCall + "\n<tool_call>\n{\"name\": \"now\"}\n</tool_call>"});
  const json functions = {kTools[0]["function"], kTools[1]["function"]};
  const json body = TestService::ChatBody({{"functions", functions}, {"n", 2}});
  const json answer = json::parse(server.Post(kChat, body).body);
  const json called = {{"name", "get_weather"}, {"arguments", R"({"city": "Paris"})"}};
  for (const json& choice : answer["choices"]) {
    CHECK(choice["finish_reason"] == "function_call");
    CHECK(choice["message"]["content"] == "Hm.");
    CHECK(choice["message"]["function_call"] == called);
    CHECK_FALSE(choice["message"].contains("tool_calls"));
  }
  json streaming = body;
  streaming["stream"] = true;
  std::string content, arguments;
  int names = 0, ends = 0;
  for (const json& chunk : ParseEvents(server.Post(kChat, streaming).body).events) {
    const json& choice = chunk["choices"][0];
    if (choice["index"] != 1) continue;
    CHECK_FALSE(choice["delta"].contains("tool_calls"));
    const json said = choice["delta"].value("content", json());
    if (!said.is_null()) content += said.get<std::string>();
    if (choice["delta"].contains("function_call")) {
      const json& piece = choice["delta"]["function_call"];
      if (piece.contains("name")) CHECK(piece["name"] == called["name"]);
      names += piece.contains("name") ? 1 : 0;
      arguments += piece["arguments"].get<std::string>();
    }
    ends += choice["finish_reason"] == "function_call" ? 1 : 0;
  }
  CHECK(content == "Hm.");
  CHECK(arguments == called["arguments"]);
  CHECK(names == 1);
  CHECK(ends == 1);

  const auto choice_of = [&](const json& extra) {
    return json::parse(server.Post(kChat, TestService::ChatBody(extra)).body)["choices"][0];
  };
  CHECK(choice_of({{"functions", functions}, {"function_call", "none"}})["finish_reason"] == "stop");
  CHECK(choice_of({{"functions", functions}, {"max_tokens", 70}})["finish_reason"] == "length");
  const json zone = {{"type", "object"},
                     {"properties", {{"zone", {{"enum", {"UTC", "CET"}}}}}},
                     {"required", {"zone"}},
                     {"additionalProperties", false}};
  const json forced = choice_of({{"functions", {functions[0], {{"name", "now"}, {"parameters", zone}}}},
                                 {"function_call", {{"name", "now"}}},
                                 {"max_tokens", 200}});
  CHECK(forced["finish_reason"] == "function_call");
  CHECK(forced["message"]["content"].is_null());
  CHECK(forced["message"]["function_call"]["name"] == "now");
  CHECK(json::parse(forced["message"]["function_call"]["arguments"].get<std::string>()).contains("zone"));
}

TEST_CASE("continue_final_message goes on inside the last message") {
  TestService server;
  const json messages = {{{"role", "user"}, {"content", "Greet"}}, {{"role", "assistant"}, {"content", "Hello, "}}};
  const auto response = server.Post("/tokenize", {{"messages", messages}, {"continue_final_message", true}});
  REQUIRE(response.status == 200);
  std::string text;
  const json answer = json::parse(response.body);
  for (const json& id : answer["tokens"]) text += server.tokenizer().TokenBytes(id.get<int>());
  CHECK(text == "<|im_start|>user\nGreet<|im_end|>\n<|im_start|>assistant\nHello, ");
  const json said = json::parse(
      server.Post(kChat, TestService::ChatBody({{"messages", messages}, {"continue_final_message", true}})).body);
  CHECK(said["choices"][0]["message"]["content"] == "world!");
}

TEST_CASE("Channels: reasoning is apart from content, and ends before it begins") {
  TestService server(
      {.reply = "<|channel|>analysis<|message|>Greet them.<|end|><|start|>assistant<|channel|>final<|message|>Hi!",
       .tool_format = server::ToolFormat::kHarmony});
  const json message = json::parse(server.Post(kChat, TestService::ChatBody()).body)["choices"][0]["message"];
  CHECK(message["reasoning_content"] == "Greet them.");
  CHECK(message["content"] == "Hi!");
  std::string reasoning, content;
  for (const json& chunk : ParseEvents(server.Post(kChat, TestService::ChatBody({{"stream", true}})).body).events) {
    const json& delta = chunk["choices"][0]["delta"];
    if (delta.contains("reasoning_content")) {
      CHECK(content.empty());
      reasoning += delta["reasoning_content"].get<std::string>();
    }
    content += delta.value("content", "");
  }
  CHECK(reasoning == "Greet them.");
  CHECK(content == "Hi!");
  const json blocks =
      json::parse(server.Post("/v1/messages", TestService::ChatBody({{"max_tokens", 200}})).body)["content"];
  REQUIRE(blocks.size() == 2);
  CHECK(blocks[0]["type"] == "thinking");
  CHECK(blocks[0]["thinking"] == "Greet them.");
  const json items = json::parse(server.Post("/v1/responses", {{"input", "Hi"}, {"temperature", 0}}).body)["output"];
  REQUIRE(items.size() == 2);
  CHECK(items[0]["type"] == "reasoning");
  CHECK(items[0]["content"][0]["text"] == "Greet them.");
  CHECK(items[1]["content"][0]["text"] == "Hi!");
}

}  // namespace
}  // namespace quorum::test
