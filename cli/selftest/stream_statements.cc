// Statements 1 to 19: chunks.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "cli/selftest/probe.h"

namespace quorum::selftest {
namespace {

std::string ContentOf(const Json& answer, std::size_t choice = 0) {
  const Json content = answer.at("choices").at(choice).at("message").value("content", Json());
  return content.is_string() ? content.get<std::string>() : std::string();
}

std::string TextToStopIn(const Probe& probe) {
  std::string text = ContentOf(probe.Plain());
  const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (text.size() < 12 || !ascii) throw Skipped{"the model's greedy answer is too short or not ASCII"};
  return text;
}

void ChunkFields(const Probe& probe) {
  for (const Json& chunk : probe.PlainStream().events) {
    for (const char* name : {"id", "object", "created", "model", "choices"}) {
      Demand(chunk.is_object() && chunk.contains(name), fmt::format("a chunk without {}: {}", name, Brief(chunk)));
    }
    Demand(chunk.at("object") == "chat.completion.chunk", "object is " + Brief(chunk.at("object")));
    Demand(chunk.at("choices").is_array(), "choices is no array");
  }
}

void EqualIds(const Probe& probe) {
  const auto& events = probe.PlainStream().events;
  for (const Json& chunk : events) {
    Demand(chunk.at("id") == events.front().at("id"), "the id changes");
    Demand(chunk.at("created") == events.front().at("created"), "created changes");
  }
  Demand(probe.Plain().at("id") != events.front().at("id"), "two requests have one id");
}

void RoleOnce(const Probe& probe) {
  const Assembled message = Assemble(probe.PlainStream());
  Demand(message.roles == 1 && message.role == "assistant",
         fmt::format("the role comes {} times: '{}'", message.roles, message.role));
  for (const Json& chunk : probe.PlainStream().events) {
    if (chunk.at("choices").empty()) continue;
    Demand(chunk.at("choices").at(0).at("delta").value("role", Json()) == "assistant", "the first delta has no role");
    break;
  }
}

void SameText(const Probe& probe) {
  const std::string streamed = Assemble(probe.PlainStream()).content;
  Demand(streamed == ContentOf(probe.Plain()),
         fmt::format("streamed {} and whole {} differ", Brief(streamed), Brief(ContentOf(probe.Plain()))));
}

void ChoiceFields(const Probe& probe) {
  for (const Json& chunk : probe.PlainStream().events) {
    for (const Json& choice : chunk.at("choices")) {
      Demand(choice.contains("index") && choice.contains("delta") && choice.at("delta").is_object() &&
                 choice.contains("finish_reason"),
             "a choice lacks index, delta or finish_reason: " + Brief(choice));
      const Json logprobs = choice.value("logprobs", Json());
      Demand(logprobs.is_null() || logprobs.is_object(), "logprobs is neither null nor an object");
    }
  }
}

void FinishOnce(const Probe& probe) {
  const Assembled message = Assemble(probe.PlainStream());
  Demand(message.finishes == 1, fmt::format("{} finish reasons", message.finishes));
  bool finished = false;
  for (const Json& chunk : probe.PlainStream().events) {
    for (const Json& choice : chunk.at("choices")) {
      const Json content = choice.at("delta").value("content", Json());
      Demand(!finished || !content.is_string() || content == "", "content behind the finish reason");
      finished = finished || !choice.at("finish_reason").is_null();
    }
  }
}

void ChoicesInOrder(const Probe& probe) {
  const Stream stream = probe.ChatStream({{"n", 3}, {"temperature", 1}, {"seed", 5}});
  std::size_t seen = 0;
  for (const Json& chunk : stream.events) {
    for (const Json& choice : chunk.at("choices")) {
      const auto index = choice.at("index").get<std::size_t>();
      Demand(index <= seen, "a choice appears before an earlier one");
      if (index == seen) ++seen;
    }
  }
  Demand(seen == 3, fmt::format("{} choices instead of 3", seen));
}

void UsageOfChoices(const Probe& probe) {
  const Json two = probe.Chat({{"n", 2}, {"temperature", 1}, {"seed", 5}, {"max_tokens", 5}, {"ignore_eos", true}});
  Demand(two.at("choices").size() == 2, "not two choices");
  Demand(two.at("usage").at("prompt_tokens") == probe.Plain().at("usage").at("prompt_tokens"),
         "the prompt is not counted once");
  const Stream stream = probe.ChatStream({{"n", 2}, {"max_tokens", 5}, {"stream_options", {{"include_usage", true}}}});
  const auto counts = std::count_if(stream.events.begin(), stream.events.end(),
                                    [](const Json& chunk) { return chunk.value("usage", Json()).is_object(); });
  Demand(counts == 1, fmt::format("{} chunks with usage", counts));
}

void UsageLast(const Probe& probe) {
  const auto& events = probe.PlainStream().events;
  Demand(events.back().at("choices").empty() && events.back().value("usage", Json()).is_object(),
         "the last chunk is not the usage: " + Brief(events.back()));
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    Demand(events[i].value("usage", Json()).is_null(), "usage in an earlier chunk");
  }
  for (const char* name : {"prompt_tokens", "completion_tokens", "total_tokens"}) {
    Demand(events.back().at("usage").value(name, Json()) == probe.Plain().at("usage").value(name, Json()),
           fmt::format("{} differs from the answer in one piece", name));
  }
}

void NoUsage(const Probe& probe) {
  for (const Json& chunk : probe.ChatStream({{"max_tokens", 3}}).events) {
    Demand(chunk.value("usage", Json()).is_null(), "usage that was not asked for");
    Demand(!chunk.at("choices").empty(), "a chunk without choices");
  }
}

void DoneLast(const Probe& probe) { Demand(probe.PlainStream().done, "no [DONE]"); }

void MediaType(const Probe& probe) {
  const Answer& answer = probe.PlainStream().answer;
  Demand(answer.Header("content-type").starts_with("text/event-stream"),
         "Content-Type " + answer.Header("content-type"));
  Demand(answer.Header("cache-control").find("no-cache") != std::string::npos ||
             answer.Header("cache-control").find("no-store") != std::string::npos,
         "Cache-Control '" + answer.Header("cache-control") + "'");
}

void Comments(const Probe& probe) {
  for (const std::string& name : probe.PlainStream().names) Demand(name.empty(), "an event line: " + name);
}

void ErrorsBeforeHeaders(const Probe& probe) {
  for (const Json& wrong : {Json{{"temperature", 99}}, Json{{"messages", "x"}}, Json{{"max_tokens", -5}}}) {
    Json body = probe.ChatBody(wrong);
    body["stream"] = true;
    const Answer answer = probe.Post(Probe::kChat, body);
    probe.Refused(answer);
    Demand(answer.Header("content-type").starts_with("application/json"),
           "Content-Type " + answer.Header("content-type"));
  }
}

void WholeCharacters(const Probe& probe) {
  const Json extra = {{"messages", {{{"role", "user"}, {"content", "Répétez: 你好 🙂 Ελληνικά"}}}},
                      {"temperature", 1.5},
                      {"seed", 3},
                      {"max_tokens", 64}};
  const Assembled message = Assemble(probe.ChatStream(extra));  // data that is no UTF-8 is no JSON
  Demand(message.content == ContentOf(probe.Chat(extra)), "streamed and whole text differ");
}

void StopsReleased(const Probe& probe) {
  const std::string text = TextToStopIn(probe);
  const Json extra = {{"stop", {text.substr(text.size() - 3) + "\x01 never"}}};
  Demand(ContentOf(probe.Chat(extra)) == text, "text is lost in the whole answer");
  Demand(Assemble(probe.ChatStream(extra)).content == text, "text that was held back is lost in the stream");
}

void StopsEarliest(const Probe& probe) {
  const std::string text = TextToStopIn(probe);
  const std::string stop = text.substr(text.size() / 2, 3);
  const std::string expected = text.substr(0, text.find(stop));
  const Json extra = {{"stop", {"\x01 never", stop}}};
  const Json answer = probe.Chat(extra);
  Demand(ContentOf(answer) == expected,
         fmt::format("stop {}: {} instead of {}", Brief(stop), Brief(ContentOf(answer)), Brief(expected)));
  Demand(answer.at("choices").at(0).at("finish_reason") == "stop",
         "finish_reason " + Brief(answer.at("choices").at(0).at("finish_reason")));
  const Assembled streamed = Assemble(probe.ChatStream(extra));
  Demand(streamed.content == expected,
         fmt::format("streamed {} instead of {}", Brief(streamed.content), Brief(expected)));
  Demand(streamed.finish == "stop", "streamed finish_reason " + streamed.finish);
  probe.Chat({{"stop", ""}, {"max_tokens", 2}});
  probe.Chat({{"stop", {"a1", "b2", "c3", "d4"}}, {"max_tokens", 2}});
}

void StopsNotInPrompt(const Probe& probe) {
  const Json messages = {{{"role", "user"}, {"content", "Zxqj. Write a sentence about the sea."}}};
  Demand(ContentOf(probe.Chat({{"messages", messages}, {"stop", "Zxqj."}})).substr(0, 4) ==
             ContentOf(probe.Chat({{"messages", messages}})).substr(0, 4),
         "a stop string that stands in the prompt ends the reply");
}

}  // namespace

