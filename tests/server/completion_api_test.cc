// POST /v1/completions, /tokenize and /detokenize over HTTP.
#include <map>
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

const std::string kCompletions = "/v1/completions";

json Completion(const TestService& server, json body) {
  if (!body.contains("temperature")) body["temperature"] = 0;
  if (!body.contains("max_tokens")) body["max_tokens"] = 100;
  const auto response = server.Post(kCompletions, body);
  INFO(response.body);
  REQUIRE(response.status == 200);
  return json::parse(response.body);
}

TEST_CASE("A completion has OpenAI's shape; 16 tokens unless asked otherwise") {
  TestService server({.reply = "abcdefghijklmnopqrstuvwxyz"});
  const auto response = server.Post(kCompletions, {{"prompt", "Say:"}, {"temperature", 0}});
  REQUIRE(response.status == 200);
  const json answer = json::parse(response.body);
  CHECK(answer["id"].get<std::string>().rfind("cmpl-", 0) == 0);
  CHECK(answer["object"] == "text_completion");
  CHECK(answer["model"] == "test/model:1");
  CHECK(answer["system_fingerprint"] == "fp_test");
  CHECK(answer["choices"] ==
        json({{{"index", 0}, {"text", "abcdefghijklmnop"}, {"logprobs", nullptr}, {"finish_reason", "length"}}}));
  CHECK(answer["usage"]["prompt_tokens"] == 4);
  CHECK(answer["usage"]["completion_tokens"] == 16);
}

TEST_CASE("Prompts: text, texts, ids, lists of ids; choices are numbered prompt by prompt") {
  TestService server;
  CHECK(Completion(server, {{"prompt", json::array({72, 105})}})["usage"]["prompt_tokens"] == 2);
  const json prompts = GENERATE(json({"a", "bc"}), json({{97}, {98, 99}}), json({"a", {98, 99}}));
  const json answer = Completion(server, {{"prompt", prompts}, {"n", 2}, {"echo", true}});
  REQUIRE(answer["choices"].size() == 4);
  const std::vector<std::string> begins = {"a", "a", "bc", "bc"};
  for (std::size_t i = 0; i < 4; ++i) {
    CHECK(answer["choices"][i]["index"] == i);
    CHECK(answer["choices"][i]["text"] == begins[i] + "Hello, world!");
  }
  CHECK(answer["usage"]["prompt_tokens"] == 3);
  CHECK(answer["usage"]["completion_tokens"] == 40);
}

TEST_CASE("An empty prompt is the start of a document") {
  TestService server;
  const auto response = server.Post("/v1/completions", {{"prompt", ""}, {"temperature", 0}});
  REQUIRE(response.status == 200);
  const json answer = json::parse(response.body);
  CHECK(answer["usage"]["prompt_tokens"] == 1);
  CHECK(answer["choices"][0]["text"] == "Hello, world!");
}

TEST_CASE("Stop strings match in the reply alone, not across the end of the prompt") {
  TestService server;
  const json answer = json::parse(
      server.Post("/v1/completions", {{"prompt", "Hello, wor"}, {"stop", {"world", "Hello"}}, {"temperature", 0}})
          .body);
  CHECK(answer["choices"][0]["text"] == "ld!");
}

TEST_CASE("A raw prompt may hold control tokens") {
  TestService server;
  CHECK(Completion(server, {{"prompt", "<|im_start|>user"}})["usage"]["prompt_tokens"] == 5);
}

TEST_CASE("Streams of several prompts carry every choice whole") {
  TestService server;
  const auto response = server.Post(kCompletions, {{"prompt", {"a", "b"}},
                                                   {"n", 2},
                                                   {"stream", true},
                                                   {"temperature", 0},
                                                   {"max_tokens", 100},
                                                   {"echo", true},
                                                   {"stream_options", {{"include_usage", true}}}});
  const EventStream stream = ParseEvents(response.body);
  CHECK(stream.done);
  CHECK(stream.ordered);
  std::map<int, std::string> texts;
  std::map<int, int> finishes;
  for (const json& chunk : stream.events) {
    CHECK(chunk["object"] == "text_completion");
    CHECK(chunk["id"] == stream.events[0]["id"]);
    for (const json& choice : chunk["choices"]) {
      texts[choice["index"]] += choice["text"].get<std::string>();
      finishes[choice["index"]] += choice["finish_reason"].is_null() ? 0 : 1;
    }
  }
  CHECK(texts == std::map<int, std::string>{
                     {0, "aHello, world!"}, {1, "aHello, world!"}, {2, "bHello, world!"}, {3, "bHello, world!"}});
  CHECK(finishes == std::map<int, int>{{0, 1}, {1, 1}, {2, 1}, {3, 1}});
  CHECK(stream.events.back()["usage"]["completion_tokens"] == 40);
  CHECK(stream.events.back()["choices"].empty());
}

