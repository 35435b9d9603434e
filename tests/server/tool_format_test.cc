// Calls of tools in the families' formats, read from text in one piece and byte by byte (server/tools).
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "server/tools/message_reader.h"
#include "tests/support/catch.h"

namespace quorum::server {
namespace {

using Json = nlohmann::ordered_json;

OfferedTools Tools() {
  const auto tool = [](const char* name, Json properties) {
    return Json{
        {"type", "function"},
        {"function", {{"name", name}, {"parameters", {{"type", "object"}, {"properties", std::move(properties)}}}}}};
  };
  return OfferedTools(
      Json::array({tool("get_weather", {{"city", {{"type", "string"}}}, {"days", {{"type", "integer"}}}}),
                   tool("search", {{"query", {{"type", "string"}}}}), tool("now", Json::object()),
                   tool("python", {{"code", {{"type", "string"}}}})}));
}

struct Message {
  std::string content, reasoning;
  std::vector<std::string> names, arguments;
  bool broken = false;
};

Message Read(ToolFormat format, const std::string& text, std::size_t piece, bool cut = false,
             std::size_t hold = std::string::npos, bool one_call = false) {
  const auto reader = MakeMessageReader({format, Tools(), true, one_call, hold});
  Message message;
  const auto take = [&message](const MessageDelta& delta) {
    message.content += delta.content;
    message.reasoning += delta.reasoning;
    for (const CallDelta& call : delta.calls) {
      const auto index = static_cast<std::size_t>(call.index);
      if (index == message.names.size()) {  // a new one: dense, and named
        CHECK_FALSE(call.name.empty());
        message.names.push_back(call.name);
        message.arguments.emplace_back();
      } else {
        REQUIRE(index + 1 == message.names.size());
        CHECK(call.name.empty());
      }
      message.arguments[index] += call.arguments;
    }
  };
  for (std::size_t at = 0; at < text.size(); at += piece) take(reader->Push(std::string_view(text).substr(at, piece)));
  take(reader->Finish(cut));
  CHECK(reader->calls() == static_cast<int>(message.names.size()));
  message.broken = reader->broken();
  return message;
}

struct Case {
  ToolFormat format;
  std::string text;
  std::string content;
  std::vector<std::string> names, arguments;
};

void Check(const Case& c) {
  CAPTURE(NameOfToolFormat(c.format), c.text);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{2}, std::size_t{3}, std::size_t{7}, c.text.size()}) {
    for (const std::size_t hold : {std::size_t{0}, std::size_t{256}, std::string::npos}) {
      if (hold == 0 && c.names.empty()) continue;  // what is let out at once cannot be taken back
      CAPTURE(piece, hold);
      const Message message = Read(c.format, c.text, piece, false, hold);
      CHECK(message.content == c.content);
      CHECK(message.names == c.names);
      CHECK(message.arguments == c.arguments);
      CHECK_FALSE(message.broken);
    }
  }
}

const std::string kParis = R"({"city": "Paris", "days": 3})";

TEST_CASE("Hermes, Qwen, Granite 4: JSON between tool_call tags") {
  Check({ToolFormat::kHermes,
         "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": " + kParis + "}\n</tool_call>",
         "",
         {"get_weather"},
         {kParis}});
  Check({ToolFormat::kHermes,
         "Let me look.\n\n<tool_call>\n{\"name\": \"get_weather\", \"arguments\": " + kParis +
             "}\n</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n",
         "Let me look.",
         {"get_weather", "now"},
         {kParis, "{}"}});
  Check({ToolFormat::kHermes,
         R"(<tool_call>{"arguments": {"query": "a\"}\n"}, "name": "search"}</tool_call>)",
         "",
         {"search"},
         {R"({"query": "a\"}\n"})"}});
  // The end mark may be missing, arguments too, or they may be a string; line breaks may be unescaped.
  Check({ToolFormat::kHermes, R"(<tool_call>{"name": "now"})", "", {"now"}, {"{}"}});
  Check({ToolFormat::kHermes,
         R"(<tool_call>{"name": "search", "arguments": "{\"query\": \"x\"}"}</tool_call>)",
         "",
         {"search"},
         {R"({"query": "x"})"}});
  Check({ToolFormat::kHermes,
         "<tool_call>{\"name\": \"python\", \"arguments\": {\"code\": \"a\n\tb\"}}</tool_call> done",
         " done",
         {"python"},
         {R"({"code": "a\n\tb"})"}});
}

