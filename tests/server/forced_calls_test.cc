// Calls that are demanded (tool_choice) or strict, by models that would say anything: openai-conformance.md 28 to 30.
#include <string>
#include <vector>

#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::test {
namespace {

using server::ToolFormat;

const std::string kChat = "/v1/chat/completions";

struct FormatCase {
  const char* name;
  ToolFormat format;
  std::string shows;                  // by the template
  std::vector<std::string> controls;  // marks that are control tokens
};

// Each format as its families' vocabularies have it; most also without control tokens.
const std::vector<FormatCase>& Formats() {
  static const std::vector<FormatCase> formats = {
      {"hermes", ToolFormat::kHermes, "", {}},
      {"hermes, control tokens", ToolFormat::kHermes, "", {"<tool_call>", "</tool_call>"}},
      {"qwen-xml", ToolFormat::kQwenXml, "", {}},
      {"mistral list", ToolFormat::kMistral, "", {"[TOOL_CALLS]"}},
      {"mistral named", ToolFormat::kMistral, "[ARGS]", {"[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"}},
      {"mistral text", ToolFormat::kMistral, "[ARGS]", {}},
      {"llama3", ToolFormat::kLlama3, "", {"<|python_tag|>"}},
      {"deepseek v3",
       ToolFormat::kDeepSeek,
       "```json",
       {"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>",
        "<｜tool▁calls▁end｜>"}},
      {"deepseek v3.1", ToolFormat::kDeepSeek, "", {}},
      {"granite", ToolFormat::kGranite, "", {"<|tool_call|>"}},
      {"granite 20b", ToolFormat::kGranite, "<function_call>", {}},
      {"phi", ToolFormat::kPhi, "", {"<|tool_call|>", "<|/tool_call|>"}},
      {"phi functools", ToolFormat::kPhi, "functools", {}},
      {"harmony",
       ToolFormat::kHarmony,
       "",
       {"<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|constrain|>", "<|call|>", "<|return|>"}},
  };
  return formats;
}

// Noise: whatever is allowed is about equally likely, and `tilted` tokens more.
FakeModel::Logits Noise(std::vector<tok::TokenId> tilted = {}) {
  return [tilted](std::span<const tok::TokenId> history, std::span<float> row) {
    std::uint64_t state = HashHistory(history);
    for (float& logit : row) {
      state = state * 6364136223846793005ULL + 1442695040888963407ULL;
      logit = static_cast<float>(state >> 40) / static_cast<float>(1 << 23);
    }
    for (const tok::TokenId token : tilted) row[static_cast<std::size_t>(token)] += 4.0F;
  };
}

const json kParameters = json::parse(R"({"type": "object", "properties": {
    "city": {"type": "string", "enum": ["Paris", "São Paulo", "5"]},
    "days": {"type": "integer", "minimum": 1, "maximum": 14},
    "unit": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/Unit"}]},
    "tag": {"type": "string", "maxLength": 3},
    "hourly": {"type": "boolean"},
    "fields": {"type": "array", "items": {"enum": ["wind", "rain"]}, "maxItems": 2}},
  "required": ["city", "days", "unit", "tag"], "additionalProperties": false,
  "$defs": {"Unit": {"type": "string", "enum": ["C", "F"]}}})");

// As jsonschema would see it (tests/e2e checks with jsonschema itself).
bool Satisfies(const json& value) {
  if (!value.is_object()) return false;
  for (const auto& [key, member] : value.items()) {
    const bool fits = key == "city"     ? member == "Paris" || member == "São Paulo" || member == "5"
                      : key == "days"   ? member.is_number_integer() && member >= 1 && member <= 14
                      : key == "unit"   ? member.is_null() || member == "C" || member == "F"
                      : key == "tag"    ? member.is_string() && member.get<std::string>().size() <= 12
                      : key == "hourly" ? member.is_boolean()
                                        : key == "fields" && member.is_array() && member.size() <= 2 &&
                                              std::all_of(member.begin(), member.end(),
                                                          [](const json& m) { return m == "wind" || m == "rain"; });
    if (!fits) return false;
  }
  return value.contains("city") && value.contains("days") && value.contains("unit") && value.contains("tag");
}

