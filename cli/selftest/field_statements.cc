// Statements 35 to 51: fields of requests, log-probabilities.
#include <cmath>

#include <fmt/format.h>

#include "cli/selftest/probe.h"

namespace quorum::selftest {
namespace {

std::string ContentOf(Probe& probe, const Json& answer, std::size_t choice = 0) {
  const Json content = Opt(probe.At(answer, "choices", choice, "message"), "content");
  return content.is_string() ? content.get<std::string>() : std::string();
}

void RefusedWithParam(Probe& probe, const Json& extra, const std::string& param) {
  const Json error = probe.Refused(probe.ChatAnswer(extra), 400, 400);
  probe.Demand(Opt(error, "param").is_string() && probe.Text(probe.At(error, "param")).starts_with(param),
               fmt::format("{}: param is {}", Brief(extra), Brief(Opt(error, "param"))));
}

void Lengths(Probe& probe) {
  const Json three = probe.Chat({{"max_tokens", nullptr}, {"max_completion_tokens", 3}});
  probe.Demand(probe.At(three, "usage", "completion_tokens") <= 3, "max_completion_tokens is not honoured");
  probe.Demand(
      probe.At(three, "choices", 0, "finish_reason") == "length" || probe.At(three, "usage", "completion_tokens") < 3,
      "finish_reason is not length");
  probe.Demand(
      probe.At(probe.Chat({{"max_tokens", 9}, {"max_completion_tokens", 2}}), "usage", "completion_tokens") <= 2,
      "max_tokens goes before max_completion_tokens");
  for (const char* name : {"max_tokens", "max_completion_tokens"}) {
    for (const int wrong : {0, -3}) {
      Json extra = {{"max_tokens", nullptr}};
      extra[name] = wrong;
      RefusedWithParam(probe, extra, "max_");
    }
  }
}

void Nulls(Probe& probe) {
  Json body = probe.ChatBody({{"max_tokens", 2}});
  for (const char* name : {"top_p", "n", "stop", "seed", "tools", "tool_choice", "response_format", "logit_bias",
                           "logprobs", "top_logprobs", "stream_options", "presence_penalty", "frequency_penalty",
                           "user", "metadata", "parallel_tool_calls", "max_completion_tokens"}) {
    body[name] = nullptr;
  }
  probe.Ok(Probe::kChat, body);
}

void Ignored(Probe& probe) {
  probe.Chat({{"max_tokens", 2},
              {"user", "u"},
              {"store", false},
              {"metadata", {{"a", "b"}}},
              {"service_tier", "auto"},
              {"safety_identifier", "s"},
              {"prompt_cache_key", "k"},
              {"verbosity", "low"},
              {"modalities", {"text"}},
              {"quite_unknown", 1}});
}

void Ranges(Probe& probe) {
  const std::vector<std::pair<const char*, Json>> wrong = {
      {"temperature", -0.1},   {"temperature", 2.1},         {"top_p", 1.5},
      {"presence_penalty", 3}, {"frequency_penalty", -3},    {"n", 0},
      {"temperature", "hot"},  {"logit_bias", {{"5", 101}}}, {"logit_bias", {{"x", 1}}}};
  for (const auto& [name, value] : wrong) RefusedWithParam(probe, {{name, value}}, name);
  RefusedWithParam(probe, {{"logprobs", true}, {"top_logprobs", 99}}, "top_logprobs");
}

void Greedy(Probe& probe) {
  probe.Demand(ContentOf(probe, probe.Chat()) == ContentOf(probe, probe.Plain()), "temperature 0 gives two answers");
}

void Seeds(Probe& probe) {
  const Json extra = {{"temperature", 1}, {"seed", 12345}, {"n", 2}};
  const Json one = probe.Chat(extra), two = probe.Chat(extra);
  probe.Demand(
      ContentOf(probe, one, 0) == ContentOf(probe, two, 0) && ContentOf(probe, one, 1) == ContentOf(probe, two, 1),
      "one seed gives two answers");
  // A model may be nearly certain of its answer: of several pairs, one differs.
  Json pair = one;
  for (int seed = 1; seed <= 5 && ContentOf(probe, pair, 0) == ContentOf(probe, pair, 1); ++seed) {
    pair = probe.Chat({{"temperature", 2}, {"seed", seed}, {"n", 2}});
  }
  probe.Demand(ContentOf(probe, pair, 0) != ContentOf(probe, pair, 1), "two choices of one request are always equal");
}

void Formats(Probe& probe) {
  const Json object = probe.Chat({{"response_format", {{"type", "json_object"}}}, {"max_tokens", 300}});
  probe.Demand(probe.At(object, "choices", 0, "finish_reason") == "length" ||
                   Json::parse(ContentOf(probe, object), nullptr, false).is_object(),
               "json_object: " + ContentOf(probe, object));
  const auto format = [](const Json& schema) {
    return Json{{"type", "json_schema"}, {"json_schema", {{"name", "answer"}, {"strict", true}, {"schema", schema}}}};
  };
  const Json schema = {{"type", "object"},
                       {"properties", {{"size", {{"enum", {"small", "large"}}}}}},
                       {"required", {"size"}},
                       {"additionalProperties", false}};
  const Json made = Json::parse(ContentOf(probe, probe.Chat({{"response_format", format(schema)}, {"max_tokens", 60}})),
                                nullptr, false);
  probe.Demand(made.is_object() && made.size() == 1 && (Opt(made, "size") == "small" || Opt(made, "size") == "large"),
               "json_schema: " + Brief(made));
  RefusedWithParam(probe, {{"response_format", format({{"type", "no such type"}})}}, "response_format");
  RefusedWithParam(probe, {{"response_format", {{"type", "json_schema"}}}}, "response_format");
}

void CutFormat(Probe& probe) {
  const Json schema = {
      {"type", "object"}, {"properties", {{"text", {{"type", "string"}, {"minLength", 200}}}}}, {"required", {"text"}}};
  const Json answer =
      probe.Chat({{"response_format", {{"type", "json_schema"}, {"json_schema", {{"name", "a"}, {"schema", schema}}}}},
                  {"max_tokens", 4}});
  probe.Demand(probe.At(answer, "choices", 0, "finish_reason") == "length",
               "finish_reason " + Brief(probe.At(answer, "choices", 0, "finish_reason")));
}

void Bodies(Probe& probe) {
  const std::string body = probe.ChatBody({{"max_tokens", 2}}).dump();
  probe.Demand(probe.PostText(Probe::kChat, body, {"Content-Type: application/json; charset=utf-8"}).status == 200,
               "a charset is refused");
  probe.Demand(probe.PostText(Probe::kChat, body, {"Expect: 100-continue"}).status == 200,
               "Expect: 100-continue is not answered");
  const long bom = probe.PostText(Probe::kChat, "\xEF\xBB\xBF" + body).status;
  probe.Demand(bom == 400, fmt::format("a byte order mark gives {}", bom));
  Json turned = Json::object();
  const Json plain = probe.ChatBody({{"max_tokens", 2}});
  std::vector<std::pair<std::string, Json>> members;
  for (const auto& [name, value] : plain.items()) members.emplace_back(name, value);
  for (auto it = members.rbegin(); it != members.rend(); ++it) turned[it->first] = it->second;
  probe.Ok(Probe::kChat, turned);
}

void Models(Probe& probe) {
  probe.Demand(Opt(probe.Plain(), "model").is_string(), "no model in the answer");
  for (const Json& chunk : probe.PlainStream().events)
    probe.Demand(probe.At(chunk, "model") == probe.At(probe.Plain(), "model"), "the model changes between chunks");
  const Answer answer = probe.ChatAnswer({{"model", "no-such-model"}, {"max_tokens", 2}});
  probe.Demand(answer.status == 200 || answer.status == 404, fmt::format("an unknown model gives {}", answer.status));
}

Json Scores(Probe& probe) {
  const Json answer = probe.Chat({{"logprobs", true}, {"top_logprobs", 3}});
  const Json logprobs = Opt(probe.At(answer, "choices", 0), "logprobs");
  probe.Demand(logprobs.is_object() && Opt(logprobs, "content").is_array() && !probe.At(logprobs, "content").empty(),
               "no logprobs");
  return probe.At(logprobs, "content");
}

void ScoreShape(Probe& probe) {
  for (const Json& score : Scores(probe)) {
    for (const char* name : {"token", "logprob", "bytes", "top_logprobs"})
      probe.Demand(score.contains(name), fmt::format("a score without {}", name));
    probe.Demand(probe.At(score, "top_logprobs").is_array() && probe.At(score, "top_logprobs").size() >= 3,
                 "not three of the likeliest");
  }
  const Json bare = probe.At(probe.Chat({{"logprobs", true}, {"max_tokens", 3}}), "choices", 0, "logprobs", "content");
  for (const Json& score : bare)
    probe.Demand(probe.At(score, "top_logprobs") == Json::array(), "top_logprobs is not [] where none were asked for");
}

void ScoreBytes(Probe& probe) {
  std::string bytes;
  for (const Json& score : Scores(probe)) {
    if (probe.At(score, "bytes").is_null()) continue;
    for (const Json& byte : probe.At(score, "bytes")) bytes += static_cast<char>(probe.Int(byte));
  }
  const std::string text = ContentOf(probe, probe.Plain());
  probe.Demand(bytes == text || text.starts_with(bytes) || bytes.starts_with(text),
               fmt::format("the bytes say {} and the content {}", Brief(bytes), Brief(text)));
}

void ScoreValues(Probe& probe) {
  for (const Json& score : Scores(probe)) {
    probe.Demand(probe.At(score, "logprob").is_number() && probe.At(score, "logprob") <= 0, "a logprob above 0");
    double sum = 0, before = 0;
    for (const Json& top : probe.At(score, "top_logprobs")) {
      const double value = probe.Number(probe.At(top, "logprob"));
      probe.Demand(value <= before + 1e-6, "the likeliest are not sorted");
      before = value;
      sum += std::exp(value);
    }
    probe.Demand(sum <= 1.01, "probabilities above 1");
  }
}

void StreamedScores(Probe& probe) {
  const Json streamed = probe.Assemble(probe.ChatStream({{"logprobs", true}, {"top_logprobs", 3}})).logprobs;
  const Json whole = Scores(probe);
  probe.Demand(streamed.size() == whole.size(),
               fmt::format("{} streamed scores, {} whole ones", streamed.size(), whole.size()));
  for (std::size_t i = 0; i < whole.size(); ++i)
    probe.Demand(probe.At(streamed[i], "token") == probe.At(whole[i], "token"), "other tokens");
  Json called = DemandWeather();
  called["logprobs"] = true;
  probe.Chat(called);
  probe.Assemble(probe.ChatStream(called));
}

void LegacyScores(Probe& probe) {
  const Json answer = probe.Ok("/v1/completions", {{"model", probe.model()},
                                                   {"prompt", "The sea is"},
                                                   {"max_tokens", 3},
                                                   {"temperature", 0},
                                                   {"logprobs", 2},
                                                   {"echo", true}});
  const Json logprobs = Opt(probe.At(answer, "choices", 0), "logprobs");
  for (const char* name : {"tokens", "token_logprobs", "top_logprobs", "text_offset"}) {
    probe.Demand(logprobs.is_object() && Opt(logprobs, name).is_array(), fmt::format("no {}", name));
    probe.Demand(Opt(logprobs, name).size() == probe.At(logprobs, "tokens").size(),
                 fmt::format("{} has another length", name));
  }
  probe.Demand(probe.At(logprobs, "token_logprobs", 0).is_null(), "the first token of the prompt has a score");
}

void ScoresWithoutAsking(Probe& probe) {
  probe.Refused(probe.ChatAnswer({{"logprobs", false}, {"top_logprobs", 2}}), 400, 400);
}

void LoneOptions(Probe& probe) { probe.Chat({{"stream_options", {{"include_usage", true}}}, {"max_tokens", 2}}); }

}  // namespace

std::vector<Statement> FieldStatements() {
  return {{"35", "max_completion_tokens before max_tokens; 0 is 400", Lengths},
          {"36", "null is as good as absent", Nulls},
          {"37", "fields that mean nothing here are accepted", Ignored},
          {"38", "values out of range are 400 with param", Ranges},
          {"39", "temperature 0 has one answer", Greedy},
          {"40", "a seed has one answer; choices differ", Seeds},
          {"41", "json_object and json_schema; a bad schema is 400", Formats},
          {"42", "a format that is cut ends with length", CutFormat},
          {"43", "stream_options without stream is accepted", LoneOptions},
          {"44", "charset, Expect, key order; a BOM is 400", Bodies},
          {"45", "the model's name is stable", Models},
          {"46", "shape of logprobs", ScoreShape},
          {"47", "bytes of logprobs are those of the content", ScoreBytes},
          {"48", "logprobs are at most 0, sorted, at most 1 in all", ScoreValues},
          {"49", "streams have the same logprobs, also beside tools", StreamedScores},
          {"50", "logprobs and echo of /v1/completions", LegacyScores},
          {"51", "top_logprobs without logprobs is 400", ScoresWithoutAsking}};
}

}  // namespace quorum::selftest
