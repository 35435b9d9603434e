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

void Usage(const Probe& probe) {
  const Json usage = probe.Plain().value("usage", Json());
  Demand(usage.is_object(), "no usage");
  for (const char* name : {"prompt_tokens", "completion_tokens", "total_tokens"}) {
    Demand(usage.value(name, Json()).is_number_integer(), fmt::format("{} is no integer", name));
  }
  Demand(usage.at("total_tokens") == usage.at("prompt_tokens").get<int>() + usage.at("completion_tokens").get<int>(),
         "the total is no sum");
  const Json details = usage.value("prompt_tokens_details", Json());
  Demand(details.is_object() && details.value("cached_tokens", Json()).is_number_integer(),
         "no prompt_tokens_details.cached_tokens");
  Demand(details.at("cached_tokens") <= usage.at("prompt_tokens"), "more cached tokens than the prompt has");
}

void Cached(const Probe& probe) {
  std::string text;
  for (int i = 0; i < 40; ++i) text += fmt::format("Line {} of a long text. ", i);
  const Json extra = {{"messages", {{{"role", "user"}, {"content", text}}}}, {"max_tokens", 2}};
  probe.Chat(extra);
  const Json usage = probe.Chat(extra).at("usage");
  const Json cached = usage.value("prompt_tokens_details", Json::object()).value("cached_tokens", Json());
  Demand(cached.is_number_integer() && cached > 0, "cached_tokens of a repeated prompt: " + Brief(cached));
}

void Fingerprint(const Probe& probe) {
  const Json fingerprint = probe.Plain().value("system_fingerprint", Json());
  Demand(fingerprint.is_string() && fingerprint != "", "no system_fingerprint");
  for (const Json& chunk : probe.PlainStream().events) {
    Demand(chunk.value("system_fingerprint", Json()) == fingerprint, "a chunk has another system_fingerprint");
  }
}

void Objects(const Probe& probe) {
  Demand(probe.Plain().at("object") == "chat.completion", "object " + Brief(probe.Plain().at("object")));
  const Json finish = probe.Plain().at("choices").at(0).at("finish_reason");
  Demand(finish == "stop" || finish == "length", "finish_reason " + Brief(finish));
}

void RequestIds(const Probe& probe) {
  Demand(!probe.PlainStream().answer.Header("x-request-id").empty(), "no x-request-id");
  Demand(!probe.PostText(Probe::kChat, "{").Header("x-request-id").empty(), "no x-request-id beside an error");
  Demand(
      probe.Post(Probe::kChat, probe.ChatBody({{"max_tokens", 1}}), {"X-Request-Id: mine-1"}).Header("x-request-id") ==
          "mine-1",
      "the client's x-request-id does not come back");
}

