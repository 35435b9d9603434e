// POST /v1/responses over HTTP.
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "server/response_store.h"
#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

const std::string kPath = "/v1/responses";

std::vector<json> Events(const std::string& body) {
  std::vector<json> events;
  std::size_t at = 0;
  while (at < body.size()) {
    const std::size_t end = body.find("\n\n", at);
    REQUIRE(end != std::string::npos);
    const std::string text = body.substr(at, end - at);
    at = end + 2;
    if (text.rfind(": ", 0) == 0) continue;
    const std::size_t line = text.find("\ndata: ");
    REQUIRE(line != std::string::npos);
    events.push_back(json::parse(text.substr(line + 7)));
    CHECK("event: " + events.back()["type"].get<std::string>() == text.substr(0, line));
    CHECK(events.back()["sequence_number"] == events.size() - 1);
  }
  return events;
}

TEST_CASE("A response has OpenAI's shape") {
  TestService server;
  const auto answered = server.Post(kPath, {{"model", "test/model:1"}, {"input", "Hi"}, {"temperature", 0}});
  REQUIRE(answered.status == 200);
  const json response = json::parse(answered.body);
  CHECK(response["id"].get<std::string>().rfind("resp_", 0) == 0);
  CHECK(response["object"] == "response");
  CHECK(response["status"] == "completed");
  CHECK(response["error"].is_null());
  REQUIRE(response["output"].size() == 1);
  const json& item = response["output"][0];
  CHECK(item["type"] == "message");
  CHECK(item["role"] == "assistant");
  CHECK(item["content"] == json({{{"type", "output_text"},
                                  {"text", "Hello, world!"},
                                  {"annotations", json::array()},
                                  {"logprobs", json::array()}}}));
  CHECK(response["usage"]["input_tokens"] == 21);
  CHECK(response["usage"]["output_tokens"] == 10);
  CHECK(response["usage"]["total_tokens"] == 31);
  CHECK(response["usage"]["input_tokens_details"] == json({{"cached_tokens", 0}, {"cache_write_tokens", 0}}));
  CHECK(response["tools"].empty());
  CHECK(response["tool_choice"] == "auto");
  CHECK(response["parallel_tool_calls"] == true);

  const json cut =
      json::parse(server.Post(kPath, {{"input", "Hi"}, {"temperature", 0}, {"max_output_tokens", 3}}).body);
  CHECK(cut["status"] == "incomplete");
  CHECK(cut["incomplete_details"]["reason"] == "max_output_tokens");
  CHECK_FALSE(cut.contains("cache"));
  const auto reported = server.Post(kPath, {{"input", "Hi"}, {"max_output_tokens", 3}, {"cache_report", true}});
  CHECK(json::parse(reported.body)["cache"].is_object());
}

TEST_CASE("A stream of a response: created, its item and text, completed") {
  TestService server;
  const auto events = Events(server.Post(kPath, {{"input", "Hi"}, {"temperature", 0}, {"stream", true}}).body);
  std::vector<std::string> types;
  std::string text;
  for (const json& event : events) {
    if (types.empty() || types.back() != event["type"]) types.push_back(event["type"]);
    if (event["type"] == "response.output_text.delta") text += event["delta"].get<std::string>();
  }
  CHECK(types == std::vector<std::string>{"response.created", "response.in_progress", "response.output_item.added",
                                          "response.content_part.added", "response.output_text.delta",
                                          "response.output_text.done", "response.content_part.done",
                                          "response.output_item.done", "response.completed"});
  CHECK(text == "Hello, world!");
  const json& done = events.back()["response"];
  CHECK(done["id"] == events.front()["response"]["id"]);
  CHECK(done["output"][0]["content"][0]["text"] == "Hello, world!");
  CHECK(done["output"][0]["id"] == events[2]["item"]["id"]);
}