TEST_CASE("Log-probabilities: four lists of one length, offsets in characters, null for an echoed first token") {
  TestService server({.reply = "Hello!"});
  const json plain = Completion(server, {{"prompt", "x"}, {"logprobs", 2}})["choices"][0]["logprobs"];
  CHECK(plain["tokens"] == json({"Hello", "!"}));
  CHECK(plain["text_offset"] == json({0, 5}));
  REQUIRE(plain["token_logprobs"].size() == 2);
  REQUIRE(plain["top_logprobs"].size() == 2);
  CHECK(plain["top_logprobs"][0].size() == 2);
  CHECK(plain["top_logprobs"][0]["Hello"] == plain["token_logprobs"][0]);

  const json zero = Completion(server, {{"prompt", "x"}, {"logprobs", 0}})["choices"][0]["logprobs"];
  CHECK(zero["top_logprobs"][1].size() == 1);  // the token itself

  const json echo = Completion(server, {{"prompt",
                                         "\xC3\xA9"
                                         "b"},
                                        {"logprobs", 1},
                                        {"echo", true}})["choices"][0];
  CHECK(echo["text"] ==
        "\xC3\xA9"
        "bHello!");
  const json& scores = echo["logprobs"];
  CHECK(scores["tokens"] == json({"bytes:\\xc3", "bytes:\\xa9", "b", "Hello", "!"}));
  CHECK(scores["token_logprobs"][0].is_null());
  CHECK(scores["top_logprobs"][0].is_null());
  for (std::size_t i = 1; i < 5; ++i) CHECK(scores["token_logprobs"][i].get<double>() < 0);
  CHECK(scores["text_offset"] == json({0, 0, 1, 2, 7}));

  // Scoring alone.
  const json scored = Completion(server, {{"prompt", "abc"}, {"logprobs", 0}, {"echo", true}, {"max_tokens", 0}});
  CHECK(scored["choices"][0]["text"] == "abc");
  CHECK(scored["choices"][0]["logprobs"]["tokens"] == json({"a", "b", "c"}));
  CHECK(scored["choices"][0]["finish_reason"] == "length");
  CHECK(scored["usage"]["completion_tokens"] == 0);

  // The same lists from a stream.
  const auto response = server.Post(kCompletions, {{"prompt",
                                                    "\xC3\xA9"
                                                    "b"},
                                                   {"logprobs", 1},
                                                   {"echo", true},
                                                   {"stream", true},
                                                   {"temperature", 0}});
  json lists = {{"tokens", json::array()},
                {"token_logprobs", json::array()},
                {"top_logprobs", json::array()},
                {"text_offset", json::array()}};
  for (const json& chunk : ParseEvents(response.body).events) {
    const json& part = chunk["choices"][0]["logprobs"];
    if (part.is_null()) continue;
    for (auto& [name, list] : lists.items()) list.insert(list.end(), part[name].begin(), part[name].end());
  }
  CHECK(lists == scores);
}

TEST_CASE("return_tokens_as_token_ids names every generated token, the end of generation too") {
  TestService server;
  const json scores = Completion(server, {{"prompt", json::array({1, 2})},
                                          {"logprobs", 0},
                                          {"echo", true},
                                          {"max_tokens", 3},
                                          {"return_tokens_as_token_ids", true}})["choices"][0]["logprobs"];
  CHECK(scores["tokens"] == json({"token_id:1", "token_id:2", "token_id:259", "token_id:44", "token_id:32"}));
  CHECK(scores["top_logprobs"][1].contains("token_id:2"));
  const json all = Completion(server, {{"prompt", "x"}, {"logprobs", 0}, {"return_tokens_as_token_ids", true}});
  CHECK(all["choices"][0]["logprobs"]["tokens"].back() == "token_id:262");
  CHECK(all["choices"][0]["logprobs"]["tokens"].size() == all["usage"]["completion_tokens"]);
}

