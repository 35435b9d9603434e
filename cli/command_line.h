// The command line as a whole: a variable of the environment for every option, what is said when something is wrong,
// and the exit statuses.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

namespace quorum::cli {

/// What the program ends with; 0 is success, and 128 + SIGNAL the end by one, as shells tell it.
inline constexpr int kFailedStatus = 1;  // what was asked for could not be done
inline constexpr int kUsageStatus = 2;   // the command line is wrong, and nothing was begun

/// The same for --help and the man page.
inline constexpr const char* kExitStatuses =
    "Exit status: 0 done; 1 failed, standard error says why; 2 the command line is wrong and nothing was begun; 130 "
    "or 143 interrupted (Ctrl-C or SIGTERM).";

/// Gives every option of `app` and its commands the variable that sets it, too: QUORUM_PORT for options of `app`
/// itself, serve and run, QUORUM_EVAL_TEXT for those of other commands, QUORUM_JSON for --json wherever it is; a name
/// that an option has already stays. None: arguments without dashes that have no name already, --help, --version and
/// --force.
void NameVariables(CLI::App& app);

/// Parses the command line; variables speak where it does not, those of the chosen command alone. Nothing: go on.
/// Else the exit status, after the help or what is wrong has been printed.
std::optional<int> ParseCommandLine(CLI::App& app, int argc, char** argv);

/// Whether the option stands on the command line (a variable does not count).
bool Given(const CLI::App& command, const std::string& option);

/// For a command's callback: throws the usage error "OPTION WHY" when one of `options` stands on the command line.
/// Variables that have nothing to say are left alone.
void Refuse(const CLI::App& command, std::initializer_list<const char*> options, const std::string& why);

/// A number from `least` on. (CLI11's own says what the largest double is, in 309 digits.)
CLI::Validator AtLeast(double least);

}  // namespace quorum::cli
