#include "tests/support/test_service.h"

#include <chrono>
#include <thread>
#include <utility>

#include "server/served_model.h"
#include "tests/support/catch.h"

namespace quorum::test {
namespace {

// GPT-2's printable spelling of a byte.
std::string Spell(unsigned char byte) {
  int code = byte;
  if (!((byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174)) {
    int hidden = 0;
    for (int b = 0; b < byte; ++b) {
      if (!((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174)) ++hidden;
    }
    code = 256 + hidden;
  }
  if (code < 128) return std::string(1, static_cast<char>(code));
  return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

class ChatMl final : public tok::ChatTemplate {
 public:
  ChatMl(const std::string& shows, bool tools, bool system)
      : source_((tools ? "{# ChatML with tools #}{# " : "{# ChatML #}{# ") + shows + " #}"), system_(system) {}
  Result<std::string> Render(const tok::TemplateInput& input, const tok::TemplateBudget&) const override {
    std::string text;
    if (input.tools != nullptr) text += "<|im_start|>system\nTools: " + input.tools->dump() + "<|im_end|>\n";
    for (const auto& message : *input.messages) {
      const std::string content = message.at("content").get<std::string>();
      if (message.at("role") == "system" && !system_) return InvalidArgument("line 2: no system messages");
      if (content.starts_with("REFUSE")) return InvalidArgument("line 3: only polite messages" + content.substr(6));
      text += "<|im_start|>" + message.at("role").get<std::string>() + "\n" + content + "<|im_end|>\n";
    }
    if (input.add_generation_prompt) text += "<|im_start|>assistant\n";
    return text;
  }
  const std::string& source() const override { return source_; }

 private:
  const std::string source_;
  const bool system_;
};

}  // namespace

std::shared_ptr<const tok::Tokenizer> ByteTokenizer(const std::vector<std::string>& controls) {
  const auto make = [](const std::vector<std::string>& more) {
    tok::VocabData vocab;
    vocab.model = "gpt2";
    vocab.pre = "gpt-2";
    for (int byte = 0; byte < 256; ++byte) vocab.tokens.push_back(Spell(static_cast<unsigned char>(byte)));
    vocab.tokens[1] = "(byte 1 has no token)";
    for (const char* word : {"He", "ll", "Hell", "Hello"}) vocab.tokens.emplace_back(word);
    vocab.merges = {"H e", "l l", "He ll", "Hell o"};
    vocab.types.resize(vocab.tokens.size(), tok::TokenType::kNormal);
    std::vector<std::string> names = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    names.insert(names.end(), more.begin(), more.end());
    for (const std::string& name : names) {
      vocab.tokens.push_back(name);
      vocab.types.push_back(tok::TokenType::kControl);
    }
    vocab.bos = kBos;
    vocab.eos = kImEnd;
    auto made = tok::MakeTokenizer(std::move(vocab));
    if (!made.ok()) FAIL(made.error().message);
    return *made;
  };
  static const std::shared_ptr<const tok::Tokenizer> shared = make({});
  return controls.empty() ? shared : make(controls);
}

std::shared_ptr<const tok::ChatTemplate> ChatMlTemplate(const std::string& shows, bool tools, bool system) {
  return std::make_shared<ChatMl>(shows, tools, system);
}

FakeModel::Logits FakeReply(const tok::Tokenizer& tokenizer, const std::string& reply) {
  auto ids = tokenizer.Encode(reply, {});
  if (!ids.ok()) FAIL(ids.error().message);
  ids->push_back(kImEnd);
  return [script = *ids](std::span<const tok::TokenId> history, std::span<float> row) {
    std::size_t said = 0;
    for (std::size_t length = script.size() - 1; length > 0; --length) {
      if (history.size() >= length && std::equal(script.begin(), script.begin() + static_cast<std::ptrdiff_t>(length),
                                                 history.end() - static_cast<std::ptrdiff_t>(length))) {
        said = length;
        break;
      }
    }
    for (std::size_t i = 0; i < row.size(); ++i) row[i] = -static_cast<float>(i % 7);
    row[static_cast<std::size_t>(script[said])] = 8.0F;
  };
}

EventStream ParseEvents(const std::string& body) {
  EventStream stream;
  std::size_t at = 0;
  while (at < body.size()) {
    const std::size_t end = body.find("\n\n", at);
    if (end == std::string::npos) {
      stream.ordered = false;
      break;
    }
    const std::string event = body.substr(at, end - at);
    at = end + 2;
    if (stream.done) stream.ordered = false;
    if (event.rfind(": ", 0) == 0) {
      ++stream.comments;
    } else if (event == "data: [DONE]") {
      stream.done = true;
    } else if (event.rfind("data: ", 0) == 0 && event.find('\n') == std::string::npos) {
      stream.events.push_back(json::parse(event.substr(6)));
    } else {
      stream.ordered = false;
    }
  }
  return stream;
}

TestService::TestService(TestServiceOptions options)
    : options_(std::move(options)),
      tokenizer_(ByteTokenizer(options_.controls)),
      model_({.vocab = kByteVocab + static_cast<std::int32_t>(options_.controls.size()),
              .context = options_.context,
              .pages = 256,
              .max_step_tokens = 512,
              .max_step_logits = 64,
              .decoder_start = options_.decoder_start,
              .experts = options_.experts}) {
  model_.logits = options_.logits ? options_.logits : FakeReply(*tokenizer_, options_.reply);
  model_.before_step = [this](std::span<const engine::StepSlice>) -> Status {
    ++steps;
    while (hold) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return {};
  };
  service_ = std::make_unique<server::Service>(options_.service);
  options_.http.port = 0;
  auto http = server::HttpServer::Start(options_.http,
                                        [this](server::HttpRequest& request) { return service_->Handle(request); });
  if (!http.ok()) FAIL(http.error().message);
  http_ = std::move(*http);
  if (options_.load_now) Load();
}

TestService::~TestService() {
  hold = false;
  http_->Stop(std::chrono::seconds(10));
}

void TestService::Load() {
  engine_ = engine::MakeEngine(model_, *tokenizer_, options_.engine);
  auto served = std::make_shared<server::ServedModel>();
  served->id = "test/model:1";
  served->fingerprint = "fp_test";
  served->created = 1234567;
  served->tokenizer = tokenizer_;
  if (options_.chat_template) {
    served->chat_template =
        options_.own_template != nullptr
            ? options_.own_template
            : ChatMlTemplate(options_.template_shows, options_.template_knows_tools, options_.template_knows_system);
  }
  served->engine = engine_;
  served->tool_format = options_.tool_format;
  served->IndexTokenizer();
  service_->SetModel(std::move(served));
}

server::RawResponse TestService::PostText(std::string_view path, std::string_view body,
                                          std::string_view headers) const {
  return server::Fetch(port(), "POST", path, body, headers);
}

server::RawResponse TestService::Post(std::string_view path, const json& body, std::string_view headers) const {
  return PostText(path, body.dump(), headers);
}

server::RawResponse TestService::Get(std::string_view path, std::string_view headers) const {
  return server::Fetch(port(), "GET", path, {}, headers);
}

json TestService::ChatBody(const json& extra) {
  json body = {{"model", "test/model:1"}, {"messages", {{{"role", "user"}, {"content", "Hi"}}}}, {"temperature", 0}};
  body.update(extra);
  return body;
}

bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return condition();
}

}  // namespace quorum::test
