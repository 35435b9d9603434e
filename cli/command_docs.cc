#include "cli/command_docs.h"

#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace quorum::cli {
namespace {

/// The members of CLI::IsMember, from "TEXT:{a,b,c}".
std::vector<std::string> ChoicesIn(const std::string& type) {
  std::vector<std::string> choices;
  const std::size_t open = type.find('{');
  const std::size_t close = type.rfind('}');
  if (open == std::string::npos || close == std::string::npos || close < open) return choices;
  std::istringstream members(type.substr(open + 1, close - open - 1));
  for (std::string member; std::getline(members, member, ',');) choices.push_back(member);
  return choices;
}

/// The bounds of CLI::Range, from "INT:INT in [0 - 1024]", as "0 to 1024".
std::string RangeIn(const std::string& type) {
  const std::size_t open = type.find(" in [");
  const std::size_t dash = type.find(" - ", open);
  const std::size_t close = type.find(']', open);
  if (open == std::string::npos || dash == std::string::npos || close == std::string::npos) return {};
  return type.substr(open + 5, dash - open - 5) + " to " + type.substr(dash + 3, close - dash - 3);
}

OptionDoc DocumentOption(const CLI::Option& option) {
  OptionDoc doc;
  doc.positional = option.get_positional();
  if (!option.get_lnames().empty()) doc.name = "--" + option.get_lnames().front();
  if (!option.get_snames().empty()) doc.short_name = "-" + option.get_snames().front();
  if (doc.name.empty() && doc.positional) doc.name = option.get_name(true);
  if (doc.name.empty()) std::swap(doc.name, doc.short_name);
  doc.required = option.get_required();
  doc.group = option.get_group();
  doc.description = option.get_description();
  doc.environment = option.get_envname();
  if (option.get_items_expected_max() > 0) {
    const std::string type = option.get_type_name();
    const std::string kind = type.substr(0, type.find_first_of(": "));
    doc.choices = ChoicesIn(type);
    doc.file = type.find("FILE") != std::string::npos || type.find("PATH") != std::string::npos ||
               (doc.choices.empty() && doc.positional);  // MODEL, SRC, DST
    doc.value = doc.file ? "FILE" : kind == "TEXT" || kind.empty() ? "TEXT" : "N";
    doc.list = option.get_items_expected_max() > 1;
    doc.by_commas = doc.list && !option.get_allow_extra_args();
    doc.range = RangeIn(type);
    doc.standard = option.get_default_str();
    if (doc.standard.size() > 1 && doc.standard.front() == '[' && doc.standard.back() == ']') {
      doc.standard = doc.standard.substr(1, doc.standard.size() - 2);  // a list, as it is typed
    }
  }
  return doc;
}

}  // namespace

std::string ValueOf(const OptionDoc& option) {
  constexpr std::size_t kFew = 24;
  const std::string choices = fmt::format("{}", fmt::join(option.choices, "|"));
  const std::string& value = choices.empty() || choices.size() > kFew ? option.value : choices;
  if (option.by_commas) return fmt::format("{}[,{}]...", value, value);
  return option.list ? value + "..." : value;
}

CommandDoc DocumentCommand(const CLI::App& app) {
  CommandDoc doc;
  doc.name = app.get_name();
  doc.description = app.get_description();
  doc.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options({})) {
    if (!option->get_group().empty()) doc.options.push_back(DocumentOption(*option));
  }
  return doc;
}

std::vector<CommandDoc> DocumentCommands(CLI::App& app) {
  std::vector<CommandDoc> commands = {DocumentCommand(app)};
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    if (!command->get_group().empty()) commands.push_back(DocumentCommand(*command));
  }
  return commands;
}

}  // namespace quorum::cli
