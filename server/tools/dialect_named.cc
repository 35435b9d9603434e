// Calls whose name stands before the JSON of their arguments: Mistral, DeepSeek.
#include <algorithm>
#include <optional>
#include <utility>

#include "server/tools/dialect.h"
#include "server/tools/json_calls.h"

namespace quorum::server {
namespace {

using State = JsonCursor::State;

constexpr std::size_t kLongestName = 300;   // bytes
constexpr std::size_t kLongestFence = 64;   // between the line of the name and the arguments
constexpr std::size_t kLongestMarks = 200;  // between a name and its arguments

std::string_view TrimEnd(std::string_view text) {
  while (!text.empty() && SkipSpace(text, text.size() - 1) == text.size()) text.remove_suffix(1);
  return text;
}

/// [TOOL_CALLS][{"name", "arguments"}, ...] of tokenizers up to v7; [TOOL_CALLS]NAME[CALL_ID]ID[ARGS]{...} since v11,
/// the markers in the middle being optional. https://github.com/mistralai/mistral-common, tokens/tokenizers/instruct.py
class MistralDialect final : public Dialect {
 public:
  explicit MistralDialect(OfferedTools tools) : tools_(std::move(tools)), list_(tools_) {}

  Mark Find(std::string_view text, bool, bool ended) const override { return FindMark(text, {kBegin}, ended); }

  Reading Read(std::string_view text, bool ended) override {
    const Reading reading = ReadRegion(text);
    if (reading.verdict == Verdict::kMore && ended) return {Verdict::kText, text.size()};
    return reading;
  }

  void Reset() override {
    Dialect::Reset();
    list_.Reset();
    arguments_.reset();
  }

 private:
  Reading ReadRegion(std::string_view text) {
    const Reading not_a_call = {Verdict::kText, kBegin.size()};
    const std::size_t at = SkipSpace(text, kBegin.size());
    if (at == text.size()) return {};
    const std::string_view body = text.substr(at);
    if (body.front() == '[') {
      const State state = list_.Read(body);
      calls_ = list_.calls();
      read_ = at + list_.end();
      if (state == State::kBad) return not_a_call;
      return state == State::kMore ? Reading{} : Reading{Verdict::kCalls, at + list_.end()};
    }
    const std::size_t name_end = body.find_first_of("[{ \n\t");
    const std::string_view name = body.substr(0, name_end);
    if (name_end == std::string_view::npos) return tools_.HasBeginning(name) ? Reading{} : not_a_call;
    if (!tools_.Has(name)) return not_a_call;
    const std::size_t brace = body.find('{', name_end);
    const std::string_view between = body.substr(name_end, brace - name_end);
    // Nothing but the markers, white space and an id stands between the name and the arguments.
    std::string_view left = between.substr(SkipSpace(between, 0));
    if (left.starts_with(kCallId)) {
      left.remove_prefix(kCallId.size());
      left.remove_prefix(std::min(left.find('['), left.size()));
    }
    if (left.starts_with(kArgs)) left.remove_prefix(kArgs.size());
    left.remove_prefix(SkipSpace(left, 0));
    if (brace == std::string_view::npos) {
      const bool may_follow =
          left.empty() || BeginsWith(left, kArgs) == Begins::kMaybe || BeginsWith(left, kCallId) == Begins::kMaybe;
      return may_follow && between.size() < kLongestMarks ? Reading{} : not_a_call;
    }
    if (!left.empty() || between.size() >= kLongestMarks) return not_a_call;
    if (!arguments_.has_value()) arguments_.emplace();
    const State state = arguments_->Read(body.substr(brace));
    calls_ = {{std::string(name), arguments_->clean(), state == State::kDone}};
    read_ = at + brace + arguments_->end();
    if (state == State::kMore) return {};
    if (state == State::kBad || !WholeArguments(arguments_->clean()).has_value()) return not_a_call;
    return {Verdict::kCalls, at + brace + arguments_->end()};
  }

  static inline const std::string kBegin = "[TOOL_CALLS]";
  static constexpr std::string_view kArgs = "[ARGS]";
  static constexpr std::string_view kCallId = "[CALL_ID]";
  const OfferedTools tools_;
  JsonCalls list_;
  std::optional<JsonCursor> arguments_;
};

/// V3 and R1: BEGIN function SEP name \n ```json \n {...} \n ``` END. V3.1: BEGIN name SEP {...} END. A pair of marks
/// around all calls carries nothing.
class DeepSeekDialect final : public Dialect {
 public:
  explicit DeepSeekDialect(OfferedTools tools) : tools_(std::move(tools)) {}

