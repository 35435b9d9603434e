// The whole server on loopback around a model whose every answer is known: real HTTP, service, engine and tokenizer;
// only the weights are made up.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "engine/engine.h"
#include "server/http_server.h"
#include "server/service.h"
#include "tests/support/fake_model.h"
#include "tests/support/raw_client.h"
#include "tokenizer/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace quorum::test {

using nlohmann::json;

/// Byte-level BPE: ids 0 to 255 are the bytes, 256 to 259 "He", "ll", "Hell", "Hello", then the control tokens
/// <|endoftext|> (260, BOS), <|im_start|> (261), <|im_end|> (262, EOS), and then `controls`.
std::shared_ptr<const tok::Tokenizer> ByteTokenizer(const std::vector<std::string>& controls = {});
inline constexpr tok::TokenId kBos = 260, kImStart = 261, kImEnd = 262;
inline constexpr std::int32_t kByteVocab = 263;

/// ChatML without Jinja; refuses a message whose content begins with "REFUSE". `shows`: what its source speaks of
/// besides, e.g. </think>. `system`: whether it knows that role, else it refuses it.
std::shared_ptr<const tok::ChatTemplate> ChatMlTemplate(const std::string& shows = {}, bool tools = true,
                                                        bool system = true);

struct TestServiceOptions {
  std::string reply = "Hello, world!";  // what the model says, ended by <|im_end|>; see FakeReply
  std::int32_t context = 2048;
  bool chat_template = true;
  bool load_now = true;
  std::string template_shows = {};  // e.g. "</think>": a model that thinks
  bool template_knows_tools = true;
  bool template_knows_system = true;
  std::shared_ptr<const tok::ChatTemplate> own_template = {};  // instead of ChatML
  std::vector<std::string> controls = {};                      // further control tokens of the vocabulary
  FakeModel::Logits logits = {};                               // instead of `reply`
  server::ToolFormat tool_format = server::ToolFormat::kHermes;
  std::optional<tok::TokenId> decoder_start = {};  // an encoder-decoder model
  engine::ExpertShape experts = {};                // of the model; default: dense
  engine::EngineOptions engine{.max_batch = 8, .max_queue = 16, .prefill_chunk = 512};
  server::ServiceOptions service = {};
  server::HttpServerOptions http = {};
};

/// Logits that make a model say `reply` and then <|im_end|> after any prompt: the next byte is decided by how much of
/// the reply the history ends with. The reply must not repeat its own beginning.
FakeModel::Logits FakeReply(const tok::Tokenizer& tokenizer, const std::string& reply);

/// One server-sent-events answer.
struct EventStream {
  std::vector<json> events;
  int comments = 0;
  bool done = false;    // data: [DONE] came
  bool ordered = true;  // and nothing after it
};
EventStream ParseEvents(const std::string& body);

class TestService {
 public:
  explicit TestService(TestServiceOptions options = {});
  ~TestService();

  int port() const { return http_->port(); }
  void Load();  // if not load_now
  server::Service& service() { return *service_; }
  server::HttpServer& http() { return *http_; }
  engine::Engine& engine() { return *engine_; }
  FakeModel& model() { return model_; }
  const tok::Tokenizer& tokenizer() const { return *tokenizer_; }

  /// Blocks every step of the model while set.
  std::atomic<bool> hold{false};
  std::atomic<int> steps{0};

  server::RawResponse Post(std::string_view path, const json& body, std::string_view headers = {}) const;
  server::RawResponse PostText(std::string_view path, std::string_view body, std::string_view headers = {}) const;
  server::RawResponse Get(std::string_view path, std::string_view headers = {}) const;
  /// A chat of one user message, `extra` merged in.
  static json ChatBody(const json& extra = json::object());

 private:
  TestServiceOptions options_;
  std::shared_ptr<const tok::Tokenizer> tokenizer_;
  FakeModel model_;
  std::shared_ptr<engine::Engine> engine_;
  std::unique_ptr<server::Service> service_;
  std::unique_ptr<server::HttpServer> http_;
};

/// Waits up to ten seconds for `condition`.
bool Eventually(const std::function<bool()>& condition);

}  // namespace quorum::test
