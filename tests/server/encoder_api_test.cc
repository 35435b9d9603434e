// An encoder-decoder model over HTTP: its prompt is what the encoder reads, and there is no chat.
#include <string>

#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

const std::string kCompletions = "/v1/completions";

TestServiceOptions Encoder() { return {.reply = "Bonjour", .context = 64, .decoder_start = 0}; }

TEST_CASE("A completion of an encoder-decoder model is the reply to the prompt") {
  TestService server(Encoder());
  const json body = {{"prompt", {116, 111, 32, 70, 114}}, {"temperature", 0}, {"max_tokens", 32}, {"n", 2}};
  const auto response = server.Post(kCompletions, body);
  INFO(response.body);
  REQUIRE(response.status == 200);
  const json answer = json::parse(response.body);
  REQUIRE(answer["choices"].size() == 2);
  for (const json& choice : answer["choices"]) {
    CHECK(choice["text"] == "Bonjour");
    CHECK(choice["finish_reason"] == "stop");
  }
  CHECK(answer["usage"]["prompt_tokens"] == 5);  // the encoder's; the start token is nobody's
  CHECK(answer["usage"]["completion_tokens"] == 16);
  const json again = json::parse(server.Post(kCompletions, body).body);
  CHECK(again["usage"]["prompt_tokens_details"]["cached_tokens"] == 5);
  CHECK(again["choices"] == answer["choices"]);
}

TEST_CASE("Streams and scores of an encoder-decoder's reply are as ever") {
  TestService server(Encoder());
  const json body = {{"prompt", "hi"}, {"temperature", 0}, {"max_tokens", 32}, {"logprobs", 1}, {"stream", true}};
  const auto response = server.Post(kCompletions, body);
  REQUIRE(response.status == 200);
  const EventStream stream = ParseEvents(response.body);
  REQUIRE(stream.done);
  std::string text;
  for (const json& event : stream.events) {
    for (const json& choice : event["choices"]) text += choice["text"].get<std::string>();
  }
  CHECK(text == "Bonjour");
}

TEST_CASE("Source and reply of an encoder-decoder may each fill the context") {
  TestService server(Encoder());
  json body = {{"prompt", std::string(64, 'x')}, {"temperature", 0}, {"max_tokens", 32}};
  CHECK(server.Post(kCompletions, body).status == 200);
  body["prompt"] = std::string(65, 'x');
  const auto refused = server.Post(kCompletions, body);
  CHECK(refused.status == 400);
  CHECK(json::parse(refused.body)["error"]["code"] == "context_length_exceeded");
}

TEST_CASE("What an encoder-decoder cannot do is refused with the field at fault") {
  TestService server(Encoder());
  const auto chat = server.Post("/v1/chat/completions", TestService::ChatBody());
  CHECK(chat.status == 400);
  const json error = json::parse(chat.body)["error"];
  CHECK(error["param"] == "messages");
  CHECK(error["message"].get<std::string>().find("/v1/completions") != std::string::npos);

  json body = {{"prompt", "hi"}, {"temperature", 0}, {"echo", true}, {"logprobs", 1}};
  const auto scored = server.Post(kCompletions, body);
  CHECK(scored.status == 400);
  CHECK(json::parse(scored.body)["error"]["param"] == "echo");
  body.erase("logprobs");
  const auto echoed = server.Post(kCompletions, body);
  REQUIRE(echoed.status == 200);
  CHECK(json::parse(echoed.body)["choices"][0]["text"] == "hiBonjour");
}

}  // namespace
}  // namespace quorum::test
