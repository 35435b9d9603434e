#include "server/completion_request.h"

#include <algorithm>

#include <fmt/format.h>

namespace quorum::server {
namespace {

constexpr std::size_t kMaxPrompts = 128;
constexpr std::int64_t kDefaultMaxTokens = 16;  // OpenAI's

Result<std::vector<tok::TokenId>> ReadIds(const Json& list, const char* field) {
  std::vector<tok::TokenId> ids;
  ids.reserve(list.size());
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<double>() < 0 || id.get<double>() > INT32_MAX) {
      return InvalidArgument(fmt::format("'{}' has a token id that is not a small whole number", field), field);
    }
    ids.push_back(id.get<tok::TokenId>());
  }
  return ids;
}

}  // namespace

Status ReadPrompts(JsonFields& fields, const char* field, std::size_t max, std::vector<Prompt>& out) {
  const Json* prompt = fields.Find(field);
  if (prompt == nullptr) return InvalidArgument(fmt::format("'{}' is missing", field), field);
  const std::string_view expected = "a string, an array of strings, an array of token ids or an array of such arrays";
  if (prompt->is_string()) {
    out.emplace_back(prompt->get<std::string>());
    return {};
  }
  if (!prompt->is_array()) return fields.Wrong(field, expected);
  if (prompt->empty()) return InvalidArgument(fmt::format("'{}' is empty", field), field);
  if (prompt->front().is_number()) {
    QUORUM_ASSIGN(auto ids, ReadIds(*prompt, field));
    out.emplace_back(std::move(ids));
    return {};
  }
  if (prompt->size() > max) {
    return InvalidArgument(fmt::format("'{}' has {} entries; one request may have {}", field, prompt->size(), max),
                           field);
  }
  for (const Json& item : *prompt) {
    if (item.is_string()) {
      out.emplace_back(item.get<std::string>());
    } else if (item.is_array()) {
      QUORUM_ASSIGN(auto ids, ReadIds(item, field));
      out.emplace_back(std::move(ids));
    } else {
      return fields.Wrong(field, expected);
    }
  }
  return {};
}

Result<CompletionRequest> ParseCompletionRequest(std::string_view body) {
  QUORUM_ASSIGN(const Json parsed, ParseBody(body));
  CompletionRequest out;
  JsonFields fields(parsed);
  QUORUM_TRY(ReadGenerationFields(fields, out.generation));
  engine::GenerationRequest& request = out.generation.request;
  QUORUM_TRY(ReadPrompts(fields, "prompt", kMaxPrompts, out.prompts));

  QUORUM_ASSIGN(const auto echo, fields.Bool("echo"));
  out.echo = echo.value_or(false);
  QUORUM_ASSIGN(const auto suffix, fields.String("suffix"));
  if (!suffix.value_or("").empty()) {
    return Error{ErrorCode::kUnsupported, "'suffix' (filling in the middle) is not supported", "suffix",
                 "unsupported_parameter"};
  }
  QUORUM_ASSIGN(const auto max_tokens, fields.Int("max_tokens", 0, INT32_MAX));
  request.max_tokens = static_cast<std::int32_t>(max_tokens.value_or(kDefaultMaxTokens));
  out.limit_given = max_tokens.has_value();
  if (request.max_tokens == 0 && !out.echo) {
    return InvalidArgument("'max_tokens' must be at least 1; 0 is for scoring a prompt, together with 'echo'",
                           "max_tokens");
  }
  QUORUM_ASSIGN(const auto logprobs, fields.Int("logprobs", 0, kMaxTopLogprobs));
  request.logprobs = logprobs.has_value();
  request.top_logprobs = static_cast<std::int32_t>(logprobs.value_or(0));
  request.prompt_logprobs = out.echo && request.logprobs;

  QUORUM_ASSIGN(const auto best_of, fields.Int("best_of", 1, 128));
  out.best_of = static_cast<std::int32_t>(best_of.value_or(request.n));
  if (out.best_of < request.n) return InvalidArgument("'best_of' must be at least 'n'", "best_of");
  if (out.best_of > request.n && out.generation.stream) {
    return InvalidArgument("'best_of' above 'n' cannot be streamed: the best is known at the end", "best_of");
  }
  if (out.prompts.size() * static_cast<std::size_t>(out.best_of) > 1024) {
    return InvalidArgument("prompts times choices must be at most 1024 in one request", "n");
  }
  for (auto& name : fields.Unread()) out.generation.ignored.push_back(std::move(name));
  return out;
}

}  // namespace quorum::server
