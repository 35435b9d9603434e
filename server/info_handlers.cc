#include "server/info_handlers.h"

#include <algorithm>
#include <ctime>
#include <iterator>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "server/chat_request.h"
#include "server/error_body.h"
#include "server/prompt_builder.h"
#include "tokenizer/utf8_stream.h"

namespace quorum::server {
namespace {

bool WantsAnthropic(const HttpRequest& http) { return http.FindHeader("anthropic-version") != nullptr; }

Json ModelEntry(const ServedModel& model, const HttpRequest& http) {
  if (WantsAnthropic(http)) {
    return {{"type", "model"},
            {"id", model.id},
            {"display_name", model.id},
            {"lifecycle", "active"},
            {"max_input_tokens", model.engine->context_length() - 1},
            {"max_tokens", model.engine->context_length() - 1},
            {"created_at", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<std::time_t>(model.created)))}};
  }
  return {{"id", model.id},
          {"object", "model"},
          {"created", model.created},
          {"owned_by", "quorum"},
          {"max_model_len", model.engine->context_length()}};
}

// More text than this is not taken apart in one request: the answer is up to 30 times as long.
constexpr std::size_t kMostText = std::size_t{4} << 20;

// A piece as text, or as a list of bytes where it is only a part of characters (llama.cpp's form).
Json PieceOf(const tok::Tokenizer& tokenizer, tok::TokenId id) {
  const std::string_view bytes = tokenizer.TokenBytes(id);
  if (tok::IsValidUtf8(bytes)) return std::string(bytes);
  Json list = Json::array();
  for (const char c : bytes) list.push_back(int{static_cast<unsigned char>(c)});
  return list;
}

// As text: a Json of some million tokens takes gigabytes, and memory that ends while one is freed ends the process.
std::string TokenList(const tok::Tokenizer& tokenizer, const std::vector<tok::TokenId>& ids, bool pieces) {
  std::string list = "[";
  for (const tok::TokenId id : ids) {
    if (list.size() > 1) list += ',';
    if (pieces) {
      fmt::format_to(std::back_inserter(list), R"({{"id":{},"piece":{}}})", id, DumpJson(PieceOf(tokenizer, id)));
    } else {
      fmt::format_to(std::back_inserter(list), "{}", id);
    }
  }
  return list += ']';
}

Result<std::string> Tokenize(const ApiContext& context, HttpRequest& http, std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string text, http.read_body());
  QUORUM_ASSIGN(const Json body, ParseBody(text));
  JsonFields fields(body);
  const ServedModel& model = *context.model;
  QUORUM_ASSIGN(const auto content, fields.String("content"));
  QUORUM_ASSIGN(const auto prompt, fields.String("prompt"));
  const Json* messages = fields.Find("messages");
  if (int{content.has_value()} + int{prompt.has_value()} + int{messages != nullptr} != 1) {
    return InvalidArgument("give one of 'content', 'prompt' and 'messages'", "content");
  }
  QUORUM_ASSIGN(const auto pieces, fields.Bool("with_pieces"));
  std::vector<tok::TokenId> ids;
  std::int64_t lost = 0;
  if (messages != nullptr) {
    QUORUM_ASSIGN(const ChatRequest chat, ReadChatRequest(body));
    ignored = chat.generation.ignored;
    ignored.erase(std::remove(ignored.begin(), ignored.end(), "with_pieces"), ignored.end());
    QUORUM_ASSIGN(ids, BuildChatPrompt(model, chat, context.now_unix, ignored, &lost));
  } else {
    QUORUM_ASSIGN(const auto add_special, fields.Bool(content ? "add_special" : "add_special_tokens"));
    QUORUM_ASSIGN(const auto parse_special, fields.Bool("parse_special"));
    fields.Find("model");
    ignored = fields.Unread();
    const char* name = content ? "content" : "prompt";
    const std::string& given = content ? *content : *prompt;
    if (given.size() > kMostText) {
      return Error{
          ErrorCode::kTooLarge,
          fmt::format("'{}' has {} bytes; at most {} are taken apart in one request", name, given.size(), kMostText),
          name, "text_too_long"};
    }
    QUORUM_ASSIGN(ids, model.tokenizer->Encode(given, {.add_special = add_special.value_or(prompt.has_value()),
                                                       .parse_special = parse_special.value_or(true),
                                                       .bytes_without_token = &lost}));
    NoteLostBytes(lost, ignored);
  }
  QUORUM_TRY(CheckStrict(context, ignored));
  return fmt::format(R"({{"tokens":{},"count":{},"max_model_len":{},"bytes_without_token":{}}})",
                     TokenList(*model.tokenizer, ids, pieces.value_or(false)), ids.size(),
                     model.engine->context_length(), lost);
}

