#include "server/generation_fields.h"

#include <charconv>

#include <fmt/format.h>

#include "server/engine_fields.h"
#include "server/random_id.h"

namespace quorum::server {
namespace {

// Fields that ask for another answer than the one we would give. Off values (false, 0, "", []) are as good as absent;
// an empty object is not one of them: `web_search_options: {}` turns a search on.
constexpr const char* kNotYet[] = {
    "audio", "web_search_options", "use_beam_search",   "min_tokens", "prompt_logprobs", "chat_template",
    "lora",  "bad_words",          "allowed_token_ids",
};

bool IsOff(const Json& value) {
  return (value.is_boolean() && !value.get<bool>()) || (value.is_number() && value.get<double>() == 0) ||
         (value.is_array() && value.empty()) || (value.is_string() && value.get_ref<const std::string&>().empty());
}

Status RefuseUnsupported(JsonFields& fields) {
  for (const char* name : kNotYet) {
    const Json* value = fields.Find(name);
    if (value != nullptr && !IsOff(*value)) {
      return Error{ErrorCode::kUnsupported, fmt::format("'{}' is not supported yet", name), name,
                   "unsupported_parameter"};
    }
  }
  return {};
}

template <typename Number, typename Given>
void Take(const std::optional<Given>& given, Number& target) {
  if (given.has_value()) target = static_cast<Number>(*given);
}

Status ReadLogitBias(JsonFields& fields, std::map<tok::TokenId, float>& out) {
  const Json* bias = fields.Find("logit_bias");
  if (bias == nullptr) return {};
  if (!bias->is_object()) return fields.Wrong("logit_bias", "an object from token ids to numbers");
  for (const auto& [key, value] : bias->items()) {
    tok::TokenId id = 0;
    const auto parsed = std::from_chars(key.data(), key.data() + key.size(), id);
    if (parsed.ec != std::errc() || parsed.ptr != key.data() + key.size() || id < 0) {
      return InvalidArgument("the keys of 'logit_bias' must be token ids in decimal", "logit_bias");
    }
    const double number = value.is_number() ? value.get<double>() : 1e9;
    if (!(number >= -100 && number <= 100)) {
      return InvalidArgument(fmt::format("'logit_bias' of token {} must be a number from -100 to 100", id),
                             "logit_bias");
    }
    out[id] = static_cast<float>(number);
  }
  return {};
}

Status ReadStops(JsonFields& fields, GenerationFields& out) {
  if (const Json* stop = fields.Find("stop")) {
    const Json list = stop->is_string() ? Json::array({*stop}) : *stop;
    if (!list.is_array()) return fields.Wrong("stop", "a string or an array of strings");
    QUORUM_TRY(ReadStopStrings(list, "stop", out));
  }
  if (const Json* ids = fields.Find("stop_token_ids")) {
    if (!ids->is_array()) return fields.Wrong("stop_token_ids", "an array of token ids");
    for (const Json& id : *ids) {
      if (!id.is_number_integer() || id.get<double>() < 0 || id.get<double>() > INT32_MAX) {
        return fields.Wrong("stop_token_ids", "an array of token ids");
      }
      out.request.stop_ids.push_back(id.get<tok::TokenId>());
    }
  }
  return {};
}

Status ReadStream(JsonFields& fields, GenerationFields& out) {
  QUORUM_ASSIGN(const auto stream, fields.Bool("stream"));
  out.stream = stream.value_or(false);
  const Json* options = fields.Find("stream_options");
  if (options == nullptr) return {};
  if (!options->is_object()) return fields.Wrong("stream_options", "an object");
  JsonFields inner(*options, "stream_options");
  QUORUM_ASSIGN(const auto usage, inner.Bool("include_usage"));
  out.include_usage = usage.value_or(false);
  for (auto& name : inner.Unread()) out.ignored.push_back(std::move(name));
  // OpenAI refuses this combination; LangChain and Open WebUI send it.
  if (!out.stream) out.ignored.push_back("stream_options");
  return {};
}

}  // namespace

Status ReadStopStrings(const Json& list, const char* field, GenerationFields& out) {
  for (const Json& text : list) {
    if (!text.is_string()) {
      return InvalidArgument(fmt::format("'{}' must hold strings, but one of them is {}", field, KindOf(text)), field);
    }
    if (text.get_ref<const std::string&>().empty()) {
      out.ignored.push_back(field);  // every text has it, at once
    } else {
      out.request.stop.push_back(text.get<std::string>());
    }
  }
  return {};
}

Status ReadGenerationFields(JsonFields& fields, GenerationFields& out) {
  QUORUM_TRY(RefuseUnsupported(fields));
  engine::GenerationRequest& request = out.request;
  engine::SamplingParams& sampling = request.sampling;
  QUORUM_ASSIGN(const auto model, fields.String("model"));
  out.model = model.value_or("");
  QUORUM_ASSIGN(out.format, ReadOutputFormat(fields, out.ignored));

  QUORUM_ASSIGN(const auto temperature, fields.Number("temperature", 0, 2));
  QUORUM_ASSIGN(const auto top_p, fields.Number("top_p", 0, 1, true));
  QUORUM_ASSIGN(const auto min_p, fields.Number("min_p", 0, 1));
  QUORUM_ASSIGN(const auto typical_p, fields.Number("typical_p", 0, 1, true));
  QUORUM_ASSIGN(const auto presence, fields.Number("presence_penalty", -2, 2));
  QUORUM_ASSIGN(const auto frequency, fields.Number("frequency_penalty", -2, 2));
  QUORUM_ASSIGN(const auto repeat, fields.Number("repeat_penalty", 0.01, 100));  // llama.cpp's name
  QUORUM_ASSIGN(const auto repetition, fields.Number("repetition_penalty", 0.01, 100));
  QUORUM_ASSIGN(const auto top_k, fields.Int("top_k", -1, INT32_MAX));  // -1: off, as in vLLM
  Take(temperature, sampling.temperature);
  Take(top_p, sampling.top_p);
  Take(min_p, sampling.min_p);
  Take(typical_p, sampling.typical_p);
  Take(presence, sampling.presence_penalty);
  Take(frequency, sampling.frequency_penalty);
  Take(repeat, sampling.repetition_penalty);
  Take(repetition, sampling.repetition_penalty);
  if (repeat.has_value() && repetition.has_value() && *repeat != *repetition) out.ignored.push_back("repeat_penalty");
  sampling.top_k = static_cast<std::int32_t>(std::max<std::int64_t>(top_k.value_or(0), 0));
  QUORUM_TRY(ReadLogitBias(fields, sampling.logit_bias));

  QUORUM_ASSIGN(const auto seed, fields.Int("seed", INT64_MIN, INT64_MAX));
  sampling.seed = seed.has_value() ? static_cast<std::uint64_t>(*seed) : RandomBits();
  QUORUM_ASSIGN(const auto n, fields.Int("n", 1, 128));
  Take(n, request.n);
  QUORUM_TRY(ReadStops(fields, out));
  QUORUM_ASSIGN(const auto ignore_eos, fields.Bool("ignore_eos"));
  request.ignore_eos = ignore_eos.value_or(false);
  QUORUM_ASSIGN(const auto skip_special, fields.Bool("skip_special_tokens"));
  request.include_control_text = !skip_special.value_or(true);
  QUORUM_ASSIGN(const auto as_ids, fields.Bool("return_tokens_as_token_ids"));
  out.tokens_as_ids = as_ids.value_or(false);
  QUORUM_TRY(ReadEngineFields(fields, out));
  return ReadStream(fields, out);
}

Result<Json> ParseBody(std::string_view text) {
  if (text.empty()) return InvalidArgument("the request has no body; it must be a JSON object");
  QUORUM_ASSIGN(Json body, ParseJson(text));
  if (!body.is_object())
    return InvalidArgument(fmt::format("the request body must be a JSON object, not {}", KindOf(body)));
  return body;
}

}  // namespace quorum::server