TEST_CASE("Function calls are items with their arguments streamed") {
  TestService server({.reply = R"(<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>)"});
  const json body = {
      {"input", "Hi"},
      {"temperature", 0},
      {"tools",
       {{{"type", "function"}, {"name", "weather"}, {"parameters", {{"type", "object"}}}}, {{"type", "web_search"}}}}};
  const auto answered = server.Post(kPath, body);
  CHECK(answered.Header("x-quorum-ignored") == "tools[].type.web_search");
  const json item = json::parse(answered.body)["output"][0];
  CHECK(item["type"] == "function_call");
  CHECK(item["name"] == "weather");
  CHECK(item["arguments"] == R"({"city": "Paris"})");
  CHECK(item["call_id"].get<std::string>().rfind("call_", 0) == 0);
  json streaming = body;
  streaming["stream"] = true;
  std::string arguments, done;
  for (const json& event : Events(server.Post(kPath, streaming).body)) {
    if (event["type"] == "response.function_call_arguments.delta") arguments += event["delta"].get<std::string>();
    if (event["type"] == "response.function_call_arguments.done") done = event["arguments"];
  }
  CHECK(arguments == R"({"city": "Paris"})");
  CHECK(done == arguments);
}

TEST_CASE("Items carry a conversation, and so does previous_response_id") {
  TestService server;
  const json items = {
      {{"role", "user"}, {"content", {{{"type", "input_text"}, {"text", "Weather?"}}}}},
      {{"type", "reasoning"}, {"summary", json::array()}, {"content", {{{"type", "reasoning_text"}, {"text", "hm"}}}}},
      {{"type", "function_call"}, {"call_id", "c1"}, {"name", "f"}, {"arguments", "{}"}},
      {{"type", "function_call_output"}, {"call_id", "c1"}, {"output", "mild"}},
      {{"type", "message"}, {"role", "assistant"}, {"content", {{{"type", "output_text"}, {"text", "Mild."}}}}},
      {{"role", "developer"}, {"content", "Shorter"}}};
  CHECK(server.Post(kPath, {{"input", items}, {"instructions", "Be kind"}}).status == 200);

  const json first = json::parse(server.Post(kPath, {{"input", "Hi"}, {"temperature", 0}}).body);
  const json second = json::parse(
      server.Post(kPath, {{"input", "Hi"}, {"temperature", 0}, {"previous_response_id", first["id"]}}).body);
  CHECK(second["previous_response_id"] == first["id"]);
  CHECK(second["usage"]["input_tokens"].get<int>() > first["usage"]["input_tokens"].get<int>() + 13);
  const std::string id = second["id"];
  CHECK(json::parse(server.Get(kPath + "/" + id).body)["output"] == second["output"]);
  CHECK(json::parse(server::Fetch(server.port(), "DELETE", kPath + "/" + id).body)["deleted"] == true);
  CHECK(server.Get(kPath + "/" + id).status == 404);
  const auto gone = server.Post(kPath, {{"input", "Hi"}, {"previous_response_id", id}});
  CHECK(gone.status == 400);
  CHECK(json::parse(gone.body)["error"]["code"] == "previous_response_not_found");
  const json unkept = json::parse(server.Post(kPath, {{"input", "Hi"}, {"store", false}}).body);
  CHECK(server.Get(kPath + "/" + unkept["id"].get<std::string>()).status == 404);
}

