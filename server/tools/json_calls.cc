#include "server/tools/json_calls.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace quorum::server {
namespace {

using Json = nlohmann::ordered_json;

bool IsArguments(std::string_view key) { return key == "arguments" || key == "parameters" || key == "args"; }

}  // namespace

std::optional<std::string> WholeArguments(std::string_view json) {
  if (NestsDeeply(json)) return std::nullopt;
  const Json value = Json::parse(json, nullptr, false);
  if (value.is_object()) return std::string(json);
  if (value.is_null()) return "{}";
  if (value.is_string()) {
    const auto& inner = value.get_ref<const std::string&>();
    if (!NestsDeeply(inner) && Json::parse(inner, nullptr, false).is_object()) return inner;
  }
  return std::nullopt;
}

JsonCursor::State JsonCalls::Read(std::string_view text) {
  using State = JsonCursor::State;
  if (text.empty()) return State::kMore;
  if (!cursor_.has_value()) cursor_.emplace(text.front() == '[' ? 2 : 1);
  const State state = cursor_->Read(text);
  if (state == State::kBad || !Plausible()) return State::kBad;
  if (state == State::kMore) return State::kMore;
  done_ = true;
  const std::vector<ToolCall> read = calls();
  const bool whole = !read.empty() && std::all_of(read.begin(), read.end(), [this](const ToolCall& call) {
    return call.complete && tools_.Has(call.name);
  });
  return whole ? State::kDone : State::kBad;
}

bool JsonCalls::Plausible() const {
  for (const JsonCursor::Member& member : cursor_->members()) {
    if (bare_ && !IsArguments(member.key) && member.key != "name" && member.key != "type") return false;
    if (member.key == "name" && member.end != std::string::npos) {
      const Json name = Json::parse(cursor_->ValueOf(member), nullptr, false);
      if (!name.is_string() || !tools_.Has(name.get_ref<const std::string&>())) return false;
    }
  }
  return true;
}

std::vector<ToolCall> JsonCalls::calls() const {
  if (!cursor_.has_value()) return {};
  std::vector<ToolCall> calls(static_cast<std::size_t>(cursor_->objects()));
  std::vector<bool> bad(calls.size()), given(calls.size());
  for (const JsonCursor::Member& member : cursor_->members()) {
    const auto at = static_cast<std::size_t>(member.object);
    const std::string_view value = cursor_->ValueOf(member);
    const bool whole = member.end != std::string::npos;
    if (member.key == "name" && whole) {
      const Json name = Json::parse(value, nullptr, false);
      if (name.is_string()) calls[at].name = name.get<std::string>();
    } else if (IsArguments(member.key)) {
      if (given[at]) {  // arguments twice: the first may be out already
        bad[at] = true;
        continue;
      }
      given[at] = true;
      if (whole) {
        auto arguments = WholeArguments(value);
        bad[at] = !arguments.has_value();
        calls[at].arguments = std::move(arguments).value_or("");
      } else if (value.starts_with('{')) {
        calls[at].arguments = value;
      }
    }
  }
  for (std::size_t i = 0; i < calls.size(); ++i) {
    // The object is closed when another has begun or the whole value has ended.
    const bool closed = i + 1 < calls.size() || done_;
    calls[i].complete = closed && !bad[i] && !calls[i].name.empty();
    if (calls[i].complete && calls[i].arguments.empty()) calls[i].arguments = "{}";
  }
  return calls;
}

}  // namespace quorum::server