json Function(const std::string& name, const json& parameters, bool strict = false) {
  json function = {{"name", name}};
  if (!parameters.is_null()) function["parameters"] = parameters;
  if (strict) function["strict"] = true;
  return {{"type", "function"}, {"function", function}};
}
const json kTools = {Function("weather", kParameters),
                     Function("now", {{"type", "object"}, {"properties", json::object()}})};

struct Reply {
  std::string content, finish;
  std::vector<std::pair<std::string, std::string>> calls;  // names and arguments
  bool operator==(const Reply&) const = default;
};

Reply Ask(const TestService& server, json body, bool stream) {
  body["stream"] = stream;
  const auto response = server.Post(kChat, body);
  CAPTURE(response.body);
  REQUIRE(response.status == 200);
  Reply reply;
  if (!stream) {
    const json choice = json::parse(response.body)["choices"][0];
    reply.finish = choice["finish_reason"];
    if (!choice["message"]["content"].is_null()) reply.content = choice["message"]["content"];
    for (const json& call : choice["message"].value("tool_calls", json::array())) {
      reply.calls.emplace_back(call["function"]["name"], call["function"]["arguments"]);
    }
    return reply;
  }
  const EventStream events = ParseEvents(response.body);
  CHECK(events.done);
  for (const json& chunk : events.events) {
    for (const json& choice : chunk["choices"]) {
      const json said = choice["delta"].value("content", json());
      if (!said.is_null()) reply.content += said.get<std::string>();
      if (!choice["finish_reason"].is_null()) reply.finish = choice["finish_reason"];
      for (const json& call : choice["delta"].value("tool_calls", json::array())) {
        if (call.contains("id")) reply.calls.emplace_back(call["function"]["name"], "");
        REQUIRE(call["index"] == reply.calls.size() - 1);
        reply.calls.back().second += call["function"]["arguments"].get<std::string>();
      }
    }
  }
  return reply;
}

void CheckWhole(const Reply& reply) {
  for (const auto& [name, arguments] : reply.calls) {
    CAPTURE(name, arguments);
    const json value = json::parse(arguments, nullptr, false);
    if (name == "weather") {
      CHECK(Satisfies(value));
    } else {
      CHECK(name == "now");
      CHECK(value.is_object());
    }
  }
}

TestServiceOptions Options(const FormatCase& format, FakeModel::Logits logits = Noise()) {
  TestServiceOptions options;
  options.context = 4000;
  options.tool_format = format.format;
  options.template_shows = format.shows;
  options.controls = format.controls;
  options.logits = std::move(logits);
  return options;
}

TEST_CASE("Demanded calls are made, whole and within their schemas, in every format, whatever the model would say") {
  for (const FormatCase& format : Formats()) {
    CAPTURE(format.name);
    TestService server(Options(format));
    const json weather = {{"type", "function"}, {"function", {{"name", "weather"}}}};
    const json allowed = {{"type", "allowed_tools"}, {"allowed_tools", {{"mode", "required"}, {"tools", {kTools[1]}}}}};
    for (const json& choice : {json("required"), weather, allowed}) {
      for (int seed = 1; seed <= 3; ++seed) {
        json body = TestService::ChatBody(
            {{"tools", kTools}, {"tool_choice", choice}, {"temperature", 1}, {"seed", seed}, {"max_tokens", 1500}});
        if (choice != weather) body["parallel_tool_calls"] = false;  // a named function is called once anyway
        const Reply reply = Ask(server, body, false);
        CHECK(reply.finish == "tool_calls");
        CHECK(reply.content.empty());
        REQUIRE(reply.calls.size() == 1);
        CheckWhole(reply);
        if (choice == weather) CHECK(reply.calls[0].first == "weather");
        if (choice == allowed) CHECK(reply.calls[0].first == "now");
        CHECK(Ask(server, body, true) == reply);
      }
    }
  }
}

TEST_CASE("Where several calls may be made, each is whole") {
  std::size_t most = 0;
  for (const FormatCase& format : Formats()) {
    CAPTURE(format.name);
    TestService server(Options(format));
    for (int seed = 1; seed <= 4; ++seed) {
      const Reply reply = Ask(server,
                              TestService::ChatBody({{"tools", kTools},
                                                     {"tool_choice", "required"},
                                                     {"temperature", 1},
                                                     {"seed", seed},
                                                     {"max_tokens", 3000}}),
                              seed % 2 == 0);
      CHECK(reply.finish == "tool_calls");
      CHECK(reply.content.empty());
      CHECK_FALSE(reply.calls.empty());
      CheckWhole(reply);
      most = std::max(most, reply.calls.size());
    }
  }
  CHECK(most > 1);
}

