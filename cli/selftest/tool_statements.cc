// Statements 20 to 34: calls of tools, messages.
#include <set>

#include <fmt/format.h>

#include "cli/selftest/probe.h"

namespace quorum::selftest {
namespace {

std::string ArgumentsOf(const Json& call) { return call.at("function").at("arguments").get<std::string>(); }

void CheckCall(const Json& call) {
  Demand(call.at("function").at("name") == "get_weather", "a call of " + Brief(call.at("function").at("name")));
  const Json arguments = Json::parse(ArgumentsOf(call), nullptr, false);
  Demand(arguments.is_object(), "arguments that are no JSON object: " + ArgumentsOf(call));
}

Json CallsOf(const Json& answer) {
  Json calls = answer.at("choices").at(0).at("message").value("tool_calls", Json::array());
  return calls.is_array() ? calls : Json::array();
}

void FirstEntries(const Probe& probe) {
  std::set<std::size_t> known;
  for (const Json& chunk : probe.CalledStream().events) {
    for (const Json& choice : chunk.at("choices")) {
      const Json calls = choice.at("delta").value("tool_calls", Json::array());
      for (const Json& entry : calls) {
        const bool first = known.insert(entry.at("index").get<std::size_t>()).second;
        for (const char* name : {"id", "type"}) {
          Demand(entry.contains(name) == first,
                 fmt::format("{} {} the first entry of a call", name, first ? "is missing in" : "is not only in"));
        }
        Demand(entry.at("function").contains("name") == first, "the name is not in the first entry alone");
      }
    }
  }
  Demand(!known.empty(), "no call, though one was demanded");
}

void EntriesComplete(const Probe& probe) { Demand(!Assemble(probe.CalledStream()).calls.empty(), "no call"); }

void DenseIndices(const Probe& probe) {
  const Json calls = Assemble(probe.CalledStream()).calls;  // fails where an index is left out
  Demand(!calls.empty() && calls[0].at("index") == 0, "the first call's index is not 0");
}

void Ids(const Probe& probe) {
  std::set<std::string> ids;
  std::size_t calls = 0;
  for (const Json& from : {CallsOf(probe.Called()), Assemble(probe.CalledStream()).calls}) {
    for (const Json& call : from) {
      Demand(call.at("id").is_string() && !call.at("id").get<std::string>().empty(),
             "an id that is no string: " + Brief(call.at("id")));
      ids.insert(call.at("id").get<std::string>());
      ++calls;
    }
  }
  Demand(calls >= 2 && ids.size() == calls, "ids are missing or not unique");
}

void Arguments(const Probe& probe) {
  for (const Json& from : {CallsOf(probe.Called()), Assemble(probe.CalledStream()).calls}) {
    Demand(!from.empty(), "no call");
    for (const Json& call : from) CheckCall(call);
  }
}

void FinishToolCalls(const Probe& probe) {
  Demand(probe.Called().at("choices").at(0).at("finish_reason") == "tool_calls",
         "finish_reason " + Brief(probe.Called().at("choices").at(0).at("finish_reason")));
  Demand(Assemble(probe.CalledStream()).finish == "tool_calls", "streamed " + Assemble(probe.CalledStream()).finish);
  Json named = DemandWeather();
  named["tool_choice"] = {{"type", "function"}, {"function", {{"name", "get_weather"}}}};
  Demand(probe.Chat(named).at("choices").at(0).at("finish_reason") == "tool_calls",
         "a named call has another finish_reason");
  Json cut = DemandWeather();
  cut["max_tokens"] = 3;
  Demand(probe.Chat(cut).at("choices").at(0).at("finish_reason") == "length", "a call that was cut is not 'length'");
  Demand(Assemble(probe.ChatStream(cut)).finish == "length", "a streamed call that was cut is not 'length'");
}

void MessageShape(const Probe& probe) {
  const Json called = probe.Called().at("choices").at(0).at("message");
  Demand(called.contains("content") && called.at("content").is_null(),
         "content beside nothing but calls is " + Brief(called.value("content", Json("absent"))));
  Demand(called.value("role", Json()) == "assistant", "no role");
  const Json plain = probe.Plain().at("choices").at(0).at("message");
  Demand(plain.value("tool_calls", Json()).is_null(),
         "tool_calls without calls: " + Brief(plain.value("tool_calls", Json())));
  Demand(plain.contains("refusal") && plain.at("refusal").is_null(), "refusal: null is missing");
}

void History(const Probe& probe) {
  const Json call = {{"id", "call_1"},
                     {"type", "function"},
                     {"function", {{"name", "get_weather"}, {"arguments", "{\"city\": \"Paris\"}"}}}};
  Json second = call;
  second["id"] = "call_2";
  for (const Json& said : {Json{{"role", "assistant"}, {"content", nullptr}, {"tool_calls", {call, second}}},
                           Json{{"role", "assistant"}, {"tool_calls", {call, second}}}}) {
    probe.Chat({{"tools", {WeatherTool()}},
                {"messages",
                 {{{"role", "user"}, {"content", "Weather?"}},
                  said,
                  {{"role", "tool"}, {"tool_call_id", "call_2"}, {"content", {{{"type", "text"}, {"text", "rain"}}}}},
                  {{"role", "tool"}, {"tool_call_id", "call_1"}, {"content", "sun"}}}}});
  }
}

void Choices(const Probe& probe) {
  Json body = DemandWeather();
  body["tool_choice"] = "none";
  body["max_tokens"] = 24;
  Demand(CallsOf(probe.Chat(body)).empty(), "a call with tool_choice none");
  Demand(!CallsOf(probe.Called()).empty(), "no call with tool_choice required");
  Json other = WeatherTool();
  other["function"]["name"] = "get_time";
  body["tools"] = {other, WeatherTool()};
  body["max_tokens"] = 200;
  body["tool_choice"] = {{"type", "function"}, {"function", {{"name", "get_weather"}}}};
  const Json calls = CallsOf(probe.Chat(body));
  Demand(!calls.empty(), "no call of the named tool");
  for (const Json& call : calls) CheckCall(call);
  body["tool_choice"]["function"]["name"] = "unknown";
  probe.Refused(probe.ChatAnswer(body), 400, 400);
  for (const Json& wrong : {Json("always"), Json(5), Json{{"type", "nothing"}}}) {
    body["tool_choice"] = wrong;
    probe.Refused(probe.ChatAnswer(body), 400, 400);
  }
}

void OneCall(const Probe& probe) {
  Demand(CallsOf(probe.Called()).size() == 1, fmt::format("{} calls", CallsOf(probe.Called()).size()));
  Demand(Assemble(probe.CalledStream()).calls.size() == 1, "streamed, more than one call");
}

void OddTools(const Probe& probe) {
  probe.Chat({{"tools", Json::array()}, {"max_tokens", 2}});
  probe.Chat({{"tools", {{{"type", "function"}, {"function", {{"name", "f"}}}}}}, {"max_tokens", 2}});
  Json body = DemandWeather();
  body["tools"][0]["function"]["strict"] = true;
  for (const Json& call : CallsOf(probe.Chat(body))) {
    const Json city = Json::parse(ArgumentsOf(call), nullptr, false).value("city", Json());
    Demand(city == "Paris" || city == "Rome", "strict arguments do not satisfy the schema: " + ArgumentsOf(call));
  }
}

void Reasoning(const Probe& probe) {
  probe.Chat({{"messages",
               {{{"role", "user"}, {"content", "Hi"}},
                {{"role", "assistant"}, {"content", "Hello."}, {"reasoning_content", "They greet me."}},
                {{"role", "user"}, {"content", "Bye"}}}},
              {"max_tokens", 2}});
}

void Parts(const Probe& probe) {
  const auto messages = [](const Json& content) {
    return Json{{"messages", {{{"role", "user"}, {"content", content}}}}};
  };
  const Json parts = {{{"type", "text"}, {"text", "Write a sentence "}},
                      {{"type", "text"}, {"text", "about the sea."}}};
  const Json joined = probe.Chat(messages(parts));
  Demand(joined.at("usage").at("prompt_tokens") == probe.Plain().at("usage").at("prompt_tokens"),
         "parts are not joined as they stand");
  const Json error = probe.Refused(probe.ChatAnswer(messages({{{"type", "hologram"}, {"hologram", "x"}}})), 400, 400);
  Demand(Brief(error).find('0') != std::string::npos, "the error does not say which part: " + Brief(error));
}

void Roles(const Probe& probe) {
  for (const Json& messages :
       {Json{{{"role", "developer"}, {"content", "Be brief."}}, {{"role", "user"}, {"content", "Hi"}}},
        Json{{{"role", "system"}, {"content", "Be brief."}},
             {{"role", "system"}, {"content", "Be kind."}},
             {{"role", "user"}, {"content", "Hi"}}},
        Json{{{"role", "user"}, {"content", "Hi"}},
             {{"role", "assistant"}, {"content", "Hello"}},
             {{"role", "system"}, {"content", "Now rhyme."}},
             {{"role", "user"}, {"content", "Go"}}}}) {
    const Answer answer = probe.ChatAnswer({{"messages", messages}, {"max_tokens", 2}});
    Demand(answer.status == 200 || answer.status == 400,
           fmt::format("status {} {}", answer.status, answer.body.substr(0, 120)));
    Demand(messages[0].at("role") != "developer" || answer.status == 200, "a developer message is refused");
  }
}

}  // namespace

std::vector<Statement> ToolStatements() {
  return {{"20", "id, type and name of a call only in its first entry", FirstEntries},
          {"21", "every entry of a call has index and function", EntriesComplete},
          {"22", "indices of calls are dense from 0", DenseIndices},
          {"23", "ids of calls are unique strings", Ids},
          {"24", "arguments are strings that hold a JSON object", Arguments},
          {"25", "finish_reason tool_calls; length when cut", FinishToolCalls},
          {"26", "content null beside calls; no empty tool_calls; refusal null", MessageShape},
          {"27", "earlier calls and results in any order are read", History},
          {"28", "tool_choice none, required, named; 400 for others", Choices},
          {"29", "parallel_tool_calls false gives one call", OneCall},
          {"30", "tools [], no parameters, strict", OddTools},
          {"32", "reasoning_content is accepted back", Reasoning},
          {"33", "text parts are joined; other parts are 400", Parts},
          {"34", "developer and late system messages", Roles}};
}

}  // namespace quorum::selftest