TEST_CASE("What looks like a call and does not parse is content") {
  for (const char* text : {
           "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": Paris}}\n</tool_call>",
           "<tool_call>{\"name\": \"unknown\", \"arguments\": {}}</tool_call>",
           "<tool_call>{\"name\": \"search\", \"arguments\": [1]}</tool_call>",
           "<tool_call>{\"name\": 5, \"arguments\": {}}</tool_call>",
           "<tool_call>{\"arguments\": {}}</tool_call>",
           "<tool_call>{\"name\": \"search\", \"arguments\": {\"query\": \"never ends",
           "Write <tool_call> before the JSON, </tool_call> behind it.",
           "<tool_call>",
           "<tool_cal",
           "a < b",
           "{\"name\": \"search\", \"arguments\": {}}",
           "  spaces  \n",
       }) {
    Check({ToolFormat::kHermes, text, text, {}, {}});
  }
  // A call behind one that does not parse is still one.
  Check({ToolFormat::kHermes,
         "<tool_call>oops <tool_call>{\"name\": \"now\"}</tool_call>",
         "<tool_call>oops",
         {"now"},
         {"{}"}});
}

TEST_CASE("Qwen3-Coder: values are typed by the schema") {
  Check({ToolFormat::kQwenXml,
         "I check.\n<tool_call>\n<function=get_weather>\n<parameter=city>\n12\n</parameter>\n<parameter=days>\n3\n"
         "</parameter>\n</function>\n</tool_call>",
         "I check.",
         {"get_weather"},
         {R"({"city": "12", "days": 3})"}});
  Check({ToolFormat::kQwenXml,
         "<function=python>\n<parameter=code>\nif a < b:\n  print(\"x\")\n</parameter>\n</function>",
         "",
         {"python"},
         {R"j({"code": "if a < b:\n  print(\"x\")"})j"}});
  Check(
      {ToolFormat::kQwenXml,
       "<tool_call>\n<function=now>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n</tool_call>",
       "",
       {"now", "now"},
       {"{}", "{}"}});
  for (const char* text :
       {"<tool_call>\n<function=nope>\n</function>\n</tool_call>", "<function=search> <param", "<tool_call>x"}) {
    Check({ToolFormat::kQwenXml, text, text, {}, {}});
  }
}

TEST_CASE("Mistral: a list of calls, and names before their arguments") {
  Check(
      {ToolFormat::kMistral,
       R"([TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris", "days": 3}}, {"name": "now", "arguments": {}}])",
       "",
       {"get_weather", "now"},
       {kParis, "{}"}});
  Check({ToolFormat::kMistral,
         R"([TOOL_CALLS] [{"name": "search", "arguments": {"query": "x"}, "id": "a1b2c3d4e"}])",
         "",
         {"search"},
         {R"({"query": "x"})"}});
  Check({ToolFormat::kMistral,
         "Yes.[TOOL_CALLS]get_weather[ARGS]" + kParis + "[TOOL_CALLS]now[ARGS]{}",
         "Yes.",
         {"get_weather", "now"},
         {kParis, "{}"}});
  Check({ToolFormat::kMistral,
         "[TOOL_CALLS]search[CALL_ID]abc[ARGS]{\"query\": \"x\"}",
         "",
         {"search"},
         {R"({"query": "x"})"}});
  Check({ToolFormat::kMistral, "[TOOL_CALLS]now{}", "", {"now"}, {"{}"}});
  for (const char* text :
       {"[TOOL_CALLS]", "[TOOL_CALLS][", "[TOOL_CALLS][]", "[TOOL_CALLS]nope[ARGS]{}", "[TOOL_CALLS]now[ARGS]",
        "[TOOL_CALLS]now why{}", "[TOOL_CALLS][1]", "[TOOL_CALLS]now[ARGS]{\"a\""}) {
    Check({ToolFormat::kMistral, text, text, {}, {}});
  }
}

TEST_CASE("Llama 3: the whole reply, the python tag, custom functions") {
  Check({ToolFormat::kLlama3,
         R"({"name": "get_weather", "parameters": {"city": "Paris", "days": 3}})",
         "",
         {"get_weather"},
         {kParis}});
  Check({ToolFormat::kLlama3,
         R"(<|python_tag|>{"type": "function", "name": "now", "parameters": {}}; {"name": "now"})",
         "",
         {"now", "now"},
         {"{}", "{}"}});
  Check({ToolFormat::kLlama3, R"(<function=search>{"query": "x"}</function>)", "", {"search"}, {R"({"query": "x"})"}});
  Check({ToolFormat::kLlama3, R"j(<|python_tag|>search.call(query="a, b"))j", "", {"search"}, {R"({"query":"a, b"})"}});
  Check({ToolFormat::kLlama3, "<|python_tag|>print(1)\n", "", {"python"}, {R"j({"code":"print(1)"})j"}});
  for (const char* text :
       {R"({"city": "Paris"})", R"({"name": "Ann", "age": 5})", R"(Say {"name": "now", "parameters": {}})", "{",
        "<function=nope>{}</function>", "<function=now>x"}) {
    Check({ToolFormat::kLlama3, text, text, {}, {}});
  }
}

