// The quorum program: reads the command line and runs one subcommand.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "cli/command.h"
#include "engine/base/log.h"

namespace quorum::cli {

int Fail(const Error& error) {
  std::fprintf(stderr, "quorum: %s\n", error.message.c_str());
  return 1;
}

namespace {

int Main(int argc, char** argv) {
  CLI::App app{"Quorum: a CPU server for Mixture-of-Experts language models", "quorum"};
  app.set_version_flag("--version", QUORUM_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  std::string log_level = "info";
  bool log_json = false;
  app.add_option("--log-level", log_level, "What to log: debug, info, warn, error or off")
      ->envname("QUORUM_LOG_LEVEL")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}));
  app.add_flag("--log-json", log_json, "Log one JSON object a line")->envname("QUORUM_LOG_JSON");

  Action action;
  AddServe(app, action);
  AddRun(app, action);
  AddInspect(app, action);
  AddUpcycle(app, action);
  AddQuantize(app, action);
  AddEval(app, action);
  AddBench(app, action);
  AddSimulate(app, action);
  AddExperts(app, action);
  AddPrune(app, action);
  AddMerge(app, action);
  AddAdd(app, action);
  AddPull(app, action);
  AddSelftest(app, action);
  AddShellCommands(app, action);
  CLI11_PARSE(app, argc, argv);

  const std::map<std::string, LogLevel> levels = {{"debug", LogLevel::kDebug}, {"info", LogLevel::kInfo},
                                                  {"warn", LogLevel::kWarn},   {"error", LogLevel::kError},
                                                  {"off", LogLevel::kOff}};
  SetLogLevel(levels.at(log_level));
  if (log_json) SetLogJson(true);
  return action ? action() : EXIT_FAILURE;
}

}  // namespace
}  // namespace quorum::cli

int main(int argc, char** argv) {
  try {
    return quorum::cli::Main(argc, argv);
  } catch (const std::exception& e) {  // foreign libraries only: ours return Result
    std::fprintf(stderr, "quorum: unexpected failure: %s\n", e.what());
    return 2;
  }
}