TEST_CASE("A demanded call that a limit cuts ends with length, and is never claimed to be whole") {
  for (const FormatCase& format : Formats()) {
    CAPTURE(format.name);
    TestService server(Options(format));
    for (int limit = 1; limit < 260; limit += limit < 60 ? 3 : 13) {
      CAPTURE(limit);
      const json body = TestService::ChatBody({{"tools", kTools},
                                               {"tool_choice", "required"},
                                               {"parallel_tool_calls", false},
                                               {"temperature", 1},
                                               {"seed", 7},
                                               {"max_tokens", limit}});
      for (const bool stream : {false, true}) {
        const Reply reply = Ask(server, body, stream);
        if (reply.finish == "tool_calls") {
          REQUIRE(reply.calls.size() == 1);
          CheckWhole(reply);
        } else {
          CHECK(reply.finish == "length");
        }
        CHECK(reply.content.empty());  // the beginning of a call is not something that was said
        for (const auto& [name, arguments] : reply.calls) {
          CHECK((name == "weather" || name == "now"));
          CHECK((arguments.empty() || arguments.front() == '{'));
        }
      }
    }
  }
}

TEST_CASE("A stop string within a demanded call leaves a call that is not whole, and no markup as content") {
  for (const FormatCase& format : Formats()) {
    CAPTURE(format.name);
    TestService server(Options(format));
    const json parameters = {{"type", "object"},
                             {"properties", {{"city", {{"enum", {"Paris"}}}}}},
                             {"required", {"city"}},
                             {"additionalProperties", false}};
    for (const bool stream : {false, true}) {
      const Reply reply = Ask(server,
                              TestService::ChatBody({{"tools", {Function("weather", parameters)}},
                                                     {"tool_choice", "required"},
                                                     {"parallel_tool_calls", false},
                                                     {"stop", {"Paris"}},
                                                     {"max_tokens", 300}}),
                              stream);
      CHECK(reply.content.empty());
      CHECK(reply.finish == "stop");
      REQUIRE(reply.calls.size() == 1);
      CHECK(reply.calls[0].first == "weather");
      CHECK(json::parse(reply.calls[0].second, nullptr, false).is_discarded());
    }
  }
}

TEST_CASE("A demanded call's arguments come while they are written") {
  TestService server(
      {.reply = "<tool_call>\n{\"name\": \"note\", \"arguments\": {\"t\": \"abcdefghijk\"}}\n</tool_call>"});
  const json parameters = {{"type", "object"}, {"properties", {{"t", {{"type", "string"}}}}}, {"required", {"t"}}};
  const json body = TestService::ChatBody({{"tools", {Function("note", parameters)}},
                                           {"tool_choice", "required"},
                                           {"parallel_tool_calls", false},
                                           {"temperature", 0},
                                           {"stream", true}});
  int pieces = 0;
  for (const json& chunk : ParseEvents(server.Post(kChat, body).body).events) {
    for (const json& choice : chunk["choices"]) pieces += choice["delta"].contains("tool_calls") ? 1 : 0;
  }
  CHECK(pieces > 8);
}

TEST_CASE("What begins as a call of a strict tool becomes one within its schema") {
  const json strict = {Function("weather", kParameters, true)};
  for (const FormatCase& format : Formats()) {
    CAPTURE(format.name);
    // The marks that begin a call are likely.
    const auto tokenizer = ByteTokenizer(format.controls);
    std::vector<tok::TokenId> tilted;
    for (const char* name : {"<tool_call>", "[TOOL_CALLS]", "<｜tool▁calls▁begin｜>", "<|tool_call|>", "<|channel|>"}) {
      if (const auto token = tokenizer->FindToken(name)) tilted.push_back(*token);
    }
    for (const char c : {'{', '<', '['}) tilted.push_back(static_cast<unsigned char>(c));
    TestService server(Options(format, Noise(tilted)));
    for (int seed = 1; seed <= 6; ++seed) {
      const Reply reply = Ask(
          server, TestService::ChatBody({{"tools", strict}, {"temperature", 1}, {"seed", seed}, {"max_tokens", 800}}),
          seed % 2 == 0);
      if (reply.finish == "tool_calls") CheckWhole(reply);
    }
  }
}