TEST_CASE("DeepSeek V3 and V3.1") {
  const std::string begin = "<｜tool▁calls▁begin｜>", one = "<｜tool▁call▁begin｜>", sep = "<｜tool▁sep｜>",
                    end = "<｜tool▁call▁end｜>", all_end = "<｜tool▁calls▁end｜>";
  Check({ToolFormat::kDeepSeek,
         "Well. " + begin + one + "function" + sep + "get_weather\n```json\n" + kParis + "\n```" + end + "\n" + one +
             "function" + sep + "now\n```json\n{}\n```" + end + all_end,
         "Well.",
         {"get_weather", "now"},
         {kParis, "{}"}});
  Check({ToolFormat::kDeepSeek,
         begin + one + "get_weather" + sep + kParis + end + one + "now" + sep + "{}" + end + all_end,
         "",
         {"get_weather", "now"},
         {kParis, "{}"}});
  for (const std::string& text :
       {begin, begin + one + "nope" + sep + "{}" + end, one + "now" + sep + "five", one + "now"}) {
    Check({ToolFormat::kDeepSeek, text, text, {}, {}});
  }
}

TEST_CASE("Granite 3 and Phi 4: a list behind a mark") {
  Check({ToolFormat::kGranite, R"(<|tool_call|>[{"name": "now", "arguments": {}}])", "", {"now"}, {"{}"}});
  Check({ToolFormat::kGranite,
         R"(<function_call> {"name": "search", "arguments": {"query": "x"}})",
         "",
         {"search"},
         {R"({"query": "x"})"}});
  Check({ToolFormat::kPhi, R"(<|tool_call|>[{"name": "now", "parameters": {}}]<|/tool_call|>)", "", {"now"}, {"{}"}});
  Check({ToolFormat::kPhi,
         R"(functools[{"name": "now", "arguments": {}}, {"name": "now", "arguments": {}}])",
         "",
         {"now", "now"},
         {"{}", "{}"}});
  Check({ToolFormat::kPhi, "functools are useful", "functools are useful", {}, {}});
}

TEST_CASE("Harmony: channels are reasoning, content and calls") {
  const std::string text =
      "<|channel|>analysis<|message|>Need weather.<|end|><|start|>assistant<|channel|>commentary<|message|>I "
      "look.<|end|>"
      "<|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>" +
      kParis + "<|call|>";
  const std::string early = "<|start|>assistant to=functions.now<|channel|>commentary json<|message|>{}";
  for (const std::size_t piece : {std::size_t{1}, std::size_t{5}, text.size()}) {
    const Message message = Read(ToolFormat::kHarmony, text, piece);
    CHECK(message.reasoning == "Need weather.");
    CHECK(message.content == "I look.");
    CHECK(message.names == std::vector<std::string>{"get_weather"});
    CHECK(message.arguments == std::vector<std::string>{kParis});
    CHECK(Read(ToolFormat::kHarmony, early, piece).names == std::vector<std::string>{"now"});
    CHECK(Read(ToolFormat::kHarmony, " to=functions.now<|channel|>commentary<|message|>{}", piece).names.size() == 1);
    CHECK(Read(ToolFormat::kHarmony, "<|channel|>final<|message|>a to=b <|x|", piece).content == "a to=b <|x|");
    CHECK(Read(ToolFormat::kHarmony, "no channels at all to=x", piece).content == "no channels at all to=x");
    const std::string bad = "<|channel|>commentary to=functions.now<|message|>{oops<|call|>";
    CHECK(Read(ToolFormat::kHarmony, bad, piece).content == "{oops");
    CHECK(Read(ToolFormat::kHarmony, bad, piece).names.empty());
  }
}

