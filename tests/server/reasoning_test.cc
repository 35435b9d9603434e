#include "server/reasoning.h"

#include <string>
#include <string_view>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::server {
namespace {

const ReasoningMarks kThink{"<think>", "</think>"};

/// "reasoning|content" of a reply that comes in pieces of `size` bytes.
std::string Split(std::string_view text, bool open, std::size_t size) {
  ReasoningSplitter splitter(kThink, open);
  std::string reasoning;
  std::string content;
  const auto add = [&](ReasoningSplitter::Piece piece) {
    reasoning += piece.reasoning;
    content += piece.content;
  };
  for (std::size_t at = 0; at < text.size(); at += size) add(splitter.Push(text.substr(at, size)));
  add(splitter.Finish());
  return reasoning + "|" + content;
}

TEST_CASE("Thoughts are kept apart from the answer however the text is cut") {
  for (std::size_t size = 1; size < 40; ++size) {
    CAPTURE(size);
    CHECK(Split("<think>\nI see.\n\nSo.\n</think>\n\nYes.\n", false, size) == "I see.\n\nSo.|Yes.\n");
    CHECK(Split(" \n<think>a</think>b", false, size) == "a|b");
    CHECK(Split("a < b </thin k> c</think>d", true, size) == "a < b </thin k> c|d");
    CHECK(Split("No thoughts <think>here</think>.", false, size) == "|No thoughts <think>here</think>.");
    CHECK(Split("<think>cut off  ", false, size) == "cut off  |");
    CHECK(Split("<think></think>x", false, size) == "|x");
    CHECK(Split("<thi", false, size) == "|<thi");
    CHECK(Split("  plain", false, size) == "|  plain");
    CHECK(Split("", true, size) == "|");
    CHECK(Split("<think>a</think>b <think>c</think>", false, size) == "a|b <think>c</think>");
  }
  ReasoningSplitter none({}, false);
  CHECK(none.Push("<think>a").content == "<think>a");
}

TEST_CASE("Text that cannot be a marker any more comes out at once") {
  ReasoningSplitter splitter(kThink, true);
  CHECK(splitter.Push("abc").reasoning == "abc");
  CHECK(splitter.Push(" </").reasoning.empty());
  CHECK(splitter.Push("b").reasoning == " </b");
  CHECK(splitter.Push("</think>d").content == "d");
}

TEST_CASE("Markers are known by the template or the vocabulary; an opened thought by the prompt's end") {
  const auto tokenizer = test::ByteTokenizer();
  CHECK_FALSE(FindReasoningMarks("{{ messages }}", *tokenizer).known());
  CHECK(FindReasoningMarks("... content.split('</think>')[-1]", *tokenizer).open == "<think>");
  CHECK(FindReasoningMarks("[THINK]a[/THINK]", *tokenizer).close == "[/THINK]");
  CHECK(FindReasoningMarks("write your response after 'Here is my response:'", *tokenizer).open ==
        "Here is my thought process:");
  const auto ends = [&](const char* text) {
    const auto ids = tokenizer->Encode(text, {});
    REQUIRE(ids.ok());
    return EndsInThought(kThink, *tokenizer, *ids);
  };
  CHECK(ends("user: hi\nassistant:<think>\n"));
  CHECK(ends("<think>"));
  CHECK_FALSE(ends("<think>\n\n</think>\n\n"));
  CHECK_FALSE(ends("hi"));
  CHECK_FALSE(ends(""));
  const engine::ThinkingRules rules = ThinkingRulesOf(kThink, *tokenizer);
  CHECK(rules.open.size() == 7);
  CHECK(rules.close.size() == 8);
  CHECK(tokenizer->Decode(rules.forced, false) == "\n</think>\n\n");
}

test::TestServiceOptions Thinker(const std::string& reply) {
  test::TestServiceOptions options;
  options.reply = reply;
  options.template_shows = "</think>";
  return options;
}

TEST_CASE("A chat has thoughts apart from the answer, in one piece and streamed, and counts their tokens") {
  test::TestService server(Thinker("<think>\nMass.</think>\n\nIt pulls."));
  const auto body = test::TestService::ChatBody({{"temperature", 0}});
  const auto answer = test::json::parse(server.Post("/v1/chat/completions", body).body);
  const auto& message = answer["choices"][0]["message"];
  CHECK(message["reasoning_content"] == "Mass.");
  CHECK(message["content"] == "It pulls.");
  CHECK(answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 6);  // with the line break

  auto streamed = body;
  streamed["stream"] = true;
  std::string reasoning;
  std::string content;
  for (const auto& event : test::ParseEvents(server.Post("/v1/chat/completions", streamed).body).events) {
    for (const auto& choice : event["choices"]) {
      const auto& delta = choice["delta"];
      if (delta.contains("reasoning_content")) {
        CHECK(content.empty());
        reasoning += delta["reasoning_content"].get<std::string>();
      }
      if (delta.contains("content") && delta["content"].is_string()) content += delta["content"].get<std::string>();
    }
  }
  CHECK(reasoning == "Mass.");
  CHECK(content == "It pulls.");
}

TEST_CASE("A thinking budget ends the thought; a model that does not think says that it ignored it") {
  test::TestService server(Thinker("<think>abcdefghijklmnopqrstuvwxyz"));
  const auto body = test::TestService::ChatBody(
      {{"temperature", 0}, {"thinking_budget", 4}, {"max_tokens", 40}, {"ignore_eos", true}});
  const auto answer = test::json::parse(server.Post("/v1/chat/completions", body).body);
  CHECK(answer["choices"][0]["message"]["reasoning_content"] == "abcd");
  CHECK(answer["usage"]["completion_tokens_details"]["reasoning_tokens"] == 4);

  test::TestService plain;
  const auto ignored =
      plain.Post("/v1/chat/completions", test::TestService::ChatBody({{"thinking_budget", 4}, {"temperature", 0}}));
  CHECK(ignored.status == 200);
  CHECK(ignored.Header("x-quorum-ignored").find("thinking_budget") != std::string::npos);
}

}  // namespace
}  // namespace quorum::server
