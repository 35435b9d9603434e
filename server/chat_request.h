// The body of POST /v1/chat/completions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/generation_fields.h"
#include "server/tool_request.h"

namespace quorum::server {

struct ChatRequest {
  GenerationFields generation;
  /// As a template wants them: content is always one string (text parts are joined), tool arguments are objects where
  /// they parse as such, nulls are left out.
  Json messages = Json::array();
  Json tools = Json::array();  // empty: none
  ToolUse tool_use;
  Json template_variables = Json::object();  // further names that the template may read
  std::optional<bool> thinking;              // whether to reason first; unset: as the template does by itself
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // the reply goes on where the last message ends
};

/// Checks and reads a body. Errors: kInvalidArgument or kUnsupported with the field as param.
Result<ChatRequest> ParseChatRequest(std::string_view body);
Result<ChatRequest> ReadChatRequest(const Json& body);

/// The `messages` array alone. Unknown fields of messages are added to `ignored`.
Result<Json> ReadMessages(const Json& messages, std::vector<std::string>& ignored);

}  // namespace quorum::server
