// Request bodies on any bytes: every parser, and what a chat request turns into must be something a template can walk
// over and JSON can spell.
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/base/check.h"
#include "server/anthropic_request.h"
#include "server/chat_request.h"
#include "server/completion_request.h"
#include "server/error_body.h"
#include "server/response_request.h"
#include "tokenizer/utf8_stream.h"

namespace quorum::server {
namespace {

void CheckError(const Error& error) {
  QUORUM_CHECK(HttpStatus(error.code) == 400);  // whatever a body says, it is the client's error and a plain one
  QUORUM_CHECK(!error.message.empty());
  QUORUM_CHECK(tok::IsValidUtf8(ErrorBody(400, error.message, error.param, error.reason)));
}

void CheckGeneration(const GenerationFields& fields) {
  const engine::GenerationRequest& request = fields.request;
  QUORUM_CHECK(request.n >= 1 && request.n <= 128);
  QUORUM_CHECK(request.max_tokens >= 0 && request.top_logprobs >= 0 && request.top_logprobs <= 20);
  QUORUM_CHECK(request.sampling.temperature >= 0 && request.sampling.temperature <= 2);
  QUORUM_CHECK(request.sampling.top_p > 0 && request.sampling.top_p <= 1);
  QUORUM_CHECK(request.sampling.top_k >= 0);
  for (const std::string& stop : request.stop) QUORUM_CHECK(!stop.empty() && tok::IsValidUtf8(stop));
  for (const auto& [id, bias] : request.sampling.logit_bias) QUORUM_CHECK(id >= 0 && bias >= -100 && bias <= 100);
}

void CheckChat(const ChatRequest& chat) {
  CheckGeneration(chat.generation);
  QUORUM_CHECK(!chat.messages.empty());
  for (const Json& message : chat.messages) {
    QUORUM_CHECK(message.at("role").is_string() && message.at("content").is_string());
  }
  for (const Json& tool : chat.tools) QUORUM_CHECK(tool.at("function").at("name").is_string());
  QUORUM_CHECK(!chat.tools.empty() || chat.tool_use.callable.empty());
  const std::string spelled = DumpJson(chat.messages) + DumpJson(chat.tools) + DumpJson(chat.template_variables);
  QUORUM_CHECK(tok::IsValidUtf8(spelled));
}

void Fuzz(std::string_view text) {
  if (const auto chat = ParseChatRequest(text); chat.ok()) {
    CheckChat(*chat);
  } else {
    CheckError(chat.error());
  }
  if (const auto message = ParseAnthropicRequest(text, false); message.ok()) {
    CheckChat(*message);
  } else {
    CheckError(message.error());
  }
  ResponseStore store;
  store.Put("resp_1", {Json::object(), Json::array({{{"role", "user"}, {"content", "before"}}})});
  if (const auto response = ParseResponseRequest(text, store); response.ok()) {
    CheckChat(response->chat);
    QUORUM_CHECK(tok::IsValidUtf8(DumpJson(response->echo) + DumpJson(response->items)));
  } else {
    CheckError(response.error());
  }
  if (const auto completion = ParseCompletionRequest(text); completion.ok()) {
    CheckGeneration(completion->generation);
    QUORUM_CHECK(!completion->prompts.empty() && completion->best_of >= completion->generation.request.n);
  } else {
    CheckError(completion.error());
  }
}

}  // namespace
}  // namespace quorum::server

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  quorum::server::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
