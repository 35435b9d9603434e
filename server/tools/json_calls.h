// Reads calls that are written as JSON: one {"name": ..., "arguments": {...}} or an array of them.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

#include "server/tools/json_cursor.h"
#include "server/tools/tool_call.h"

namespace quorum::server {

class JsonCalls {
 public:
  /// `bare`: nothing but its shape says that the JSON is a call, so that an unknown key ends the attempt at once.
  explicit JsonCalls(OfferedTools tools, bool bare = false) : tools_(std::move(tools)), bare_(bare) {}

  /// Reads on in `text`, which begins with the value and has what was read before. kDone: every call is whole, its tool
  /// is offered and its arguments are an object. Arguments may be called "arguments", "parameters" or "args", may be
  /// missing or null (no arguments), or be a string that holds an object.
  JsonCursor::State Read(std::string_view text);

  std::size_t end() const { return cursor_.has_value() ? cursor_->end() : 0; }
  std::vector<ToolCall> calls() const;
  void Reset() {
    cursor_.reset();
    done_ = false;
  }

 private:
  bool Plausible() const;

  OfferedTools tools_;
  bool bare_;
  std::optional<JsonCursor> cursor_;
  bool done_ = false;
};

/// A value of arguments as an object in JSON text. Nothing: it is not one.
std::optional<std::string> WholeArguments(std::string_view json);

}  // namespace quorum::server
