// quorum selftest: what an OpenAI-compatible server holds of what its clients rely on.
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/selftest/probe.h"

namespace quorum::cli {
namespace {

struct SelftestFlags {
  selftest::ClientOptions client;
  std::string model;
  bool json = false;
};

struct Outcome {
  std::string number, statement, result, detail;
};

Outcome Try(const selftest::Statement& statement, selftest::Probe& probe) {
  using Kind = selftest::Verdict::Kind;
  probe.Begin();
  statement.check(probe);
  const selftest::Verdict& verdict = probe.verdict();
  const char* result = verdict.kind == Kind::kHolds ? "pass" : verdict.kind == Kind::kBroken ? "fail" : "skip";
  Outcome outcome{statement.number, statement.text, result, verdict.why};
  for (char& c : outcome.detail) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return outcome;
}

Result<std::string> FirstModel(const selftest::ClientOptions& client) {
  const selftest::Answer answer = selftest::Send(client, "GET", "/v1/models", {});
  if (answer.status == 0)
    return Error{ErrorCode::kUnavailable, fmt::format("{}: {}", client.url, answer.failure), {}, {}};
  const auto list = nlohmann::json::parse(answer.body, nullptr, false);
  if (list.is_object() && list.contains("data") && list["data"].is_array() && !list["data"].empty() &&
      list["data"][0].is_object() && list["data"][0].contains("id") && list["data"][0]["id"].is_string()) {
    return list["data"][0]["id"].get<std::string>();
  }
  return NotFound(fmt::format("{}/v1/models (status {}) names no model: --model does", client.url, answer.status));
}

Result<int> Selftest(SelftestFlags flags) {
  std::string& url = flags.client.url;
  while (url.ends_with('/')) url.pop_back();
  if (url.ends_with("/v1")) url.resize(url.size() - 3);
  if (flags.model.empty()) {
    QUORUM_ASSIGN(flags.model, FirstModel(flags.client));
  }
  selftest::Probe probe(flags.client, flags.model);
  std::vector<Outcome> outcomes;
  int failed = 0, passed = 0;
  for (const auto& section : {selftest::StreamStatements(), selftest::ToolStatements(), selftest::FieldStatements(),
                              selftest::ServiceStatements()}) {
    for (const selftest::Statement& statement : section) {
      outcomes.push_back(Try(statement, probe));
      const Outcome& last = outcomes.back();
      failed += last.result == "fail" ? 1 : 0;
      passed += last.result == "pass" ? 1 : 0;
      if (flags.json) continue;
      fmt::print("{:>3}  {}  {}{}{}\n", last.number, last.result, last.statement, last.detail.empty() ? "" : " -- ",
                 last.detail);
      std::fflush(stdout);
    }
  }
  if (flags.json) {
    auto list = nlohmann::ordered_json::array();
    for (const Outcome& o : outcomes) {
      list.push_back({{"number", o.number}, {"statement", o.statement}, {"result", o.result}, {"detail", o.detail}});
    }
    const nlohmann::ordered_json all = {
        {"url", url}, {"model", flags.model}, {"passed", passed}, {"failed", failed}, {"statements", list}};
    fmt::print("{}\n", all.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  } else {
    fmt::print("{} of {} hold, {} fail, {} not tried ({} at {})\n", passed, outcomes.size(), failed,
               outcomes.size() - static_cast<std::size_t>(passed + failed), flags.model, url);
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace

void AddSelftest(CLI::App& app, Action& action) {
  auto flags = std::make_shared<SelftestFlags>();
  CLI::App* command =
      app.add_subcommand("selftest", "Try what clients rely on against a running OpenAI-compatible server");
  command->footer(
      "Any server will do, not only this one. The exit status is 0 if nothing failed. Numbers are those of "
      "tests/server/CONFORMANCE.md.");
  command->add_option("--openai", flags->client.url, "Where the server is, e.g. http://127.0.0.1:8080")
      ->envname("QUORUM_SELFTEST_URL")
      ->required();
  command->add_option("--model", flags->model, "The model to ask for (default: the first of /v1/models)");
  command->add_option("--key", flags->client.key, "API key")->envname("OPENAI_API_KEY");
  command->add_option("--timeout", flags->client.timeout_seconds, "Longest wait for one answer in seconds")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &action] {
    action = [flags] {
      const Result<int> status = Selftest(*flags);
      return status.ok() ? *status : Fail(status.error());
    };
  });
}

}  // namespace quorum::cli
