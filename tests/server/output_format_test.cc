#include "server/output_format.h"

#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::server {
namespace {

using Kind = OutputFormat::Kind;
using test::json;
using test::TestService;

Result<OutputFormat> Read(const char* body) {
  static Json parsed;
  parsed = Json::parse(body);
  JsonFields fields(parsed);
  std::vector<std::string> ignored;
  auto format = ReadOutputFormat(fields, ignored);
  if (format.ok()) CHECK(fields.Unread().empty());
  return format;
}

TEST_CASE("Output formats: every way to ask for one") {
  const auto is = [](const char* body, Kind kind, const std::string& text, const std::string& param) {
    INFO(body);
    const auto format = Read(body);
    REQUIRE(format.ok());
    CHECK(format->kind == kind);
    CHECK(format->text == text);
    CHECK(format->param == param);
  };
  is("{}", Kind::kText, "", "");
  is(R"({"response_format": {"type": "text"}, "grammar": "", "guided_choice": []})", Kind::kText, "", "");
  is(R"({"response_format": {"type": "json_object"}})", Kind::kJsonObject, "", "response_format");
  is(R"({"response_format": {"type": "json_object", "schema": {"type": "array"}}})", Kind::kJsonSchema,
     R"({"type":"array"})", "response_format.schema");
  is(R"({"response_format": {"type": "json_schema", "json_schema": {"name": "x_1-Y", "strict": true, "schema": {"b": 1, "a": 2}}}})",
     Kind::kJsonSchema, R"({"b":1,"a":2})", "response_format.json_schema.schema");
  is(R"({"guided_json": {"type": "null"}})", Kind::kJsonSchema, R"({"type":"null"})", "guided_json");
  is(R"({"guided_json": "{\"type\": \"null\"}"})", Kind::kJsonSchema, R"({"type": "null"})", "guided_json");
  is(R"({"json_schema": {}})", Kind::kJsonSchema, "{}", "json_schema");
  is(R"({"guided_regex": "a+"})", Kind::kRegex, "a+", "guided_regex");
  is(R"({"guided_choice": ["a", "b"]})", Kind::kChoice, R"(["a","b"])", "guided_choice");
  is(R"({"grammar": "root ::= \"x\""})", Kind::kGbnf, "root ::= \"x\"", "grammar");
  is(R"({"structured_outputs": {"regex": "a", "disable_any_whitespace": true}})", Kind::kRegex, "a",
     "structured_outputs.regex");
  CHECK(Read(R"({"structured_outputs": {"json": {}, "disable_any_whitespace": true}})")->compact);
  is(R"({"structured_outputs": {"json_object": true}})", Kind::kJsonObject, "", "structured_outputs.json_object");
}

TEST_CASE("Output formats: what is wrong is named") {
  const auto refused = [](const char* body, const std::string& param) {
    INFO(body);
    const auto format = Read(body);
    REQUIRE_FALSE(format.ok());
    CHECK(HttpStatus(format.error().code) == 400);
    CHECK(format.error().param == param);
  };
  refused(R"({"response_format": "json"})", "response_format");
  refused(R"({"response_format": {"type": "xml"}})", "response_format");
  refused(R"({"response_format": {"type": "json_schema"}})", "response_format.json_schema");
  refused(R"({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}})",
          "response_format.json_schema.schema");
  refused(R"({"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}})",
          "response_format.json_schema.name");
  refused(R"({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": 5}}})",
          "response_format.json_schema.schema");
  refused(R"({"guided_choice": [1]})", "guided_choice");
  refused(R"({"guided_regex": 1})", "guided_regex");
  refused(R"({"grammar": {"a": 1}})", "grammar");
  refused(R"({"structured_outputs": {}})", "structured_outputs");
  refused(R"({"structured_outputs": {"json": {}, "regex": "a"}})", "structured_outputs");
  refused(R"({"structured_outputs": {"json": {}, "whitespace_pattern": " "}})",
          "structured_outputs.whitespace_pattern");
  refused(R"({"guided_json": {}, "grammar": "x"})", "grammar");
}

