// What requests may say about how they are computed, and what responses then report of it.
#include <chrono>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

const std::string kCompletions = "/v1/completions";
const std::string kChat = "/v1/chat/completions";

TestServiceOptions WithExperts() {
  TestServiceOptions options;
  options.experts = {2, {0, 4, 4}};
  return options;
}

std::string RefusedParam(const TestService& server, const json& extra) {
  json body = {{"prompt", "Hi"}, {"max_tokens", 3}};
  body.update(extra);
  const auto response = server.Post(kCompletions, body);
  if (response.status == 200) return "";
  CHECK(response.status == 400);
  return json::parse(response.body)["error"]["param"].get<std::string>();
}

TEST_CASE("Expert options are read, checked against the model and refused by name") {
  TestService server(WithExperts());
  CHECK(RefusedParam(server, {{"moe", json::object()}}).empty());
  CHECK(RefusedParam(server, {{"moe", {{"top_k", 4}}}}).empty());
  CHECK(RefusedParam(server, {{"moe", {{"dense", true}}}}).empty());
  CHECK(RefusedParam(server, {{"moe", {{"mask", {1, 2}}, {"min_weight", 0.25}}}}).empty());
  CHECK(RefusedParam(server, {{"moe", {{"mask", {{"1", {0, 3}}, {"2", {1}}}}}}}).empty());
  CHECK(RefusedParam(server, {{"moe", 4}}) == "moe");
  CHECK(RefusedParam(server, {{"moe", {{"top_k", 5}}}}) == "moe.top_k");
  CHECK(RefusedParam(server, {{"moe", {{"top_k", 0}}}}) == "moe.top_k");
  CHECK(RefusedParam(server, {{"moe", {{"top_k", "2"}}}}) == "moe.top_k");
  CHECK(RefusedParam(server, {{"moe", {{"min_weight", 1}}}}) == "moe.min_weight");
  CHECK(RefusedParam(server, {{"moe", {{"mask", {4}}}}}) == "moe.mask");
  CHECK(RefusedParam(server, {{"moe", {{"mask", {{"0", {1}}}}}}}) == "moe.mask");
  CHECK(RefusedParam(server, {{"moe", {{"mask", {{"x", {1}}}}}}}) == "moe.mask");
  CHECK(RefusedParam(server, {{"moe", {{"mask", {{"*", {0, 1}}, {"2", {2}}}}}}}).empty());
  CHECK(RefusedParam(server, {{"moe", {{"mask", {{"*", {0, 1}}, {"2", {2, 3}}}}}}}) == "moe.mask");
  CHECK(RefusedParam(server, {{"moe", {{"report", "layers"}}}}) == "moe.report");
  CHECK(RefusedParam(server, {{"moe", {{"mask", {"1"}}}}}) == "moe.mask");
  CHECK(RefusedParam(server, {{"moe", {{"mask", {0, 1, 2, 3}}}}}) == "moe.mask");
  const auto unknown = server.Post(kCompletions, {{"prompt", "Hi"}, {"max_tokens", 1}, {"moe", {{"topk", 1}}}});
  CHECK(unknown.Header("x-quorum-ignored") == "moe.topk");

  TestService dense;
  CHECK(RefusedParam(dense, {{"moe", json::object()}}).empty());
  CHECK(RefusedParam(dense, {{"moe", {{"top_k", 1}}}}) == "moe");
}

double Sum(const json& numbers) {
  double sum = 0;
  for (const json& number : numbers) sum += number.get<double>();
  return sum;
}

TEST_CASE("A report counts what the request's tokens visited, layer by layer, also in a stream") {
  TestService server(WithExperts());
  const json body = {
      {"prompt", "abcdefgh"}, {"max_tokens", 5}, {"temperature", 0}, {"moe", {{"top_k", 3}, {"report", true}}}};
  const json answer = json::parse(server.Post(kCompletions, body).body);
  const json& moe = answer["moe"];
  CHECK(moe["tokens"] == 8 + 4);
  REQUIRE(moe["layers"].size() == 2);  // the dense layer has none
  for (const json& layer : moe["layers"]) {
    CHECK(layer["tokens"].size() == 4);
    CHECK(Sum(layer["tokens"]) == 3 * 12);
    CHECK(std::abs(Sum(layer["gate_mass"]) - 12.0) < 1e-6);
  }
  CHECK(moe["layers"][0]["layer"] == 1);

  json streamed = body;
  streamed["stream"] = true;
  streamed["prompt"] = "ijklmnop";
  const EventStream events = ParseEvents(server.Post(kCompletions, streamed).body);
  REQUIRE(events.done);
  CHECK(events.events.back()["choices"].empty());
  CHECK(events.events.back()["moe"]["tokens"] == 12);
  CHECK_FALSE(events.events.back().contains("usage"));

  json chat = TestService::ChatBody({{"temperature", 0}, {"moe", {{"report", true}}}});
  CHECK(json::parse(server.Post(kChat, chat).body)["moe"]["layers"].size() == 2);
  CHECK_FALSE(json::parse(server.Post(kChat, TestService::ChatBody()).body).contains("moe"));
}

