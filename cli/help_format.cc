#include "cli/help_format.h"

#include <algorithm>
#include <cstddef>
#include <sstream>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/command_docs.h"

namespace quorum::cli {
namespace {

constexpr std::size_t kWidth = 110;
constexpr std::size_t kColumn = 28;  // where descriptions begin

/// `text` in lines of kWidth at the most, all but the first indented; its own line ends stay.
std::string Wrapped(const std::string& text, std::size_t indent) {
  std::string out;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::size_t at = kWidth;  // before the first word a new line, but where the text begins
    for (std::string word; words >> word;) {
      if (at + 1 + word.size() > kWidth) {
        if (!out.empty()) out += '\n' + std::string(indent, ' ');
        at = indent + word.size();
      } else {
        out += ' ';
        at += 1 + word.size();
      }
      out += word;
    }
  }
  return out;
}

/// "--type TEXT" and what there is to say of it.
std::string Entry(const std::string& head, const std::string& text) {
  std::string line = "  " + head;
  if (line.size() + 2 > kColumn) {
    line += '\n' + std::string(kColumn, ' ');
  } else {
    line.resize(kColumn, ' ');
  }
  return line + Wrapped(text, kColumn) + '\n';
}

std::string HeadOf(const OptionDoc& option) {
  if (option.positional) return option.name;
  std::string head = option.short_name.empty() ? option.name : option.short_name + ", " + option.name;
  if (!option.value.empty()) head += ' ' + ValueOf(option);
  return head;
}

std::string TextOf(const OptionDoc& option) {
  std::vector<std::string> facts;
  if (option.required) facts.emplace_back("required");
  if (!option.range.empty()) facts.push_back(option.range);
  if (!option.standard.empty()) facts.push_back("default " + option.standard);
  if (!option.environment.empty()) facts.push_back('$' + option.environment);
  const std::string all = fmt::format("{}", fmt::join(facts, "; "));
  return option.description + (all.empty() ? "" : " [" + all + "]");
}

}  // namespace

std::string HelpFormat::make_help(const CLI::App* app, std::string name, CLI::AppFormatMode /*mode*/) const {
  const CommandDoc doc = DocumentCommand(*app);
  const auto commands = app->get_subcommands([](const CLI::App* command) { return !command->get_group().empty(); });
  std::string arguments, usage = "Usage: " + name;
  std::vector<std::pair<std::string, std::string>> groups = {{"Options", ""}};
  for (const OptionDoc& option : doc.options) {
    if (!option.positional) {
      auto group = std::ranges::find(groups, option.group, &std::pair<std::string, std::string>::first);
      if (group == groups.end()) group = groups.insert(group, {option.group, ""});
      group->second += Entry(HeadOf(option), TextOf(option));
      continue;
    }
    arguments += Entry(HeadOf(option), TextOf(option));
    usage += option.required ? ' ' + option.name : " [" + option.name + ']';
  }
  std::string page =
      Wrapped(doc.description, 0) + "\n" + usage + (commands.empty() ? "" : " COMMAND") + " [OPTION...]\n";
  if (!arguments.empty()) page += '\n' + arguments;
  if (!commands.empty()) page += "\nCommands (quorum COMMAND --help tells more):\n";
  for (const CLI::App* command : commands) page += Entry(command->get_name(), command->get_description());
  for (const auto& [group, options] : groups) page += '\n' + group + ":\n" + options;
  if (app->get_parent() != nullptr) {
    page += "\nOf every command: --log-level, --log-json (see quorum --help).\n";
  }
  if (!doc.footer.empty()) page += '\n' + Wrapped(doc.footer, 0) + '\n';
  return page;
}

}  // namespace quorum::cli
