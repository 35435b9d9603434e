// quorum serve: an OpenAI-compatible HTTP server for one model.
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/demo_model.h"
#include "cli/long_work.h"
#include "cli/serving_model.h"
#include "engine/base/log.h"
#include "server/http_server.h"
#include "server/listen_socket.h"
#include "server/service.h"
#include "server/shutdown_signals.h"

namespace quorum::cli {
namespace {

/// "*", or what browsers send as Origin: a scheme (of apps, too) and a host, perhaps a port, and nothing else.
CLI::Validator Origin() {
  return {[](const std::string& text) -> std::string {
            const std::size_t scheme = text.find("://");
            const bool whole = scheme != std::string::npos && scheme > 0 && scheme + 3 < text.size() &&
                               text.find_first_of(" ,*?#") == std::string::npos &&
                               text.find('/', scheme + 3) == std::string::npos;
            if (text == "*" || text == "null" || text == "file://" || whole) return {};
            return fmt::format("an origin is SCHEME://HOST[:PORT] without a path, or *, not '{}'", text);
          },
          "ORIGIN"};
}

struct ServeFlags {
  ServingFlags serving;
  std::string host = "127.0.0.1";
  int port = 8080;
  std::string api_key_file;
  std::vector<std::string> cors_origins;
  std::string tls_certificate;
  std::string tls_key;
  bool strict = false;
  bool log_prompts = false;
  std::string pooling = "mean";
  std::int64_t max_body_mb = 32;
  std::int64_t expert_log_mb = 256;
  int drain_seconds = 30;
};

void Announce(const std::string& url, const server::ServedModel& model, bool demo, bool needs_key) {
  const std::string_view questions = kDemoQuestions;  // spaces between them
  const std::string_view question = demo ? questions.substr(0, questions.find("  ")) : "What is gravity?";
  fmt::print("Quorum serves {} at {}\n", model.id, url);
  fmt::print("Try:\n  curl -N {}/v1/{} -H 'Content-Type: application/json' {}\\\n    -d '{}'\n", url,
             model.chat_template ? "chat/completions" : "completions",
             needs_key ? "-H 'Authorization: Bearer KEY' " : "",
             model.chat_template
                 ? fmt::format(R"({{"messages": [{{"role": "user", "content": "{}"}}], "stream": true}})", question)
                 : R"({"prompt": "Gravity is", "max_tokens": 64, "stream": true})");
  if (demo) fmt::print("The demo knows eight tasks; ask as here:  {}\n", kDemoQuestions);
  std::fflush(stdout);
}

Status Serve(const ServeFlags& flags) {
  QUORUM_TRY(CheckServing(flags.serving));
  server::ShutdownSignals signals;
  server::ServiceOptions service_options;
  service_options.cors_origins = flags.cors_origins;
  service_options.only_local = server::IsLoopback(flags.host);
  service_options.strict = flags.strict;
  service_options.log_prompts = flags.log_prompts;
  if (!flags.api_key_file.empty()) {
    QUORUM_ASSIGN(service_options.keys, server::ApiKeys::FromFile(flags.api_key_file));
  }
  const bool needs_key = service_options.keys.required();

  server::HttpServerOptions http;
  http.host = flags.host;
  http.port = flags.port;
  if (!flags.tls_certificate.empty()) {
    QUORUM_ASSIGN(http.poller.tls, server::TlsContext::FromFiles(flags.tls_certificate, flags.tls_key));
  }
  http.body.max_bytes = static_cast<std::uint64_t>(flags.max_body_mb) * 1'000'000;
  // Every request that the engine lets in or lets wait holds a worker.
  http.max_workers = static_cast<std::size_t>(flags.serving.engine.max_batch + flags.serving.engine.max_queue + 16);
  http.max_bodies_bytes = 2 * http.body.max_bytes;
  http.max_body_readers = http.max_workers / 4;
  ServingModel serving;  // outlives the server and the service, which use it
  server::Service service(std::move(service_options));
  // The port is open while the model loads: a taken port is an error at once, and /health can say "loading".
  QUORUM_ASSIGN(
      const std::unique_ptr<server::HttpServer> server,
      server::HttpServer::Start(http, [&service](server::HttpRequest& request) { return service.Handle(request); }));
  Log(LogLevel::kInfo, "listening on {}; loading {}", server->url(), flags.serving.model.Name());
  ServingFlags serving_flags = flags.serving;
  serving_flags.expert_log.max_bytes = flags.expert_log_mb * 1'000'000;
  QUORUM_ASSIGN(serving, LoadServingModel(serving_flags));
  serving.served->pooling = flags.pooling == "last" ? engine::Pooling::kLast : engine::Pooling::kMean;
  service.SetModel(serving.served);
  signals.HandleOrderly();
  Announce(server->url(), *serving.served, flags.serving.model.demo, needs_key);

  signals.Wait();
  Log(LogLevel::kInfo, "shutting down: no new requests; those that run have {} s (a second signal ends at once)",
      flags.drain_seconds);
  service.StartDraining();
  // A handler that is stuck cannot keep the process: this thread does not wait for anyone.
  std::thread([limit = std::chrono::seconds(flags.drain_seconds + 15)] {
    std::this_thread::sleep_for(limit);
    Log(LogLevel::kError, "shutting down took too long: ending at once");
    ::_exit(EXIT_FAILURE);
  }).detach();
  const bool finished = serving.served->engine->Drain(std::chrono::seconds(flags.drain_seconds));
  if (!finished) Log(LogLevel::kWarn, "some requests were cut off after {} s", flags.drain_seconds);
  server->Stop(std::chrono::seconds(5));  // the last bytes of what has finished
  return {};
}

}  // namespace

void AddServe(CLI::App& app, Action& action) {
  auto flags = std::make_shared<ServeFlags>();
  CLI::App* command = app.add_subcommand("serve", "Serve a model over an OpenAI-compatible HTTP API");
  command->footer("SIGTERM or Ctrl-C: no new requests, those that run finish (--drain-seconds), exit status 0.");
  AddServingFlags(*command, flags->serving);
  command->add_option("--host", flags->host, "Address to listen on; 0.0.0.0 for every network")->capture_default_str();
  command->add_option("--port", flags->port, "Port; 0: any free one, which is printed")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command->add_option("--model-name", flags->serving.name, "What the API calls the model (default: the file's name)");
  command
      ->add_option("--max-queue", flags->serving.engine.max_queue,
                   "Sequences (n of a request) that may wait; more are refused with 429")
      ->check(CLI::Range(0, 100000))
      ->capture_default_str();
  command
      ->add_option("--max-queue-tokens", flags->serving.engine.max_queue_tokens,
                   "Prompt tokens that may wait in all; more are refused with 429; 0: no limit")
      ->check(AtLeast(0))
      ->capture_default_str();
  command
      ->add_option("--prefix-file", flags->serving.engine.prefix_file,
                   "Keep prompts that requests choose with \"cache_save\" in this file, computed, over restarts")
      ->type_name("FILE");
  command
      ->add_option(
          "--api-key-file", flags->api_key_file,
          "Accept only these keys: one a line, or sha256:HEX; behind it name=WORD concurrent=N tokens-per-minute=N")
      ->type_name("FILE");
  command->add_option("--tls-cert", flags->tls_certificate, "Serve HTTPS: a certificate and its chain (PEM)")
      ->type_name("FILE");
  command->add_option("--tls-key", flags->tls_key, "The certificate's private key (PEM)")->type_name("FILE");
  command->add_flag("--strict", flags->strict, "Refuse requests with fields that would be ignored or lowered (400)");
  command->add_flag("--log-prompts", flags->log_prompts, "Log what requests say; never done otherwise");
  command
      ->add_option(
          "--expert-log", flags->serving.expert_log.path,
          "Write which experts each computed token visited to this file, for quorum experts --from and --compare "
          "(an older file becomes FILE.1)")
      ->type_name("FILE");
  command
      ->add_option("--expert-log-mb", flags->expert_log_mb,
                   "Megabytes (millions of bytes) at which the expert log begins anew; two files are kept")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command
      ->add_option("--expert-log-share", flags->serving.expert_log.share,
                   "Which part of the sequences in each step the expert log tells of")
      ->check(CLI::Range(0.0001, 1.0))
      ->capture_default_str();
  command->add_flag("--expert-log-text", flags->serving.expert_log_text,
                    "Also say in the expert log which tokens they were: it then holds what people wrote");
  command
      ->add_option("--pooling", flags->pooling,
                   "Embeddings of requests that do not say: mean of all tokens, or the last")
      ->check(CLI::IsMember({"mean", "last"}))
      ->capture_default_str();
  command
      ->add_option("--cors-origin", flags->cors_origins,
                   "Let web pages of this origin use the API (* for all); several: repeat it, or commas between")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(Origin());
  command
      ->add_option("--max-body-mb", flags->max_body_mb,
                   "Largest request body in megabytes (millions of bytes); large ones together take at most twice "
                   "that, more get 503")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--drain-seconds", flags->drain_seconds, "How long running requests may finish at shutdown")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  command->callback([flags, command, &action] {
    if (flags->tls_certificate.empty() != flags->tls_key.empty()) {
      throw CLI::ParseError("--tls-cert and --tls-key belong together: one of them is missing", kUsageStatus);
    }
    if (flags->serving.expert_log.path.empty()) {
      Refuse(*command, {"--expert-log-mb", "--expert-log-share", "--expert-log-text"},
             "has no effect without --expert-log");
    }
    action = [flags] { return Exit(Serve(*flags)); };
  });
}

}  // namespace quorum::cli
