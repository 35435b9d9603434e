#include "cli/selftest/probe.h"

#include <fmt/format.h>

namespace quorum::selftest {

Json Opt(const Json& value, const std::string& name) {
  if (!value.is_object()) return {};
  const auto found = value.find(name);
  return found == value.end() ? Json() : *found;
}

std::string Brief(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 160) text = text.substr(0, 157) + "...";
  return text;
}

void Probe::Demand(bool holds, const std::string& why) {
  if (!holds && verdict_.kind == Verdict::Kind::kHolds) verdict_ = {Verdict::Kind::kBroken, why};
}

void Probe::Skip(const std::string& why) {
  if (verdict_.kind == Verdict::Kind::kHolds) verdict_ = {Verdict::Kind::kSkipped, why};
}

void Probe::Step(const Json*& at, const std::string& name) {
  if (at == nullptr) return;
  const bool there = at->is_object() && at->contains(name);
  Demand(there, fmt::format("no '{}' in {}", name, Brief(*at)));
  at = there ? &*at->find(name) : nullptr;
}

void Probe::Step(const Json*& at, std::size_t index) {
  if (at == nullptr) return;
  const bool there = at->is_array() && index < at->size();
  Demand(there, fmt::format("no element {} in {}", index, Brief(*at)));
  at = there ? &(*at)[index] : nullptr;
}

std::string Probe::Text(const Json& value) {
  Demand(value.is_string(), "no string: " + Brief(value));
  return value.is_string() ? value.get<std::string>() : std::string();
}

std::int64_t Probe::Int(const Json& value) {
  Demand(value.is_number_integer(), "no integer: " + Brief(value));
  return value.is_number_integer() ? value.get<std::int64_t>() : 0;
}

double Probe::Number(const Json& value) {
  Demand(value.is_number(), "no number: " + Brief(value));
  return value.is_number() ? value.get<double>() : 0;
}

Answer Probe::Get(const std::string& path, const std::vector<std::string>& headers) const {
  if (verdict_.kind != Verdict::Kind::kHolds) return {};
  return Send(options_, "GET", path, {}, headers);
}

Answer Probe::PostText(const std::string& path, std::string_view body, const std::vector<std::string>& headers) const {
  if (verdict_.kind != Verdict::Kind::kHolds) return {};
  return Send(options_, "POST", path, body, headers);
}

Answer Probe::Post(const std::string& path, const Json& body, const std::vector<std::string>& headers) const {
  return PostText(path, body.dump(), headers);
}

Json Probe::ChatBody(const Json& extra) const {
  Json body = {{"model", model_},
               {"messages", {{{"role", "user"}, {"content", "Write a sentence about the sea."}}}},
               {"temperature", 0},
               {"max_tokens", 24}};
  for (const auto& [name, value] : extra.items()) {
    if (value.is_null()) {
      body.erase(name);
    } else {
      body[name] = value;
    }
  }
  return body;
}

void Probe::DemandOk(const std::string& path, const Answer& answer) {
  if (answer.status == 400) {
    const Json error = Opt(Json::parse(answer.body, nullptr, false), "error");
    if (Opt(error, "code") == "context_length_exceeded") Skip("the server's context is too short for it");
  }
  Demand(answer.status == 200, fmt::format("{} answers {} {}", path, answer.status,
                                           answer.status == 0 ? answer.failure : answer.body.substr(0, 160)));
}

Json Probe::Ok(const std::string& path, const Json& body) {
  const Answer answer = Post(path, body);
  DemandOk(path, answer);
  Json parsed = Json::parse(answer.body, nullptr, false);
  Demand(parsed.is_object(), "the answer is no JSON object");
  return parsed.is_object() ? parsed : Json();
}

Json Probe::Chat(const Json& extra) {
  Json answer = Ok(kChat, ChatBody(extra));
  const Json choices = Opt(answer, "choices");
  Demand(choices.is_array() && !choices.empty(), "no choices");
  for (const Json& choice : choices) Demand(Opt(choice, "message").is_object(), "a choice has no message");
  return answer;
}

Json Probe::Refused(const Answer& answer, long least, long most) {
  Demand(answer.status >= least && answer.status <= most,
         fmt::format("status {} {}", answer.status, answer.status == 0 ? answer.failure : answer.body.substr(0, 120)));
  const Json parsed = Json::parse(answer.body, nullptr, false);
  Json error = Opt(parsed, "error");
  Demand(Opt(error, "message").is_string(),
         fmt::format("status {} without an error object: {}", answer.status, answer.body.substr(0, 120)));
  return error;
}

