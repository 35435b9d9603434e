// Statements 52 to 73: usage, headers, errors, and the other routes.
#include <cctype>
#include <cmath>
#include <cstring>
#include <set>

#include <fmt/format.h>

#include "cli/selftest/probe.h"

namespace quorum::selftest {
namespace {

constexpr const char* kCompletions = "/v1/completions";

void Usage(Probe& probe) {
  const Json usage = Opt(probe.Plain(), "usage");
  probe.Demand(usage.is_object(), "no usage");
  for (const char* name : {"prompt_tokens", "completion_tokens", "total_tokens"}) {
    probe.Demand(Opt(usage, name).is_number_integer(), fmt::format("{} is no integer", name));
  }
  probe.Demand(probe.At(usage, "total_tokens") ==
                   probe.Int(probe.At(usage, "prompt_tokens")) + probe.Int(probe.At(usage, "completion_tokens")),
               "the total is no sum");
  const Json details = Opt(usage, "prompt_tokens_details");
  probe.Demand(details.is_object() && Opt(details, "cached_tokens").is_number_integer(),
               "no prompt_tokens_details.cached_tokens");
  probe.Demand(probe.At(details, "cached_tokens") <= probe.At(usage, "prompt_tokens"),
               "more cached tokens than the prompt has");
}

void Cached(Probe& probe) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += fmt::format("Line {} of a long text. ", i);
  const Json extra = {{"messages", {{{"role", "user"}, {"content", text}}}}, {"max_tokens", 2}};
  probe.Chat(extra);
  const Json usage = probe.At(probe.Chat(extra), "usage");
  const Json cached = Opt(Opt(usage, "prompt_tokens_details"), "cached_tokens");
  probe.Demand(cached.is_number_integer() && cached > 0, "cached_tokens of a repeated prompt: " + Brief(cached));
}

void Fingerprint(Probe& probe) {
  const Json fingerprint = Opt(probe.Plain(), "system_fingerprint");
  probe.Demand(fingerprint.is_string() && fingerprint != "", "no system_fingerprint");
  for (const Json& chunk : probe.PlainStream().events) {
    probe.Demand(Opt(chunk, "system_fingerprint") == fingerprint, "a chunk has another system_fingerprint");
  }
}

void Objects(Probe& probe) {
  probe.Demand(probe.At(probe.Plain(), "object") == "chat.completion",
               "object " + Brief(probe.At(probe.Plain(), "object")));
  const Json finish = probe.At(probe.Plain(), "choices", 0, "finish_reason");
  probe.Demand(finish == "stop" || finish == "length", "finish_reason " + Brief(finish));
}

void RequestIds(Probe& probe) {
  probe.Demand(!probe.PlainStream().answer.Header("x-request-id").empty(), "no x-request-id");
  probe.Demand(!probe.PostText(Probe::kChat, "{").Header("x-request-id").empty(), "no x-request-id beside an error");
  probe.Demand(
      probe.Post(Probe::kChat, probe.ChatBody({{"max_tokens", 1}}), {"X-Request-Id: mine-1"}).Header("x-request-id") ==
          "mine-1",
      "the client's x-request-id does not come back");
}

void ListModels(Probe& probe) {
  const Json list = Json::parse(probe.Get("/v1/models").body, nullptr, false);
  probe.Demand(list.is_object() && Opt(list, "object") == "list" && Opt(list, "data").is_array() &&
                   !probe.At(list, "data").empty(),
               "no list of models");
  const Json model = probe.At(list, "data", 0);
  probe.Demand(Opt(model, "object") == "model" && Opt(model, "created").is_number_integer() &&
                   Opt(model, "owned_by").is_string(),
               "a model without object, created or owned_by: " + Brief(model));
  std::string escaped;
  for (const char c : probe.Text(probe.At(model, "id"))) {
    escaped += std::isalnum(static_cast<unsigned char>(c)) != 0 ? std::string(1, c)
                                                                : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  const Json one = Json::parse(probe.Get("/v1/models/" + escaped).body, nullptr, false);
  probe.Demand(one.is_object() && Opt(one, "id") == probe.At(model, "id"), "GET /v1/models/{id} does not find it");
  probe.Refused(probe.Get("/v1/models/no-such-model"), 404, 404);
}

void Paths(Probe& probe) {
  probe.Refused(probe.Get("/v1/no-such-path"), 404, 404);
  probe.Refused(probe.Get(Probe::kChat), 405, 405);
  const Answer options = Send(probe.options(), "OPTIONS", Probe::kChat, {},
                              {"Origin: http://localhost", "Access-Control-Request-Method: POST"});
  probe.Demand(options.status == 204 || options.status == 200, fmt::format("OPTIONS gives {}", options.status));
}

void Closing(Probe& probe) {
  const Answer answer = probe.Get("/v1/models", {"Connection: close"});
  probe.Demand(answer.status == 200 && answer.Header("connection").find("close") != std::string::npos,
               "Connection: close is not answered");
}

void ErrorShape(Probe& probe) {
  const Json error = probe.Refused(probe.ChatAnswer({{"temperature", 99}}));
  probe.Demand(Opt(error, "type").is_string(), "type " + Brief(Opt(error, "type")));
  probe.Demand(error.contains("param") && error.contains("code"), "no param or code");
  probe.Demand(probe.At(error, "code").is_null() || probe.At(error, "code").is_string(),
               "code is no string: " + Brief(probe.At(error, "code")));
}

void ErrorStatus(Probe& probe) {
  probe.Refused(probe.PostText(Probe::kChat, "{"), 400, 400);
  probe.Refused(probe.Post(Probe::kChat, {{"model", probe.model()}}), 400, 400);
}

void TooLong(Probe& probe) {
  std::string text;
  for (int i = 0; i < 300'000; ++i) text += "sea ";
  const Json error = probe.Refused(probe.ChatAnswer({{"messages", {{{"role", "user"}, {"content", text}}}}}), 400, 400);
  probe.Demand(Opt(error, "code") == "context_length_exceeded", "code " + Brief(Opt(error, "code")));
  const auto message = probe.Text(probe.At(error, "message"));
  std::set<std::string> numbers;
  for (std::size_t at = 0; (at = message.find_first_of("0123456789", at)) != std::string::npos;) {
    const std::size_t end = std::min(message.find_first_not_of("0123456789", at), message.size());
    numbers.insert(message.substr(at, end - at));
    at = end;
  }
  probe.Demand(numbers.size() >= 2, "the message does not have both counts: " + message);
}

void NoRetry(Probe& probe) {
  for (const char* body : {"{", "[]", "{\"messages\": 1}"}) {
    const Answer answer = probe.PostText(Probe::kChat, body);
    probe.Demand((answer.status >= 400 && answer.status < 500 && answer.status != 408 && answer.status != 409 &&
                  answer.status != 429) ||
                     answer.Header("x-should-retry") == "false",
                 fmt::format("SDKs would try {} again: {}", body, answer.status));
  }
}

void HeadSoon(Probe& probe) {
  const double seconds = probe.ChatStream({{"max_tokens", 2}}).answer.head_seconds;
  probe.Demand(seconds < 1, fmt::format("the head of a stream came after {:.1f} s", seconds));
}

void Keys(Probe& probe) {
  if (probe.options().key.empty()) return probe.Skip("no key was given");
  ClientOptions other = probe.options();
  other.key = "wrong-" + other.key;
  const Json error = probe.Refused(Send(other, "POST", Probe::kChat, "{"), 401, 401);
  probe.Demand(Opt(error, "code") == "invalid_api_key", "code " + Brief(Opt(error, "code")));
  other.key.clear();
  probe.Refused(Send(other, "POST", Probe::kChat, "{"), 401, 401);
  probe.Demand(Send(other, "GET", "/v1/models", {}, {"Authorization: bearer " + probe.options().key}).status == 200,
               "'bearer' in small letters is refused");
  probe.Demand(Send(other, "GET", "/health", {}).status == 200, "/health asks for a key");
}

void HostileBodies(Probe& probe) {
  const auto at = [&probe](const std::string& content) {
    return fmt::format(R"({{"model": "{}", "max_tokens": 1, "messages": [{{"role": "user", "content": {}}}]}})",
                       probe.model(), content);
  };
  const std::string nested(100'000, '[');
  for (const std::string& body :
       {std::string("{\"messages\": [}"), std::string("nonsense"), nested, "{\"messages\": " + nested + "}",
        at("\"a\"").substr(0, 30),
        std::string(R"({"messages": [{"role": "user", "content": "a"}], "temperature": NaN})"),
        std::string(R"({"messages": [{"role": "user", "content": "a"}], "temperature": 1e999})"), at("\"\xFF\xFE\""),
        at("\"\\ud800\""), at("17")}) {
    const Answer answer = probe.PostText(Probe::kChat, body);
    probe.Demand(answer.status >= 400 && answer.status < 500,
                 fmt::format("{}: status {} {}", body.substr(0, 60), answer.status, answer.failure));
  }
  for (const std::string& body : {at("\"a\\u0000b\""), at("\"a\", \"content\": \"b\"")}) {
    const long status = probe.PostText(Probe::kChat, body).status;
    probe.Demand(status == 200 || (status >= 400 && status < 500),
                 fmt::format("{}: status {}", body.substr(0, 60), status));
  }
  probe.Chat({{"max_tokens", 1}});
}

void Anthropic(Probe& probe) {
  const Json body = {{"model", probe.model()},
                     {"max_tokens", 8},
                     {"stream", true},
                     {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  const Stream stream = probe.StreamOf("/v1/messages", body);
  probe.Demand(stream.fault.empty(), stream.fault);
  std::string order;
  for (std::size_t i = 0; i < stream.events.size(); ++i) {
    probe.Demand(Json(stream.names[i]) == Opt(stream.events[i], "type"), "an event's name is not its type");
    if (stream.names[i] == "ping") continue;
    if (!order.ends_with(stream.names[i] + " ")) order += stream.names[i] + " ";
  }
  probe.Demand(order.starts_with("message_start content_block_start ") &&
                   order.ends_with("content_block_stop message_delta message_stop "),
               "the order is " + order);
}

void AnthropicTokens(Probe& probe) {
  Json body = {{"model", probe.model()},
               {"system", {{{"type", "text"}, {"text", "Be brief."}}}},
               {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  const Json counted = probe.Ok("/v1/messages/count_tokens", body);
  body["max_tokens"] = 2;
  const Json usage = probe.At(probe.Ok("/v1/messages", body), "usage");
  std::int64_t cached = 0;
  for (const char* name : {"cache_read_input_tokens", "cache_creation_input_tokens"}) {
    if (const Json part = Opt(usage, name); !part.is_null()) cached += probe.Int(part);
  }
  probe.Demand(probe.At(counted, "input_tokens") == probe.Int(probe.At(usage, "input_tokens")) + cached,
               fmt::format("counted {}, used {}", Brief(counted), Brief(usage)));
  body["system"] = "Be brief.";
  probe.Ok("/v1/messages", body);
}

std::vector<float> Decoded(const std::string& base64) {
  static const std::string kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : base64) {
    const std::size_t value = kAlphabet.find(c);
    if (value == std::string::npos) break;
    bits = bits << 6U | static_cast<std::uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    bytes += static_cast<char>(bits >> static_cast<unsigned>(count) & 0xFFU);
  }
  std::vector<float> floats(bytes.size() / sizeof(float));
  std::memcpy(floats.data(), bytes.data(), floats.size() * sizeof(float));
  return floats;
}

void Embeddings(Probe& probe) {
  const Answer first = probe.Post("/v1/embeddings", {{"model", probe.model()}, {"input", "sea"}});
  if (first.status == 404 || first.status == 501) return probe.Skip(fmt::format("status {}", first.status));
  const Json answer = probe.Ok("/v1/embeddings", {{"model", probe.model()}, {"input", {"sea", "mountain"}}});
  probe.Demand(probe.At(answer, "data").size() == 2 && probe.At(answer, "data", 0, "index") == 0 &&
                   probe.At(answer, "data", 1, "index") == 1,
               "not two in order");
  std::vector<double> vector;
  for (const Json& value : probe.At(answer, "data", 0, "embedding")) vector.push_back(probe.Number(value));
  double norm = 0;
  for (const double value : vector) norm += value * value;
  probe.Demand(std::abs(std::sqrt(norm) - 1) < 1e-2, fmt::format("the norm is {}", std::sqrt(norm)));
  const Json coded =
      probe.Ok("/v1/embeddings", {{"model", probe.model()}, {"input", "sea"}, {"encoding_format", "base64"}});
  probe.Demand(probe.At(coded, "data", 0, "embedding").is_string(), "base64 is not honoured");
  const std::vector<float> same = Decoded(probe.Text(probe.At(coded, "data", 0, "embedding")));
  probe.Demand(!same.empty() && same.size() == vector.size() && std::abs(double{same[0]} - vector[0]) < 1e-3,
               "base64 says something else");
}

void Prompts(Probe& probe) {
  const auto ask = [&probe](const Json& prompt, int n) {
    return probe.Ok(kCompletions,
                    {{"model", probe.model()}, {"prompt", prompt}, {"max_tokens", 3}, {"temperature", 0}, {"n", n}});
  };
  const Json two = ask({"The sea is", "A mountain is"}, 2);
  probe.Demand(probe.At(two, "object") == "text_completion" && probe.At(two, "choices").size() == 4,
               fmt::format("{} choices of two prompts with n 2", probe.At(two, "choices").size()));
  const Json sea = probe.At(ask("The sea is", 1), "choices", 0, "text"),
             mountain = probe.At(ask("A mountain is", 1), "choices", 0, "text");
  for (const Json& choice : probe.At(two, "choices")) {
    probe.Demand(probe.At(choice, "text") == (probe.At(choice, "index") < 2 ? sea : mountain),
                 "choices are not prompt by prompt");
    probe.Demand(probe.At(choice, "finish_reason") == "stop" || probe.At(choice, "finish_reason") == "length",
                 "finish_reason " + Brief(probe.At(choice, "finish_reason")));
  }
  ask({5, 6, 7}, 1);
  probe.Demand(probe.At(ask({{5, 6}, {7, 8}}, 1), "choices").size() == 2,
               "an array of token ids' arrays gives another number of choices");
}

}  // namespace

std::vector<Statement> ServiceStatements() {
  return {{"52", "usage: integers, a true sum, cached_tokens", Usage},
          {"53", "a repeated prompt is cached", Cached},
          {"54", "system_fingerprint is in every chunk", Fingerprint},
          {"55", "object and finish_reason", Objects},
          {"56", "x-request-id on every answer, the client's kept", RequestIds},
          {"57", "models are listed and found", ListModels},
          {"58", "wrong paths 404, methods 405 as JSON; OPTIONS", Paths},
          {"59", "Connection: close is obeyed", Closing},
          {"60", "errors have message, type, param, code (a string)", ErrorShape},
          {"61", "400 for what is malformed or missing", ErrorStatus},
          {"62", "a prompt that is too long: 400 with both counts", TooLong},
          {"63", "lasting failures are not tried again by SDKs", NoRetry},
          {"65", "the head of a stream comes within a second", HeadSoon},
          {"67", "keys: 401, case of the scheme, /health public", Keys},
          {"68", "hostile bodies are 4xx and harm nothing", HostileBodies},
          {"70", "Anthropic's events in order", Anthropic},
          {"71", "count_tokens says what input_tokens will", AnthropicTokens},
          {"72", "embeddings: order, norm 1, base64", Embeddings},
          {"73", "prompts of /v1/completions in every form", Prompts}};
}

}  // namespace quorum::selftest
