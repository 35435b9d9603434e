#include "server/message_parts.h"

namespace quorum::server {

std::vector<PartTracker::Event> PartTracker::Add(const MessageDelta& delta) {
  std::vector<Event> events;
  if (!delta.reasoning.empty()) Grow(PartKind::kReasoning, {}, delta.reasoning, false, events);
  if (!delta.content.empty()) Grow(PartKind::kText, {}, delta.content, false, events);
  for (const CallDelta& call : delta.calls) {
    Grow(PartKind::kCall, call.name, call.arguments, !call.name.empty(), events);
  }
  return events;
}

std::vector<PartTracker::Event> PartTracker::Finish() {
  std::vector<Event> events;
  if (parts_.empty()) Grow(PartKind::kText, {}, {}, true, events);
  End(events);
  return events;
}

void PartTracker::Grow(PartKind kind, const std::string& name, const std::string& text, bool fresh,
                       std::vector<Event>& events) {
  if (!open_ || fresh || parts_.back().kind != kind) {
    End(events);
    parts_.push_back({kind, {}, name, {}});
    open_ = true;
    events.push_back({Event::Kind::kBegin, parts_.size() - 1, {}});
  }
  parts_.back().text += text;
  if (!text.empty()) events.push_back({Event::Kind::kGrow, parts_.size() - 1, text});
}

void PartTracker::End(std::vector<Event>& events) {
  if (open_) events.push_back({Event::Kind::kEnd, parts_.size() - 1, {}});
  open_ = false;
}

}  // namespace quorum::server
