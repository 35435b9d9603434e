// Statements 1 to 19: chunks.
#include <algorithm>
#include <optional>
#include <string>

#include <fmt/format.h>

#include "cli/selftest/probe.h"

namespace quorum::selftest {
namespace {

std::string ContentOf(Probe& probe, const Json& answer, std::size_t choice = 0) {
  const Json content = Opt(probe.At(answer, "choices", choice, "message"), "content");
  return content.is_string() ? content.get<std::string>() : std::string();
}

/// The greedy answer. Nothing: stop strings cannot be cut from it, and the statement is skipped.
std::optional<std::string> TextToStopIn(Probe& probe) {
  std::string text = ContentOf(probe, probe.Plain());
  const bool ascii = std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (text.size() < 12 || !ascii) {
    probe.Skip("the model's greedy answer is too short or not ASCII");
    return {};
  }
  return text;
}

void ChunkFields(Probe& probe) {
  for (const Json& chunk : probe.PlainStream().events) {
    for (const char* name : {"id", "object", "created", "model", "choices"}) {
      probe.Demand(chunk.is_object() && chunk.contains(name),
                   fmt::format("a chunk without {}: {}", name, Brief(chunk)));
    }
    probe.Demand(probe.At(chunk, "object") == "chat.completion.chunk", "object is " + Brief(probe.At(chunk, "object")));
    probe.Demand(probe.At(chunk, "choices").is_array(), "choices is no array");
  }
}

void EqualIds(Probe& probe) {
  const Json first = probe.PlainStream().First();
  for (const Json& chunk : probe.PlainStream().events) {
    probe.Demand(probe.At(chunk, "id") == probe.At(first, "id"), "the id changes");
    probe.Demand(probe.At(chunk, "created") == probe.At(first, "created"), "created changes");
  }
  probe.Demand(probe.At(probe.Plain(), "id") != probe.At(first, "id"), "two requests have one id");
}

void RoleOnce(Probe& probe) {
  const Assembled message = probe.Assemble(probe.PlainStream());
  probe.Demand(message.roles == 1 && message.role == "assistant",
               fmt::format("the role comes {} times: '{}'", message.roles, message.role));
  for (const Json& chunk : probe.PlainStream().events) {
    if (probe.At(chunk, "choices").empty()) continue;
    probe.Demand(Opt(probe.At(chunk, "choices", 0, "delta"), "role") == "assistant", "the first delta has no role");
    break;
  }
}

void SameText(Probe& probe) {
  const std::string streamed = probe.Assemble(probe.PlainStream()).content;
  probe.Demand(streamed == ContentOf(probe, probe.Plain()),
               fmt::format("streamed {} and whole {} differ", Brief(streamed), Brief(ContentOf(probe, probe.Plain()))));
}

void ChoiceFields(Probe& probe) {
  for (const Json& chunk : probe.PlainStream().events) {
    for (const Json& choice : probe.At(chunk, "choices")) {
      probe.Demand(choice.contains("index") && choice.contains("delta") && probe.At(choice, "delta").is_object() &&
                       choice.contains("finish_reason"),
                   "a choice lacks index, delta or finish_reason: " + Brief(choice));
      const Json logprobs = Opt(choice, "logprobs");
      probe.Demand(logprobs.is_null() || logprobs.is_object(), "logprobs is neither null nor an object");
    }
  }
}

void FinishOnce(Probe& probe) {
  const Assembled message = probe.Assemble(probe.PlainStream());
  probe.Demand(message.finishes == 1, fmt::format("{} finish reasons", message.finishes));
  bool finished = false;
  for (const Json& chunk : probe.PlainStream().events) {
    for (const Json& choice : probe.At(chunk, "choices")) {
      const Json content = Opt(probe.At(choice, "delta"), "content");
      probe.Demand(!finished || !content.is_string() || content == "", "content behind the finish reason");
      finished = finished || !probe.At(choice, "finish_reason").is_null();
    }
  }
}

void ChoicesInOrder(Probe& probe) {
  const Stream stream = probe.ChatStream({{"n", 3}, {"temperature", 1}, {"seed", 5}});
  std::int64_t seen = 0;
  for (const Json& chunk : stream.events) {
    for (const Json& choice : probe.At(chunk, "choices")) {
      const auto index = probe.Int(probe.At(choice, "index"));
      probe.Demand(index <= seen, "a choice appears before an earlier one");
      if (index == seen) ++seen;
    }
  }
  probe.Demand(seen == 3, fmt::format("{} choices instead of 3", seen));
}

void UsageOfChoices(Probe& probe) {
  const Json two = probe.Chat({{"n", 2}, {"temperature", 1}, {"seed", 5}, {"max_tokens", 5}, {"ignore_eos", true}});
  probe.Demand(probe.At(two, "choices").size() == 2, "not two choices");
  probe.Demand(probe.At(two, "usage", "prompt_tokens") == probe.At(probe.Plain(), "usage", "prompt_tokens"),
               "the prompt is not counted once");
  const Stream stream = probe.ChatStream({{"n", 2}, {"max_tokens", 5}, {"stream_options", {{"include_usage", true}}}});
  const auto counts = std::count_if(stream.events.begin(), stream.events.end(),
                                    [](const Json& chunk) { return Opt(chunk, "usage").is_object(); });
  probe.Demand(counts == 1, fmt::format("{} chunks with usage", counts));
}

void UsageLast(Probe& probe) {
  const auto& events = probe.PlainStream().events;
  const Json last = probe.PlainStream().Last();
  probe.Demand(probe.At(last, "choices").empty() && Opt(last, "usage").is_object(),
               "the last chunk is not the usage: " + Brief(last));
  for (std::size_t i = 0; i + 1 < events.size(); ++i) {
    probe.Demand(Opt(events[i], "usage").is_null(), "usage in an earlier chunk");
  }
  for (const char* name : {"prompt_tokens", "completion_tokens", "total_tokens"}) {
    probe.Demand(Opt(probe.At(last, "usage"), name) == Opt(probe.At(probe.Plain(), "usage"), name),
                 fmt::format("{} differs from the answer in one piece", name));
  }
}

void NoUsage(Probe& probe) {
  for (const Json& chunk : probe.ChatStream({{"max_tokens", 3}}).events) {
    probe.Demand(Opt(chunk, "usage").is_null(), "usage that was not asked for");
    probe.Demand(!probe.At(chunk, "choices").empty(), "a chunk without choices");
  }
}

void DoneLast(Probe& probe) { probe.Demand(probe.PlainStream().done, "no [DONE]"); }

void MediaType(Probe& probe) {
  const Answer& answer = probe.PlainStream().answer;
  probe.Demand(answer.Header("content-type").starts_with("text/event-stream"),
               "Content-Type " + answer.Header("content-type"));
  probe.Demand(answer.Header("cache-control").find("no-cache") != std::string::npos ||
                   answer.Header("cache-control").find("no-store") != std::string::npos,
               "Cache-Control '" + answer.Header("cache-control") + "'");
}

void Comments(Probe& probe) {
  for (const std::string& name : probe.PlainStream().names) probe.Demand(name.empty(), "an event line: " + name);
}

void ErrorsBeforeHeaders(Probe& probe) {
  for (const Json& wrong : {Json{{"temperature", 99}}, Json{{"messages", "x"}}, Json{{"max_tokens", -5}}}) {
    Json body = probe.ChatBody(wrong);
    body["stream"] = true;
    const Answer answer = probe.Post(Probe::kChat, body);
    probe.Refused(answer);
    probe.Demand(answer.Header("content-type").starts_with("application/json"),
                 "Content-Type " + answer.Header("content-type"));
  }
}

void WholeCharacters(Probe& probe) {
  const Json extra = {{"messages", {{{"role", "user"}, {"content", "Répétez: 你好 🙂 Ελληνικά"}}}},
                      {"temperature", 1.5},
                      {"seed", 3},
                      {"max_tokens", 64}};
  const Assembled message = probe.Assemble(probe.ChatStream(extra));  // data that is no UTF-8 is no JSON
  probe.Demand(message.content == ContentOf(probe, probe.Chat(extra)), "streamed and whole text differ");
}

void StopsReleased(Probe& probe) {
  const auto said = TextToStopIn(probe);
  if (!said) return;
  const std::string& text = *said;
  const Json extra = {{"stop", {text.substr(text.size() - 3) + "\x01 never"}}};
  probe.Demand(ContentOf(probe, probe.Chat(extra)) == text, "text is lost in the whole answer");
  probe.Demand(probe.Assemble(probe.ChatStream(extra)).content == text,
               "text that was held back is lost in the stream");
}

void StopsEarliest(Probe& probe) {
  const auto said = TextToStopIn(probe);
  if (!said) return;
  const std::string& text = *said;
  const std::string stop = text.substr(text.size() / 2, 3);
  const std::string expected = text.substr(0, text.find(stop));
  const Json extra = {{"stop", {"\x01 never", stop}}};
  const Json answer = probe.Chat(extra);
  probe.Demand(ContentOf(probe, answer) == expected,
               fmt::format("stop {}: {} instead of {}", Brief(stop), Brief(ContentOf(probe, answer)), Brief(expected)));
  probe.Demand(probe.At(answer, "choices", 0, "finish_reason") == "stop",
               "finish_reason " + Brief(probe.At(answer, "choices", 0, "finish_reason")));
  const Assembled streamed = probe.Assemble(probe.ChatStream(extra));
  probe.Demand(streamed.content == expected,
               fmt::format("streamed {} instead of {}", Brief(streamed.content), Brief(expected)));
  probe.Demand(streamed.finish == "stop", "streamed finish_reason " + streamed.finish);
  probe.Chat({{"stop", ""}, {"max_tokens", 2}});
  probe.Chat({{"stop", {"a1", "b2", "c3", "d4"}}, {"max_tokens", 2}});
}

void StopsNotInPrompt(Probe& probe) {
  const Json messages = {{{"role", "user"}, {"content", "Zxqj. Write a sentence about the sea."}}};
  const std::string said = ContentOf(probe, probe.Chat({{"messages", messages}}));
  for (const char* stop : {"Zxqj.", "Write a sentence", "about the sea."}) {
    if (said.find(stop) != std::string::npos) continue;  // the model repeats it: then it does end the reply
    probe.Demand(ContentOf(probe, probe.Chat({{"messages", messages}, {"stop", stop}})) == said,
                 "a stop string that stands in the prompt ends the reply");
    return;
  }
  probe.Skip("the model's greedy answer repeats the whole prompt");
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
