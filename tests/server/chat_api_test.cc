// POST /v1/chat/completions over HTTP: shapes, streams, errors (openai-conformance.md).
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

const std::string kChat = "/v1/chat/completions";

TEST_CASE("A chat answer has OpenAI's shape, and nothing more than asked for") {
  TestService server;
  const auto response = server.Post(kChat, TestService::ChatBody());
  REQUIRE(response.status == 200);
  CHECK(response.Header("content-type") == "application/json");
  const json answer = json::parse(response.body);
  CHECK(answer["id"].get<std::string>().rfind("chatcmpl-", 0) == 0);
  CHECK(answer["object"] == "chat.completion");
  CHECK(answer["created"].is_number_integer());
  CHECK(answer["model"] == "test/model:1");
  CHECK(answer["system_fingerprint"] == "fp_test");
  REQUIRE(answer["choices"].size() == 1);
  const json& choice = answer["choices"][0];
  CHECK(choice["index"] == 0);
  CHECK(choice["finish_reason"] == "stop");
  CHECK(choice["logprobs"].is_null());
  CHECK(choice["message"] == json({{"role", "assistant"}, {"content", "Hello, world!"}, {"refusal", nullptr}}));
  // "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n": 3 control tokens and 18 bytes.
  CHECK(answer["usage"]["prompt_tokens"] == 21);
  CHECK(answer["usage"]["completion_tokens"] == 10);  // "Hello" is one token; EOS counts
  CHECK(answer["usage"]["total_tokens"] == 31);
  CHECK(answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 0);
  CHECK(response.Header("x-quorum-ignored").empty());
}

TEST_CASE("A stream says the same, chunk by chunk") {
  TestService server;
  const bool usage = GENERATE(false, true);
  json extra = {{"stream", true}};
  if (usage) extra["stream_options"] = {{"include_usage", true}};
  const auto response = server.Post(kChat, TestService::ChatBody(extra));
  REQUIRE(response.status == 200);
  CHECK(response.whole);
  CHECK(response.Header("content-type") == "text/event-stream; charset=utf-8");
  CHECK(response.Header("cache-control") == "no-cache");
  CHECK(response.Header("x-accel-buffering") == "no");
  const EventStream stream = ParseEvents(response.body);
  CHECK(stream.done);
  CHECK(stream.ordered);
  REQUIRE(stream.events.size() > 3);

  std::string text;
  std::size_t finishes = 0;
  for (std::size_t i = 0; i < stream.events.size(); ++i) {
    const json& chunk = stream.events[i];
    CAPTURE(i, chunk.dump());
    for (const char* key : {"id", "created", "model", "system_fingerprint"}) CHECK(chunk[key] == stream.events[0][key]);
    CHECK(chunk["object"] == "chat.completion.chunk");
    const bool last = i + 1 == stream.events.size();
    if (usage && last) {
      CHECK(chunk["choices"].empty());
      CHECK(chunk["usage"]["total_tokens"] == 31);
      continue;
    }
    CHECK(chunk.contains("usage") == usage);
    if (usage) CHECK(chunk["usage"].is_null());
    REQUIRE(chunk["choices"].size() == 1);
    const json& choice = chunk["choices"][0];
    CHECK(choice["index"] == 0);
    CHECK(choice["delta"].contains("role") == (i == 0));
    CHECK(choice["logprobs"].is_null());
    if (i == 0) CHECK(choice["delta"] == json({{"role", "assistant"}, {"content", ""}}));
    if (choice["delta"].contains("content")) text += choice["delta"]["content"].get<std::string>();
    if (!choice["finish_reason"].is_null()) {
      ++finishes;
      CHECK(choice["finish_reason"] == "stop");
      CHECK(choice["delta"] == json::object());
      CHECK(i + (usage ? 2 : 1) == stream.events.size());
    }
  }
  CHECK(finishes == 1);
  CHECK(text == "Hello, world!");
}

