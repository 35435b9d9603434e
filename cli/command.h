// One file a subcommand; each adds its own flags and its action to the program.
#pragma once

#include <functional>
#include <string>

#include <CLI/CLI.hpp>

#include "engine/base/result.h"

namespace quorum::cli {

/// What the chosen subcommand does; returns the exit status. Set by the subcommand's callback.
using Action = std::function<int()>;

// Each adds its subcommand to `app` and, when it is chosen, sets `action`.
void AddServe(CLI::App& app, Action& action);
void AddRun(CLI::App& app, Action& action);
void AddUpcycle(CLI::App& app, Action& action);
void AddQuantize(CLI::App& app, Action& action);
void AddInspect(CLI::App& app, Action& action);
void AddEval(CLI::App& app, Action& action);
void AddBench(CLI::App& app, Action& action);
void AddSimulate(CLI::App& app, Action& action);
void AddExperts(CLI::App& app, Action& action);
void AddPrune(CLI::App& app, Action& action);
void AddMerge(CLI::App& app, Action& action);
void AddAdd(CLI::App& app, Action& action);
void AddPull(CLI::App& app, Action& action);
void AddSelftest(CLI::App& app, Action& action);
void AddShellCommands(CLI::App& app, Action& action);  // completion, man

/// Prints `quorum: <message>` to stderr and returns the exit status of failures.
int Fail(const Error& error);

}  // namespace quorum::cli