TEST_CASE("A model that writes a call with other arguments than a strict tool has is held to the schema") {
  for (const bool strict : {false, true}) {
    TestService server(
        {.reply = "Hm.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Rome\"}}\n</tool_call>"});
    const auto response = server.Post(
        kChat, TestService::ChatBody({{"tools", {Function("weather", kParameters, strict)}}, {"max_tokens", 300}}));
    REQUIRE(response.status == 200);
    CHECK(response.Header("x-quorum-ignored").empty());
    const json answer = json::parse(response.body)["choices"][0];
    CHECK(answer["message"]["content"].get<std::string>().rfind("Hm.", 0) == 0);
    REQUIRE(answer["message"]["tool_calls"].size() >= 1);
    const json call = answer["message"]["tool_calls"][0]["function"];
    CHECK(Satisfies(json::parse(call["arguments"].get<std::string>())) == strict);
  }
}

TEST_CASE("A schema that cannot be followed: 400 where the tool is strict, else named and any object is taken") {
  TestService server({.context = 4000, .logits = Noise()});
  const json deep = {{"type", "array"}, {"contains", {{"type", "integer"}}}, {"maxContains", 2}};
  const auto nested = server.Post(
      kChat, TestService::ChatBody({{"tools", {Function("f", {{"type", "object"}, {"properties", {{"x", deep}}}})}},
                                    {"tool_choice", "required"},
                                    {"max_tokens", 20}}));
  CHECK(nested.status == 200);
  CHECK(nested.Header("x-quorum-ignored") == "tools[].function.parameters");
  const json odd = {{"type", "object"}, {"properties", {{"x", {{"$ref", "#/nowhere"}}}}}};
  const json body = TestService::ChatBody({{"tools", {Function("f", odd, true)}}});
  const auto refused = server.Post(kChat, body);
  CHECK(refused.status == 400);
  CHECK(json::parse(refused.body)["error"]["param"] == "tools");
  for (int time = 0; time < 2; ++time) {  // also when the grammar is known already
    const auto loose = server.Post(
        kChat,
        TestService::ChatBody({{"tools", {Function("f", odd)}}, {"tool_choice", "required"}, {"max_tokens", 20}}));
    CHECK(loose.status == 200);
    CHECK(loose.Header("x-quorum-ignored") == "tools[].function.parameters");
  }
}

TEST_CASE("A format for the answer leaves room for calls, and demanded calls come before it") {
  TestService server({.context = 4000, .logits = Noise()});
  const json format = {{"type", "json_schema"},
                       {"json_schema", {{"name", "n"}, {"schema", {{"enum", {"yes", "no"}}}}}}};
  std::size_t calls = 0, answers = 0;
  for (int seed = 1; seed <= 12; ++seed) {
    json body = TestService::ChatBody({{"tools", kTools},
                                       {"response_format", format},
                                       {"temperature", 1},
                                       {"seed", seed},
                                       {"parallel_tool_calls", false},
                                       {"max_tokens", 1500}});
    const Reply reply = Ask(server, body, false);
    CheckWhole(reply);
    if (reply.calls.empty()) {
      CHECK((reply.content == "\"yes\"" || reply.content == "\"no\""));
      ++answers;
    } else {
      CHECK(reply.finish == "tool_calls");
      ++calls;
    }
    body["tool_choice"] = "required";
    CHECK(Ask(server, body, true).calls.size() == 1);
  }
  CHECK(calls > 0);
  CHECK(answers > 0);
}

TEST_CASE("With channels a format is that of the final one") {
  const FormatCase& harmony = Formats().back();
  const auto tokenizer = ByteTokenizer(harmony.controls);
  TestService server(Options(harmony, Noise({*tokenizer->FindToken("<|end|>")})));
  const json format = {{"type", "json_schema"},
                       {"json_schema", {{"name", "n"}, {"schema", {{"enum", {"yes", "no"}}}}}}};
  int thought = 0;
  for (int seed = 1; seed <= 12; ++seed) {
    const auto response = server.Post(
        kChat,
        TestService::ChatBody({{"response_format", format}, {"temperature", 1}, {"seed", seed}, {"max_tokens", 2000}}));
    REQUIRE(response.status == 200);
    const json choice = json::parse(response.body)["choices"][0];
    CHECK((choice["message"]["content"] == "\"yes\"" || choice["message"]["content"] == "\"no\""));
    CHECK(choice["finish_reason"] == "stop");
    if (choice["message"].contains("reasoning_content")) ++thought;
  }
  CHECK(thought > 0);
}

