// What the statements about a server are tried with: requests, streams as the SDKs read them, and how a statement
// fails.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "cli/selftest/http_client.h"

namespace quorum::selftest {

using Json = nlohmann::ordered_json;

/// A statement does not hold: thrown where that is seen, caught where statements are run.
struct Broken {
  std::string why;
};
/// It cannot be tried on this server.
struct Skipped {
  std::string why;
};

/// Throws Broken with what `why` and the value say.
void Demand(bool holds, const std::string& why);
/// JSON in few characters, for messages.
std::string Brief(const Json& value);

struct Stream {
  Answer answer;
  std::vector<Json> events;        // data of each event but [DONE]
  std::vector<std::string> names;  // parallel: its "event:" line, or ""
  int comments = 0;
  bool done = false;  // [DONE] came, and nothing after it
  std::string fault;  // where it is not a stream of events; empty: nowhere
};

/// A choice of a stream, put together as the SDKs do.
struct Assembled {
  std::string role, content, finish;
  int roles = 0, finishes = 0;
  Json calls = Json::array();  // {index, id, type, function}
  Json logprobs = Json::array();
};

class Probe {
 public:
  Probe(ClientOptions options, std::string model) : options_(std::move(options)), model_(std::move(model)) {}

  const ClientOptions& options() const { return options_; }
  const std::string& model() const { return model_; }

  Answer Get(const std::string& path, const std::vector<std::string>& headers = {}) const;
  Answer Post(const std::string& path, const Json& body, const std::vector<std::string>& headers = {}) const;
  Answer PostText(const std::string& path, std::string_view body, const std::vector<std::string>& headers = {}) const;

  /// A short greedy chat with `extra` merged in (null takes a field away).
  Json ChatBody(const Json& extra = Json::object()) const;
  Answer ChatAnswer(const Json& extra) const { return Post(kChat, ChatBody(extra)); }
  /// The same; Broken unless it is a 200 with JSON.
  Json Chat(const Json& extra = Json::object()) const;
  Json Ok(const std::string& path, const Json& body) const;
  /// Broken unless the answer is `status` with an OpenAI error body; gives its "error".
  Json Refused(const Answer& answer, long least = 400, long most = 499) const;
  Stream StreamOf(const std::string& path, const Json& body) const;
  Stream ChatStream(const Json& extra = Json::object()) const;

  /// Exchanges that several statements look at, made once.
  const Json& Plain() const;          // Chat()
  const Stream& PlainStream() const;  // with include_usage
  const Json& Called() const;         // with a demanded call
  const Stream& CalledStream() const;

  static constexpr const char* kChat = "/v1/chat/completions";

 private:
  ClientOptions options_;
  std::string model_;
  mutable std::map<std::string, Json> answers_;
  mutable std::map<std::string, Stream> streams_;
};

/// Choice `index` of a chat's stream. Broken where an SDK would throw.
Assembled Assemble(const Stream& stream, std::size_t index = 0);

/// A tool, and a request's fields that demand a call of it.
Json WeatherTool();
Json DemandWeather();

struct Statement {
  const char* number;  // of openai-conformance.md
  const char* text;
  std::function<void(const Probe&)> check;  // throws Broken or Skipped
};

std::vector<Statement> StreamStatements();
std::vector<Statement> ToolStatements();
std::vector<Statement> FieldStatements();
std::vector<Statement> ServiceStatements();

}  // namespace quorum::selftest