TEST_CASE("With n choices every one begins in order, ends once, and usage counts them all") {
  TestService server;
  const json whole = json::parse(server.Post(kChat, TestService::ChatBody({{"n", 3}})).body);
  REQUIRE(whole["choices"].size() == 3);
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(whole["choices"][i]["index"] == i);
    CHECK(whole["choices"][i]["message"]["content"] == "Hello, world!");
  }
  CHECK(whole["usage"]["prompt_tokens"] == 21);
  CHECK(whole["usage"]["completion_tokens"] == 30);

  const auto stream = ParseEvents(
      server
          .Post(kChat,
                TestService::ChatBody({{"n", 3}, {"stream", true}, {"stream_options", {{"include_usage", true}}}}))
          .body);
  std::vector<int> first;
  std::map<int, std::string> texts;
  std::map<int, int> roles, finishes;
  int usages = 0;
  for (const json& chunk : stream.events) {
    usages += chunk["usage"].is_null() ? 0 : 1;
    for (const json& choice : chunk["choices"]) {
      const int index = choice["index"];
      if (texts.find(index) == texts.end()) first.push_back(index);
      texts[index] += choice["delta"].value("content", "");
      roles[index] += choice["delta"].contains("role") ? 1 : 0;
      finishes[index] += choice["finish_reason"].is_null() ? 0 : 1;
    }
  }
  CHECK(first == std::vector<int>{0, 1, 2});
  for (int i = 0; i < 3; ++i) {
    CHECK(texts[i] == "Hello, world!");
    CHECK(roles[i] == 1);
    CHECK(finishes[i] == 1);
  }
  CHECK(usages == 1);
  CHECK(stream.events.back()["usage"]["completion_tokens"] == 30);
}

TEST_CASE("max_completion_tokens wins over max_tokens, and cuts with finish_reason length") {
  TestService server;
  const auto [extra, text, reason] = GENERATE(table<json, std::string, std::string>({
      {{{"max_tokens", 2}}, "Hello,", "length"},
      {{{"max_completion_tokens", 3}, {"max_tokens", 1}}, "Hello, ", "length"},
      {{{"max_tokens", nullptr}, {"max_completion_tokens", nullptr}}, "Hello, world!", "stop"},
      {{{"max_tokens", 100.0}}, "Hello, world!", "stop"},
  }));
  CAPTURE(extra.dump());
  const json answer = json::parse(server.Post(kChat, TestService::ChatBody(extra)).body);
  CHECK(answer["choices"][0]["message"]["content"] == text);
  CHECK(answer["choices"][0]["finish_reason"] == reason);
}

TEST_CASE("Without a limit an answer may fill the context") {
  TestService server({.reply = "abcdefghijklmnopqrstuvwxyz0123456789", .context = 31});
  const json answer = json::parse(server.Post(kChat, TestService::ChatBody()).body);
  CHECK(answer["usage"]["total_tokens"] == 31);
  CHECK(answer["choices"][0]["finish_reason"] == "length");
  CHECK(answer["choices"][0]["message"]["content"] == "abcdefghij");
}

TEST_CASE("Stop strings cut the text, never leak a beginning of themselves, and what was held back comes out") {
  TestService server;
  struct Case {
    json stop;
    std::string text;
    std::string reason;
    int max_tokens;
  };
  const auto c = GENERATE(values<Case>({
      {"wor", "Hello, ", "stop", 100},
      {json::array({"ld", "wor"}), "Hello, ", "stop", 100},
      {json::array({"", "world!?"}), "Hello, world!", "stop", 100},  // held back, released at the end
      {json::array({"Hello, w!"}), "Hello, ", "length", 3},          // held back, released at the cut
      {"ello", "H", "stop", 100},                                    // inside a token
      {"Hi", "Hello, world!", "stop", 100},                          // stands in the prompt only
      {nullptr, "Hello, world!", "stop", 100},
  }));
  CAPTURE(c.stop.dump());
  const json extra = {{"stop", c.stop}, {"max_tokens", c.max_tokens}};
  const json whole = json::parse(server.Post(kChat, TestService::ChatBody(extra)).body);
  CHECK(whole["choices"][0]["message"]["content"] == c.text);
  CHECK(whole["choices"][0]["finish_reason"] == c.reason);

  json streamed = extra;
  streamed["stream"] = true;
  std::string text;
  for (const json& chunk : ParseEvents(server.Post(kChat, TestService::ChatBody(streamed)).body).events) {
    text += chunk["choices"][0]["delta"].value("content", "");
  }
  CHECK(text == c.text);
}

