// The man page, in the macros of man(7).
#include <fmt/format.h>

#include "cli/command_docs.h"
#include "cli/command_line.h"

namespace quorum::cli {
namespace {

/// Text that roff takes as it is: no escapes, no control lines, hyphens that can be copied.
std::string Roff(const std::string& text) {
  std::string out;
  bool line_begins = true;
  for (const char c : text) {
    if (line_begins && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
    line_begins = c == '\n';
  }
  return out;
}

std::string Quoted(const std::string& text) {
  std::string out;
  for (const char c : Roff(text)) out += c == '"' ? "\\(dq" : std::string(1, c);
  return out;
}

void AddOption(const OptionDoc& option, std::string& page) {
  std::string head = fmt::format("\\fB{}\\fR", Roff(option.name));
  if (!option.short_name.empty()) head += fmt::format(", \\fB{}\\fR", Roff(option.short_name));
  if (!option.value.empty() && !option.positional) head += fmt::format(" \\fI{}\\fR", Roff(ValueOf(option)));
  page += fmt::format(".TP\n{}\n{}", head, Roff(option.description));
  if (!option.range.empty()) page += fmt::format(" ({})", Roff(option.range));
  if (!option.standard.empty()) page += fmt::format(" (default: {})", Roff(option.standard));
  if (!option.environment.empty()) page += fmt::format(" [{}]", Roff(option.environment));
  page += '\n';
}

std::string Synopsis(const std::string& program, const CommandDoc& command) {
  std::string line = fmt::format("\\fB{} {}\\fR", program, Roff(command.name));
  for (const OptionDoc& option : command.options) {
    if (!option.positional) continue;
    line += option.required ? fmt::format(" \\fI{}\\fR", Roff(option.name))
                            : fmt::format(" [\\fI{}\\fR]", Roff(option.name));
  }
  return line + " [\\fIOPTION\\fR...]";
}

}  // namespace

std::string ManPage(const std::vector<CommandDoc>& commands, const std::string& version) {
  const CommandDoc& program = commands.front();
  std::string page = fmt::format(".TH QUORUM 1 \"\" \"quorum {}\" \"User Commands\"\n", Quoted(version));
  page += fmt::format(".SH NAME\nquorum \\- {}\n.SH SYNOPSIS\n", Roff(program.description));
  for (std::size_t i = 1; i < commands.size(); ++i) {
    page += fmt::format("{}{}\n", i > 1 ? ".br\n" : "", Synopsis(program.name, commands[i]));
  }
  page += ".SH COMMANDS\n";
  for (std::size_t i = 1; i < commands.size(); ++i) {
    const CommandDoc& command = commands[i];
    page += fmt::format(".SS {}\n{}\n", Roff(command.name), Roff(command.description));
    for (const OptionDoc& option : command.options) AddOption(option, page);
    if (!command.footer.empty()) page += fmt::format(".PP\n{}\n", Roff(command.footer));
  }
  page += ".SH OPTIONS OF ALL COMMANDS\n";
  for (const OptionDoc& option : program.options) AddOption(option, page);
  page += ".SH ENVIRONMENT\nThe variable in brackets behind an option sets it, too; the command line comes first.\n";
  page += fmt::format(".SH EXIT STATUS\n{}\n", Roff(kExitStatuses));
  return page;
}

}  // namespace quorum::cli
