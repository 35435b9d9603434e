// Scripts with which shells complete quorum's command line.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/command_docs.h"

namespace quorum::cli {
namespace {

// The first sentence, in one line.
std::string Brief(const std::string& text) {
  std::string brief = text.substr(0, text.find_first_of("\n;"));
  const std::size_t colon = brief.find(": ");
  return colon == std::string::npos ? brief : brief.substr(0, colon);
}

std::string Replaced(std::string text, const std::string& characters, const std::string& escape) {
  for (std::size_t at = 0; (at = text.find_first_of(characters, at)) != std::string::npos; at += escape.size() + 1) {
    text.insert(at, escape);
  }
  return text;
}

std::string FishQuoted(const std::string& text) { return "'" + Replaced(text, "\\'", "\\") + "'"; }

std::string ZshText(std::string text) {
  std::string out;
  for (const char c : Replaced(std::move(text), "[]:\\", "\\")) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out;
}

// Options of a command and those of all commands.
std::vector<OptionDoc> OptionsOf(const std::vector<CommandDoc>& commands, std::size_t command) {
  std::vector<OptionDoc> options = commands[command].options;
  if (command == 0) return options;
  for (const OptionDoc& option : commands.front().options) {
    bool known = option.name == "--version";
    for (const OptionDoc& own : commands[command].options) known = known || own.name == option.name;
    if (!known) options.push_back(option);
  }
  return options;
}

std::vector<std::string> NamesOf(const OptionDoc& option) {
  std::vector<std::string> names = {option.name};
  if (!option.short_name.empty()) names.push_back(option.short_name);
  return names;
}

std::vector<std::string> CommandNames(const std::vector<CommandDoc>& commands) {
  std::vector<std::string> names;
  for (std::size_t i = 1; i < commands.size(); ++i) names.push_back(commands[i].name);
  return names;
}

}  // namespace

std::string BashCompletion(const std::vector<CommandDoc>& commands) {
  std::string script = "# bash completion for quorum, made by `quorum completion bash`\n_quorum() {\n";
  script += fmt::format(
      "  local cur=\"${{COMP_WORDS[COMP_CWORD]}}\" prev=\"${{COMP_WORDS[COMP_CWORD-1]}}\" command= words= i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case \"${{COMP_WORDS[i]}}\" in {}) command=\"${{COMP_WORDS[i]}}\"; break ;; esac\n"
      "  done\n"
      "  case \"$command $prev\" in\n",
      fmt::join(CommandNames(commands), "|"));
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const std::string command = i == 0 ? "" : commands[i].name;
    for (const OptionDoc& option : OptionsOf(commands, i)) {
      if (option.positional || option.value.empty()) continue;
      for (const std::string& name : NamesOf(option)) {
        // Without a list the shell's own completion of files is as good as any.
        script += option.choices.empty()
                      ? fmt::format("    \"{} {}\") return ;;\n", command, name)
                      : fmt::format("    \"{} {}\") COMPREPLY=($(compgen -W \"{}\" -- \"$cur\")); return ;;\n", command,
                                    name, fmt::join(option.choices, " "));
      }
    }
  }
  script += "  esac\n  case \"$command\" in\n";
  for (std::size_t i = 0; i < commands.size(); ++i) {
    std::vector<std::string> names, first;
    for (const OptionDoc& option : OptionsOf(commands, i)) {
      if (!option.positional) {
        names.push_back(option.name);
      } else if (first.empty()) {
        first = option.choices;
      }
    }
    script += fmt::format(
        "    \"{}\") [[ $cur == -* ]] && words=\"{}\" || words=\"{}\" ;;\n", i == 0 ? "" : commands[i].name,
        fmt::join(names, " "),
        i == 0 ? fmt::format("{}", fmt::join(CommandNames(commands), " ")) : fmt::format("{}", fmt::join(first, " ")));
  }
  script +=
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
      "}\n"
      "complete -o default -F _quorum quorum\n";
  return script;
}

