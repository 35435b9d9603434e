// The body of POST /v1/responses (https://platform.openai.com/docs/api-reference/responses), as a chat request.
#pragma once

#include <string>
#include <string_view>

#include "server/chat_request.h"
#include "server/response_store.h"

namespace quorum::server {

struct ResponseRequest {
  ChatRequest chat;
  Json items = Json::array();  // the conversation: what came before, and this request's input
  Json echo;                   // the fields of the request that the response repeats
  bool store = true;
};

/// Checks and reads a body; `store` knows what previous_response_id names. Errors: kInvalidArgument or kUnsupported
/// with the field as param.
Result<ResponseRequest> ParseResponseRequest(std::string_view body, ResponseStore& store);

/// What a field of a chat request is called in this API: errors and ignored fields speak of what the client sent.
std::string ResponseField(const std::string& chat_field);
/// The same for what an error says.
Error InResponseWords(Error error);

}  // namespace quorum::server
