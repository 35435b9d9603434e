#include "cli/command_line.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace quorum::cli {
namespace {

struct Variable {
  CLI::App* command;
  CLI::Option* option;
  std::string name;
};

std::vector<CLI::App*> CommandsOf(CLI::App& app) {
  return app.get_subcommands([](CLI::App*) { return true; });
}

std::vector<CLI::App*> CommandsAndRoot(CLI::App& app) {
  std::vector<CLI::App*> all = CommandsOf(app);
  all.push_back(&app);
  return all;
}

std::string Capitals(const std::string& name) {
  std::string out;
  for (const char c : name) out += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

/// Empty: none.
std::string VariableOf(const CLI::App& command, const CLI::Option& option) {
  if (!option.get_envname().empty()) return option.get_envname();
  if (option.get_positional() || option.get_lnames().empty()) return {};
  const std::string& name = option.get_lnames().front();
  if (name == "help" || name == "version" || name == "force") return {};
  const bool plain =
      command.get_parent() == nullptr || command.get_name() == "serve" || command.get_name() == "run" || name == "json";
  return "QUORUM_" + (plain ? "" : Capitals(command.get_name()) + "_") + Capitals(name);
}

std::vector<Variable> VariablesOf(CLI::App& app) {
  std::vector<Variable> variables;
  for (CLI::App* command : CommandsAndRoot(app)) {
    for (CLI::Option* option : command->get_options()) {
      if (std::string name = VariableOf(*command, *option); !name.empty())
        variables.push_back({command, option, std::move(name)});
    }
  }
  return variables;
}

CLI::App* ChosenOf(CLI::App& app) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  return chosen.empty() ? nullptr : chosen.front();
}

const char* ValueOf(const Variable& variable) {
  const char* value = std::getenv(variable.name.c_str());
  return value != nullptr && *value != '\0' ? value : nullptr;
}

/// CLI11 from 2.3 on leaves out values of variables that it does not take; before, it throws.
void CheckTaken(const std::vector<Variable>& variables, const CLI::App& app, const CLI::App* chosen) {
  for (const Variable& variable : variables) {
    if ((variable.command != &app && variable.command != chosen) || variable.option->count() > 0) continue;
    if (const char* value = ValueOf(variable); value != nullptr) {
      throw CLI::ValidationError(variable.option->get_name(),
                                 fmt::format("'{}' is no value for it ({})", value, variable.name));
    }
  }
}

/// Where options of the command got their values, if not from the command line: names alone, as values may be secret.
void TellVariables(const std::vector<Variable>& variables, const CLI::App& app, const CLI::App* chosen) {
  std::vector<std::string> names;
  for (const Variable& variable : variables) {
    if ((variable.command != chosen && variable.command != &app) || ValueOf(variable) == nullptr) continue;
    if (!Given(*variable.command, variable.option->get_name())) names.push_back(variable.name);
  }
  if (!names.empty()) fmt::print(stderr, "The environment sets {}.\n", fmt::join(names, ", "));
}

/// Of a flag with one value that is given twice the last counts, so that whoever wraps a command can add flags to it.
void LetTheLastCount(CLI::App& app) {
  for (CLI::App* command : CommandsAndRoot(app)) {
    for (CLI::Option* option : command->get_options()) {
      const bool one = !option->get_positional() && option->get_items_expected_max() == 1;
      if (one) option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    }
  }
}

/// Prints the help, or what is wrong. Returns the exit status.
int Complain(CLI::App& app, const CLI::ParseError& error, const std::vector<Variable>& variables) {
  if (error.get_exit_code() == 0) return app.exit(error);
  const CLI::App* chosen = ChosenOf(app);
  const std::vector<std::string> extras = app.remaining(true);
  const auto unknown = std::ranges::find_if(extras, [](const std::string& text) { return text.starts_with('-'); });
  std::string what = error.what();
  if (unknown != extras.end()) {  // first: a value behind it may have been taken for an argument
    what = fmt::format("there is no option {}{}", *unknown, chosen != nullptr ? " of " + chosen->get_name() : "");
  } else if (chosen == nullptr) {
    std::vector<std::string> names;
    for (const CLI::App* command : CommandsOf(app)) names.push_back(command->get_name());
    what = fmt::format("{}; there are {}",
                       extras.empty() ? "a command is needed" : fmt::format("there is no command '{}'", extras.front()),
                       fmt::join(names, ", "));
  } else if (!extras.empty()) {
    what = fmt::format("'{}' is one argument too many", extras.front());
  }
  fmt::print(stderr, "quorum: {}\n", what);
  if (extras.empty()) TellVariables(variables, app, chosen);
  fmt::print(stderr, "quorum{} --help tells more.\n", chosen != nullptr ? " " + chosen->get_name() : "");
  return kUsageStatus;
}

}  // namespace

void NameVariables(CLI::App& app) {
  for (const Variable& variable : VariablesOf(app)) variable.option->envname(variable.name);
}

std::optional<int> ParseCommandLine(CLI::App& app, int argc, char** argv) {
  const std::vector<Variable> variables = VariablesOf(app);
  // CLI11 reads the variables of all commands, so those of others must have no names meanwhile.
  const auto read_only = [&](const CLI::App* chosen) {
    for (const Variable& variable : variables) {
      const bool read = variable.command == &app || variable.command == chosen;
      variable.option->envname(read ? variable.name : std::string());
    }
  };
  read_only(nullptr);
  LetTheLastCount(app);
  for (CLI::App* command : CommandsOf(app)) {
    command->preparse_callback([&read_only, command](std::size_t /*arguments*/) { read_only(command); });
  }
  std::optional<int> status;
  try {
    app.parse(argc, argv);
    CheckTaken(variables, app, ChosenOf(app));
  } catch (const CLI::ParseError& error) {
    status = Complain(app, error, variables);
  }
  for (CLI::App* command : CommandsOf(app)) command->preparse_callback({});
  for (const Variable& variable : variables) variable.option->envname(variable.name);
  return status;
}

bool Given(const CLI::App& command, const std::string& option) {
  const CLI::Option* wanted = command.get_option_no_throw(option);
  const auto& given = command.parse_order();
  return wanted != nullptr && std::find(given.begin(), given.end(), wanted) != given.end();
}

void Refuse(const CLI::App& command, std::initializer_list<const char*> options, const std::string& why) {
  for (const char* option : options) {
    if (Given(command, option)) throw CLI::ValidationError(option, why);
  }
}

CLI::Validator AtLeast(double least) {
  return CLI::Validator(
      [least](std::string& text) {
        double value = 0;
        if (CLI::detail::lexical_cast(text, value) && value >= least && std::isfinite(value)) return std::string();
        return fmt::format("'{}' is no number from {} on", text, least);
      },
      "", "at least");
}

}  // namespace quorum::cli
