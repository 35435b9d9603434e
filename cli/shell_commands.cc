// quorum completion and quorum man: the command line's own description, for shells and for man(1).
#include <cstdio>
#include <memory>
#include <string>

#include "cli/command.h"
#include "cli/command_docs.h"

namespace quorum::cli {

void AddShellCommands(CLI::App& app, Action& action) {
  auto shell = std::make_shared<std::string>();
  CLI::App* completion = app.add_subcommand("completion", "Print the completion script of a shell");
  completion->footer(
      "bash: quorum completion bash > ~/.local/share/bash-completion/completions/quorum\n"
      "zsh: quorum completion zsh > \"${fpath[1]}/_quorum\"\n"
      "fish: quorum completion fish > ~/.config/fish/completions/quorum.fish");
  completion->add_option("SHELL", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completion->callback([&app, shell, &action] {
    action = [&app, shell] {
      const std::vector<CommandDoc> commands = DocumentCommands(app);
      const std::string script = *shell == "bash"  ? BashCompletion(commands)
                                 : *shell == "zsh" ? ZshCompletion(commands)
                                                   : FishCompletion(commands);
      return std::fputs(script.c_str(), stdout) < 0 ? 1 : 0;
    };
  });
  CLI::App* man = app.add_subcommand("man", "Print the man page: quorum man | man -l -");
  man->callback([&app, &action] {
    action = [&app] { return std::fputs(ManPage(DocumentCommands(app), QUORUM_VERSION).c_str(), stdout) < 0 ? 1 : 0; };
  });
}

}  // namespace quorum::cli
