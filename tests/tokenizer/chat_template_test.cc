#include "tokenizer/chat_template.h"

#include <thread>
#include <vector>

#include "tests/tokenizer/template_fixture.h"

namespace quorum::tok {
namespace {

constexpr std::int64_t kNow = 1732276805;

Result<std::string> RenderConversation(const ChatTemplate& chat, const OrderedJson& conversation) {
  const OrderedJson none = OrderedJson::object();
  TemplateInput input;
  input.messages = &conversation["messages"];
  if (conversation.contains("tools")) input.tools = &conversation["tools"];
  input.extra = conversation.contains("extra") ? &conversation["extra"] : &none;
  input.bos_token = "<s>";
  input.eos_token = "</s>";
  input.add_generation_prompt = conversation.value("add_generation_prompt", true);
  input.now_unix = kNow;
  return chat.Render(input);
}

/// Renders one user message.
std::string RenderHello(const std::string& source, const TemplateInput& base = {}) {
  const auto chat = ChatTemplate::Parse(source);
  REQUIRE(chat.ok());
  const OrderedJson messages = OrderedJson::parse(R"([{"role": "user", "content": "Hello"}])");
  TemplateInput input = base;
  input.messages = &messages;
  const Result<std::string> text = (*chat)->Render(input);
  return text.ok() ? *text : "error: " + text.error().message;
}

TEST_CASE("The templates of published models render as transformers renders them") {
  const OrderedJson conversations = TemplateJson("conversations.json");
  int cases = 0;
  int raised = 0;
  for (const char* model :
       {"chatml",       "deepseek-r1", "deepseek-v2", "deepseek-v3.1", "deepseek-v3.2", "glm-4.6",
        "gpt-oss",      "granite-3.0", "granite-3.3", "granite-4.0",   "granite-4.1",   "grok-2",
        "kimi-k2",      "ling-lite",   "minimax-m1",  "ministral-3",   "mistral-nemo",  "mistral-small-3.2",
        "mixtral-8x7b", "olmoe",       "phi-3.5",     "phi-4",         "qwen1.5-moe",   "qwen2.5",
        "qwen3",        "qwen3-coder", "qwen3.5",     "qwq",           "seed-oss",      "smollm2",
        "smollm3",      "zephyr"}) {
    const auto chat = ChatTemplate::Parse(TemplateFile("models/" + std::string(model) + ".jinja"));
    INFO(model);
    REQUIRE(chat.ok());
    const OrderedJson fixture = TemplateJson("models/" + std::string(model) + ".json");
    REQUIRE(fixture["renders"].size() == conversations.size());
    int rendered = 0;
    for (const OrderedJson& conversation : conversations) {
      const auto& name = conversation["name"].get_ref<const std::string&>();
      const OrderedJson& expected = fixture["renders"][name];
      const Result<std::string> text = RenderConversation(**chat, conversation);
      INFO(name);
      ++cases;
      if (expected.is_null()) {
        CHECK(!text.ok());
        continue;
      }
      if (expected.is_object()) {
        REQUIRE(!text.ok());
        CHECK(text.error().code == ErrorCode::kInvalidArgument);
        const auto& message = expected["raises"].get_ref<const std::string&>();
        CHECK(text.error().message.ends_with(": " + message));
        ++raised;
        continue;
      }
      INFO((text.ok() ? "" : text.error().message));
      REQUIRE(text.ok());
      CHECK(*text == expected.get_ref<const std::string&>());
      ++rendered;
    }
    CHECK(rendered > 10);
  }
  CHECK(cases > 1200);
  CHECK(raised > 40);
}

TEST_CASE("A template's complaint is cut when it is long") {
  std::string shown = RenderHello("{{ raise_exception('no: ' + '\xC3\xA9' * 5000) }}");
  CHECK(shown.size() < 1100);
  CHECK(shown.find("no: \xC3\xA9") != std::string::npos);
  CHECK(shown.ends_with("\xC3\xA9..."));
}

TEST_CASE("A template sees tokens, flags, further variables and the time") {
  TemplateInput input;
  input.bos_token = "<b>";
  input.eos_token = "<e>";
  input.now_unix = 951782400;  // 2000-02-29
  const OrderedJson extra = OrderedJson::parse(R"({"enable_thinking": false, "eos_token": "<mine>", "k": [1, null]})");
  input.extra = &extra;
  CHECK(RenderHello("{{ bos_token }}{{ eos_token }}{{ enable_thinking }}{{ k }}{{ messages[0].content }}", input) ==
        "<b><mine>False[1, None]Hello");
  CHECK(RenderHello("{{ strftime_now('%d %b %Y') }}", input) == "29 Feb 2000");
  CHECK(RenderHello("{{ add_generation_prompt }} {{ tools is none }} {{ documents is none }}", input) ==
        "True True True");
  input.add_generation_prompt = false;
  CHECK(RenderHello("{{ add_generation_prompt }}", input) == "False");
  const OrderedJson tools = OrderedJson::parse(R"([{"z": 1, "a": {"n": 18446744073709551615}}])");
  input.tools = &tools;
  CHECK(RenderHello("{{ tools[0]|tojson }}", input) == R"({"z": 1, "a": {"n": 18446744073709551615}})");
}

TEST_CASE("Further variables do not replace the conversation") {
  const OrderedJson extra = OrderedJson::parse(R"({"messages": []})");
  TemplateInput input;
  input.extra = &extra;
  CHECK(RenderHello("{{ messages }}", input).find("error: ") == 0);
}

TEST_CASE("A message's reasoning is found under all of its names") {
  const auto chat =
      ChatTemplate::Parse("{% for m in messages %}{{ m.thinking }}/{{ m.reasoning_content }};{% endfor %}");
  REQUIRE(chat.ok());
  const OrderedJson messages = OrderedJson::parse(
      R"([{"role": "assistant", "reasoning": "a"}, {"thinking": "b"}, {"thinking": "c", "reasoning_content": "d"},
          {"reasoning_content": null, "thinking": "e"}, {"content": "x"}, "text"])");
  TemplateInput input;
  input.messages = &messages;
  const Result<std::string> text = (*chat)->Render(input);
  REQUIRE(text.ok());
  CHECK(*text == "a/a;b/b;c/d;e/e;/;/;");
}

TEST_CASE("What a caller gets wrong is an error, not a crash") {
  const auto chat = ChatTemplate::Parse("{{ messages|length }}{{ x }}");
  REQUIRE(chat.ok());
  TemplateInput input;
  CHECK((*chat)->Render(input).error().code == ErrorCode::kInvalidArgument);
  const OrderedJson object = OrderedJson::object();
  input.messages = &object;
  CHECK((*chat)->Render(input).error().param == "messages");
  const OrderedJson messages = OrderedJson::array();
  input.messages = &messages;
  const OrderedJson list = OrderedJson::array();
  input.extra = &list;
  CHECK(!(*chat)->Render(input).ok());
  const OrderedJson broken = {{"x", "a\xFF"}};
  input.extra = &broken;
  CHECK((*chat)->Render(input).error().message.find("UTF-8") != std::string::npos);
  OrderedJson deep = 1;
  for (int i = 0; i < 5000; ++i) deep = OrderedJson::array({std::move(deep)});
  const OrderedJson nested = {{"x", std::move(deep)}};
  input.extra = &nested;
  CHECK((*chat)->Render(input).error().message.find("nests deeper") != std::string::npos);
}

TEST_CASE("Failures name the line and say what was wrong") {
  CHECK(RenderHello("a\n{{ 1 }}\n{{ raise_exception('roles must alternate') }}") ==
        "error: chat template, line 3: roles must alternate");
  CHECK(RenderHello("\n{{ nothing.x }}") == "error: chat template, line 2: 'nothing' is undefined");
  CHECK(RenderHello("{{ messages[0].name.first }}") ==
        "error: chat template, line 1: 'dict object' has no attribute 'name'");
  CHECK(RenderHello("{% macro m() %}\n\n{{ 1 / 0 }}{% endmacro %}\n{{ m() }}") ==
        "error: chat template, line 3: division by zero");
  CHECK(RenderHello("{{ messages.append(1) }}") ==
        "error: chat template, line 1: access to attribute 'append' of 'list' object is unsafe.");
}

TEST_CASE("A template is kept, and renders the same in many threads") {
  const std::string source = TemplateFile("models/qwen3.jinja");
  const auto chat = ChatTemplate::Parse(source);
  REQUIRE(chat.ok());
  CHECK((*chat)->source() == source);
  const OrderedJson conversations = TemplateJson("conversations.json");
  std::vector<std::string> once;
  for (const OrderedJson& conversation : conversations) {
    const Result<std::string> text = RenderConversation(**chat, conversation);
    once.push_back(text.ok() ? *text : text.error().message);
  }
  std::vector<std::vector<std::string>> results(4);
  std::vector<std::thread> threads;
  for (auto& mine : results) {
    threads.emplace_back([&] {
      for (const OrderedJson& conversation : conversations) {
        const Result<std::string> text = RenderConversation(**chat, conversation);
        mine.push_back(text.ok() ? *text : text.error().message);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : results) CHECK(mine == once);
}

}  // namespace
}  // namespace quorum::tok