Stream Probe::StreamOf(const std::string& path, const Json& body) {
  Stream stream;
  stream.answer = Post(path, body);
  DemandOk(path, stream.answer);
  const std::string& text = stream.answer.body;
  for (std::size_t at = 0; at < text.size() && stream.fault.empty();) {
    const std::size_t end = text.find("\n\n", at);
    if (end == std::string::npos) {
      stream.fault = "the last event has no blank line behind it";
      break;
    }
    std::string name, data;
    int data_lines = 0;
    bool comment = false;
    for (std::size_t line_at = at; line_at < end;) {
      const std::size_t line_end = std::min(text.find('\n', line_at), end);
      const std::string line = text.substr(line_at, line_end - line_at);
      line_at = line_end + 1;
      if (line.starts_with(":")) {
        comment = true;
      } else if (line.starts_with("data: ")) {
        data = line.substr(6);
        ++data_lines;
      } else if (line.starts_with("event: ")) {
        name = line.substr(7);
      } else {
        stream.fault = "a line that is neither data, event nor comment: " + line.substr(0, 80);
      }
    }
    at = end + 2;
    if (data_lines == 0) {
      if (!comment || !name.empty()) stream.fault = "an event without data";
      ++stream.comments;
      continue;
    }
    if (data_lines > 1) stream.fault = "an event of several data lines";
    if (stream.done) stream.fault = "something follows [DONE]";
    if (data == "[DONE]") {
      stream.done = true;
      continue;
    }
    Json parsed = Json::parse(data, nullptr, false);
    if (parsed.is_discarded()) {
      stream.fault = "data that is no JSON (or no UTF-8): " + data.substr(0, 80);
    } else {
      stream.events.push_back(std::move(parsed));
      stream.names.push_back(name);
    }
  }
  return stream;
}

Stream Probe::ChatStream(const Json& extra) {
  Json body = ChatBody(extra);
  body["stream"] = true;
  Stream stream = StreamOf(kChat, body);
  Demand(stream.fault.empty(), stream.fault);
  Demand(!stream.events.empty(), "a stream without events");
  return stream;
}

const Json& Probe::Plain() {
  if (Opt(answers_["plain"], "choices").is_null()) answers_["plain"] = Chat();
  return answers_["plain"];
}

const Stream& Probe::PlainStream() {
  if (streams_["plain"].events.empty()) streams_["plain"] = ChatStream({{"stream_options", {{"include_usage", true}}}});
  return streams_["plain"];
}

const Json& Probe::Called() {
  if (Opt(answers_["called"], "choices").is_null()) answers_["called"] = Chat(DemandWeather());
  return answers_["called"];
}

const Stream& Probe::CalledStream() {
  if (streams_["called"].events.empty()) streams_["called"] = ChatStream(DemandWeather());
  return streams_["called"];
}

/// Joins an entry of a delta to its call, as Python's SDK does: strings are concatenated.
void Probe::AddCall(const Json& entry, Json& calls) {
  const Json index = Opt(entry, "index");
  Demand(index.is_number_integer(), "a call's entry without index");
  Demand(Opt(entry, "function").is_object(), "a call's entry without function");
  const auto at = static_cast<std::size_t>(Int(index));
  Demand(at <= calls.size(), "a call's index that leaves one out");
  if (verdict_.kind != Verdict::Kind::kHolds) return;
  if (at == calls.size()) {
    calls.push_back({{"index", at}, {"id", ""}, {"type", ""}, {"function", {{"name", ""}, {"arguments", ""}}}});
  }
  const auto join = [this](const Json& from, const char* name, Json& to) {
    const Json value = Opt(from, name);
    if (!value.is_null()) Demand(value.is_string(), fmt::format("a call's {} is no string", name));
    if (value.is_string()) to[name] = to[name].get<std::string>() + value.get<std::string>();
  };
  for (const char* name : {"id", "type"}) join(entry, name, calls[at]);
  for (const char* name : {"name", "arguments"}) join(Opt(entry, "function"), name, calls[at]["function"]);
}

Assembled Probe::Assemble(const Stream& stream, std::size_t index) {
  Assembled out;
  for (const Json& chunk : stream.events) {
    Demand(!chunk.contains("error"), "an error in the stream: " + Brief(chunk));
    const Json choices = Opt(chunk, "choices");
    Demand(choices.is_array(), "a chunk without choices: " + Brief(chunk));
    for (const Json& choice : choices) {
      if (Opt(choice, "index") != index) continue;
      const Json delta = Opt(choice, "delta");
      if (const Json role = Opt(delta, "role"); role.is_string()) {
        ++out.roles;
        out.role += role.get<std::string>();
      }
      if (const Json text = Opt(delta, "content"); text.is_string()) out.content += text.get<std::string>();
      for (const Json& entry : Opt(delta, "tool_calls")) AddCall(entry, out.calls);
      for (const Json& score : Opt(Opt(choice, "logprobs"), "content")) out.logprobs.push_back(score);
      if (const Json finish = Opt(choice, "finish_reason"); finish.is_string()) {
        ++out.finishes;
        out.finish = finish.get<std::string>();
      }
    }
  }
  return out;
}

Json WeatherTool() {
  return {{"type", "function"},
          {"function",
           {{"name", "get_weather"},
            {"description", "The weather of a city"},
            {"parameters",
             {{"type", "object"},
              {"properties", {{"city", {{"type", "string"}, {"enum", {"Paris", "Rome"}}}}}},
              {"required", {"city"}},
              {"additionalProperties", false}}}}}};
}

Json DemandWeather() {
  return {{"messages", {{{"role", "user"}, {"content", "What is the weather in Paris?"}}}},
          {"tools", {WeatherTool()}},
          {"tool_choice", "required"},
          {"parallel_tool_calls", false},
          {"max_tokens", 200}};
}

}  // namespace quorum::selftest
