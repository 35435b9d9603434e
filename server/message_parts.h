// A message as a sequence of parts, each of which begins, grows and ends before the next one: how Anthropic's messages
// and OpenAI's responses stream.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "server/tools/tool_call.h"

namespace quorum::server {

enum class PartKind { kReasoning, kText, kCall };

struct MessagePart {
  PartKind kind = PartKind::kText;
  std::string id;    // made by the owner when the part begins
  std::string name;  // of a call
  std::string text;  // or the arguments of a call
};

/// Turns deltas into beginnings, growth and ends of parts.
class PartTracker {
 public:
  struct Event {
    enum class Kind { kBegin, kGrow, kEnd };
    Kind kind = Kind::kGrow;
    std::size_t part = 0;  // index in parts()
    std::string text;      // kGrow: what was added
  };

  std::vector<Event> Add(const MessageDelta& delta);
  /// Ends the open part, if there is one. A message without any gets an empty text: clients read the first.
  std::vector<Event> Finish();

  const std::vector<MessagePart>& parts() const { return parts_; }
  /// The last part has begun and not ended, or there is none yet.
  bool open() const { return open_ || parts_.empty(); }
  MessagePart& part(std::size_t index) { return parts_[index]; }

 private:
  void Grow(PartKind kind, const std::string& name, const std::string& text, bool fresh, std::vector<Event>& events);
  void End(std::vector<Event>& events);

  std::vector<MessagePart> parts_;
  bool open_ = false;  // the last part
};

}  // namespace quorum::server
