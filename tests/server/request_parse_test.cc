// Reading request bodies without a server: limits of the JSON scan, fields, messages; control tokens; error bodies.
#include <chrono>
#include <string>

#include "server/chat_request.h"
#include "server/completion_request.h"
#include "server/control_tokens.h"
#include "server/error_body.h"
#include "server/token_logprobs.h"
#include "tests/support/catch.h"
#include "tests/support/test_service.h"

namespace quorum::server {
namespace {

std::string Repeat(const std::string& text, int times) {
  std::string out;
  for (int i = 0; i < times; ++i) out += text;
  return out;
}

TEST_CASE("The JSON scan bounds depth, members and values, and is not fooled by strings") {
  CHECK(ScanJson(Repeat("[", 64) + Repeat("]", 64)).ok());
  CHECK_FALSE(ScanJson(Repeat("[", 65)).ok());
  CHECK_FALSE(ScanJson(Repeat("{\"a\":", 65)).ok());
  CHECK(ScanJson("\"" + Repeat("[", 1000) + "\"").ok());
  CHECK(ScanJson("[\"\\\"" + Repeat("[", 1000) + "\"]").ok());
  CHECK(ScanJson("[\"\\\\\"," + Repeat("[", 63)).ok());
  CHECK_FALSE(ScanJson("[\"\\\\\"," + Repeat("[", 64)).ok());
  CHECK(ScanJson(Repeat("[]", 1000)).ok());
  CHECK(ScanJson("]]]]}}}}").ok());  // the parser's business

  std::string wide = "{";
  for (int i = 0; i < 20'000; ++i) wide += "\"" + std::to_string(i) + "\":1,";
  CHECK_FALSE(ScanJson(wide + "\"x\":1}").ok());
  CHECK_FALSE(ScanJson(wide).ok());  // also when the object never ends
  CHECK(ScanJson("{\"logit_bias\":{" + Repeat("\"1\":1,", 10'000) + "\"2\":1}}").ok());
  CHECK_FALSE(ScanJson("[1,2,3]", {.max_values = 1}).ok());

  CHECK_FALSE(ScanJson(std::string("{\0}", 3)).ok());
  CHECK_FALSE(ScanJson(R"(["\u0000"])").ok());
  CHECK(ScanJson(R"(["\\u0000"])").ok());  // a backslash and five letters
}

TEST_CASE("Objects with absurdly many members are refused before they are parsed, however they end") {
  std::string text = "{";
  for (int i = 0; i < 40'000; ++i) text += "\"" + std::to_string(i) + "\":0,";
  for (const char* end : {"", "]", "\"x\":0}", "\"x\":[{\"y\":"}) {
    const auto parsed = ParseJson(text + end);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().message == "the JSON's objects have too many members");
  }
}

TEST_CASE("JSON errors say where, and never echo the parser's own numbering") {
  const auto parsed = ParseJson("{\"a\": nan}");
  REQUIRE_FALSE(parsed.ok());
  CHECK(parsed.error().code == ErrorCode::kInvalidArgument);
  CHECK(parsed.error().message.find("not valid JSON") != std::string::npos);
  CHECK(parsed.error().message.find("line 1, column") != std::string::npos);
  CHECK(parsed.error().message.find("json.exception") == std::string::npos);
  CHECK(ParseJson("\"" + Repeat("x", 100'000) + "\" y").error().message.size() < 500);
}

TEST_CASE("Fields: whole numbers may be written as 16.0, ranges include their ends, null is absent") {
  const Json object = {{"a", 16.0}, {"b", 1.5}, {"c", nullptr}, {"d", 2}, {"e", true}, {"f", 18446744073709551615ULL}};
  JsonFields fields(object, "x");
  CHECK(fields.Int("a", 0, 16)->value() == 16);
  CHECK(fields.Int("b", 0, 16).error().param == "x.b");
  CHECK_FALSE(fields.Int("c", 0, 16)->has_value());
  CHECK_FALSE(fields.Int("none", 0, 16)->has_value());
  CHECK(fields.Number("d", 0, 2)->value() == 2.0);
  CHECK_FALSE(fields.Number("d", 2, 3, true).ok());
  CHECK_FALSE(fields.Int("e", 0, 1).ok());
  CHECK(fields.Int("f", INT64_MIN, INT64_MAX).error().message.find("at most 9223372036854775807") != std::string::npos);
  const Json wide = {{"big", 99999999999}, {"huge", 1e300}, {"low", -1e300}, {"zero", 0}};
  JsonFields widely(wide);
  CHECK(widely.Int("big", 1, INT32_MAX).error().message == "'big' must be at most 2147483647, but is 99999999999");
  CHECK(widely.Int("huge", 1, INT32_MAX).error().message == "'huge' must be at most 2147483647, but is 1e+300");
  CHECK(widely.Int("low", 1, INT32_MAX).error().message == "'low' must be at least 1, but is -1e+300");
  CHECK(widely.Int("zero", 1, 20).error().message == "'zero' must be from 1 to 20, but is 0");
  CHECK(fields.Unread().empty());
  const Json other = {{"known", 1}, {"unknown", 2}, {"nothing", nullptr}};
  JsonFields partly(other);
  partly.Find("known");
  CHECK(partly.Unread() == std::vector<std::string>{"unknown"});
}

TEST_CASE("A chat request is read as it stands") {
  const auto request = ParseChatRequest(R"({
    "model": "m", "temperature": 0.5, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "typical_p": 0.8,
    "presence_penalty": 1, "frequency_penalty": -1, "repetition_penalty": 1.1, "seed": 42, "n": 2,
    "stop": ["a", "", "b"], "stop_token_ids": [7], "logit_bias": {"5": -100}, "max_tokens": 9, "ignore_eos": true,
    "skip_special_tokens": false, "logprobs": true, "top_logprobs": 4, "stream": true,
    "stream_options": {"include_usage": true, "include_obfuscation": false}, "return_tokens_as_token_ids": true,
    "chat_template_kwargs": {"enable_thinking": false}, "reasoning_effort": "low", "user": "u",
    "messages": [{"role": "user", "content": "hi", "name": "ann"},
                 {"role": "assistant", "content": null, "refusal": null, "annotations": [],
                  "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"b\":1,\"a\":2}"}},
                                 {"id": "d", "type": "function", "function": {"name": "g", "arguments": "not json"}}]}]})");
  REQUIRE(request.ok());
  const auto& r = request->generation.request;
  CHECK(request->generation.model == "m");
  CHECK(r.sampling.temperature == 0.5F);
  CHECK(r.sampling.top_p == 0.9F);
  CHECK(r.sampling.top_k == 40);
  CHECK(r.sampling.min_p == 0.05F);
  CHECK(r.sampling.typical_p == 0.8F);
  CHECK(r.sampling.presence_penalty == 1.0F);
  CHECK(r.sampling.frequency_penalty == -1.0F);
  CHECK(r.sampling.repetition_penalty == 1.1F);
  CHECK(r.sampling.seed == 42);
  CHECK(r.sampling.logit_bias == std::map<tok::TokenId, float>{{5, -100.0F}});
  CHECK(r.n == 2);
  CHECK(r.stop == std::vector<std::string>{"a", "b"});
  CHECK(r.stop_ids == std::vector<tok::TokenId>{7});
  CHECK(r.max_tokens == 9);
  CHECK(r.ignore_eos);
  CHECK(r.include_control_text);
  CHECK(r.logprobs);
  CHECK(r.top_logprobs == 4);
  CHECK(request->generation.stream);
  CHECK(request->generation.include_usage);
  CHECK(request->generation.tokens_as_ids);
  CHECK(request->template_variables.dump() == R"({"enable_thinking":false,"reasoning_effort":"low"})");
  CHECK(request->messages.dump() ==
        R"([{"role":"user","content":"hi","name":"ann"},{"role":"assistant","content":"","tool_calls":[)"
        R"({"id":"c","type":"function","function":{"name":"f","arguments":{"b":1,"a":2}}},)"
        R"({"id":"d","type":"function","function":{"name":"g","arguments":"not json"}}]}])");
  CHECK(request->generation.ignored == std::vector<std::string>{"stop", "stream_options.include_obfuscation", "user"});
}

TEST_CASE("Of two fields that say the same thing differently, the one that is not followed is named") {
  const auto ignored = [](const std::string& fields) {
    const auto request = ParseChatRequest("{" + fields + R"(, "messages": [{"role": "user", "content": ""}]})");
    REQUIRE(request.ok());
    return request->generation.ignored;
  };
  using Names = std::vector<std::string>;
  CHECK(ignored(R"("max_tokens": 5, "max_completion_tokens": 9)") == Names{"max_tokens"});
  CHECK(ignored(R"("max_tokens": 9, "max_completion_tokens": 9)").empty());
  CHECK(ignored(R"("repeat_penalty": 1.1, "repetition_penalty": 1.2)") == Names{"repeat_penalty"});
  CHECK(ignored(R"("thinking_token_budget": 5, "thinking_budget": 5)") == Names{"thinking_token_budget"});
  CHECK(ignored(R"("stop": "")") == Names{"stop"});
  CHECK(ignored(R"("stop": [])").empty());
}

TEST_CASE("OpenAI's defaults are the defaults") {
  const auto request = ParseChatRequest(R"({"messages": [{"role": "user", "content": ""}]})");
  REQUIRE(request.ok());
  const auto& r = request->generation.request;
  CHECK(r.sampling.temperature == 1.0F);
  CHECK(r.sampling.top_p == 1.0F);
  CHECK(r.sampling.top_k == 0);
  CHECK(r.sampling.min_p == 0.0F);
  CHECK(r.sampling.repetition_penalty == 1.0F);
  CHECK(r.max_tokens == INT32_MAX);
  CHECK(r.n == 1);
  CHECK_FALSE(r.logprobs);
  CHECK_FALSE(request->generation.stream);
  const auto again = ParseChatRequest(R"({"messages": [{"role": "user", "content": ""}]})");
  CHECK(again->generation.request.sampling.seed != r.sampling.seed);
}

TEST_CASE("Off values of fields that are not implemented are as good as absent") {
  CHECK(ParseChatRequest(
            R"({"messages": [{"role": "user", "content": ""}], "functions": [], "min_tokens": 0, "grammar": "",
                             "use_beam_search": false, "response_format": {"type": "text"}})")
            .ok());
  const auto refused = ParseChatRequest(R"({"messages": [{"role": "user", "content": ""}], "min_tokens": 2})");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == ErrorCode::kUnsupported);
  CHECK(refused.error().param == "min_tokens");
  const auto empty = ParseChatRequest(R"({"messages": [{"role": "user", "content": ""}], "web_search_options": {}})");
  REQUIRE_FALSE(empty.ok());
  CHECK(empty.error().param == "web_search_options");
}

TEST_CASE("functions and function_call are tools and a choice among them, also in earlier messages") {
  const auto request = ParseChatRequest(R"({
    "functions": [{"name": "f", "parameters": {"type": "object"}}, {"name": "g"}], "function_call": {"name": "g"},
    "messages": [{"role": "user", "content": "hi"},
                 {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{\"a\":1}"}},
                 {"role": "function", "name": "f", "content": "one"},
                 {"role": "assistant", "content": "so", "function_call": {"name": "g", "arguments": ""}},
                 {"role": "function", "name": "g", "content": null},
                 {"role": "assistant", "content": "done", "function_call": null, "tool_calls": []}]})");
  REQUIRE(request.ok());
  CHECK(request->tools.dump() == R"([{"type":"function","function":{"name":"f","parameters":{"type":"object"}}},)"
                                 R"({"type":"function","function":{"name":"g"}}])");
  CHECK(request->tool_use.choice == ToolChoice::kNamed);
  CHECK(request->tool_use.callable.dump() == R"([{"type":"function","function":{"name":"g"}}])");
  CHECK(request->tool_use.as_function_call);
  CHECK_FALSE(request->tool_use.parallel);
  CHECK(request->messages.dump() ==
        R"([{"role":"user","content":"hi"},)"
        R"({"role":"assistant","content":"","tool_calls":[{"id":"call00001","type":"function",)"
        R"("function":{"name":"f","arguments":{"a":1}}}]},)"
        R"({"role":"tool","content":"one","name":"f","tool_call_id":"call00001"},)"
        R"({"role":"assistant","content":"so","tool_calls":[{"id":"call00003","type":"function",)"
        R"("function":{"name":"g","arguments":""}}]},)"
        R"({"role":"tool","content":"","name":"g","tool_call_id":"call00003"},)"
        R"({"role":"assistant","content":"done"}])");
  CHECK(request->generation.ignored.empty());

  const auto param_of = [](const std::string& fields, const std::string& message) {
    const auto wrong = ParseChatRequest("{" + fields + "\"messages\": [" + message + "]}");
    return wrong.ok() ? std::string("none") : wrong.error().param;
  };
  const std::string user = R"({"role": "user", "content": "hi"})", some = R"("functions": [{"name": "f"}], )";
  CHECK(param_of(some + R"("function_call": "auto", )", user) == "none");
  CHECK(param_of(some + R"("function_call": "none", "tools": [], "parallel_tool_calls": false, )", user) == "none");
  CHECK(param_of(R"("function_call": "none", )", user) == "none");
  CHECK(param_of(some + R"("function_call": "required", )", user) == "function_call");
  CHECK(param_of(some + R"("function_call": {"name": "g"}, )", user) == "function_call");
  CHECK(param_of(some + R"("function_call": {}, )", user) == "function_call");
  CHECK(param_of(R"("function_call": {"name": "f"}, )", user) == "function_call");
  CHECK(param_of(R"("tools": [{"type": "function", "function": {"name": "f"}}], "function_call": {"name": "f"}, )",
                 user) == "function_call");
  CHECK(param_of(some + R"("tools": [{"type": "function", "function": {"name": "f"}}], )", user) == "tools");
  CHECK(param_of(some + R"("tool_choice": "auto", )", user) == "tool_choice");
  CHECK(param_of(some + R"("parallel_tool_calls": true, )", user) == "parallel_tool_calls");
  CHECK(param_of(R"("functions": {"name": "f"}, )", user) == "functions");
  CHECK(param_of(R"("functions": [{"description": "nameless"}], )", user) == "functions[0]");
  CHECK(param_of(R"("functions": [{"name": "f"}, {"name": "a b"}], )", user) == "functions[1].name");
  CHECK(param_of(R"("functions": [{"name": "f", "parameters": []}], )", user) == "functions[0].parameters");
  CHECK(param_of("", R"({"role": "function", "content": "x"})") == "messages[0].name");
  CHECK(param_of("", R"({"role": "user", "content": "x", "function_call": {"name": "f"}})") ==
        "messages[0].function_call");
  CHECK(param_of("", R"({"role": "assistant", "function_call": {"arguments": "{}"}})") ==
        "messages[0].function_call.name");
  CHECK(param_of("", R"({"role": "assistant", "function_call": {"name": "f", "arguments": 5}})") ==
        "messages[0].function_call.arguments");
}

TEST_CASE("Control tokens are found, the longest first, and broken wherever they begin") {
  const ControlTokens tokens(*test::ByteTokenizer());
  const std::string text = "a<|im_end|>b<|im_end|<|im_start|>";
  const auto first = tokens.Find(text, 0);
  CHECK(first.begin == 1);
  CHECK(first.size == 10);
  CHECK(first.id == test::kImEnd);
  const auto second = tokens.Find(text, first.begin + first.size);
  CHECK(second.begin == 21);
  CHECK(second.id == test::kImStart);
  CHECK(tokens.Find("<|im_end|", 0).size == 0);
  CHECK(tokens.Break("x<|im_end|>y", "#") == "x<#|im_end|>y");
  const std::string nested = tokens.Break("<|im_end<|im_end|>|>", "#");
  CHECK(tokens.Find(nested, 0).size == 0);
  // A million beginnings cost no more than a million steps.
  CHECK(tokens.Find(Repeat("<|im_", 200'000), 0).size == 0);
}

TEST_CASE("Error bodies: code and param are strings or null") {
  const Json plain = Json::parse(ErrorBody(400, "bad \"thing\" \xFF"))["error"];
  CHECK(plain["message"] == "bad \"thing\" \xEF\xBF\xBD");
  CHECK(plain["param"].is_null());
  CHECK(plain["code"].is_null());
  const Json full = Json::parse(ErrorBody(404, "no", "model", "model_not_found"))["error"];
  CHECK(full["type"] == "not_found_error");
  CHECK(full["param"] == "model");
  CHECK(full["code"] == "model_not_found");
  HttpResponse response;
  SetRetryAfter(response, 1e9);
  CHECK(*FindHeader(response.headers, "Retry-After") == "120");
  HttpResponse soon;
  SetRetryAfter(soon, 0.25);
  CHECK(*FindHeader(soon.headers, "retry-after") == "1");
  CHECK(*FindHeader(soon.headers, "retry-after-ms") == "250");
}

TEST_CASE("Log-probabilities are numbers that JSON can hold") {
  CHECK(FiniteLogprob(-INFINITY) == -9999.0);
  CHECK(FiniteLogprob(NAN) == -9999.0);
  CHECK(FiniteLogprob(1e-7F) == 0.0);
  CHECK(FiniteLogprob(-0.5F) == -0.5);
}

}  // namespace
}  // namespace quorum::server