TEST_CASE("An item of a stored response can be referred to by its id") {
  TestService server;
  const json first = json::parse(server.Post(kPath, {{"input", "Hi"}, {"temperature", 0}}).body);
  const std::string id = first["output"][0]["id"];
  const json user = {{"role", "user"}, {"content", "Again"}};
  const json whole = {{{"role", "user"}, {"content", "Hi"}}, first["output"][0], user};
  const json want = json::parse(server.Post(kPath, {{"input", whole}, {"temperature", 0}}).body);

  const std::string path = kPath + "/" + first["id"].get<std::string>() + "/input_items";
  const std::string input_id = json::parse(server.Get(path).body)["data"][0]["id"];
  for (const json& reference : {json{{"type", "item_reference"}, {"id", id}}, json{{"id", id}}}) {
    const json input = {{{"type", "item_reference"}, {"id", input_id}}, reference, user};
    const auto answered = server.Post(kPath, {{"input", input}, {"temperature", 0}});
    CAPTURE(answered.body);
    REQUIRE(answered.status == 200);
    const json got = json::parse(answered.body);
    CHECK(got["usage"]["input_tokens"] == want["usage"]["input_tokens"]);
    // What it meant is kept, not the reference.
    const std::string items = kPath + "/" + got["id"].get<std::string>() + "/input_items?order=asc";
    CHECK(json::parse(server.Get(items).body)["data"][1]["content"][0]["text"] == "Hello, world!");
  }

  const json twice = {{{"type", "item_reference"}, {"id", id}}, {{"id", id}}, user};
  const auto duplicate = server.Post(kPath, {{"input", twice}});
  CHECK(duplicate.status == 400);
  CHECK(json::parse(duplicate.body)["error"]["code"] == "duplicate_item");
  CHECK(server.Post(kPath, {{"input", {{{"type", "item_reference"}, {"id", 7}}}}}).status == 400);

  const auto refused = [&](const std::string& what) {
    const json input = {{{"type", "item_reference"}, {"id", what}}, user};
    const auto answered = server.Post(kPath, {{"input", input}});
    CAPTURE(what, answered.body);
    CHECK(answered.status == 404);
    CHECK(json::parse(answered.body)["error"]["code"] == "item_not_found");
    CHECK(json::parse(answered.body)["error"]["param"] == "input[0]");
  };
  const std::string prefix = "item_" + first["id"].get<std::string>();
  for (const std::string& what : {std::string("msg_none"), std::string(""), std::string("item_"), std::string("item__"),
                                  prefix, prefix + "_", prefix + "_9", prefix + "_-1", prefix + "_1x"}) {
    refused(what);
  }
  const json unkept = json::parse(server.Post(kPath, {{"input", "Hi"}, {"store", false}}).body);
  refused(unkept["output"][0]["id"]);
  CHECK(server::Fetch(server.port(), "DELETE", kPath + "/" + first["id"].get<std::string>()).status == 200);
  refused(id);
  refused(input_id);
}

TEST_CASE("A stream and the response it ends with agree about an item that was cut") {
  TestService server;
  const auto events = Events(
      server.Post(kPath, {{"input", "Hi"}, {"temperature", 0}, {"max_output_tokens", 3}, {"stream", true}}).body);
  const json& last = events.back();
  CHECK(last["type"] == "response.incomplete");
  int done = 0;
  for (const json& event : events) {
    if (event["type"] != "response.output_item.done") continue;
    ++done;
    CHECK(event["item"]["status"] == "incomplete");
    CHECK(event["item"] == last["response"]["output"][0]);
  }
  CHECK(done == 1);
}

TEST_CASE("Metadata are kept, and names of chat requests are refused") {
  TestService server;
  const json metadata = {{"a", "b"}};
  const auto answered = server.Post(kPath, {{"input", "Hi"}, {"metadata", metadata}});
  REQUIRE(answered.status == 200);
  CHECK(answered.Header("x-quorum-ignored").empty());
  const json response = json::parse(answered.body);
  CHECK(response["metadata"] == metadata);
  CHECK(json::parse(server.Get(kPath + "/" + response["id"].get<std::string>()).body)["metadata"] == metadata);

  for (const char* name : {"messages", "max_completion_tokens", "max_tokens", "response_format"}) {
    const auto refused = server.Post(kPath, {{"input", "Hi"}, {name, json::array()}});
    CAPTURE(name, refused.body);
    CHECK(refused.status == 400);
    CHECK(json::parse(refused.body)["error"]["param"] == name);
    CHECK(server.Post(kPath, {{"input", "Hi"}, {name, nullptr}}).status == 200);
  }
  const auto number = server.Post(kPath, {{"input", "Hi"}, {"metadata", {{"a", 1}}}});
  CHECK(number.status == 400);
  CHECK(json::parse(number.body)["error"]["param"] == "metadata");
}