Result<std::string> ApplyTemplate(const ApiContext& context, HttpRequest& http, std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string text, http.read_body());
  QUORUM_ASSIGN(const ChatRequest chat, ParseChatRequest(text));
  ignored = chat.generation.ignored;
  QUORUM_ASSIGN(const std::string prompt, RenderChatPrompt(*context.model, chat, context.now_unix, ignored));
  QUORUM_TRY(CheckStrict(context, ignored));
  return DumpJson(Json{{"prompt", prompt}});
}

Result<std::string> Detokenize(const ApiContext& context, HttpRequest& http, std::vector<std::string>& ignored) {
  QUORUM_ASSIGN(const std::string text, http.read_body());
  QUORUM_ASSIGN(const Json body, ParseBody(text));
  JsonFields fields(body);
  const Json* list = fields.Find("tokens");
  if (list == nullptr || !list->is_array()) return fields.Wrong("tokens", "an array of token ids");
  const tok::Tokenizer& tokenizer = *context.model->tokenizer;
  std::vector<tok::TokenId> ids;
  for (const Json& id : *list) {
    const bool known = id.is_number_integer() && id.get<double>() >= 0 && id.get<double>() < tokenizer.vocab_size();
    if (!known) {
      return InvalidArgument(fmt::format("'tokens' must be ids from 0 to {}", tokenizer.vocab_size() - 1), "tokens");
    }
    ids.push_back(id.get<tok::TokenId>());
  }
  fields.Find("model");
  ignored = fields.Unread();
  const std::string content = tok::SanitizeUtf8(tokenizer.Decode(ids, false));
  return DumpJson(Json{{"content", content}, {"prompt", content}});
}

HttpResponse Answer(const ApiContext& context, Result<std::string> body, const std::vector<std::string>& ignored) {
  HttpResponse response;
  if (body.ok()) {
    response.body = std::move(*body);
  } else {
    response = ApiError(context, body.error());
  }
  SetIgnored(response, ignored);
  return response;
}

}  // namespace

HttpResponse HandleModels(const ApiContext& context, const HttpRequest& http) {
  Json data = Json::array({ModelEntry(*context.model, http)});
  if (!WantsAnthropic(http)) return JsonResponse({{"object", "list"}, {"data", std::move(data)}});
  const std::string& id = context.model->id;
  return JsonResponse({{"data", std::move(data)}, {"has_more", false}, {"first_id", id}, {"last_id", id}});
}

HttpResponse HandleModel(const ApiContext& context, const HttpRequest& http, std::string_view id) {
  if (!context.model->Answers(id)) {
    return ErrorResponse(
        404,
        fmt::format("the model '{}' does not exist; this server has '{}'", tok::SanitizeUtf8(id), context.model->id),
        "model", "model_not_found");
  }
  return JsonResponse(ModelEntry(*context.model, http));
}

HttpResponse HandleTokenize(const ApiContext& context, HttpRequest& http) {
  std::vector<std::string> ignored;
  return Answer(context, Tokenize(context, http, ignored), ignored);
}

HttpResponse HandleApplyTemplate(const ApiContext& context, HttpRequest& http) {
  std::vector<std::string> ignored;
  return Answer(context, ApplyTemplate(context, http, ignored), ignored);
}

HttpResponse HandleDetokenize(const ApiContext& context, HttpRequest& http) {
  std::vector<std::string> ignored;
  return Answer(context, Detokenize(context, http, ignored), ignored);
}

}  // namespace quorum::server