TEST_CASE("Grammar cache: the same text is compiled once, the oldest is dropped") {
  const auto tokenizer = test::ByteTokenizer();
  std::vector<grammar::VocabularyToken> tokens;
  for (tok::TokenId id = 0; id < 256; ++id) tokens.push_back({tokenizer->TokenBytes(id), grammar::TokenKind::kText});
  GrammarCache cache(std::make_shared<const grammar::Vocabulary>(tokens));
  const auto get = [&cache](const std::string& pattern) {
    const auto compiled = cache.Get({Kind::kRegex, pattern, false, "p"});
    REQUIRE(compiled.ok());
    return compiled->compiled;
  };
  const auto first = get("a");
  CHECK(get("a") == first);
  for (std::size_t i = 0; i < GrammarCache::kMaxGrammars - 1; ++i) get("b" + std::to_string(i));
  CHECK(get("a") == first);
  for (std::size_t i = 0; i < GrammarCache::kMaxGrammars; ++i) get("c" + std::to_string(i));
  CHECK(get("a") != first);
  const auto wrong = cache.Get({Kind::kRegex, "(", false, "structured_outputs.regex"});
  REQUIRE_FALSE(wrong.ok());
  CHECK(wrong.error().param == "structured_outputs.regex");
  CHECK(cache.Get({})->compiled == nullptr);
}

TEST_CASE("Grammar cache: what has been learned of grammars counts, too") {
  const auto tokenizer = test::ByteTokenizer();
  std::vector<grammar::VocabularyToken> tokens;
  for (tok::TokenId id = 0; id < 256; ++id) tokens.push_back({tokenizer->TokenBytes(id), grammar::TokenKind::kText});
  GrammarCache cache(std::make_shared<const grammar::Vocabulary>(tokens));
  std::shared_ptr<const grammar::CompiledGrammar> first;
  for (int i = 0; i < 12; ++i) {
    const auto known = cache.Get({Kind::kRegex, "[ab]{0,20000}" + std::to_string(i), false, "p"});
    REQUIRE(known.ok());
    const auto compiled = known->compiled;
    if (i == 0) first = compiled;
    const auto table = compiled->table();
    const std::size_t before = compiled->bytes();
    table->Read(table->start(), std::string(20000, 'a'));  // makes about as many states
    CHECK(compiled->bytes() > before + 100'000);
    CHECK(cache.bytes() <= GrammarCache::kMaxBytes + compiled->bytes());
  }
  CHECK(cache.bytes() > 1'000'000);
  CHECK(first->bytes() > 100'000);
}

TEST_CASE("Formats over HTTP: chats and completions keep to them, errors say where") {
  TestService server;  // the model wants to say "Hello, world!"
  const json schema = {{"type", "object"},
                       {"properties", {{"a", {{"type", "boolean"}}}}},
                       {"required", {"a"}},
                       {"additionalProperties", false}};
  const auto chat = server.Post(
      "/v1/chat/completions",
      TestService::ChatBody(
          {{"response_format", {{"type", "json_schema"}, {"json_schema", {{"name", "x"}, {"schema", schema}}}}},
           {"max_tokens", 200}}));
  INFO(chat.body);
  REQUIRE(chat.status == 200);
  const json choice = json::parse(chat.body)["choices"][0];
  CHECK(choice["finish_reason"] == "stop");
  CHECK(json::parse(choice["message"]["content"].get<std::string>())["a"].is_boolean());

  const auto completion =
      server.Post("/v1/completions", {{"prompt", "Say:"}, {"temperature", 0}, {"guided_choice", {"left", "right"}}});
  REQUIRE(completion.status == 200);
  const std::string text = json::parse(completion.body)["choices"][0]["text"];
  CHECK((text == "left" || text == "right"));

  const auto refused =
      server.Post("/v1/chat/completions",
                  TestService::ChatBody(
                      {{"response_format",
                        {{"type", "json_schema"},
                         {"json_schema",
                          {{"name", "x"}, {"schema", {{"properties", {{"b", {{"not", {{"multipleOf", 2}}}}}}}}}}}}}}));
  CHECK(refused.status == 400);
  const json error = json::parse(refused.body)["error"];
  CHECK(error["param"] == "response_format.json_schema.schema");
  CHECK(error["message"].get<std::string>().find("#/properties/b/not/multipleOf") != std::string::npos);
}

}  // namespace
}  // namespace quorum::server