TEST_CASE("best_of returns the likeliest of more choices") {
  TestService server;
  server.model().logits = FakeModel::HashLogits;
  const json base = {{"prompt", "x"}, {"temperature", 1.5}, {"seed", 5}, {"max_tokens", 6}, {"logprobs", 0}};
  const auto mean = [](const json& choice) {
    double sum = 0;
    for (const json& value : choice["logprobs"]["token_logprobs"]) sum += value.get<double>();
    return sum / static_cast<double>(choice["logprobs"]["token_logprobs"].size());
  };
  json all = base;
  all["n"] = 8;
  double best = -1e9;
  const json every = Completion(server, all);
  for (const json& choice : every["choices"]) best = std::max(best, mean(choice));
  json one = base;
  one["best_of"] = 8;
  const json chosen = Completion(server, one);
  REQUIRE(chosen["choices"].size() == 1);
  CHECK(std::abs(mean(chosen["choices"][0]) - best) < 1e-9);
  CHECK(chosen["usage"]["completion_tokens"].get<int>() > 40);

  one["stream"] = true;
  CHECK(server.Post(kCompletions, one).status == 400);
  CHECK(server.Post(kCompletions, {{"prompt", "x"}, {"n", 3}, {"best_of", 2}}).status == 400);
}

TEST_CASE("What is wrong with a completion request is named") {
  TestService server;
  struct Case {
    json body;
    std::string param;
  };
  const auto c = GENERATE(values<Case>({
      {json::object(), "prompt"},
      {{{"prompt", 5}}, "prompt"},
      {{{"prompt", json::array()}}, "prompt"},
      {{{"prompt", {1.5}}}, "prompt"},
      {{{"prompt", {-1}}}, "prompt"},
      {{{"prompt", {263}}}, "prompt"},
      {{{"prompt", {"a", 5}}}, "prompt"},
      {{{"prompt", std::vector<std::string>(129, "a")}}, "prompt"},
      {{{"prompt", "x"}, {"max_tokens", 0}}, "max_tokens"},
      {{{"prompt", "x"}, {"max_tokens", -1}}, "max_tokens"},
      {{{"prompt", "x"}, {"suffix", "y"}}, "suffix"},
      {{{"prompt", "x"}, {"logprobs", 21}}, "logprobs"},
      {{{"prompt", "x"}, {"logprobs", true}}, "logprobs"},
      {{{"prompt", "x"}, {"echo", 1}}, "echo"},
      {{{"prompt", std::string(3000, 'x')}}, "prompt"},
  }));
  CAPTURE(c.body.dump().substr(0, 80));
  const auto response = server.Post(kCompletions, c.body);
  CHECK(response.status == 400);
  CHECK(json::parse(response.body)["error"]["param"] == c.param);
  CHECK(server.steps == 0);
}

TEST_CASE("Tokenizing there and back, in llama.cpp's and in vLLM's form") {
  TestService server;
  const std::string text = "Hello <|im_end|> caf\xC3\xA9";
  const json plain = json::parse(server.Post("/tokenize", {{"content", text}}).body);
  CHECK(plain["tokens"][0] == 259);
  CHECK(plain["tokens"][2] == kImEnd);
  CHECK(plain["count"] == plain["tokens"].size());
  CHECK(plain["max_model_len"] == 2048);
  const json back = json::parse(server.Post("/detokenize", {{"tokens", plain["tokens"]}}).body);
  CHECK(back["content"] == text);
  const json unparsed = json::parse(server.Post("/tokenize", {{"content", text}, {"parse_special", false}}).body);
  CHECK(unparsed["count"].get<int>() == plain["count"].get<int>() + 9);
  const json pieces = json::parse(server
                                      .Post("/tokenize", {{"content",
                                                           "\xC3\xA9"
                                                           "a"},
                                                          {"with_pieces", true}})
                                      .body)["tokens"];
  CHECK(pieces[0] == json({{"id", pieces[0]["id"]}, {"piece", {0xC3}}}));
  CHECK(pieces[2]["piece"] == "a");
  CHECK(server.Post("/tokenize", {{"content", "a"}, {"prompt", "b"}}).status == 400);
  CHECK(server.Post("/tokenize", json::object()).status == 400);
  // The answer is many times as long as the text.
  const auto long_text = server.Post("/tokenize", {{"content", std::string((std::size_t{4} << 20) + 1, 'x')}});
  CHECK(long_text.status == 413);
  CHECK(json::parse(long_text.body)["error"]["code"] == "text_too_long");
  CHECK(server.Post("/detokenize", {{"tokens", {263}}}).status == 400);
  CHECK(server.Post("/detokenize", {{"tokens", "x"}}).status == 400);
}

}  // namespace
}  // namespace quorum::test
