// What the statements about a server are tried with: requests, streams as the SDKs read them, and how a statement
// fails: the first thing that does not hold is noted, and everything that is touched afterwards is empty.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/selftest/http_client.h"

namespace quorum::selftest {

using Json = nlohmann::ordered_json;

/// What came of a statement.
struct Verdict {
  enum class Kind { kHolds, kBroken, kSkipped };  // kSkipped: it cannot be tried on this server
  Kind kind = Kind::kHolds;
  std::string why;
};

/// A member that may be missing: then null.
Json Opt(const Json& value, const std::string& name);
/// JSON in few characters, for messages.
std::string Brief(const Json& value);

struct Stream {
  Answer answer;
  std::vector<Json> events;        // data of each event but [DONE]
  std::vector<std::string> names;  // parallel: its "event:" line, or ""
  int comments = 0;
  bool done = false;  // [DONE] came, and nothing after it
  std::string fault;  // where it is not a stream of events; empty: nowhere

  Json First() const { return events.empty() ? Json() : events.front(); }
  Json Last() const { return events.empty() ? Json() : events.back(); }
};

/// A choice of a stream, put together as the SDKs do.
struct Assembled {
  std::string role, content, finish;
  int roles = 0, finishes = 0;
  Json calls = Json::array();  // {index, id, type, function}
  Json logprobs = Json::array();
};

/// One statement is tried at a time: Begin, the check, verdict(). Once it is broken, no more requests are sent.
class Probe {
 public:
  Probe(ClientOptions options, std::string model) : options_(std::move(options)), model_(std::move(model)) {}

  void Begin() { verdict_ = {}; }
  const Verdict& verdict() const { return verdict_; }

  /// The statement is broken unless `holds`. The first reason stays.
  void Demand(bool holds, const std::string& why);
  void Skip(const std::string& why);

  /// A member or element that must be there, by names and indices; null if it is not, and the statement is broken.
  template <typename... Keys>
  Json At(const Json& value, const Keys&... keys) {
    const Json* at = &value;
    (Step(at, keys), ...);
    return at == nullptr ? Json() : *at;
  }
  /// What must be a string or a number; empty or 0 if it is not.
  std::string Text(const Json& value);
  std::int64_t Int(const Json& value);
  double Number(const Json& value);

  const ClientOptions& options() const { return options_; }
  const std::string& model() const { return model_; }

  Answer Get(const std::string& path, const std::vector<std::string>& headers = {}) const;
  Answer Post(const std::string& path, const Json& body, const std::vector<std::string>& headers = {}) const;
  Answer PostText(const std::string& path, std::string_view body, const std::vector<std::string>& headers = {}) const;

  /// A short greedy chat with `extra` merged in (null takes a field away).
  Json ChatBody(const Json& extra = Json::object()) const;
  Answer ChatAnswer(const Json& extra) const { return Post(kChat, ChatBody(extra)); }
  /// The same; broken unless it is a 200 with JSON.
  Json Chat(const Json& extra = Json::object());
  Json Ok(const std::string& path, const Json& body);
  /// Broken unless the answer is `status` with an OpenAI error body; gives its "error".
  Json Refused(const Answer& answer, long least = 400, long most = 499);
  Stream StreamOf(const std::string& path, const Json& body);
  Stream ChatStream(const Json& extra = Json::object());
  /// Choice `index` of a chat's stream. Broken where an SDK would throw.
  Assembled Assemble(const Stream& stream, std::size_t index = 0);

  /// Exchanges that several statements look at, made once.
  const Json& Plain();          // Chat()
  const Stream& PlainStream();  // with include_usage
  const Json& Called();         // with a demanded call
  const Stream& CalledStream();

  static constexpr const char* kChat = "/v1/chat/completions";

 private:
  /// Broken unless it is a 200; skipped where the prompt is longer than the server's context.
  void DemandOk(const std::string& path, const Answer& answer);
  void Step(const Json*& at, const std::string& name);
  void Step(const Json*& at, std::size_t index);
  void Step(const Json*& at, int index) { Step(at, static_cast<std::size_t>(index)); }
  void AddCall(const Json& entry, Json& calls);

  ClientOptions options_;
  std::string model_;
  Verdict verdict_;
  std::map<std::string, Json> answers_;
  std::map<std::string, Stream> streams_;
};

/// A tool, and a request's fields that demand a call of it.
Json WeatherTool();
Json DemandWeather();

struct Statement {
  const char* number;  // of openai-conformance.md
  const char* text;
  void (*check)(Probe&);
};

std::vector<Statement> StreamStatements();
std::vector<Statement> ToolStatements();
std::vector<Statement> FieldStatements();
std::vector<Statement> ServiceStatements();

}  // namespace quorum::selftest
