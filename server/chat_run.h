// A chat between its submission and its last byte, whatever API it came through: events in, pieces of messages out.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/api_context.h"
#include "server/chat_request.h"
#include "server/choice_output.h"
#include "server/generation_reader.h"
#include "server/reasoning.h"
#include "server/tools/message_reader.h"

namespace quorum::server {

/// What an event added to a choice.
struct ChatDelta {
  MessageDelta message;
  std::vector<ScoredToken> scores;
  Json tokens = {};  // reports of generated tokens, if asked for; else null
  bool finished = false;

  /// Nothing of it can be shown yet, or it is no more than time that passed.
  bool empty() const {
    return message.content.empty() && message.reasoning.empty() && message.calls.empty() && scores.empty() &&
           tokens.empty() && !finished;
  }
};

/// A message as far as it has come, in one piece.
struct WholeMessage {
  std::string content;
  std::string reasoning;
  struct Call {
    std::string name, arguments;
  };
  std::vector<Call> calls;
  std::vector<ScoredToken> scores;
  Json tokens = {};

  void Add(ChatDelta delta);
};

class ChatRun {
 public:
  /// Builds the prompt and submits it. Fields that are not honoured are added to `ignored`.
  static Result<std::shared_ptr<ChatRun>> Begin(const ApiContext& context, ChatRequest request,
                                                std::vector<std::string>& ignored);

  const ApiContext& context() const { return context_; }
  const ChatRequest& request() const { return request_; }
  const engine::GenerationRequest& engine_request() const { return request_.generation.request; }
  const ServedModel& model() const { return *context_.model; }
  std::size_t choices() const { return choices_.size(); }
  const UsageCount& usage() const { return usage_; }
  const RequestReports& reports() const { return reports_; }

  struct Step {
    enum class Kind { kDelta, kPrompt, kNothing, kGone, kDone, kError };
    Kind kind = Kind::kNothing;  // kPrompt: the prompt has been computed, usage() knows what was cached
    std::size_t choice = 0;
    ChatDelta delta;
    Error error;  // the engine's, or that it is shutting down: nothing follows
  };
  /// Waits a moment for the next event (GenerationReader::Next).
  Step Next(const std::function<bool()>& client_gone);

  /// Reads everything. `handle` gets each delta. Nothing: all is read; else the answer that the client gets instead.
  std::optional<HttpResponse> ReadAll(const std::function<bool()>& client_gone,
                                      const std::function<void(std::size_t, ChatDelta)>& handle);

  /// "stop", "length" or "tool_calls". REQUIRES: the choice has finished.
  const char* FinishReason(std::size_t choice) const;
  /// The stop string that ended the choice; empty: none did.
  const std::string& StopText(std::size_t choice) const { return choices_[choice].stop_text(); }

  /// Whether the request's time limit ended the choice.
  bool TimedOut(std::size_t choice) const { return choices_[choice].timed_out(); }

  /// Requests ahead of this one while it waits; -1 once it runs.
  std::int32_t queue_position() const { return reader_.queue_position(); }

 private:
  ChatRun(const ApiContext& context, ChatRequest request, std::vector<tok::TokenId> prompt,
          std::shared_ptr<engine::Generation> generation, std::chrono::steady_clock::time_point started);
  Result<ChatDelta> Apply(engine::Event event);

  const ApiContext context_;
  const ChatRequest request_;
  std::vector<tok::TokenId> prompt_;  // emptied once it is not needed to explain the cache
  UsageCount usage_;
  RequestReports reports_;
  std::vector<ChoiceOutput> choices_;
  std::vector<ReasoningSplitter> thoughts_;               // by choice
  std::vector<std::unique_ptr<MessageReader>> messages_;  // by choice
  GenerationReader reader_;
};

}  // namespace quorum::server