TEST_CASE("A model that thinks may think before a demanded call") {
  TestServiceOptions options = Options(Formats().front(), Noise({'<'}));
  options.template_shows = "</think>";
  options.controls = {"<think>", "</think>"};
  options.logits = Noise({kByteVocab + 1});
  TestService server(std::move(options));
  int thought = 0;
  for (int seed = 1; seed <= 8; ++seed) {
    const auto response = server.Post(kChat, TestService::ChatBody({{"tools", kTools},
                                                                    {"tool_choice", "required"},
                                                                    {"parallel_tool_calls", false},
                                                                    {"temperature", 1},
                                                                    {"seed", seed},
                                                                    {"max_tokens", 3000}}));
    REQUIRE(response.status == 200);
    const json choice = json::parse(response.body)["choices"][0];
    CHECK(choice["finish_reason"] == "tool_calls");
    CHECK(choice["message"]["content"].is_null());
    CHECK(choice["message"]["tool_calls"].size() == 1);
    if (choice["message"].contains("reasoning_content")) ++thought;
  }
  CHECK(thought > 0);
}

TEST_CASE("Where calls are not read none can be demanded") {
  TestService none({.tool_format = ToolFormat::kNone});
  const auto refused = none.Post(kChat, TestService::ChatBody({{"tools", kTools}, {"tool_choice", "required"}}));
  CHECK(refused.status == 400);
  CHECK(json::parse(refused.body)["error"]["param"] == "tool_choice");
}

TEST_CASE("Names of tools that no format of calls could carry are 400") {
  TestService server;
  for (const std::string& name : {std::string("a b"), std::string("a\"b"), std::string("<f>"), std::string(300, 'n')}) {
    const auto refused = server.Post(kChat, TestService::ChatBody({{"tools", {Function(name, nullptr)}}}));
    CHECK(refused.status == 400);
    CHECK(json::parse(refused.body)["error"]["param"] == "tools[0].function.name");
  }
}

TEST_CASE("Responses and Anthropic's messages can demand calls, too") {
  TestService server({.context = 4000, .logits = Noise()});
  json flat = {{"type", "function"}, {"name", "weather"}, {"parameters", kParameters}, {"strict", true}};
  for (const json& choice : {json("required"), json{{"type", "function"}, {"name", "weather"}}}) {
    const auto response = server.Post("/v1/responses", {{"input", "Hi"},
                                                        {"tools", {flat}},
                                                        {"tool_choice", choice},
                                                        {"parallel_tool_calls", false},
                                                        {"max_output_tokens", 1500}});
    REQUIRE(response.status == 200);
    const json answer = json::parse(response.body);
    CHECK(answer["status"] == "completed");
    REQUIRE(answer["output"].size() == 1);
    CHECK(answer["output"][0]["type"] == "function_call");
    CHECK(Satisfies(json::parse(answer["output"][0]["arguments"].get<std::string>())));
  }
  const json tool = {{"name", "weather"}, {"input_schema", kParameters}};
  for (const json& choice : {json{{"type", "any"}}, json{{"type", "tool"}, {"name", "weather"}}}) {
    json one = choice;
    one["disable_parallel_tool_use"] = true;
    const auto response = server.Post(
        "/v1/messages",
        TestService::ChatBody({{"tools", {tool}}, {"tool_choice", one}, {"temperature", 1}, {"max_tokens", 1500}}));
    REQUIRE(response.status == 200);
    const json answer = json::parse(response.body);
    CHECK(answer["stop_reason"] == "tool_use");
    REQUIRE(answer["content"].size() == 1);
    CHECK(answer["content"][0]["type"] == "tool_use");
    CHECK(Satisfies(answer["content"][0]["input"]));
  }
}

}  // namespace
}  // namespace quorum::test