TEST_CASE("A report by token names the experts of each generated token, streamed and not") {
  TestService server(WithExperts());
  json body = TestService::ChatBody({{"moe", {{"report", "tokens"}}}, {"n", 2}});
  const json answer = json::parse(server.Post(kChat, body).body);
  for (const json& choice : answer["choices"]) {
    const json& tokens = choice["moe"]["tokens"];
    REQUIRE(tokens.size() == 10);  // "Hello" is one of them, and the end another
    std::string text;
    for (const json& token : tokens) {
      text += token["token"].get<std::string>();
      REQUIRE(token["layers"].size() == 2);  // the dense layer has none
      CHECK(token["layers"][0]["layer"] == 1);
      CHECK(token["layers"][0]["experts"].size() == 2);
      CHECK(std::abs(Sum(token["layers"][0]["weights"]) - 1) < 1e-6);
    }
    CHECK(text == "Hello, world!<|im_end|>");
    // The second token was drawn from the row of the first, "Hello" (259), which visits 259 and 260 modulo 4.
    CHECK(tokens[1]["layers"][0]["experts"] == json({0, 3}));
  }
  CHECK(answer["moe"]["layers"].size() == 2);

  body["stream"] = true;
  json streamed = json::array();
  for (const json& chunk : ParseEvents(server.Post(kChat, body).body).events) {
    for (const json& choice : chunk["choices"]) {
      if (choice["index"] != 1 || !choice.contains("moe")) continue;
      for (const json& token : choice["moe"]["tokens"]) streamed.push_back(token);
    }
  }
  CHECK(streamed == answer["choices"][1]["moe"]["tokens"]);

  const json plain = {
      {"prompt", {"a", "b"}}, {"max_tokens", 3}, {"temperature", 0}, {"moe", {{"report", "tokens"}, {"top_k", 1}}}};
  const json completed = json::parse(server.Post(kCompletions, plain).body);
  REQUIRE(completed["choices"].size() == 2);
  for (const json& choice : completed["choices"]) {
    REQUIRE(choice["moe"]["tokens"].size() == 3);
    CHECK(choice["moe"]["tokens"][0]["layers"][1]["experts"].size() == 1);
  }
}

TEST_CASE("The cache says how much was reused and in which message a conversation departs from what it knew") {
  TestService server;
  const auto ask = [&server](const std::string& system, const std::string& user, bool stream = false) {
    const json body = {{"messages", {{{"role", "system"}, {"content", system}}, {{"role", "user"}, {"content", user}}}},
                       {"temperature", 0},
                       {"stream", stream},
                       {"cache_report", true}};
    const auto response = server.Post(kChat, body);
    REQUIRE(response.status == 200);
    return stream ? ParseEvents(response.body).events.back()["cache"] : json::parse(response.body)["cache"];
  };
  const std::string system = "You answer in rhymes and never mention the sea, however often you are asked about it.";
  const json first = ask(system, "What is gravity?");
  CHECK(first["cached_tokens"] == 0);
  CHECK(first["first_difference"]["token"] == 0);
  CHECK(first["first_difference"]["message"] == 0);

  const json same = ask(system, "What is gravity?");
  CHECK(same["first_difference"].is_null());
  CHECK(same["cached_tokens"] == same["prompt_tokens"].get<int>() - 1);

  const json user = ask(system, "What is light?", true);
  CHECK(user["first_difference"]["message"] == 1);
  CHECK(user["first_difference"]["after"].get<std::string>().rfind("light?", 0) == 0);
  const std::string before = user["first_difference"]["before"];
  CHECK(before.substr(before.size() - 8) == "What is ");
  CHECK(user["cached_tokens"] == user["first_difference"]["token"]);

  std::string other = system;
  other.replace(other.find("sea"), 3, "sky");
  const json changed = ask(other, "What is gravity?");
  CHECK(changed["first_difference"]["message"] == 0);
  CHECK(changed["first_difference"]["after"].get<std::string>().rfind("ky, however", 0) == 0);

  const auto plain = server.Post(kCompletions, {{"prompt", {"one", "two"}}, {"max_tokens", 1}, {"cache_report", true}});
  const json several = json::parse(plain.body)["cache"];
  REQUIRE(several.size() == 2);
  CHECK(several[1]["first_difference"]["message"].is_null());
}