std::vector<Statement> StreamStatements() {
  return {{"1", "every chunk has id, object, created, model, choices", ChunkFields},
          {"2", "id and created are equal in all chunks; ids are unique", EqualIds},
          {"3", "the role comes once, first", RoleOnce},
          {"4", "the stream says what the whole answer says", SameText},
          {"5", "choices have index, delta, finish_reason, logprobs", ChoiceFields},
          {"6", "exactly one finish_reason, behind the content", FinishOnce},
          {"7", "n > 1: choices first appear in order", ChoicesInOrder},
          {"8", "n > 1: the prompt counts once, one usage chunk", UsageOfChoices},
          {"9", "include_usage: the usage chunk is last, and true", UsageLast},
          {"10", "no usage that was not asked for", NoUsage},
          {"11", "streams end with [DONE]", DoneLast},
          {"12", "media type, no caching, one data line an event", MediaType},
          {"13", "nothing but data and comments", Comments},
          {"15", "errors before the first token are 4xx with JSON", ErrorsBeforeHeaders},
          {"16", "streamed pieces are whole UTF-8", WholeCharacters},
          {"17", "text held back for a stop string is released", StopsReleased},
          {"18", "the earliest stop string ends the text", StopsEarliest},
          {"19", "stop strings do not match in the prompt", StopsNotInPrompt}};
}

}  // namespace quorum::selftest
