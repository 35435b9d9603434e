// quorum run: chat with a model in the terminal.
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/demo_model.h"
#include "cli/serving_model.h"
#include "engine/base/log.h"
#include "server/chat_request.h"
#include "server/prompt_builder.h"
#include "server/random_id.h"

namespace quorum::cli {
namespace {

struct RunFlags {
  ServingFlags serving;
  std::optional<std::string> prompt;
  std::string system;
  std::optional<float> temperature;  // 0.7; the demo model answers questions that have one answer: 0
  float top_p = 1.0F;
  std::int32_t top_k = 0;
  std::int32_t max_tokens = 0;
  std::optional<std::uint64_t> seed;
};

volatile std::sig_atomic_t interrupted = 0;

/// Ctrl-C stops an answer, or drops a line that is being typed. Without SA_RESTART, so that reading returns.
void CatchInterrupts() {
  struct sigaction action{};
  action.sa_handler = [](int) { interrupted = 1; };
  ::sigaction(SIGINT, &action, nullptr);
}

/// One conversation.
class Conversation {
 public:
  Conversation(const RunFlags& flags, const server::ServedModel& model) : flags_(flags), model_(model) { Reset(); }

  void Reset() {
    messages_ = server::Json::array();
    if (!flags_.system.empty()) messages_.push_back({{"role", "system"}, {"content", flags_.system}});
  }

  /// Says `text`, prints the answer as it comes, and remembers both. After an error the conversation is as before.
  Status Say(const std::string& text) {
    server::Json messages = messages_;
    messages.push_back({{"role", "user"}, {"content", text}});
    engine::GenerationRequest request;
    QUORUM_ASSIGN(request.prompt, PromptOf(messages, text));
    request.max_tokens = flags_.max_tokens > 0 ? flags_.max_tokens : INT32_MAX;
    request.sampling.temperature = flags_.temperature.value_or(flags_.serving.model.demo ? 0.0F : 0.7F);
    request.sampling.top_p = flags_.top_p;
    request.sampling.top_k = flags_.top_k;
    // One seed for the whole conversation would answer the same words alike; draws also depend on the position.
    request.sampling.seed = flags_.seed.value_or(server::RandomBits());
    QUORUM_ASSIGN(const auto generation, model_.engine->Submit(std::move(request)));
    QUORUM_ASSIGN(std::string answer, Print(*generation));
    messages.push_back({{"role", "assistant"}, {"content", std::move(answer)}});
    messages_ = std::move(messages);
    return {};
  }

 private:
  Result<std::vector<tok::TokenId>> PromptOf(const server::Json& messages, const std::string& text) const {
    std::vector<std::string> ignored;
    server::ChatRequest chat;
    chat.messages = messages;
    auto prompt = model_.chat_template == nullptr ? server::BuildPrompt(model_, text, ignored)
                                                  : server::BuildChatPrompt(model_, chat, std::time(nullptr), ignored);
    for (const std::string& name : ignored) fmt::print(stderr, "[not honoured: {}]\n", name);
    return prompt;
  }

  static Result<std::string> Print(engine::Generation& generation) {
    std::string answer;
    while (!generation.done()) {
      if (interrupted != 0) generation.Cancel();
      const auto event = generation.Next(std::chrono::milliseconds(50));
      if (!event.has_value()) continue;
      if (event->kind == engine::Event::Kind::kError) return event->error;
      answer += event->text;
      std::fwrite(event->text.data(), 1, event->text.size(), stdout);
      std::fflush(stdout);
      if (event->kind == engine::Event::Kind::kFinish && event->finish == engine::FinishReason::kLength) {
        std::fflush(stdout);
        fmt::print(stderr, "\n[the answer was cut: --max-tokens or the end of the context]");
      }
    }
    std::putchar('\n');
    std::fflush(stdout);
    return answer;
  }

