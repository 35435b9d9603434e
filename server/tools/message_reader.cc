#include "server/tools/message_reader.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace quorum::server {
namespace {

/// All text is content.
class PlainReader final : public MessageReader {
 public:
  MessageDelta Push(std::string_view text) override { return {std::string(text), {}, {}}; }
  MessageDelta Finish(bool) override { return {}; }
};

class CallReader final : public MessageReader {
 public:
  CallReader(const MessageRules& rules, std::unique_ptr<Dialect> dialect)
      : rules_(rules), dialect_(std::move(dialect)) {}

  MessageDelta Push(std::string_view text) override {
    pending_ += text;
    MessageDelta out;
    while (Advance(false, out)) {
    }
    return out;
  }

  MessageDelta Finish(bool cut) override {
    MessageDelta out;
    if (cut && in_region_) KeepCutCall(out);
    while (Advance(true, out)) {
    }
    // White space at the end belongs to the content where there is nothing else.
    if (calls_ == 0 && !rules_.demanded) out.content += spaces_;
    if (!cut) out.content += held_;
    return out;
  }

 private:
  // One step; false when more text is needed.
  bool Advance(bool ended, MessageDelta& out) {
    if (pending_.empty()) return false;
    if (!in_region_) return FindRegion(ended, out);
    const Dialect::Reading reading = dialect_->Read(pending_, ended);
    if (reading.verdict == Dialect::Verdict::kMore) {
      EmitLongCalls(out);
      return false;
    }
    if (reading.verdict == Dialect::Verdict::kCalls) {
      spaces_.clear();  // between content and calls
      EmitCalls(dialect_->calls(), out);
    } else if (emitted_ > 0 || open_bytes_ > 0) {
      // A call that is partly out does not parse after all: it ends where it stops parsing, and what follows is
      // content. Nothing is made up for it and nothing is lost. No further call begins unless it is whole.
      EmitCalls(dialect_->calls(), out, true);
      broken_ = broken_ || open_bytes_ > 0;
      LeaveRegion(std::clamp<std::size_t>(dialect_->read(), 1, pending_.size()));
      return true;
    } else {
      Content(std::string_view(pending_).substr(0, reading.consumed), out);
    }
    LeaveRegion(reading.consumed);
    return true;
  }

  bool FindRegion(bool ended, MessageDelta& out) {
    const Dialect::Mark mark = dialect_->Find(pending_, at_start_, ended);
    const std::size_t sure = std::min(mark.begin, pending_.size());
    Content(std::string_view(pending_).substr(0, sure), out);
    pending_.erase(0, sure);
    in_region_ = mark.whole;
    return in_region_;
  }

  void LeaveRegion(std::size_t consumed) {
    pending_.erase(0, consumed);
    in_region_ = false;
    emitted_ = 0;
    open_bytes_ = 0;
    dialect_->Reset();
  }

  // White space is held back: before a call and behind one it means nothing.
  void Content(std::string_view text, MessageDelta& out) {
    if (text.empty()) return;
    const std::size_t last = text.find_last_not_of(" \n\t\r");
    if (last == std::string_view::npos) {
      spaces_ += text;
      return;
    }
    at_start_ = false;
    std::string& content = rules_.demanded ? held_ : out.content;
    content += spaces_;
    content += text.substr(0, last + 1);
    spaces_ = text.substr(last + 1);
  }

  // What of the region's calls is not out yet; with `only_whole`, calls that are not whole do not begin.
  void EmitCalls(const std::vector<ToolCall>& calls, MessageDelta& out, bool only_whole = false) {
    for (std::size_t i = emitted_; i < calls.size(); ++i) {
      const ToolCall& call = calls[i];
      if (!call.complete && (call.name.empty() || call.arguments.empty())) return;
      if (rules_.one_call && open_bytes_ == 0 && calls_ >= 1) return;
      if (only_whole && open_bytes_ == 0 && !(call.complete && rules_.tools.Has(call.name))) return;
      if (open_bytes_ == 0) {
        out.calls.push_back({calls_++, call.name, call.arguments});
      } else if (call.arguments.size() > open_bytes_) {
        out.calls.push_back({calls_ - 1, {}, call.arguments.substr(open_bytes_)});
      }
      open_bytes_ = call.complete ? 0 : std::max(open_bytes_, call.arguments.size());
      if (!call.complete) return;
      emitted_ = i + 1;
    }
  }

  void EmitLongCalls(MessageDelta& out) {
    const std::vector<ToolCall>& calls = dialect_->calls();
    if (calls.empty() || calls.back().arguments.size() <= std::max(rules_.hold_bytes, open_bytes_)) return;
    if (calls.back().name.empty()) return;
    spaces_.clear();
    EmitCalls(calls, out);
  }

  void KeepCutCall(MessageDelta& out) {
    // What may still be read, is; a call that is whole needs no care.
    if (dialect_->Read(pending_, false).verdict != Dialect::Verdict::kMore) return;
    const std::vector<ToolCall>& calls = dialect_->calls();
    const bool named = !calls.empty() && !calls.back().name.empty();
    if (named && (rules_.demanded || !calls.back().arguments.empty())) {
      spaces_.clear();
      EmitCalls(calls, out);
      // One that is demanded is a call as soon as it has a name.
      const bool dropped = rules_.one_call && calls_ >= 1;
      if (emitted_ < calls.size() && open_bytes_ == 0 && !dropped)
        out.calls.push_back({calls_++, calls.back().name, {}});
      broken_ = broken_ || !calls.back().complete;
    } else if (!rules_.demanded) {
      return;
    }
    LeaveRegion(pending_.size());
  }

  const MessageRules rules_;
  const std::unique_ptr<Dialect> dialect_;
  std::string pending_;  // not decided; begins with the region when in_region_
  std::string held_;     // content of a reply that should have none: the beginning of a call, if it is cut
  std::string spaces_;   // white space behind the content that is out
  bool in_region_ = false;
  bool at_start_ = true;        // no content yet
  std::size_t emitted_ = 0;     // whole calls of the region that are out
  std::size_t open_bytes_ = 0;  // bytes of the next one's arguments that are out; 0: it has not begun
};

}  // namespace

std::unique_ptr<MessageReader> MakeMessageReader(const MessageRules& rules) {
  if (rules.format == ToolFormat::kHarmony) return MakeHarmonyReader(rules);
  auto dialect = rules.calls_allowed ? MakeDialect(rules.format, rules.tools) : nullptr;
  if (dialect == nullptr) return std::make_unique<PlainReader>();
  return std::make_unique<CallReader>(rules, std::move(dialect));
}

}  // namespace quorum::server
