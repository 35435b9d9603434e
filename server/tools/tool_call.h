// What a reply consists of once it has been read: content, reasoning, and calls of tools.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "server/tools/argument_types.h"

namespace quorum::server {

/// A call as far as it has been read.
struct ToolCall {
  std::string name;
  std::string arguments;  // JSON text; while the call is not complete, the beginning of it
  bool complete = false;
};

/// A piece of a call. `name` is set in the first piece of an index and only there.
struct CallDelta {
  int index = 0;  // 0, 1, ... in order of appearance
  std::string name;
  std::string arguments;
};

/// What a piece of text added to a message.
struct MessageDelta {
  std::string content;
  std::string reasoning;
  std::vector<CallDelta> calls;

  bool empty() const { return content.empty() && reasoning.empty() && calls.empty(); }
};

/// Adds what came later.
void Append(MessageDelta& to, MessageDelta from);

/// The tools that a request offers.
class OfferedTools {
 public:
  OfferedTools() = default;
  /// `tools`: the request's array, each {"type": "function", "function": {"name", "parameters"}}.
  explicit OfferedTools(const nlohmann::ordered_json& tools);

  bool Has(std::string_view name) const;
  /// Whether some name begins with `begin`.
  bool HasBeginning(std::string_view begin) const;
  /// What an argument may be; nothing is known of a tool or an argument that the request does not describe.
  ArgumentTypes TypesOfArgument(std::string_view tool, std::string_view argument) const;

 private:
  std::shared_ptr<const nlohmann::ordered_json> tools_;  // null: none
  const nlohmann::ordered_json* Find(std::string_view name) const;
};

}  // namespace quorum::server
