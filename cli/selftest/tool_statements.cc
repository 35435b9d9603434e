// Statements 20 to 34: calls of tools, messages.
#include <set>

#include <fmt/format.h>

#include "cli/selftest/probe.h"

namespace quorum::selftest {
namespace {

std::string ArgumentsOf(Probe& probe, const Json& call) { return probe.Text(probe.At(call, "function", "arguments")); }

void CheckCall(Probe& probe, const Json& call) {
  probe.Demand(probe.At(call, "function", "name") == "get_weather",
               "a call of " + Brief(probe.At(call, "function", "name")));
  const Json arguments = Json::parse(ArgumentsOf(probe, call), nullptr, false);
  probe.Demand(arguments.is_object(), "arguments that are no JSON object: " + ArgumentsOf(probe, call));
}

Json CallsOf(Probe& probe, const Json& answer) {
  Json calls = Opt(probe.At(answer, "choices", 0, "message"), "tool_calls");
  return calls.is_array() ? calls : Json::array();
}

void FirstEntries(Probe& probe) {
  std::set<std::int64_t> known;
  for (const Json& chunk : probe.CalledStream().events) {
    for (const Json& choice : probe.At(chunk, "choices")) {
      const Json calls = Opt(probe.At(choice, "delta"), "tool_calls");
      for (const Json& entry : calls) {
        const bool first = known.insert(probe.Int(probe.At(entry, "index"))).second;
        for (const char* name : {"id", "type"}) {
          probe.Demand(entry.contains(name) == first, fmt::format("{} {} the first entry of a call", name,
                                                                  first ? "is missing in" : "is not only in"));
        }
        probe.Demand(probe.At(entry, "function").contains("name") == first, "the name is not in the first entry alone");
      }
    }
  }
  probe.Demand(!known.empty(), "no call, though one was demanded");
}

void EntriesComplete(Probe& probe) { probe.Demand(!probe.Assemble(probe.CalledStream()).calls.empty(), "no call"); }

void DenseIndices(Probe& probe) {
  const Json calls = probe.Assemble(probe.CalledStream()).calls;  // fails where an index is left out
  probe.Demand(!calls.empty() && probe.At(calls[0], "index") == 0, "the first call's index is not 0");
}

void Ids(Probe& probe) {
  std::set<std::string> ids;
  std::size_t calls = 0;
  for (const Json& from : {CallsOf(probe, probe.Called()), probe.Assemble(probe.CalledStream()).calls}) {
    for (const Json& call : from) {
      probe.Demand(probe.At(call, "id").is_string() && !probe.Text(probe.At(call, "id")).empty(),
                   "an id that is no string: " + Brief(probe.At(call, "id")));
      ids.insert(probe.Text(probe.At(call, "id")));
      ++calls;
    }
  }
  probe.Demand(calls >= 2 && ids.size() == calls, "ids are missing or not unique");
}

void Arguments(Probe& probe) {
  for (const Json& from : {CallsOf(probe, probe.Called()), probe.Assemble(probe.CalledStream()).calls}) {
    probe.Demand(!from.empty(), "no call");
    for (const Json& call : from) CheckCall(probe, call);
  }
}

void FinishToolCalls(Probe& probe) {
  probe.Demand(probe.At(probe.Called(), "choices", 0, "finish_reason") == "tool_calls",
               "finish_reason " + Brief(probe.At(probe.Called(), "choices", 0, "finish_reason")));
  probe.Demand(probe.Assemble(probe.CalledStream()).finish == "tool_calls",
               "streamed " + probe.Assemble(probe.CalledStream()).finish);
  Json named = DemandWeather();
  named["tool_choice"] = {{"type", "function"}, {"function", {{"name", "get_weather"}}}};
  probe.Demand(probe.At(probe.Chat(named), "choices", 0, "finish_reason") == "tool_calls",
               "a named call has another finish_reason");
  Json cut = DemandWeather();
  cut["max_tokens"] = 3;
  probe.Demand(probe.At(probe.Chat(cut), "choices", 0, "finish_reason") == "length",
               "a call that was cut is not 'length'");
  probe.Demand(probe.Assemble(probe.ChatStream(cut)).finish == "length",
               "a streamed call that was cut is not 'length'");
}

void MessageShape(Probe& probe) {
  const Json called = probe.At(probe.Called(), "choices", 0, "message");
  probe.Demand(
      called.contains("content") && probe.At(called, "content").is_null(),
      "content beside nothing but calls is " + (called.contains("content") ? Brief(Opt(called, "content")) : "absent"));
  probe.Demand(Opt(called, "role") == "assistant", "no role");
  const Json plain = probe.At(probe.Plain(), "choices", 0, "message");
  probe.Demand(Opt(plain, "tool_calls").is_null(), "tool_calls without calls: " + Brief(Opt(plain, "tool_calls")));
  probe.Demand(plain.contains("refusal") && probe.At(plain, "refusal").is_null(), "refusal: null is missing");
}

void History(Probe& probe) {
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

void Choices(Probe& probe) {
  Json body = DemandWeather();
  body["tool_choice"] = "none";
  body["max_tokens"] = 24;
  probe.Demand(CallsOf(probe, probe.Chat(body)).empty(), "a call with tool_choice none");
  probe.Demand(!CallsOf(probe, probe.Called()).empty(), "no call with tool_choice required");
  Json other = WeatherTool();
  other["function"]["name"] = "get_time";
  body["tools"] = {other, WeatherTool()};
  body["max_tokens"] = 200;
  body["tool_choice"] = {{"type", "function"}, {"function", {{"name", "get_weather"}}}};
  const Json calls = CallsOf(probe, probe.Chat(body));
  probe.Demand(!calls.empty(), "no call of the named tool");
  for (const Json& call : calls) CheckCall(probe, call);
  body["tool_choice"]["function"]["name"] = "unknown";
  probe.Refused(probe.ChatAnswer(body), 400, 400);
  for (const Json& wrong : {Json("always"), Json(5), Json{{"type", "nothing"}}}) {
    body["tool_choice"] = wrong;
    probe.Refused(probe.ChatAnswer(body), 400, 400);
  }
}

void OneCall(Probe& probe) {
  probe.Demand(CallsOf(probe, probe.Called()).size() == 1,
               fmt::format("{} calls", CallsOf(probe, probe.Called()).size()));
  probe.Demand(probe.Assemble(probe.CalledStream()).calls.size() == 1, "streamed, more than one call");
}

void OddTools(Probe& probe) {
  probe.Chat({{"tools", Json::array()}, {"max_tokens", 2}});
  probe.Chat({{"tools", {{{"type", "function"}, {"function", {{"name", "f"}}}}}}, {"max_tokens", 2}});
  Json body = DemandWeather();
  body["tools"][0]["function"]["strict"] = true;
  for (const Json& call : CallsOf(probe, probe.Chat(body))) {
    const Json city = Opt(Json::parse(ArgumentsOf(probe, call), nullptr, false), "city");
    probe.Demand(city == "Paris" || city == "Rome",
                 "strict arguments do not satisfy the schema: " + ArgumentsOf(probe, call));
  }
}

void Reasoning(Probe& probe) {
  probe.Chat({{"messages",
               {{{"role", "user"}, {"content", "Hi"}},
                {{"role", "assistant"}, {"content", "Hello."}, {"reasoning_content", "They greet me."}},
                {{"role", "user"}, {"content", "Bye"}}}},
              {"max_tokens", 2}});
}

void Parts(Probe& probe) {
  const auto messages = [](const Json& content) {
    return Json{{"messages", {{{"role", "user"}, {"content", content}}}}};
  };
  const Json parts = {{{"type", "text"}, {"text", "Write a sentence "}},
                      {{"type", "text"}, {"text", "about the sea."}}};
  const Json joined = probe.Chat(messages(parts));
  probe.Demand(probe.At(joined, "usage", "prompt_tokens") == probe.At(probe.Plain(), "usage", "prompt_tokens"),
               "parts are not joined as they stand");
  const Json error = probe.Refused(probe.ChatAnswer(messages({{{"type", "hologram"}, {"hologram", "x"}}})), 400, 400);
  probe.Demand(Brief(error).find('0') != std::string::npos, "the error does not say which part: " + Brief(error));
}

void Roles(Probe& probe) {
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
    probe.Demand(answer.status == 200 || answer.status == 400,
                 fmt::format("status {} {}", answer.status, answer.body.substr(0, 120)));
    probe.Demand(probe.At(messages[0], "role") != "developer" || answer.status == 200,
                 "a developer message is refused");
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
