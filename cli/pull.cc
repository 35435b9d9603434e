// quorum pull: fetches a model from a Hugging Face hub.
#include <unistd.h>

#include <cstdio>
#include <memory>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/command_line.h"
#include "cli/hub/model_cache.h"
#include "cli/hub/pull_model.h"
#include "cli/long_work.h"
#include "engine/base/mapped_file.h"
#include "engine/base/units.h"

namespace quorum::cli {
namespace {

struct PullFlags {
  std::string model;
  std::string cache;
  std::string endpoint = "https://huggingface.co";
  std::string token;
  std::string token_file;
  int attempts = 6;
  bool json = false;
};

/// A bar on a terminal, else a line for every tenth.
class Progress {
 public:
  void Show(const std::string& name, std::uint64_t done, std::uint64_t total) {
    const std::uint64_t percent = total > 0 ? done * 100 / total : 100;
    const bool terminal = ::isatty(STDERR_FILENO) == 1;
    if (!terminal && percent / 10 == shown_ / 10 && shown_ != kNone) return;
    if (percent == shown_ && done != total) return;
    shown_ = percent;
    const std::size_t filled = static_cast<std::size_t>(percent) * kWidth / 100;
    const std::string bar = std::string(filled, '#') + std::string(kWidth - filled, '.');
    const std::string line =
        fmt::format("[{}] {:3} %  {} of {}  {}", bar, percent, FormatBytes(done), FormatBytes(total), name);
    fmt::print(stderr, "{}{}{}", terminal ? "\r\033[K" : "", line, terminal ? "" : "\n");
    open_ = terminal;
  }
  void EndLine() {
    if (std::exchange(open_, false)) std::fputc('\n', stderr);
  }

 private:
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};
  static constexpr std::size_t kWidth = 30;
  std::uint64_t shown_ = kNone;
  bool open_ = false;
};

Result<std::string> TokenOf(const PullFlags& flags) {
  if (flags.token_file.empty()) return flags.token;
  QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(flags.token_file));
  std::string token(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  token.erase(token.find_last_not_of(" \t\r\n") + 1);
  return token;
}

Status Pull(const PullFlags& flags) {
  QUORUM_ASSIGN(const hub::ModelReference model, hub::ParseReference(flags.model));
  hub::PullOptions options;
  options.cache = flags.cache;
  if (flags.cache.empty()) {
    QUORUM_ASSIGN(options.cache, hub::CacheFolder());
  }
  options.hub.endpoint = flags.endpoint.substr(0, flags.endpoint.find_last_not_of('/') + 1);
  QUORUM_ASSIGN(options.hub.token, TokenOf(flags));
  options.attempts = flags.attempts;
  Progress progress;
  options.progress = [&progress](const std::string& name, std::uint64_t done, std::uint64_t total) {
    progress.Show(name, done, total);
  };
  options.say = [&progress](const std::string& line) {
    progress.EndLine();
    fmt::print(stderr, "{}\n", line);
  };
  auto pulled = hub::PullModel(model, options);
  progress.EndLine();
  if (!pulled.ok()) return pulled.error();
  if (!flags.json) {
    fmt::print("{}\n", pulled->path.string());
    return {};
  }
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const hub::PulledFile& file : pulled->files) {
    files.push_back(
        {{"name", file.name}, {"bytes", file.size}, {"checksum", file.checksum}, {"fetched", file.fetched}});
  }
  const nlohmann::ordered_json answer = {{"model", model.Text()}, {"path", pulled->path.string()}, {"files", files}};
  fmt::print("{}\n", answer.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  return {};
}

}  // namespace

void AddPull(CLI::App& app, Action& action) {
  auto flags = std::make_shared<PullFlags>();
  CLI::App* command = app.add_subcommand("pull", "Fetch a model from Hugging Face (or a hub like it) into the cache");
  command->footer(
      "hf:OWNER/REPO is the folder of safetensors, or the only GGUF file; hf:OWNER/REPO:FILE one file, where "
      "FILE may be a word of its name (Q4_K_M); @REVISION behind REPO another branch, tag or commit. What was "
      "pulled is then a MODEL for the other commands: quorum serve hf:OWNER/REPO:FILE. Broken downloads go on "
      "where they ended.");
  command->add_option("MODEL", flags->model, "hf:OWNER/REPO[@REVISION][:FILE]")->required();
  command->add_option("--cache", flags->cache, "Folder for models (default: XDG_CACHE_HOME/quorum or ~/.cache/quorum)")
      ->type_name("FILE")
      ->envname("QUORUM_CACHE");
  command->add_option("--endpoint", flags->endpoint, "The hub")->envname("HF_ENDPOINT")->capture_default_str();
  command->add_option("--token", flags->token, "Access token; better in the environment than on the command line")
      ->envname("HF_TOKEN");
  command->add_option("--token-file", flags->token_file, "File that holds the access token")
      ->envname("HF_TOKEN_PATH")
      ->check(CLI::ExistingFile);
  command->add_option("--attempts", flags->attempts, "Attempts in a row that bring nothing, before giving up")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print the path and the files as JSON");
  command->callback([flags, command, &action] {
    if (Given(*command, "--token")) {
      Refuse(*command, {"--token-file"}, "and --token are two tokens");
      flags->token_file.clear();  // what the environment says comes second
    }
    action = [flags] { return Exit(Pull(*flags)); };
  });
}

}  // namespace quorum::cli