std::string ZshCompletion(const std::vector<CommandDoc>& commands) {
  const auto spec = [](const OptionDoc& option, const std::string& name) {
    std::string text = option.positional ? fmt::format(":{}", ZshText(option.name))
                                         : fmt::format("{}[{}]", name, ZshText(Brief(option.description)));
    if (option.value.empty()) return fmt::format("'{}'", text);
    const std::string what =
        option.choices.empty() ? (option.file ? "_files" : " ") : fmt::format("({})", fmt::join(option.choices, " "));
    return option.positional ? fmt::format("'{}:{}'", text, what)
                             : fmt::format("'{}:{}:{}'", text, ZshText(option.value), what);
  };
  std::string script =
      "#compdef quorum\n"
      "# zsh completion for quorum, made by `quorum completion zsh`\n"
      "_quorum() {\n"
      "  local context state state_descr line\n"
      "  typeset -A opt_args\n"
      "  local -a commands=(\n";
  for (std::size_t i = 1; i < commands.size(); ++i) {
    script += fmt::format("    '{}:{}'\n", commands[i].name, ZshText(Brief(commands[i].description)));
  }
  script += "  )\n  _arguments -C \\\n";
  for (const OptionDoc& option : commands.front().options) {
    for (const std::string& name : NamesOf(option)) script += fmt::format("    {} \\\n", spec(option, name));
  }
  script +=
      "    '1:command:->command' \\\n"
      "    '*::argument:->arguments'\n"
      "  case $state in\n"
      "    command) _describe command commands ;;\n"
      "    arguments)\n"
      "      case $words[1] in\n";
  for (std::size_t i = 1; i < commands.size(); ++i) {
    script += fmt::format("        {})\n          _arguments", commands[i].name);
    for (const OptionDoc& option : OptionsOf(commands, i)) {
      if (option.positional) {
        script += fmt::format(" \\\n            {}", spec(option, {}));
        continue;
      }
      for (const std::string& name : NamesOf(option)) script += fmt::format(" \\\n            {}", spec(option, name));
    }
    script += " ;;\n";
  }
  script +=
      "      esac ;;\n  esac\n}\nif [ \"$funcstack[1]\" = _quorum ]; then _quorum \"$@\"; else compdef _quorum quorum; "
      "fi\n";
  return script;
}

std::string FishCompletion(const std::vector<CommandDoc>& commands) {
  std::string script = "# fish completion for quorum, made by `quorum completion fish`\n";
  const std::string names = fmt::format("{}", fmt::join(CommandNames(commands), " "));
  for (std::size_t i = 1; i < commands.size(); ++i) {
    script += fmt::format("complete -c quorum -f -n __fish_use_subcommand -a {} -d {}\n", commands[i].name,
                          FishQuoted(Brief(commands[i].description)));
  }
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const std::string when = i == 0 ? "__fish_use_subcommand" : "__fish_seen_subcommand_from " + commands[i].name;
    for (const OptionDoc& option : OptionsOf(commands, i)) {
      if (option.positional) {
        if (!option.choices.empty()) {
          script += fmt::format("complete -c quorum -f -n {} -a {}\n", FishQuoted(when),
                                FishQuoted(fmt::format("{}", fmt::join(option.choices, " "))));
        }
        continue;
      }
      std::string line = fmt::format("complete -c quorum -n {}", FishQuoted(when));
      for (const std::string& name : NamesOf(option)) {
        line += name.starts_with("--") ? fmt::format(" -l {}", name.substr(2)) : fmt::format(" -s {}", name.substr(1));
      }
      if (!option.value.empty()) line += option.file ? " -r -F" : " -x";
      if (!option.choices.empty()) line += " -a " + FishQuoted(fmt::format("{}", fmt::join(option.choices, " ")));
      script += line + " -d " + FishQuoted(Brief(option.description)) + "\n";
    }
  }
  return script;
}

}  // namespace quorum::cli