  const RunFlags& flags_;
  const server::ServedModel& model_;
  server::Json messages_;
};

/// Reads lines until the end of input or /exit. Exit status.
int Repl(Conversation& conversation, const server::ServedModel& model, bool demo) {
  fmt::print("{} — /reset begins anew, /exit or Ctrl-D leaves, Ctrl-C stops an answer\n", model.id);
  if (demo) fmt::print("It knows eight tasks; ask as here:  {}\n", kDemoQuestions);
  std::string line;
  for (;;) {
    fmt::print("> ");
    std::fflush(stdout);
    interrupted = 0;
    if (!std::getline(std::cin, line)) {
      if (interrupted == 0 || std::feof(stdin) != 0) break;
      std::cin.clear();
      std::clearerr(stdin);
      std::putchar('\n');
      continue;
    }
    if (line == "/exit" || line == "/quit") return 0;
    if (line == "/reset") {
      conversation.Reset();
      fmt::print("a new conversation\n");
      continue;
    }
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    interrupted = 0;
    if (const Status said = conversation.Say(line); !said.ok()) Fail(said.error());
  }
  std::putchar('\n');
  return 0;
}

/// All of standard input, without the line breaks at its end.
std::string ReadInput() {
  std::string text((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

/// Whether standard input is a pipe or a file, which somebody meant to be read.
bool HasPipedInput() {
  struct stat status{};
  return ::fstat(STDIN_FILENO, &status) == 0 && (S_ISFIFO(status.st_mode) || S_ISREG(status.st_mode));
}

Result<int> Run(RunFlags flags) {
  const bool terminal = ::isatty(STDIN_FILENO) == 1;
  if (flags.prompt == "-" || (!flags.prompt.has_value() && !terminal)) {
    flags.prompt = ReadInput();
    if (flags.prompt->empty()) return InvalidArgument("there is nothing to answer: standard input is empty");
  } else if (flags.prompt.has_value() && HasPipedInput()) {
    if (const std::string input = ReadInput(); !input.empty()) *flags.prompt += "\n\n" + input;
  }
  QUORUM_TRY(CheckServing(flags.serving));
  QUORUM_ASSIGN(const ServingModel serving, LoadServingModel(flags.serving));
  Conversation conversation(flags, *serving.served);
  CatchInterrupts();
  if (!flags.prompt.has_value()) return Repl(conversation, *serving.served, flags.serving.model.demo);
  QUORUM_TRY(conversation.Say(*flags.prompt));
  return interrupted != 0 ? 130 : 0;
}

}  // namespace

void AddRun(CLI::App& app, Action& action) {
  auto flags = std::make_shared<RunFlags>();
  flags->serving.engine.max_batch = 1;
  CLI::App* command = app.add_subcommand("run", "Chat with a model in the terminal");
  command->footer(
      "With input from a file or pipe, the whole input is the message (with -p: it follows the prompt) and one "
      "answer is printed.");
  AddServingFlags(*command, flags->serving, false);
  command->add_option("-p,--prompt", flags->prompt, "Answer this message and leave; - reads it from standard input");
  command->add_option("--system", flags->system, "A system message");
  command
      ->add_option("--temperature", flags->temperature,
                   "0: always the likeliest token; 0.7, or 0 with --demo, if not given")
      ->check(CLI::Range(0.0F, 2.0F));
  command->add_option("--top-p", flags->top_p, "Keep the likeliest tokens with this much probability")
      ->check(CLI::Range(0.01F, 1.0F))
      ->capture_default_str();
  command->add_option("--top-k", flags->top_k, "Keep so many of the likeliest tokens; 0: all")
      ->check(AtLeast(0))
      ->capture_default_str();
  command->add_option("--max-tokens", flags->max_tokens, "Longest answer in tokens; 0: to the end of the context")
      ->check(AtLeast(0))
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "The same seed gives the same answer");
  const CLI::Option* log_level = app.get_option_no_throw("--log-level");
  command->callback([flags, log_level, &action] {
    // A conversation is not interrupted by the log, unless it was asked for.
    const bool quiet = log_level == nullptr || log_level->count() == 0;
    action = [flags, quiet] {
      if (quiet) SetLogLevel(LogLevel::kWarn);
      const Result<int> status = Run(*flags);
      return status.ok() ? *status : Fail(status.error());
    };
  });
}

}  // namespace quorum::cli