void ListModels(const Probe& probe) {
  const Json list = Json::parse(probe.Get("/v1/models").body, nullptr, false);
  Demand(list.is_object() && list.value("object", Json()) == "list" && list.value("data", Json()).is_array() &&
             !list.at("data").empty(),
         "no list of models");
  const Json model = list.at("data").at(0);
  Demand(model.value("object", Json()) == "model" && model.value("created", Json()).is_number_integer() &&
             model.value("owned_by", Json()).is_string(),
         "a model without object, created or owned_by: " + Brief(model));
  std::string escaped;
  for (const char c : model.at("id").get<std::string>()) {
    escaped += std::isalnum(static_cast<unsigned char>(c)) != 0 ? std::string(1, c)
                                                                : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  const Json one = Json::parse(probe.Get("/v1/models/" + escaped).body, nullptr, false);
  Demand(one.is_object() && one.value("id", Json()) == model.at("id"), "GET /v1/models/{id} does not find it");
  probe.Refused(probe.Get("/v1/models/no-such-model"), 404, 404);
}

void Paths(const Probe& probe) {
  probe.Refused(probe.Get("/v1/no-such-path"), 404, 404);
  probe.Refused(probe.Get(Probe::kChat), 405, 405);
  const Answer options = Send(probe.options(), "OPTIONS", Probe::kChat, {},
                              {"Origin: http://localhost", "Access-Control-Request-Method: POST"});
  Demand(options.status == 204 || options.status == 200, fmt::format("OPTIONS gives {}", options.status));
}

void Closing(const Probe& probe) {
  const Answer answer = probe.Get("/v1/models", {"Connection: close"});
  Demand(answer.status == 200 && answer.Header("connection").find("close") != std::string::npos,
         "Connection: close is not answered");
}

void ErrorShape(const Probe& probe) {
  const Json error = probe.Refused(probe.ChatAnswer({{"temperature", 99}}));
  Demand(error.value("type", Json()).is_string(), "type " + Brief(error.value("type", Json())));
  Demand(error.contains("param") && error.contains("code"), "no param or code");
  Demand(error.at("code").is_null() || error.at("code").is_string(), "code is no string: " + Brief(error.at("code")));
}

void ErrorStatus(const Probe& probe) {
  probe.Refused(probe.PostText(Probe::kChat, "{"), 400, 400);
  probe.Refused(probe.Post(Probe::kChat, {{"model", probe.model()}}), 400, 400);
}

void TooLong(const Probe& probe) {
  std::string text;
  for (int i = 0; i < 300'000; ++i) text += "sea ";
  const Json error = probe.Refused(probe.ChatAnswer({{"messages", {{{"role", "user"}, {"content", text}}}}}), 400, 400);
  Demand(error.value("code", Json()) == "context_length_exceeded", "code " + Brief(error.value("code", Json())));
  const auto message = error.at("message").get<std::string>();
  std::set<std::string> numbers;
  for (std::size_t at = 0; (at = message.find_first_of("0123456789", at)) != std::string::npos;) {
    const std::size_t end = std::min(message.find_first_not_of("0123456789", at), message.size());
    numbers.insert(message.substr(at, end - at));
    at = end;
  }
  Demand(numbers.size() >= 2, "the message does not have both counts: " + message);
}

void NoRetry(const Probe& probe) {
  for (const char* body : {"{", "[]", "{\"messages\": 1}"}) {
    const Answer answer = probe.PostText(Probe::kChat, body);
    Demand((answer.status >= 400 && answer.status < 500 && answer.status != 408 && answer.status != 409 &&
            answer.status != 429) ||
               answer.Header("x-should-retry") == "false",
           fmt::format("SDKs would try {} again: {}", body, answer.status));
  }
}

void HeadSoon(const Probe& probe) {
  const double seconds = probe.ChatStream({{"max_tokens", 2}}).answer.head_seconds;
  Demand(seconds < 1, fmt::format("the head of a stream came after {:.1f} s", seconds));
}

void Keys(const Probe& probe) {
  if (probe.options().key.empty()) throw Skipped{"no key was given"};
  ClientOptions other = probe.options();
  other.key = "wrong-" + other.key;
  const Json error = probe.Refused(Send(other, "POST", Probe::kChat, "{"), 401, 401);
  Demand(error.value("code", Json()) == "invalid_api_key", "code " + Brief(error.value("code", Json())));
  other.key.clear();
  probe.Refused(Send(other, "POST", Probe::kChat, "{"), 401, 401);
  Demand(Send(other, "GET", "/v1/models", {}, {"Authorization: bearer " + probe.options().key}).status == 200,
         "'bearer' in small letters is refused");
  Demand(Send(other, "GET", "/health", {}).status == 200, "/health asks for a key");
}

void HostileBodies(const Probe& probe) {
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
    Demand(answer.status >= 400 && answer.status < 500,
           fmt::format("{}: status {} {}", body.substr(0, 60), answer.status, answer.failure));
  }
  for (const std::string& body : {at("\"a\\u0000b\""), at("\"a\", \"content\": \"b\"")}) {
    const long status = probe.PostText(Probe::kChat, body).status;
    Demand(status == 200 || (status >= 400 && status < 500), fmt::format("{}: status {}", body.substr(0, 60), status));
  }
  probe.Chat({{"max_tokens", 1}});
}

void Anthropic(const Probe& probe) {
  const Json body = {{"model", probe.model()},
                     {"max_tokens", 8},
                     {"stream", true},
                     {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  const Stream stream = probe.StreamOf("/v1/messages", body);
  Demand(stream.fault.empty(), stream.fault);
  std::string order;
  for (std::size_t i = 0; i < stream.events.size(); ++i) {
    Demand(stream.names[i] == stream.events[i].value("type", Json()), "an event's name is not its type");
    if (stream.names[i] == "ping") continue;
    if (!order.ends_with(stream.names[i] + " ")) order += stream.names[i] + " ";
  }
  Demand(order.starts_with("message_start content_block_start ") &&
             order.ends_with("content_block_stop message_delta message_stop "),
         "the order is " + order);
}

void AnthropicTokens(const Probe& probe) {
  Json body = {{"model", probe.model()},
               {"system", {{{"type", "text"}, {"text", "Be brief."}}}},
               {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  const Json counted = probe.Ok("/v1/messages/count_tokens", body);
  body["max_tokens"] = 2;
  const Json usage = probe.Ok("/v1/messages", body).at("usage");
  const int cached = usage.value("cache_read_input_tokens", 0) + usage.value("cache_creation_input_tokens", 0);
  Demand(counted.at("input_tokens") == usage.at("input_tokens").get<int>() + cached,
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

void Embeddings(const Probe& probe) {
  const Answer first = probe.Post("/v1/embeddings", {{"model", probe.model()}, {"input", "sea"}});
  if (first.status == 404 || first.status == 501) throw Skipped{fmt::format("status {}", first.status)};
  const Json answer = probe.Ok("/v1/embeddings", {{"model", probe.model()}, {"input", {"sea", "mountain"}}});
  Demand(answer.at("data").size() == 2 && answer.at("data").at(0).at("index") == 0 &&
             answer.at("data").at(1).at("index") == 1,
         "not two in order");
  const auto vector = answer.at("data").at(0).at("embedding").get<std::vector<float>>();
  double norm = 0;
  for (const float value : vector) norm += static_cast<double>(value) * static_cast<double>(value);
  Demand(std::abs(std::sqrt(norm) - 1) < 1e-2, fmt::format("the norm is {}", std::sqrt(norm)));
  const Json coded =
      probe.Ok("/v1/embeddings", {{"model", probe.model()}, {"input", "sea"}, {"encoding_format", "base64"}});
  Demand(coded.at("data").at(0).at("embedding").is_string(), "base64 is not honoured");
  const std::vector<float> same = Decoded(coded.at("data").at(0).at("embedding").get<std::string>());
  Demand(same.size() == vector.size() && std::abs(same[0] - vector[0]) < 1e-3F, "base64 says something else");
}

void Prompts(const Probe& probe) {
  const auto ask = [&probe](const Json& prompt, int n) {
    return probe.Ok(kCompletions,
                    {{"model", probe.model()}, {"prompt", prompt}, {"max_tokens", 3}, {"temperature", 0}, {"n", n}});
  };
  const Json two = ask({"The sea is", "A mountain is"}, 2);
  Demand(two.at("object") == "text_completion" && two.at("choices").size() == 4,
         fmt::format("{} choices of two prompts with n 2", two.at("choices").size()));
  const Json sea = ask("The sea is", 1).at("choices").at(0).at("text"),
             mountain = ask("A mountain is", 1).at("choices").at(0).at("text");
  for (const Json& choice : two.at("choices")) {
    Demand(choice.at("text") == (choice.at("index") < 2 ? sea : mountain), "choices are not prompt by prompt");
    Demand(choice.at("finish_reason") == "stop" || choice.at("finish_reason") == "length",
           "finish_reason " + Brief(choice.at("finish_reason")));
  }
  ask({5, 6, 7}, 1);
  Demand(ask({{5, 6}, {7, 8}}, 1).at("choices").size() == 2,
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