TEST_CASE("Log-probabilities come one per token of the text, once, and say its bytes") {
  TestService server({.reply = "Hello \xC3\xA9!"});  // é is two tokens
  const json extra = {{"logprobs", true}, {"top_logprobs", 3}};
  const json whole = json::parse(server.Post(kChat, TestService::ChatBody(extra)).body);
  const json& logprobs = whole["choices"][0]["logprobs"];
  CHECK(logprobs["refusal"].is_null());
  const json& content = logprobs["content"];
  REQUIRE(content.size() == 5);  // Hello, space, two halves, exclamation mark; not EOS
  std::vector<std::string> tokens;
  std::string bytes;
  for (const json& item : content) {
    tokens.push_back(item["token"]);
    for (const json& byte : item["bytes"]) bytes += static_cast<char>(byte.get<int>());
    CHECK(item["logprob"].get<double>() <= 0);
    CHECK(item["logprob"].get<double>() > -9999.0);
    REQUIRE(item["top_logprobs"].size() == 3);
    CHECK(item["top_logprobs"][0]["token"] == item["token"]);
    CHECK(item["top_logprobs"][0]["logprob"] == item["logprob"]);
    CHECK(item["top_logprobs"][1]["logprob"].get<double>() >= item["top_logprobs"][2]["logprob"].get<double>());
    double sum = 0;
    for (const json& top : item["top_logprobs"]) sum += std::exp(top["logprob"].get<double>());
    CHECK(sum <= 1.0 + 1e-6);
  }
  CHECK(tokens == std::vector<std::string>{"Hello", " ", "bytes:\\xc3", "bytes:\\xa9", "!"});
  CHECK(bytes == "Hello \xC3\xA9!");

  json streamed = extra;
  streamed["stream"] = true;
  json collected = json::array();
  std::string text;
  for (const json& chunk : ParseEvents(server.Post(kChat, TestService::ChatBody(streamed)).body).events) {
    const json& choice = chunk["choices"][0];
    text += choice["delta"].value("content", "");
    if (!choice["logprobs"].is_null()) {
      for (const json& item : choice["logprobs"]["content"]) collected.push_back(item);
    }
  }
  CHECK(text == "Hello \xC3\xA9!");
  CHECK(collected == content);

  const json bare = json::parse(server.Post(kChat, TestService::ChatBody({{"logprobs", true}})).body);
  CHECK(bare["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == json::array());
}

TEST_CASE("A stop string takes its tokens' log-probabilities with it") {
  TestService server;
  const json body = TestService::ChatBody({{"logprobs", true}, {"stop", "orl"}});
  const json answer = json::parse(server.Post(kChat, body).body);
  CHECK(answer["choices"][0]["message"]["content"] == "Hello, w");
  std::string joined;
  for (const json& item : answer["choices"][0]["logprobs"]["content"]) joined += item["token"].get<std::string>();
  CHECK(joined == "Hello, w");
}

TEST_CASE("Text that is not UTF-8 becomes U+FFFD, in a stream as in one piece, and a cut character too") {
  TestService server({.reply = "a\xFF"
                               "b\xE2\x82"});
  const json body = TestService::ChatBody();
  CHECK(json::parse(server.Post(kChat, body).body)["choices"][0]["message"]["content"] ==
        "a\xEF\xBF\xBD"
        "b\xEF\xBF\xBD");
  std::string text;
  for (const json& chunk : ParseEvents(server.Post(kChat, TestService::ChatBody({{"stream", true}})).body).events) {
    text += chunk["choices"][0]["delta"].value("content", "");
  }
  CHECK(text ==
        "a\xEF\xBF\xBD"
        "b\xEF\xBF\xBD");
}

TEST_CASE("Sampling with a seed is repeatable, its choices differ, and no seed is random") {
  TestService server;
  server.model().logits = FakeModel::HashLogits;
  const auto texts = [&](const json& extra) {
    json body = TestService::ChatBody({{"temperature", 1.5}, {"max_tokens", 24}});
    body.update(extra);
    std::vector<std::string> out;
    const json answer = json::parse(server.Post(kChat, body).body);
    for (const json& choice : answer["choices"]) out.push_back(choice["message"]["content"].dump());
    return out;
  };
  const auto first = texts({{"seed", 7}, {"n", 3}});
  CHECK(first == texts({{"seed", 7}, {"n", 3}}));
  CHECK(std::set<std::string>(first.begin(), first.end()).size() == 3);
  CHECK(texts({{"seed", 8}}) != texts({{"seed", 7}}));
  CHECK(texts({{"seed", -8}}) == texts({{"seed", -8}}));
  CHECK(texts(json::object()) != texts(json::object()));
}

TEST_CASE("logit_bias bans and forces") {
  TestService server;
  const json banned =
      json::parse(server.Post(kChat, TestService::ChatBody({{"logit_bias", {{"259", -100}}}, {"max_tokens", 1}})).body);
  CHECK(banned["choices"][0]["message"]["content"] != "Hello");
  const json forced =
      json::parse(server.Post(kChat, TestService::ChatBody({{"logit_bias", {{"90", 100}}}, {"max_tokens", 3}})).body);
  CHECK(forced["choices"][0]["message"]["content"] == "ZZZ");
}

}  // namespace
}  // namespace quorum::test
