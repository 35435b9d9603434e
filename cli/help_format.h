// How --help looks.
#pragma once

#include <string>

#include <CLI/CLI.hpp>

namespace quorum::cli {

/// Every option with what it takes, its description, its default and its variable, wrapped to what a terminal shows. To
/// be set before commands are added, which take it over.
class HelpFormat final : public CLI::FormatterBase {
 public:
  std::string make_help(const CLI::App* app, std::string name, CLI::AppFormatMode mode) const override;
};

}  // namespace quorum::cli
