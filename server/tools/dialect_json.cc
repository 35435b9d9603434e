// Calls as JSON behind a marker, or as the whole reply: Hermes and Qwen, Llama 3, Granite, Phi.
#include <algorithm>
#include <optional>
#include <utility>

#include <nlohmann/json.hpp>

#include "server/tools/dialect.h"
#include "server/tools/json_calls.h"

namespace quorum::server {
namespace {

using Json = nlohmann::ordered_json;
using State = JsonCursor::State;
constexpr std::string_view kFunction = "<function=";  // Llama 3.1's own: <function=NAME>{...}</function>
constexpr std::string_view kPython = "<|python_tag|>";

struct Marks {
  std::vector<std::string> begin;
  std::vector<std::string> end;  // one may follow the JSON
  bool bare = false;             // JSON as the whole reply
};

Marks MarksOf(ToolFormat format) {
  switch (format) {
    case ToolFormat::kGranite:
      return {{"<|tool_call|>", "<tool_call>", "<function_call>"}, {"</tool_call>", "</function_call>"}, false};
    case ToolFormat::kPhi: return {{"<|tool_call|>", "functools"}, {"<|/tool_call|>"}, false};
    case ToolFormat::kLlama3: return {{std::string(kPython), std::string(kFunction)}, {"</function>", ";"}, true};
    default: return {{"<tool_call>"}, {"</tool_call>"}, false};
  }
}

/// A Python literal as JSON: JSON's own, True, False, None, or a string in single quotes. Nothing: something else.
std::optional<Json> PythonLiteral(std::string text) {
  if (text == "True") return Json(true);
  if (text == "False") return Json(false);
  if (text == "None") return Json(nullptr);
  if (text.size() >= 2 && text.front() == '\'' && text.back() == '\'') {
    std::string quoted;
    for (const char c : text.substr(1, text.size() - 2)) quoted += c == '"' ? "\\\"" : std::string(1, c);
    text = "\"" + quoted + "\"";
  }
  if (NestsDeeply(text)) return std::nullopt;
  Json value = Json::parse(text, nullptr, false);
  if (value.is_discarded()) return std::nullopt;
  return value;
}

/// `NAME.call(KEY=LITERAL, ...)`, as Llama 3.1 calls its built-in tools.
std::optional<ToolCall> BuiltInCall(std::string_view text) {
  constexpr std::string_view kCall = ".call(";
  const std::size_t at = text.find(kCall);
  if (at == std::string_view::npos || !text.ends_with(')')) return std::nullopt;
  std::string_view rest = text.substr(at + kCall.size(), text.size() - at - kCall.size() - 1);
  Json arguments = Json::object();
  while (SkipSpace(rest, 0) < rest.size()) {
    const std::size_t equals = rest.find('=');
    if (equals == std::string_view::npos) return std::nullopt;
    std::string key(rest.substr(SkipSpace(rest, 0), equals - SkipSpace(rest, 0)));
    rest.remove_prefix(SkipSpace(rest, equals + 1));
    std::size_t end = 0;
    char quote = 0;
    for (; end < rest.size() && (quote != 0 || rest[end] != ','); ++end) {
      const char c = rest[end];
      if (quote != 0 && c == '\\')
        ++end;
      else if (quote != 0 && c == quote)
        quote = 0;
      else if (quote == 0 && (c == '"' || c == '\''))
        quote = c;
    }
    end = std::min(end, rest.size());
    const auto value = PythonLiteral(std::string(rest.substr(0, end)));
    if (!value.has_value()) return std::nullopt;
    arguments[key] = *value;
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return ToolCall{std::string(text.substr(0, at)), arguments.dump(-1, ' ', false, Json::error_handler_t::replace),
                  true};
}

class JsonDialect final : public Dialect {
 public:
  JsonDialect(Marks marks, OfferedTools tools)
      : marks_(std::move(marks)), tools_(std::move(tools)), json_(tools_), bare_(tools_, true) {}

  Mark Find(std::string_view text, bool at_start, bool ended) const override {
    if (marks_.bare && at_start) {
      const std::size_t first = SkipSpace(text, 0);
      if (first < text.size() && text[first] == '{') return {first, true};
    }
    return FindMark(text, marks_.begin, ended);
  }

  Reading Read(std::string_view text, bool ended) override {
    const Reading reading = ReadRegion(text, ended);
    if (reading.verdict == Verdict::kMore && ended) return {Verdict::kText, text.size()};
    return reading;
  }

  void Reset() override {
    Dialect::Reset();
    json_.Reset();
    bare_.Reset();
    function_.reset();
  }

 private:
  Reading ReadRegion(std::string_view text, bool ended) {
    if (text.front() == '{') return ReadJson(bare_, text, 0, 1, ended);
    if (marks_.bare && text.starts_with(kFunction)) return ReadFunction(text, ended);
    std::size_t marker = 1;
    for (const std::string& mark : marks_.begin) {
      if (text.starts_with(mark)) marker = std::max(marker, mark.size());
    }
    const std::size_t at = SkipSpace(text, marker);
    if (at == text.size()) return {Verdict::kMore, 0};
    if (text[at] == '{' || text[at] == '[') return ReadJson(json_, text, at, marker, ended);
    if (marks_.bare && text.starts_with(kPython)) return ReadPython(text, at, marker, ended);
    return {Verdict::kText, marker};
  }

  // JSON at `at`; where it is none, `marker` bytes are text.
  Reading ReadJson(JsonCalls& json, std::string_view text, std::size_t at, std::size_t marker, bool ended) {
    const State state = json.Read(text.substr(at));
    calls_ = json.calls();
    read_ = at + json.end();
    if (state == State::kBad) return {Verdict::kText, marker};
    if (state == State::kMore) return {Verdict::kMore, 0};
    return AfterCall(text, at + json.end(), ended);
  }

  // A call ends at `end`; an end marker may follow.
  Reading AfterCall(std::string_view text, std::size_t end, bool ended) const {
    const std::size_t at = SkipSpace(text, end);
    for (const std::string& mark : marks_.end) {
      const Begins begins = BeginsWith(text.substr(at), mark);
      if (begins == Begins::kYes) return {Verdict::kCalls, at + mark.size()};
      if (begins == Begins::kMaybe && !ended) return {Verdict::kMore, 0};
    }
    return {Verdict::kCalls, end};
  }

  Reading ReadFunction(std::string_view text, bool ended) {
    const std::size_t close = text.find('>');
    const std::string_view name = text.substr(kFunction.size(), close - std::min(close, kFunction.size()));
    if (close == std::string_view::npos) {
      if (!tools_.HasBeginning(text.substr(kFunction.size()))) return {Verdict::kText, kFunction.size()};
      return {Verdict::kMore, 0};
    }
    if (!tools_.Has(name)) return {Verdict::kText, kFunction.size()};
    const std::size_t at = SkipSpace(text, close + 1);
    if (at == text.size()) return {Verdict::kMore, 0};
    if (!function_.has_value()) function_.emplace();
    if (text[at] != '{') return {Verdict::kText, kFunction.size()};
    const State state = function_->Read(text.substr(at));
    calls_ = {{std::string(name), function_->clean(), state == State::kDone}};
    read_ = at + function_->end();
    if (state == State::kMore) return {Verdict::kMore, 0};
    if (state == State::kBad || !WholeArguments(function_->clean()).has_value())
      return {Verdict::kText, kFunction.size()};
    return AfterCall(text, at + function_->end(), ended);
  }

  // Behind <|python_tag|> stands a call of a built-in tool, or code for a tool that runs Python, to the end.
  Reading ReadPython(std::string_view text, std::size_t at, std::size_t marker, bool ended) {
    if (!ended) return {Verdict::kMore, 0};
    std::string_view code = text.substr(at);
    while (!code.empty() && SkipSpace(code, code.size() - 1) == code.size()) code.remove_suffix(1);
    if (auto call = BuiltInCall(code); call.has_value() && tools_.Has(call->name)) {
      calls_ = {std::move(*call)};
      return {Verdict::kCalls, text.size()};
    }
    for (const char* name : {"python", "ipython", "code_interpreter"}) {
      if (!tools_.Has(name)) continue;
      const Json arguments = {{"code", code}};
      calls_ = {{name, arguments.dump(-1, ' ', false, Json::error_handler_t::replace), true}};
      return {Verdict::kCalls, text.size()};
    }
    return {Verdict::kText, marker};
  }

  const Marks marks_;
  const OfferedTools tools_;
  JsonCalls json_;
  JsonCalls bare_;
  std::optional<JsonCursor> function_;
};

}  // namespace

std::unique_ptr<Dialect> MakeJsonDialect(ToolFormat format, const OfferedTools& tools) {
  return std::make_unique<JsonDialect>(MarksOf(format), tools);
}

}  // namespace quorum::server
