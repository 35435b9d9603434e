#include "cli/command_docs.h"

#include <sstream>

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

bool NamesFile(const OptionDoc& doc) {
  if (doc.positional) return true;  // MODEL, SRC, DST ...
  for (const char* word : {"file", "model", "template", "cert", "key", "cache", "text"}) {
    if (doc.name.find(word) != std::string::npos) return true;
  }
  return false;
}

OptionDoc DocumentOption(const CLI::Option& option) {
  OptionDoc doc;
  doc.positional = option.get_positional();
  if (!option.get_lnames().empty()) doc.name = "--" + option.get_lnames().front();
  if (!option.get_snames().empty()) doc.short_name = "-" + option.get_snames().front();
  if (doc.name.empty() && doc.positional) doc.name = option.get_name(true);
  if (doc.name.empty()) std::swap(doc.name, doc.short_name);
  doc.required = option.get_required();
  doc.description = option.get_description();
  doc.environment = option.get_envname();
  if (option.get_items_expected_max() > 0) {
    const std::string type = option.get_type_name();
    doc.value = type.substr(0, type.find_first_of(": "));
    if (doc.value.empty()) doc.value = "VALUE";
    doc.standard = option.get_default_str();
    doc.choices = ChoicesIn(type);
    doc.file = type.find("FILE") != std::string::npos || type.find("PATH") != std::string::npos ||
               (doc.choices.empty() && doc.value == "TEXT" && NamesFile(doc));
  }
  return doc;
}

CommandDoc DocumentCommand(CLI::App& app) {
  CommandDoc doc;
  doc.name = app.get_name();
  doc.description = app.get_description();
  doc.footer = app.get_footer();
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_group().empty()) doc.options.push_back(DocumentOption(*option));
  }
  return doc;
}

}  // namespace

std::vector<CommandDoc> DocumentCommands(CLI::App& app) {
  std::vector<CommandDoc> commands = {DocumentCommand(app)};
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) {
    if (!command->get_group().empty()) commands.push_back(DocumentCommand(*command));
  }
  return commands;
}

}  // namespace quorum::cli
