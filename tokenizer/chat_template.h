// Chat templates: the Jinja program that comes with a model turns messages into a prompt.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

#include "engine/base/result.h"
#include "tokenizer/jinja/limits.h"

namespace quorum::tok {

/// What a template sees. JSON documents are passed as JSON values. As transformers does, a message with reasoning under
/// one of the names reasoning_content, thinking and reasoning gets it under the first two.
struct TemplateInput {
  const nlohmann::ordered_json* messages = nullptr;  // array of {role, content, ...}; required
  const nlohmann::ordered_json* tools = nullptr;     // array, or null for none
  const nlohmann::ordered_json* extra = nullptr;     // further variables (object), e.g. {"enable_thinking": false}
  std::string bos_token;
  std::string eos_token;
  bool add_generation_prompt = true;
  std::int64_t now_unix = 0;  // what strftime_now() reads; UTC
};

/// A parsed template. Immutable and thread-safe.
class ChatTemplate {
 public:
  /// Parses with the options that transformers uses (trim_blocks, lstrip_blocks, loop controls).
  /// Errors: kInvalidArgument with line and what was expected.
  static Result<std::shared_ptr<const ChatTemplate>> Parse(std::string_view source);

  virtual ~ChatTemplate() = default;

  /// Errors: kInvalidArgument: raise_exception's message, an undefined operation, or a budget that ran out, with line.
  virtual Result<std::string> Render(const TemplateInput& input, const TemplateBudget& budget = {}) const = 0;

  virtual const std::string& source() const = 0;
};

}  // namespace quorum::tok