  Mark Find(std::string_view text, bool, bool ended) const override {
    return FindMark(text, {kAllBegin, kBegin, kAllEnd}, ended);
  }

  Reading Read(std::string_view text, bool ended) override {
    const Reading reading = ReadRegion(text, ended);
    if (reading.verdict == Verdict::kMore && ended) return {Verdict::kText, text.size()};
    return reading;
  }

  void Reset() override {
    Dialect::Reset();
    arguments_.reset();
  }

 private:
  Reading ReadRegion(std::string_view text, bool ended) {
    if (text.starts_with(kAllEnd)) return {Verdict::kCalls, kAllEnd.size()};
    std::size_t at = 0;
    Reading not_a_call = {Verdict::kText, kBegin.size()};
    if (text.starts_with(kAllBegin)) {
      not_a_call.consumed = kAllBegin.size();
      at = SkipSpace(text, kAllBegin.size());
      const Begins begins = BeginsWith(text.substr(at), kBegin);
      if (begins != Begins::kYes) return begins == Begins::kMaybe ? Reading{} : not_a_call;
    }
    at += kBegin.size();
    const std::size_t sep = text.find(kSep, at);
    // Where something may stand is a matter of its place alone, so that how the text is cut decides nothing.
    if (sep == std::string_view::npos) return text.size() - at < kLongestName + kSep.size() ? Reading{} : not_a_call;
    if (sep - at >= kLongestName) return not_a_call;
    std::string_view name = TrimEnd(text.substr(at, sep - at));
    name.remove_prefix(SkipSpace(name, 0));
    at = sep + kSep.size();
    const std::size_t brace = text.find('{', at);
    const std::string_view before = text.substr(at, brace - std::min(brace, at));
    if (name == "function" && !tools_.Has(name)) {
      const std::size_t line = text.find('\n', at);
      if (line == std::string_view::npos) return text.size() - at <= kLongestName ? Reading{} : not_a_call;
      if (line - at >= kLongestName) return not_a_call;
      name = TrimEnd(text.substr(at, line - at));
      if (brace == std::string_view::npos) return text.size() - line <= kLongestFence ? Reading{} : not_a_call;
      if (brace > line && brace - line >= kLongestFence) return not_a_call;
      const std::string_view fence = text.substr(line, brace > line ? brace - line : 0);
      const std::string_view word = TrimEnd(fence.substr(SkipSpace(fence, 0)));
      if (word != "```json" && word != "```" && !word.empty()) return not_a_call;
    } else {
      if (brace == std::string_view::npos) return SkipSpace(text, at) == text.size() ? Reading{} : not_a_call;
      if (SkipSpace(before, 0) != before.size()) return not_a_call;
    }
    if (!tools_.Has(name)) return not_a_call;
    if (!arguments_.has_value()) arguments_.emplace();
    const State state = arguments_->Read(text.substr(brace));
    calls_ = {{std::string(name), arguments_->clean(), state == State::kDone}};
    read_ = brace + arguments_->end();
    if (state == State::kMore) return {};
    if (state == State::kBad || !WholeArguments(arguments_->clean()).has_value()) return not_a_call;
    // What may still follow: the fence's end and the call's.
    std::size_t end = brace + arguments_->end();
    for (const std::string_view mark : {std::string_view("```"), std::string_view(kEnd)}) {
      const std::size_t next = SkipSpace(text, end);
      const Begins begins = BeginsWith(text.substr(next), mark);
      if (begins == Begins::kYes) end = next + mark.size();
      if (begins == Begins::kMaybe && !ended) return {};
    }
    return {Verdict::kCalls, end};
  }

  static inline const std::string kAllBegin = "<｜tool▁calls▁begin｜>";
  static inline const std::string kAllEnd = "<｜tool▁calls▁end｜>";
  static inline const std::string kBegin = "<｜tool▁call▁begin｜>";
  static inline const std::string kSep = "<｜tool▁sep｜>";
  static inline const std::string kEnd = "<｜tool▁call▁end｜>";
  const OfferedTools tools_;
  std::optional<JsonCursor> arguments_;
};

}  // namespace

std::unique_ptr<Dialect> MakeMistralDialect(const OfferedTools& tools) {
  return std::make_unique<MistralDialect>(tools);
}

std::unique_ptr<Dialect> MakeDeepSeekDialect(const OfferedTools& tools) {
  return std::make_unique<DeepSeekDialect>(tools);
}

}  // namespace quorum::server