TEST_CASE("The store forgets what was not used for longest, by bytes and by number") {
  server::ResponseStore store(4000, 3);
  const server::Json small = {{"a", 1}};
  for (const char* id : {"a", "b", "c"}) store.Put(id, {small, server::Json::array()});
  CHECK(store.Get("a").has_value());
  store.Put("d", {small, server::Json::array()});
  CHECK_FALSE(store.Get("b").has_value());
  CHECK(store.Get("a").has_value());
  store.Put("huge", {std::string(10'000, 'x'), server::Json::array()});
  CHECK_FALSE(store.Get("huge").has_value());
  store.Put("large", {std::string(400, 'x'), server::Json::array()});
  CHECK(store.Get("large").has_value());
  CHECK(store.Erase("large"));
  CHECK_FALSE(store.Erase("large"));
}

TEST_CASE("The input items of a stored response are listed, those of earlier turns too") {
  TestService server;
  const json first = json::parse(server.Post(kPath, {{"input", "Hi"}, {"temperature", 0}}).body);
  const json second = json::parse(
      server.Post(kPath, {{"input", "Again"}, {"temperature", 0}, {"previous_response_id", first["id"]}}).body);
  const std::string path = kPath + "/" + second["id"].get<std::string>() + "/input_items";
  const auto answered = server.Get(path + "?order=asc");
  REQUIRE(answered.status == 200);
  const json list = json::parse(answered.body);
  REQUIRE(list["data"].size() == 3);
  CHECK(list["data"][0]["content"][0] == json({{"type", "input_text"}, {"text", "Hi"}}));
  CHECK(list["data"][1]["role"] == "assistant");
  CHECK(list["data"][1]["content"][0]["text"] == "Hello, world!");
  CHECK(list["data"][2]["content"][0]["text"] == "Again");
  for (const json& item : list["data"]) {
    CHECK(item["type"] == "message");
    CHECK(item["id"].is_string());
  }
  CHECK(list["last_id"] == list["data"][2]["id"]);
  CHECK(list["has_more"] == false);
  CHECK(server.Get(kPath + "/resp_none/input_items").status == 404);

  const auto ids = [&](const std::string& query) {
    const auto page = server.Get(path + query);
    CAPTURE(query, page.body);
    REQUIRE(page.status == 200);
    const json found = json::parse(page.body);
    json of_page = json::array();
    for (const json& item : found["data"]) of_page.push_back(item["id"]);
    CHECK(found["first_id"] == (of_page.empty() ? json() : of_page.front()));
    CHECK(found["last_id"] == (of_page.empty() ? json() : of_page.back()));
    return std::pair(of_page, found["has_more"].get<bool>());
  };
  const json a = list["data"][0]["id"], b = list["data"][1]["id"], c = list["data"][2]["id"];
  CHECK(ids("") == std::pair(json({c, b, a}), false));  // the newest first
  CHECK(ids("?order=desc&limit=2") == std::pair(json({c, b}), true));
  CHECK(ids("?limit=2&after=" + b.get<std::string>()) == std::pair(json({a}), false));
  CHECK(ids("?order=asc&limit=1&after=" + a.get<std::string>()) == std::pair(json({b}), true));
  CHECK(ids("?order=asc&after=" + c.get<std::string>()) == std::pair(json::array(), false));
  for (const char* wrong : {"?limit=0", "?limit=101", "?limit=x", "?limit=", "?limit=-1", "?limit=1e1", "?order=up",
                            "?after=item_none", "?limit=%zz"}) {
    CHECK(server.Get(path + wrong).status == 400);
  }
  CHECK(server.Get(path + "?include%5B%5D=x&before=y").Header("x-quorum-ignored") == "before, include[]");
}

TEST_CASE("A stored response: options are named, nothing can be cancelled, other methods are refused") {
  TestService server;
  const std::string path =
      kPath + "/" + json::parse(server.Post(kPath, {{"input", "Hi"}}).body)["id"].get<std::string>();
  CHECK(server.Get(path).Header("x-quorum-ignored").empty());
  CHECK(server.Get(path + "?stream=false").Header("x-quorum-ignored").empty());
  CHECK(server.Get(path + "?starting_after=3").Header("x-quorum-ignored") == "starting_after");
  // An SDK would read the object as a stream without events.
  const auto streamed = server.Get(path + "?stream=true");
  CHECK(streamed.status == 400);
  CHECK(json::parse(streamed.body)["error"]["param"] == "stream");
  const auto cancelled = server.Post(path + "/cancel", json::object());
  CHECK(cancelled.status == 400);
  CHECK(json::parse(cancelled.body)["error"]["message"].get<std::string>().find("only background responses") == 0);
  CHECK(server.Post(kPath + "/resp_none/cancel", json::object()).status == 404);
  CHECK(server.Get(path + "/cancel").status == 405);
  const auto posted = server.Post(path, json::object());
  CHECK(posted.status == 405);
  CHECK(posted.Header("allow") == "GET, HEAD, DELETE");
  CHECK(server::Fetch(server.port(), "DELETE", path + "/input_items").status == 405);
  CHECK(server.Get(path).status == 200);
  CHECK(server.Post(kPath + "/input_tokens", {{"input", "Hi"}}).status == 200);
}

TEST_CASE("A reply of nothing has an empty text, in one piece and in a stream") {
  TestService server({.logits = [](std::span<const tok::TokenId>, std::span<float> row) { row[kImEnd] = 9; }});
  const json text = {
      {"type", "output_text"}, {"text", ""}, {"annotations", json::array()}, {"logprobs", json::array()}};
  const json response = json::parse(server.Post(kPath, {{"input", "Hi"}, {"temperature", 0}}).body);
  REQUIRE(response["output"].size() == 1);
  CHECK(response["output"][0]["content"] == json({text}));
  const auto events = Events(server.Post(kPath, {{"input", "Hi"}, {"temperature", 0}, {"stream", true}}).body);
  CHECK(events.back()["response"]["output"][0]["content"] == json({text}));
  CHECK(events.at(2)["type"] == "response.output_item.added");

  json body = TestService::ChatBody({{"max_tokens", 9}});
  CHECK(json::parse(server.Post("/v1/messages", body).body)["content"] == json({{{"type", "text"}, {"text", ""}}}));
  body["stream"] = true;
  const std::string streamed = server.Post("/v1/messages", body).body;
  CHECK(streamed.find("event: content_block_start") < streamed.find("event: content_block_stop"));
  CHECK(streamed.find("event: content_block_stop") != std::string::npos);
}

TEST_CASE("Errors and echoes speak of a response's own fields") {
  TestService server;
  const json error = json::parse(server.Post(kPath, {{"input", "x"}, {"max_output_tokens", 0}}).body)["error"];
  CHECK(error["message"] == "'max_output_tokens' must be at least 1, but is 0");
  const json format = json::parse(
      server
          .Post(kPath,
                {{"input", "x"}, {"text", {{"format", {{"type", "json_schema"}, {"name", "a b"}, {"schema", true}}}}}})
          .body)["error"];
  CHECK(format["param"] == "text.format.name");
  CHECK(format["message"].get<std::string>().find("'text.format.name' must be") == 0);
  const auto clamped = server.Post(kPath, {{"input", "x"}, {"max_output_tokens", 100'000}});
  CHECK(clamped.Header("x-quorum-clamped") == "max_output_tokens");
  const json echoed = json::parse(server.Post(kPath, {{"input", "x"}, {"text", {{"verbosity", "low"}}}}).body)["text"];
  CHECK(echoed == json({{"verbosity", "low"}, {"format", {{"type", "text"}}}}));
}

TEST_CASE("The tokens of a response's input are counted without computing it") {
  TestService server;
  const json body = {{"input", {{{"role", "user"}, {"content", "Hi"}}}}, {"instructions", "Be brief."}};
  const json counted = json::parse(server.Post(kPath + "/input_tokens", body).body);
  CHECK(server.steps == 0);
  CHECK(counted["object"] == "response.input_tokens");
  CHECK(counted["input_tokens"] == json::parse(server.Post(kPath, body).body)["usage"]["input_tokens"]);
  CHECK(server.Post(kPath + "/input_tokens", {{"input", 5}}).status == 400);
}

TEST_CASE("What is wrong with a response request is named") {
  TestService server;
  struct Case {
    json body;
    std::string param;
  };
  const auto c = GENERATE(values<Case>({
      {json::object(), "input"},
      {{{"input", json::array()}}, "input"},
      {{{"input", 5}}, "input"},
      {{{"input", {{{"type", "computer_call"}}}}}, "input[0]"},
      {{{"input", {{{"role", "user"}, {"content", {{{"type", "input_image"}}}}}}}}, "input[0].content[0]"},
      {{{"input", "x"}, {"max_output_tokens", 0}}, "max_output_tokens"},
      {{{"input", "x"}, {"background", true}}, "background"},
      {{{"input", "x"}, {"truncation", "zz"}}, "truncation"},
      {{{"input", {{{"role", "wizard"}, {"content", "x"}}}}}, "input[0].role"},
      {{{"input", "x"}, {"temperature", 9}}, "temperature"},
      {{{"input", "x"}, {"previous_response_id", "resp_none"}}, "previous_response_id"},
  }));
  CAPTURE(c.body.dump());
  const auto response = server.Post(kPath, c.body);
  CHECK(response.status == 400);
  CHECK(json::parse(response.body)["error"]["param"] == c.param);
}

}  // namespace
}  // namespace quorum::test
