#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/tools/json_calls.h"
#include "server/tools/message_reader.h"

namespace quorum::server {
namespace {

constexpr std::string_view kChannel = "<|channel|>", kMessage = "<|message|>", kStart = "<|start|>", kEnd = "<|end|>",
                           kCall = "<|call|>", kReturn = "<|return|>", kTo = "to=functions.";

class HarmonyReader final : public MessageReader {
 public:
  explicit HarmonyReader(const MessageRules& rules) : rules_(rules) {}

  MessageDelta Push(std::string_view text) override {
    pending_ += text;
    MessageDelta out;
    while (Advance(false, out)) {
    }
    return out;
  }

  MessageDelta Finish(bool cut) override {
    MessageDelta out;
    // A header says nothing before it is whole.
    if (cut && part_ == Part::kHeader && pending_.find(kMessage) == std::string::npos) pending_.clear();
    while (Advance(true, out)) {
    }
    if (part_ == Part::kCallBody) EndCall(cut, out);
    return out;
  }

 private:
  enum class Part { kBetween, kHeader, kContent, kReasoning, kCallBody };

  bool Advance(bool ended, MessageDelta& out) {
    if (pending_.empty()) return false;
    if (part_ == Part::kBetween) return FindHeader(ended, out);
    if (part_ == Part::kHeader) return ReadHeader(ended, out);
    const Dialect::Mark mark = FindMark(pending_, Marks(), ended);
    const std::size_t size = std::min(mark.begin, pending_.size());
    Body(std::string_view(pending_).substr(0, size), out);
    pending_.erase(0, size);
    if (!mark.whole) return false;
    if (part_ == Part::kCallBody) EndCall(false, out);
    part_ = Part::kBetween;
    fresh_ = true;
    return true;
  }

  static const std::vector<std::string>& Marks() {
    static const std::vector<std::string> marks = {std::string(kStart), std::string(kChannel), std::string(kMessage),
                                                   std::string(kEnd),   std::string(kCall),    std::string(kReturn)};
    return marks;
  }

  // The prompt ends with <|start|>assistant, so that the reply begins inside a header; models write others in full.
  bool FindHeader(bool ended, MessageDelta& out) {
    for (const std::string_view closing : {kEnd, kCall, kReturn}) {  // of a message that has ended already
      if (pending_.starts_with(closing)) {
        pending_.erase(0, closing.size());
        return true;
      }
    }
    if (fresh_) {  // a recipient may follow the role at once
      const Begins begins = BeginsWith(pending_, " to=");
      if (begins == Begins::kYes) part_ = Part::kHeader;
      if (begins == Begins::kYes || (begins == Begins::kMaybe && !ended)) return begins == Begins::kYes;
    }
    const Dialect::Mark mark = FindMark(pending_, Marks(), ended);
    const std::size_t size = std::min(mark.begin, pending_.size());
    if (size > 0) fresh_ = false;
    out.content += pending_.substr(0, size);
    pending_.erase(0, size);
    for (const std::string_view opening : {kStart, kChannel, kMessage}) {
      if (mark.whole && pending_.starts_with(opening)) part_ = Part::kHeader;
    }
    return mark.whole;
  }

  bool ReadHeader(bool ended, MessageDelta& out) {
    const std::size_t end = pending_.find(kMessage);
    constexpr std::size_t kLongest = 400;
    if (end == std::string::npos && !ended && pending_.size() < kLongest + kMessage.size()) return false;
    if (end == std::string::npos ||
        end >= kLongest) {  // not a header: its first byte is text, the rest is looked at anew
      out.content += pending_.front();
      pending_.erase(0, 1);
      part_ = Part::kBetween;
      fresh_ = false;
      return true;
    }
    const std::string_view header = std::string_view(pending_).substr(0, end);
    const std::size_t channel_at = header.find(kChannel);
    std::string_view channel =
        channel_at == std::string_view::npos ? "final" : header.substr(channel_at + kChannel.size());
    channel = channel.substr(0, channel.find_first_of(" <\n"));
    name_.clear();
    if (const std::size_t to = header.find(kTo); to != std::string_view::npos) {
      const std::string_view name = header.substr(to + kTo.size());
      name_ = name.substr(0, name.find_first_of(" <\n"));
    }
    part_ = !name_.empty() && rules_.calls_allowed && rules_.tools.Has(name_) ? Part::kCallBody
            : channel == "analysis"                                           ? Part::kReasoning
                                                                              : Part::kContent;
    body_.clear();
    arguments_.reset();
    open_bytes_ = 0;
    pending_.erase(0, end + kMessage.size());
    return true;
  }

  void Body(std::string_view text, MessageDelta& out) {
    if (part_ == Part::kContent) out.content += text;
    if (part_ == Part::kReasoning) out.reasoning += text;
    if (part_ != Part::kCallBody || text.empty()) return;
    body_ += text;
    if (Dropped() || bad_) return;
    const std::size_t begin = std::min(body_.find_first_not_of(" \n\t\r"), body_.size());
    if (begin == body_.size()) return;
    if (!arguments_.has_value()) arguments_.emplace();
    bad_ = body_[begin] != '{' || arguments_->Read(std::string_view(body_).substr(begin)) == JsonCursor::State::kBad;
    if (!bad_ && arguments_->clean().size() > std::max(rules_.hold_bytes, open_bytes_)) EmitArguments(out);
  }

  bool Dropped() const { return rules_.one_call && open_bytes_ == 0 && calls_ >= 1; }

  void EmitArguments(MessageDelta& out) {
    const std::string& clean = arguments_->clean();
    if (open_bytes_ == 0) {
      out.calls.push_back({calls_++, name_, clean});
    } else if (clean.size() > open_bytes_) {
      out.calls.push_back({calls_ - 1, {}, clean.substr(open_bytes_)});
    }
    open_bytes_ = clean.size();
  }

  void EndCall(bool cut, MessageDelta& out) {
    if (!Dropped()) {
      const std::size_t first = body_.find_first_not_of(" \n\t\r");
      if (first == std::string::npos && (!cut || rules_.demanded)) {
        out.calls.push_back({calls_++, name_, cut ? "" : "{}"});
        broken_ = broken_ || cut;
      } else if (!bad_ && arguments_.has_value() &&
                 (cut || open_bytes_ > 0 || WholeArguments(arguments_->clean()).has_value())) {
        EmitArguments(out);
        broken_ = broken_ || !WholeArguments(arguments_->clean()).has_value();
      } else if (open_bytes_ > 0) {
        broken_ = true;
      } else {
        out.content += body_;
      }
    }
    bad_ = false;
    open_bytes_ = 0;
    part_ = Part::kBetween;
  }

  const MessageRules rules_;
  Part part_ = Part::kBetween;
  bool fresh_ = true;  // a message has just begun: nothing of it has been read
  std::string pending_;
  std::string name_;  // of the call that is being read
  std::string body_;
  std::optional<JsonCursor> arguments_;
  bool bad_ = false;
  std::size_t open_bytes_ = 0;
};

}  // namespace

std::unique_ptr<MessageReader> MakeHarmonyReader(const MessageRules& rules) {
  return std::make_unique<HarmonyReader>(rules);
}

}  // namespace quorum::server
