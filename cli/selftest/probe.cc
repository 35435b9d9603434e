#include "cli/selftest/probe.h"

#include <fmt/format.h>

namespace quorum::selftest {

void Demand(bool holds, const std::string& why) {
  if (!holds) throw Broken{why};
}

std::string Brief(const Json& value) {
  std::string text = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > 160) text = text.substr(0, 157) + "...";
  return text;
}

Answer Probe::Get(const std::string& path, const std::vector<std::string>& headers) const {
  return Send(options_, "GET", path, {}, headers);
}

Answer Probe::PostText(const std::string& path, std::string_view body, const std::vector<std::string>& headers) const {
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

Json Probe::Ok(const std::string& path, const Json& body) const {
  const Answer answer = Post(path, body);
  Demand(answer.status == 200, fmt::format("{} answers {} {}", path, answer.status,
                                           answer.status == 0 ? answer.failure : answer.body.substr(0, 160)));
  Json parsed = Json::parse(answer.body, nullptr, false);
  Demand(parsed.is_object(), "the answer is no JSON object");
  return parsed;
}

Json Probe::Chat(const Json& extra) const {
  Json answer = Ok(kChat, ChatBody(extra));
  Demand(answer.contains("choices") && answer["choices"].is_array() && !answer["choices"].empty(), "no choices");
  for (const Json& choice : answer["choices"]) {
    Demand(choice.is_object() && choice.contains("message") && choice["message"].is_object(),
           "a choice has no message");
  }
  return answer;
}

Json Probe::Refused(const Answer& answer, long least, long most) const {
  Demand(answer.status >= least && answer.status <= most,
         fmt::format("status {} {}", answer.status, answer.status == 0 ? answer.failure : answer.body.substr(0, 120)));
  const Json parsed = Json::parse(answer.body, nullptr, false);
  Demand(parsed.is_object() && parsed.contains("error") && parsed["error"].is_object() &&
             parsed["error"].contains("message") && parsed["error"]["message"].is_string(),
         fmt::format("status {} without an error object: {}", answer.status, answer.body.substr(0, 120)));
  return parsed["error"];
}

Stream Probe::StreamOf(const std::string& path, const Json& body) const {
  Stream stream;
  stream.answer = Post(path, body);
  Demand(stream.answer.status == 200,
         fmt::format("{} answers {} {}", path, stream.answer.status,
                     stream.answer.status == 0 ? stream.answer.failure : stream.answer.body.substr(0, 160)));
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

Stream Probe::ChatStream(const Json& extra) const {
  Json body = ChatBody(extra);
  body["stream"] = true;
  Stream stream = StreamOf(kChat, body);
  Demand(stream.fault.empty(), stream.fault);
  Demand(!stream.events.empty(), "a stream without events");
  return stream;
}

const Json& Probe::Plain() const {
  if (answers_.count("plain") == 0) answers_["plain"] = Chat();
  return answers_["plain"];
}

const Stream& Probe::PlainStream() const {
  if (streams_.count("plain") == 0) streams_["plain"] = ChatStream({{"stream_options", {{"include_usage", true}}}});
  return streams_["plain"];
}

const Json& Probe::Called() const {
  if (answers_.count("called") == 0) answers_["called"] = Chat(DemandWeather());
  return answers_["called"];
}

const Stream& Probe::CalledStream() const {
  if (streams_.count("called") == 0) streams_["called"] = ChatStream(DemandWeather());
  return streams_["called"];
}

Assembled Assemble(const Stream& stream, std::size_t index) {
  Assembled out;
  for (const Json& chunk : stream.events) {
    Demand(!chunk.contains("error"), "an error in the stream: " + Brief(chunk));
    if (!chunk.contains("choices") || !chunk["choices"].is_array())
      throw Broken{"a chunk without choices: " + Brief(chunk)};
    for (const Json& choice : chunk["choices"]) {
      if (choice.value("index", Json()) != index) continue;
      const Json delta = choice.value("delta", Json::object());
      if (const Json role = delta.value("role", Json()); role.is_string()) {
        ++out.roles;
        out.role += role.get<std::string>();
      }
      if (const Json text = delta.value("content", Json()); text.is_string()) out.content += text.get<std::string>();
      if (const Json calls = delta.value("tool_calls", Json()); calls.is_array()) {
        for (const Json& entry : calls) {
          Demand(entry.contains("index") && entry["index"].is_number_integer(), "a call's entry without index");
          Demand(entry.contains("function") && entry["function"].is_object(), "a call's entry without function");
          const auto at = entry["index"].get<std::size_t>();
          Demand(at <= out.calls.size(), "a call's index that leaves one out");
          if (at == out.calls.size()) {
            out.calls.push_back(
                {{"index", at}, {"id", ""}, {"type", ""}, {"function", {{"name", ""}, {"arguments", ""}}}});
          }
          Json& call = out.calls[at];
          for (const char* name : {"id", "type"}) {  // as Python's SDK does: strings are joined
            const Json value = entry.value(name, Json());
            if (value.is_string()) call[name] = call[name].get<std::string>() + value.get<std::string>();
            if (!value.is_null() && !value.is_string()) throw Broken{fmt::format("a call's {} is no string", name)};
          }
          for (const char* name : {"name", "arguments"}) {
            const Json value = entry["function"].value(name, Json());
            Json& whole = call["function"][name];
            if (value.is_string()) whole = whole.get<std::string>() + value.get<std::string>();
            if (!value.is_null() && !value.is_string()) throw Broken{fmt::format("a call's {} is no string", name)};
          }
        }
      }
      if (const Json scores = choice.value("logprobs", Json());
          scores.is_object() && scores.value("content", Json()).is_array()) {
        for (const Json& score : scores["content"]) out.logprobs.push_back(score);
      }
      if (const Json finish = choice.value("finish_reason", Json()); finish.is_string()) {
        ++out.finishes;
        out.finish = finish;
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
