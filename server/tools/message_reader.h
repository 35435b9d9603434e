// Splits the text of a reply, as it comes, into content, reasoning and calls.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "server/tools/dialect.h"
#include "server/tools/tool_call.h"

namespace quorum::server {

struct MessageRules {
  ToolFormat format = ToolFormat::kNone;
  OfferedTools tools;
  bool calls_allowed = false;  // else calls are content
  bool one_call = false;       // parallel_tool_calls: false: further calls are dropped
  /// A call comes out when it is whole, so that one that breaks off can still be content; but one whose arguments grow
  /// beyond so many bytes comes out piece by piece. npos: never (an answer in one piece).
  std::size_t hold_bytes = 32;
  bool demanded = false;  // the reply is held to calls (tool_choice): what begins like one is one
};

/// Used by one thread. The pieces' concatenation does not depend on how the text was cut, as long as every call is
/// whole.
class MessageReader {
 public:
  virtual ~MessageReader() = default;

  /// Takes text; what is certain now.
  virtual MessageDelta Push(std::string_view text) = 0;

  /// The text ends. `cut`: by a limit or a stop string, so that a call which has begun stays one (its arguments are
  /// incomplete).
  virtual MessageDelta Finish(bool cut) = 0;

  /// Calls that have come out.
  int calls() const { return calls_; }
  /// Whether some call that came out is not whole: its arguments do not parse.
  bool broken() const { return broken_; }

 protected:
  int calls_ = 0;
  bool broken_ = false;
};

std::unique_ptr<MessageReader> MakeMessageReader(const MessageRules& rules);

/// gpt-oss's channels (https://cookbook.openai.com/articles/openai-harmony): analysis is reasoning, final and
/// commentary are content, a message to functions.NAME is a call. Text outside of any channel is content.
std::unique_ptr<MessageReader> MakeHarmonyReader(const MessageRules& rules);

}  // namespace quorum::server