TEST_CASE("cache_prompt: false computes the whole prompt, with the same answer, and its report tells of all of it") {
  TestService server(WithExperts());
  json body = {{"prompt", "Why is the sky blue, and why are evenings red, as everybody knows who has eyes to see?"},
               {"max_tokens", 3},
               {"temperature", 0},
               {"n", 2},
               {"cache_report", true},
               {"moe", {{"report", true}}}};
  const auto ask = [&server, &body] {
    const auto response = server.Post(kCompletions, body);
    REQUIRE(response.status == 200);
    return json::parse(response.body);
  };
  const json first = ask();
  const int prompt = first["usage"]["prompt_tokens"];
  REQUIRE(prompt > 16);
  CHECK(first["cache"]["cached_tokens"] == 0);
  const json again = ask();
  CHECK(again["cache"]["cached_tokens"] == prompt - 1);
  CHECK(again["moe"]["tokens"] == first["moe"]["tokens"].get<int>() - prompt + 1);
  body["cache_prompt"] = false;
  const json cold = ask();
  CHECK(cold["cache"]["cached_tokens"] == 0);
  CHECK(cold["moe"] == first["moe"]);
  CHECK(cold["choices"] == first["choices"]);
  body["cache_prompt"] = true;
  CHECK(ask()["cache"]["cached_tokens"] == prompt - 1);  // what the cold one computed is there as before
}

TEST_CASE("Priority, time limit and guessing: types and ranges are checked") {
  TestService server;
  CHECK(
      RefusedParam(server, {{"priority", -3}, {"timeout", 30.5}, {"speculate", false}, {"cache_save", true}}).empty());
  CHECK(RefusedParam(server, {{"priority", "high"}}) == "priority");
  CHECK(RefusedParam(server, {{"timeout", 0}}) == "timeout");
  CHECK(RefusedParam(server, {{"timeout", 1e12}}) == "timeout");
  CHECK(RefusedParam(server, {{"speculate", 1}}) == "speculate");
  CHECK(RefusedParam(server, {{"cache_report", "yes"}}) == "cache_report");
  CHECK(RefusedParam(server, {{"cache_prompt", 0}}) == "cache_prompt");
}

TEST_CASE("What this server cannot do for a request is named") {
  const json asks = {{"cache_save", true}, {"thinking_budget", 5}, {"prompt", "a"}, {"max_tokens", 1}};
  TestService plain;
  CHECK(plain.Post(kCompletions, asks).Header("x-quorum-ignored") == "cache_save, thinking_budget");
  CHECK(plain.Post(kChat, TestService::ChatBody({{"cache_save", true}})).Header("x-quorum-ignored") == "cache_save");
  TestServiceOptions options;
  options.engine.prefix_file = "/nonexistent/folder/prefixes";
  TestService stores(std::move(options));
  CHECK(stores.Post(kCompletions, asks).Header("x-quorum-ignored") == "thinking_budget");
}

TEST_CASE("A request whose time is over ends as it is, and says so") {
  TestServiceOptions options;
  options.reply = "abcdefghijklmnopqrstuvwxyz";
  TestService server(options);
  server.model().before_step = [](std::span<const engine::StepSlice>) -> Status {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    return {};
  };
  const json body = {
      {"prompt", "Say"}, {"max_tokens", 1000}, {"temperature", 0}, {"ignore_eos", true}, {"timeout", 0.5}};
  const json answer = json::parse(server.Post(kCompletions, body).body);
  CHECK(answer["choices"][0]["finish_reason"] == "length");
  CHECK(answer["choices"][0]["stop_reason"] == "timeout");
  CHECK(answer["choices"][0]["text"].get<std::string>().substr(0, 2) == "ab");
  CHECK(answer["usage"]["completion_tokens"].get<int>() < 100);
}

}  // namespace
}  // namespace quorum::test