TEST_CASE("Absurdly deep arguments neither crash nor become calls") {
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  CHECK(Read(ToolFormat::kHermes, "<tool_call>{\"name\": \"now\", \"arguments\": {\"a\": " + deep + "}}</tool_call>",
             1000)
            .names.empty());
  const Message xml = Read(ToolFormat::kQwenXml,
                           "<function=get_weather>\n<parameter=days>\n" + deep + "\n</parameter>\n</function>", 1000);
  REQUIRE(xml.arguments.size() == 1);  // it stays the text that it is
  CHECK(Json::parse(xml.arguments[0])["days"] == deep);
  CHECK(Read(ToolFormat::kLlama3, "<|python_tag|>search.call(query=" + deep + ")", 1000).names ==
        std::vector<std::string>{"python"});
}

TEST_CASE("parallel_tool_calls false lets one call through") {
  const std::string call = R"(<tool_call>{"name": "now"}</tool_call>)";
  CHECK(Read(ToolFormat::kHermes, call + call + call, 1, false, 0, true).names.size() == 1);
  const std::string list = R"([TOOL_CALLS][{"name": "now"}, {"name": "now"}])";
  CHECK(Read(ToolFormat::kMistral, list, 1, false, 0, true).names.size() == 1);
}

TEST_CASE("A reply that a limit cuts keeps the call that it was making") {
  const std::string text = R"(<tool_call>{"name": "search", "arguments": {"query": "a long)";
  for (const std::size_t hold : {std::size_t{0}, std::string::npos}) {
    const Message cut = Read(ToolFormat::kHermes, text, 1, true, hold);
    CHECK(cut.names == std::vector<std::string>{"search"});
    CHECK(cut.arguments == std::vector<std::string>{R"({"query": "a long)"});
    CHECK(cut.broken);
    CHECK(cut.content.empty());
  }
  CHECK(Read(ToolFormat::kHermes, "<tool_call>{\"name\": \"sea", 1, true).content == "<tool_call>{\"name\": \"sea");
  const Message whole = Read(ToolFormat::kHermes, R"(<tool_call>{"name": "now"})", 1, true);
  CHECK(whole.names.size() == 1);
  CHECK_FALSE(whole.broken);
}

TEST_CASE("Long arguments come piece by piece; when they break off, the rest is content and the call is marked") {
  const std::string long_text(1000, 'x');
  const std::string begin = R"(<tool_call>{"name": "search", "arguments": {"query": ")" + long_text;
  const auto reader = MakeMessageReader({ToolFormat::kHermes, Tools(), true, false, 256});
  std::string arguments;
  std::size_t pieces = 0;
  for (const char c : begin) {
    for (const CallDelta& call : reader->Push(std::string_view(&c, 1)).calls) {
      arguments += call.arguments;
      ++pieces;
    }
  }
  CHECK(pieces > 500);
  CHECK(arguments == R"({"query": ")" + long_text);
  const MessageDelta rest = reader->Push("\" oops</tool_call>");
  CHECK(reader->broken());
  CHECK(rest.content == "oops</tool_call>");
}

TEST_CASE("The format is seen in the chat template") {
  const auto source = [](const std::string& name) {
    std::ifstream file(std::string(QUORUM_FIXTURES) + "/templates/models/" + name + ".jinja");
    return std::string((std::istreambuf_iterator<char>(file)), {});
  };
  CHECK(DetectToolFormat(source("qwen2.5")) == ToolFormat::kHermes);
  CHECK(DetectToolFormat(source("qwen3")) == ToolFormat::kHermes);
  CHECK(DetectToolFormat(source("qwen3-coder")) == ToolFormat::kQwenXml);
  CHECK(DetectToolFormat(source("mistral-nemo")) == ToolFormat::kMistral);
  CHECK(DetectToolFormat(source("mistral-small-3.2")) == ToolFormat::kMistral);
  CHECK(DetectToolFormat(source("deepseek-r1")) == ToolFormat::kDeepSeek);
  CHECK(DetectToolFormat(source("deepseek-v3.1")) == ToolFormat::kDeepSeek);
  CHECK(DetectToolFormat(source("gpt-oss")) == ToolFormat::kHarmony);
  CHECK(DetectToolFormat(source("granite-3.3")) == ToolFormat::kGranite);
  CHECK(DetectToolFormat(source("granite-4.0")) == ToolFormat::kHermes);
  CHECK(DetectToolFormat(source("smollm2")) == ToolFormat::kNone);
  for (const std::string& name : ToolFormatNames()) CHECK(NameOfToolFormat(*ToolFormatNamed(name)) == name);
  CHECK_FALSE(ToolFormatNamed("x").has_value());
}

}  // namespace
}  // namespace quorum::server
