// The quorum program: reads the command line and runs one subcommand.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/help_format.h"
#include "cli/inspect_format.h"
#include "cli/long_work.h"
#include "engine/base/log.h"

namespace quorum::cli {

int Fail(const Error& error) {
  constexpr std::size_t kLongest = 4000;  // some say what a file holds, which may be anything
  std::fprintf(stderr, "quorum: %s\n", Printable(error.message, kLongest).c_str());
  return kFailedStatus;
}

namespace {

int Main(int argc, char** argv) {
  CLI::App app{"Quorum: a CPU server for Mixture-of-Experts language models", "quorum"};
  app.formatter(std::make_shared<HelpFormat>());  // commands take it over
  app.set_version_flag("--version", QUORUM_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  std::string log_level = "info";
  bool log_json = false;
  app.add_option("--log-level", log_level, "What to log: debug, info, warn, error or off")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}));
  app.add_flag("--log-json", log_json, "Log one JSON object a line");

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
  NameVariables(app);
  app.footer(kExitStatuses);
  if (const std::optional<int> status = ParseCommandLine(app, argc, argv)) return *status;

  const std::map<std::string, LogLevel> levels = {{"debug", LogLevel::kDebug},
                                                  {"info", LogLevel::kInfo},
                                                  {"warn", LogLevel::kWarn},
                                                  {"error", LogLevel::kError},
                                                  {"off", LogLevel::kOff}};
  SetLogLevel(levels.at(log_level));
  if (log_json) SetLogJson(true);
  EndOnInterrupts();  // unless the command knows better
  return action ? action() : EXIT_FAILURE;
}

}  // namespace
}  // namespace quorum::cli

int main(int argc, char** argv) {
  try {
    return quorum::cli::Main(argc, argv);
  } catch (const std::exception& e) {  // foreign libraries only: ours return Result
    std::fprintf(stderr, "quorum: unexpected failure: %s\n", e.what());
    return quorum::cli::kFailedStatus;
  }
}
