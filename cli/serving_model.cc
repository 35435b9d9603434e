#include "cli/serving_model.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "cli/demo_model.h"
#include "cli/model_header.h"
#include "cli/output_file.h"
#include "cli/text_files.h"
#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/load_tokenizer.h"
#include "engine/model_files.h"
#include "engine/prefix_store.h"
#include "quant/gguf.h"

namespace quorum::cli {
namespace {

// https://github.com/openai/openai-python/blob/release-v0.28.0/chatml.md, as transformers' default template writes it.
constexpr const char* kChatMl =
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// The files that hold the numbers: of a folder its safetensors and its config, in the order of their names.
Result<std::vector<std::string>> FilesOf(const std::string& path) {
  if (!engine::IsFolder(path)) {
    QUORUM_ASSIGN(const quant::GgufFile file, quant::GgufFile::Open(path));
    return file.paths();
  }
  std::vector<std::string> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path, error)) {
    const std::string name = entry.path().filename().string();
    if (name == "config.json" || name.ends_with(".safetensors")) files.push_back(entry.path().string());
  }
  std::sort(files.begin(), files.end());
  return files;
}

constexpr int kArithmetic = 2;  // counts the changes of results between two versions of this program

/// FNV-1a over what changes the numbers: this program's version, the files' sizes and blocks spread over them, and how
/// weights, keys, values and activations are kept.
Result<std::string> Fingerprint(const ServingFlags& flags) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  const auto add = [&hash](const void* data, std::size_t size) {
    for (std::size_t i = 0; i < size; ++i) {
      hash = (hash ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3ULL;
    }
  };
  const std::string how = fmt::format("{} {} {} {} {} {}", QUORUM_VERSION, kArithmetic, flags.model.weights,
                                      flags.model.float_gemm, flags.model.kv, flags.model.activations);
  add(how.data(), how.size());
  QUORUM_ASSIGN(const std::vector<std::string> files, FilesOf(flags.model.path));
  for (const std::string& path : files) {
    QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(path));
    const auto bytes = file.bytes();
    const std::string size = std::to_string(bytes.size());
    add(size.data(), size.size());
    constexpr std::size_t kBlock = 4096, kBlocks = 256;
    for (std::size_t i = 0; i < kBlocks; ++i) {
      const std::size_t begin = bytes.size() / kBlocks * i;
      add(bytes.data() + begin, std::min(kBlock, bytes.size() - begin));
    }
    QUORUM_TRY(file.CheckIntact());
  }
  return fmt::format("fp_{:012x}", hash >> 16);
}

Result<std::string> ReadText(const std::string& path) {
  QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(path));
  return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
}

Result<std::shared_ptr<const tok::ChatTemplate>> ParseTemplate(const std::string& source, const std::string& from) {
  auto parsed = tok::ChatTemplate::Parse(source);
  if (!parsed.ok()) return InvalidArgument(fmt::format("chat template of {}: {}", from, parsed.error().message));
  return parsed;
}

Result<std::shared_ptr<const tok::ChatTemplate>> ReadTemplate(const std::string& path) {
  QUORUM_ASSIGN(const std::string source, ReadText(path));
  if (const Status utf8 = CheckUtf8(path, source); !utf8.ok()) return utf8.error();
  return ParseTemplate(source, path);
}

Result<std::shared_ptr<const tok::ChatTemplate>> LoadTemplate(const ServingFlags& flags,
                                                              const engine::LoadedTokenizer& loaded) {
  std::string source = loaded.chat_template;
  const std::string& from = flags.model.path;
  if (!flags.chat_template_file.empty()) return ReadTemplate(flags.chat_template_file);
  const tok::Tokenizer& tokenizer = *loaded.tokenizer;
  if (source.empty() && tokenizer.FindToken("<|im_start|>") && tokenizer.FindToken("<|im_end|>")) {
    Log(LogLevel::kWarn, "{} has no chat template; its vocabulary has ChatML's tokens, so ChatML is used", from);
    source = kChatMl;
  }
  if (source.empty()) {
    Log(LogLevel::kWarn, "{} has no chat template: /v1/chat/completions is refused (--chat-template FILE gives one)",
        from);
    return std::shared_ptr<const tok::ChatTemplate>();
  }
  return ParseTemplate(source, from);
}

std::string DefaultName(const std::string& path) {
  std::error_code error;
  const std::filesystem::path whole = std::filesystem::absolute(path, error).lexically_normal();
  std::string name = (whole.has_filename() ? whole : whole.parent_path()).filename().string();
  if (name.size() > 5 && name.substr(name.size() - 5) == ".gguf") name.resize(name.size() - 5);
  return name;
}

Result<std::shared_ptr<engine::ExpertLogWriter>> OpenExpertLog(
    const ServingFlags& flags, const engine::Model& model, const std::shared_ptr<const server::ServedModel>& served) {
  if (flags.expert_log.path.empty()) return std::shared_ptr<engine::ExpertLogWriter>();
  engine::ExpertLogOptions options = flags.expert_log;
  if (flags.expert_log_text) {
    options.text = [tokenizer = served->tokenizer](tok::TokenId id) { return std::string(tokenizer->TokenBytes(id)); };
  }
  QUORUM_ASSIGN(auto writer, engine::ExpertLogWriter::Open(std::move(options), served->id, model.experts()));
  return std::shared_ptr<engine::ExpertLogWriter>(std::move(writer));
}

}  // namespace

