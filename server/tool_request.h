// The request's side of tools: what is offered, and what may be called.
#pragma once

#include <string>
#include <vector>

#include "server/json_fields.h"

namespace quorum::server {

enum class ToolChoice {
  kAuto,
  kNone,      // the tools are in the prompt, but no call is made
  kRequired,  // at least one call
  kNamed      // a call of the one allowed tool
};

struct ToolUse {
  ToolChoice choice = ToolChoice::kAuto;
  /// The tools that may be called: those of the request, or fewer (allowed_tools, a named tool).
  Json callable = Json::array();
  bool parallel = true;           // more than one call in a reply
  bool as_function_call = false;  // the request has OpenAI's older `functions`: so has the reply

  bool forced() const { return choice == ToolChoice::kRequired || choice == ToolChoice::kNamed; }
  bool may_call() const { return choice != ToolChoice::kNone && !callable.empty(); }
};

/// Reads `tools`, `tool_choice` and `parallel_tool_calls` of a chat request, or the deprecated `functions` and
/// `function_call`. `tools` becomes what templates get, without members that nobody knows: those are added to
/// `ignored`. Errors: kInvalidArgument: a wrong shape, both forms, or a choice that names no offered tool.
Status ReadTools(JsonFields& fields, Json& tools, ToolUse& use, std::vector<std::string>& ignored);

}  // namespace quorum::server
