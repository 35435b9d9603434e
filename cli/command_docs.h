// What the command line definitions say of themselves, for the man page and the shells.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace quorum::cli {

struct OptionDoc {
  std::string name;        // "--port"; of a positional argument its name, "MODEL"
  std::string short_name;  // "-p"; empty: none
  bool positional = false;
  bool required = false;
  std::string value;                 // what it takes: FILE, N (a number) or TEXT; empty: a flag
  bool list = false;                 // takes several values
  bool by_commas = false;            // in one word, not as the words behind it
  std::string range;                 // of a number, "0 to 1024"; empty: not bounded
  std::vector<std::string> choices;  // the values that it takes; empty: not a fixed list
  bool file = false;                 // takes the name of a file or folder
  std::string group;                 // under which heading it stands in --help
  std::string description;
  std::string environment;  // the variable that sets it, too
  std::string standard;     // what it is when not given
};

struct CommandDoc {
  std::string name;
  std::string description;
  std::string footer;
  std::vector<OptionDoc> options;
};

/// What is behind the option: "TEXT...", "TEXT[,TEXT]...", or its choices where they are few: "int8|bf16".
std::string ValueOf(const OptionDoc& option);

CommandDoc DocumentCommand(const CLI::App& app);
/// The program itself, and then its subcommands.
std::vector<CommandDoc> DocumentCommands(CLI::App& app);

/// A page for man(1), in the macros of man(7).
std::string ManPage(const std::vector<CommandDoc>& commands, const std::string& version);

/// Completion scripts for shells.
std::string BashCompletion(const std::vector<CommandDoc>& commands);
std::string ZshCompletion(const std::vector<CommandDoc>& commands);
std::string FishCompletion(const std::vector<CommandDoc>& commands);

}  // namespace quorum::cli