void AddServingFlags(CLI::App& command, ServingFlags& flags, bool many) {
  AddModelFlags(command, flags.model);
  if (many) {
    command.add_option("--max-batch", flags.engine.max_batch, "Sequences that are computed at once")
        ->check(CLI::Range(1, 4096))
        ->capture_default_str();
  }
  command
      .add_option("--max-itl-ms", flags.engine.max_itl_ms,
                  "Longest time between two tokens of a reply that prompts of others may cause, in milliseconds: they "
                  "are computed in pieces that fit; 0: no limit, best throughput")
      ->check(CLI::Range(0.0, 3.6e6))
      ->capture_default_str();
  command.add_option("--prefill-chunk", flags.engine.prefill_chunk, "Prompt tokens that one step computes at most")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command
      .add_option(
          "--speculate", flags.engine.speculate,
          "Most tokens guessed at once from what a text repeats, while that pays; 0: never. Answers stay the same")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  command.add_option("--chat-template", flags.chat_template_file, "A Jinja chat template instead of the model's own")
      ->check(CLI::ExistingFile);
  std::vector<std::string> parsers = server::ToolFormatNames();
  parsers.insert(parsers.begin(), "auto");
  command
      .add_option("--tool-parser", flags.tool_parser,
                  "How the model writes calls of tools; auto: as its chat template shows")
      ->check(CLI::IsMember(parsers))
      ->capture_default_str();
}

Status CheckServing(const ServingFlags& flags) {
  if (!flags.chat_template_file.empty()) {
    const auto chat_template = ReadTemplate(flags.chat_template_file);
    if (!chat_template.ok()) return chat_template.error();
  }
  for (const std::string* path : {&flags.engine.prefix_file, &flags.expert_log.path}) {
    if (!path->empty()) QUORUM_TRY(CheckOutput(*path, true));
  }
  if (!flags.engine.prefix_file.empty()) QUORUM_TRY(engine::CheckPrefixFile(flags.engine.prefix_file));
  QUORUM_ASSIGN(const engine::ModelSpec spec, ReadSpec(flags.model.path));
  if (flags.expert_log.path.empty() || spec.has_experts()) return {};
  return InvalidArgument(flags.model.path + " is dense: an expert log would have nothing to tell");
}

Result<ServingModel> LoadServingModel(const ServingFlags& flags) {
  ServingModel serving;
  auto served = std::make_shared<server::ServedModel>();
  engine::LoadOptions options;
  options.max_batch = flags.engine.max_batch;
  options.map_windows = true;
  options.max_step_tokens = std::min(flags.engine.prefill_chunk + flags.engine.max_batch, 1 << 16);
  QUORUM_ASSIGN(serving.loaded, LoadModel(flags.model, std::move(options)));
  {
    QUORUM_ASSIGN(const engine::LoadedTokenizer loaded,
                  LoadModelTokenizer(flags.model.path, serving.loaded.model->vocab_size()));
    served->tokenizer = loaded.tokenizer;
    QUORUM_ASSIGN(served->chat_template, LoadTemplate(flags, loaded));
    if (!loaded.tool_template.empty() && flags.chat_template_file.empty()) {
      QUORUM_ASSIGN(served->tool_template, ParseTemplate(loaded.tool_template, flags.model.path));
    }
  }
  QUORUM_ASSIGN(served->fingerprint, Fingerprint(flags));
  const std::string own_name = flags.model.demo ? kDemoName : DefaultName(flags.model.path);
  served->id = flags.name.empty() ? own_name : flags.name;
  struct stat status{};
  served->created = ::stat(flags.model.path.c_str(), &status) == 0 ? status.st_mtime : std::time(nullptr);
  if (const auto named = server::ToolFormatNamed(flags.tool_parser); named.has_value()) {
    served->tool_format = *named;
  } else if (served->chat_template != nullptr) {
    const auto& with_tools = served->tool_template != nullptr ? served->tool_template : served->chat_template;
    served->tool_format = server::DetectToolFormat(with_tools->source());
    // A template without tools: they are described in words, and calls read in the most usual format.
    if (served->tool_format == server::ToolFormat::kNone) served->tool_format = server::ToolFormat::kHermes;
  }
  if (serving.loaded.model->spec().has_experts()) {
    served->expert_stats = [model = serving.loaded.model.get()] { return model->expert_stats(); };
    served->experts_per_token = serving.loaded.model->spec().router.top_k;
  }
  served->bytes_read = [model = serving.loaded.model.get()] { return model->bytes_read(); };
  served->IndexTokenizer();
  engine::EngineOptions engine_options = flags.engine;
  engine_options.fingerprint = served->fingerprint;
  QUORUM_ASSIGN(engine_options.expert_log, OpenExpertLog(flags, *serving.loaded.model, served));
  served->engine = engine::MakeEngine(*serving.loaded.model, *served->tokenizer, engine_options);
  serving.served = std::move(served);
  return serving;
}

}  // namespace quorum::cli
