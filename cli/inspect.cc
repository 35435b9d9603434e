// quorum inspect: what a model holds.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/command.h"
#include "cli/inspect_folder.h"
#include "cli/inspect_format.h"
#include "cli/model_flags.h"
#include "engine/model_files.h"
#include "quant/gguf.h"
#include "quant/gguf_summary.h"

namespace quorum::cli {
namespace {

using Json = nlohmann::ordered_json;
using quant::GgufFile;
using quant::GgufSummary;
using quant::GgufTensor;

struct Flags {
  ModelFlags model;
  bool tensors = false;
  bool json = false;
};

std::string FirstLine(std::string_view text) {
  const std::size_t start = text.find_first_not_of(" \t\r\n");
  if (start == std::string_view::npos) return "";
  text.remove_prefix(start);
  return std::string(text.substr(0, text.find_first_of("\r\n")));
}

/// The family's name for people; empty for an architecture that Quorum does not run.
std::string FamilyOf(const GgufSummary& s) {
  if (s.architecture == "llama" && s.experts.value_or(0) > 0) return "Mixtral";
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"llama", "Llama"},
      {"qwen2", "Qwen2"},
      {"qwen2moe", "Qwen2-MoE"},
      {"qwen3", "Qwen3"},
      {"qwen3moe", "Qwen3-MoE"},
      {"olmoe", "OLMoE"},
      {"gpt-oss", "gpt-oss"},
      {"granitemoe", "GraniteMoE"},
      {"phimoe", "Phi-3.5-MoE"},
      {"grok", "Grok-1"},
      {"deepseek2", "DeepSeek-V2/V3"},
      {"granite", "Granite"},
      {"smollm3", "SmolLM3"},
      {"phi3", "Phi-3"},
      {"t5", "T5"},
  };
  for (const auto& [architecture, name] : kNames) {
    if (architecture == s.architecture) return std::string(name);
  }
  return "";
}

std::string Shape(const GgufTensor& tensor) {
  std::string out;
  for (const std::int64_t dim : tensor.dims) out += (out.empty() ? "" : " x ") + std::to_string(dim);
  return out.empty() ? "1" : out;
}

// "1536", or "512 to 2048" where layers differ.
std::string Range(const std::vector<std::int64_t>& values) {
  if (values.empty()) return "";
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return *low == *high ? std::to_string(*low) : fmt::format("{} to {}", *low, *high);
}

std::string Text(const std::optional<std::int64_t>& value) { return value ? std::to_string(*value) : ""; }

// `format` with the number, if there is one and it says anything.
std::string IfPositive(fmt::format_string<std::int64_t&> format, const std::optional<std::int64_t>& value) {
  std::int64_t n = value.value_or(0);
  return n > 0 ? fmt::format(format, n) : "";
}

std::string Attention(const GgufSummary& s) {
  if (s.heads.empty()) return "";
  std::string out = Range(s.heads) + " heads";
  if (s.head_dim) out += fmt::format(" of {}", *s.head_dim);
  if (s.kv_rank) {
    out += fmt::format(", a latent of {} + {} for keys and values", *s.kv_rank, s.rope_dims.value_or(0));
    out += IfPositive(", one of {} for queries", s.query_rank);
  } else if (!s.kv_heads.empty()) {
    out += fmt::format(", {} for keys and values", Range(s.kv_heads));
  }
  out += IfPositive(", sliding window {}", s.sliding_window);
  return out;
}

std::string Rope(const GgufSummary& s) {
  std::vector<std::string> parts;
  if (s.rope_base) parts.push_back(fmt::format("base {:.10g}", *s.rope_base));
  if (s.rope_dims) parts.push_back(fmt::format("{} dimensions", *s.rope_dims));
  if (!s.rope_scaling.empty() && s.rope_scaling != "none") {
    parts.push_back(Printable(s.rope_scaling) + " scaling" +
                    (s.rope_factor ? fmt::format(" x {:g}", *s.rope_factor) : ""));
  }
  if (s.rope_original_context) parts.push_back(fmt::format("from {}", *s.rope_original_context));
  return fmt::format("{}", fmt::join(parts, ", "));
}

std::string Experts(const GgufSummary& s) {
  std::string out = IfPositive("{} a layer", s.experts);
  if (out.empty()) return "none (dense)";
  out += IfPositive(", {} used a token", s.experts_used);
  if (s.expert_groups.value_or(0) > 1) {
    out += fmt::format(" from {} of {} groups", s.expert_groups_used.value_or(0), *s.expert_groups);
  }
  out += IfPositive(", {} shared", s.experts_shared);
  out += IfPositive(", feed-forward {}", s.expert_feed_forward);
  return out;
}

// "2 <|im_end|>"
std::string Token(const GgufFile& file, const std::optional<std::int64_t>& id) {
  if (!id) return "";
  const auto tokens = file.GetStrings("tokenizer.ggml.tokens");
  const bool listed =
      tokens.ok() && *tokens != nullptr && *id >= 0 && *id < static_cast<std::int64_t>((*tokens)->size());
  return std::to_string(*id) + (listed ? " " + Printable((**tokens)[static_cast<std::size_t>(*id)]) : "");
}

std::string Tokenizer(const GgufSummary& s) {
  if (s.tokenizer.empty()) return "none";
  return Printable(s.tokenizer) + (s.pretokenizer.empty() ? "" : ", splitting as " + Printable(s.pretokenizer));
}

std::string Upcycled(const GgufSummary& s) {
  if (s.upcycled_from.empty() && !s.upcycle_seed) return "";
  return fmt::format("{}{}{}", s.upcycled_from.empty() ? "a dense model" : Printable(s.upcycled_from),
                     s.upcycle_seed ? fmt::format(", seed {}", *s.upcycle_seed) : "",
                     s.upcycle_noise ? fmt::format(", noise {:g}", *s.upcycle_noise) : "");
}

void PrintTypes(const GgufSummary& s) {
  fmt::print("  {:<10}{:>8}{:>12}{:>12}{:>9}\n", "type", "tensors", "weights", "bytes", "share");
  const auto row = [&](std::string_view name, std::int64_t tensors, std::int64_t elements, std::int64_t bytes) {
    const double share =
        s.tensor_bytes > 0 ? 100.0 * static_cast<double>(bytes) / static_cast<double>(s.tensor_bytes) : 0.0;
    fmt::print("  {:<10}{:>8}{:>12}{:>12}{:>7.1f} %\n", name, tensors, Short(elements, ""), Short(bytes, "B"), share);
  };
  std::int64_t tensors = 0;
  for (const auto& use : s.types) {
    row(quant::Info(use.type).name, use.tensors, use.elements, use.bytes);
    tensors += use.tensors;
  }
  if (s.types.size() != 1) row("all", tensors, s.parameters, s.tensor_bytes);
}

void PrintTensors(const GgufFile& file) {
  std::size_t name_width = 4;
  std::size_t shape_width = 5;
  for (const GgufTensor& tensor : file.tensors()) {
    name_width = std::max(name_width, Printable(tensor.name).size());
    shape_width = std::max(shape_width, Shape(tensor).size());
  }
  Section("Tensors (the first number of a shape is the row length)");
  fmt::print("  {:<{}}  {:<7}  {:<{}}  {:>14}\n", "name", name_width, "type", "shape", shape_width, "bytes");
  for (const GgufTensor& tensor : file.tensors()) {
    fmt::print("  {:<{}}  {:<7}  {:<{}}  {:>14}\n", Printable(tensor.name), name_width, quant::Info(tensor.type).name,
               Shape(tensor), shape_width, tensor.data.size());
  }
}

void PrintText(const GgufFile& file, const GgufSummary& s, bool tensors) {
  fmt::print("{}\n", s.name.empty() ? Printable(file.path(), 200) : Printable(s.name, 200));
  fmt::print("  {}: GGUF version {}, {}{}\n", Printable(file.path(), 200), file.version(),
             Short(static_cast<std::int64_t>(file.file_bytes()), "B"),
             file.paths().size() > 1 ? fmt::format(" in {} files", file.paths().size()) : "");
  Section("Model");
  Line("family", FamilyOf(s));
  Line("architecture", s.architecture.empty() ? "not given" : Printable(s.architecture));
  Line("parameters", Short(s.parameters, ""));
  if (s.active_parameters != s.parameters) Line("active a token", Short(s.active_parameters, ""));
  Line("layers", Text(s.layers));
  Line("encoder layers", Text(s.encoder_layers));
  Line("embedding", Text(s.embedding));
  Line("feed-forward", Range(s.feed_forward));
  Line("experts", Experts(s));
  Line("attention", Attention(s));
  Line("context", Text(s.context));
  Line("rope", Rope(s));
  Line("upcycled from", Upcycled(s));
  Section("Tokenizer");
  Line("kind", Tokenizer(s));
  Line("vocabulary", Text(s.vocabulary));
  Line("begin of text", Token(file, s.bos));
  Line("end of text", Token(file, s.eos));
  Line("chat template", s.chat_template.empty() ? "none" : Printable(FirstLine(s.chat_template)));
  Section("Weights");
  Line("file type", s.file_type);
  PrintTypes(s);
  if (tensors) PrintTensors(file);
  std::fflush(stdout);
  for (const std::string& complaint : s.complaints) {
    fmt::print(stderr, "quorum: note: {}\n", Printable(complaint, 1000));
  }
}

template <typename T>
void Put(Json& json, const char* key, const std::optional<T>& value) {
  if (value) json[key] = *value;
}
void Put(Json& json, const char* key, const std::string& value) {
  if (!value.empty()) json[key] = value;
}
// A number, or a list where layers differ.
void Put(Json& json, const char* key, const std::vector<std::int64_t>& values) {
  if (values.size() == 1) json[key] = values[0];
  if (values.size() > 1) json[key] = values;
}

Json ToJson(const GgufFile& file, const GgufSummary& s, bool tensors) {
  Json json;
  json["files"] = file.paths();
  json["bytes"] = file.file_bytes();
  json["gguf_version"] = file.version();
  Put(json, "name", s.name);
  Put(json, "family", FamilyOf(s));
  Put(json, "architecture", s.architecture);
  Put(json, "size_label", s.size_label);
  json["parameters"] = s.parameters;
  json["active_parameters"] = s.active_parameters;
  Put(json, "layers", s.layers);
  Put(json, "encoder_layers", s.encoder_layers);
  Put(json, "embedding", s.embedding);
  Put(json, "feed_forward", s.feed_forward);
  Put(json, "heads", s.heads);
  Put(json, "kv_heads", s.kv_heads);
  Put(json, "head_dim", s.head_dim);
  Put(json, "kv_rank", s.kv_rank);
  Put(json, "query_rank", s.query_rank);
  Put(json, "sliding_window", s.sliding_window);
  Put(json, "context", s.context);
  Json rope = Json::object();
  Put(rope, "base", s.rope_base);
  Put(rope, "dimensions", s.rope_dims);
  Put(rope, "scaling", s.rope_scaling);
  Put(rope, "factor", s.rope_factor);
  Put(rope, "original_context", s.rope_original_context);
  json["rope"] = rope;
  json["experts"] = s.experts.value_or(0);
  Put(json, "experts_used", s.experts_used);
  Put(json, "experts_shared", s.experts_shared);
  Put(json, "expert_groups", s.expert_groups);
  Put(json, "expert_groups_used", s.expert_groups_used);
  Put(json, "expert_feed_forward", s.expert_feed_forward);
  Put(json, "upcycled_from", s.upcycled_from);
  Put(json, "upcycle_seed", s.upcycle_seed);
  Put(json, "upcycle_noise", s.upcycle_noise);
  Put(json, "tokenizer", s.tokenizer);
  Put(json, "pretokenizer", s.pretokenizer);
  Put(json, "vocabulary", s.vocabulary);
  Put(json, "bos_token_id", s.bos);
  Put(json, "eos_token_id", s.eos);
  Put(json, "chat_template", s.chat_template);
  Put(json, "file_type", s.file_type);
  json["types"] = Json::array();
  for (const auto& use : s.types) {
    json["types"].push_back({{"type", quant::Info(use.type).name},
                             {"tensors", use.tensors},
                             {"weights", use.elements},
                             {"bytes", use.bytes}});
  }
  if (tensors) {
    json["tensors"] = Json::array();
    for (const GgufTensor& tensor : file.tensors()) {
      json["tensors"].push_back({{"name", tensor.name},
                                 {"type", quant::Info(tensor.type).name},
                                 {"shape", tensor.dims},
                                 {"bytes", tensor.data.size()}});
    }
  }
  json["complaints"] = s.complaints;
  return json;
}

int Run(const Flags& flags) {
  const std::string& path = flags.model.path;
  if (engine::IsFolder(path)) return InspectFolder(path, flags.tensors, flags.json);
  const auto file = GgufFile::Open(path);
  if (!file.ok()) return Fail(file.error());
  const GgufSummary summary = quant::Summarize(*file);
  if (flags.json) {
    const Json json = ToJson(*file, summary, flags.tensors);
    fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
  } else {
    PrintText(*file, summary, flags.tensors);
  }
  return 0;
}

}  // namespace

void AddInspect(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("inspect", "Show what a model file holds");
  AddModelOption(*command, flags->model);
  command->add_flag("--tensors", flags->tensors, "List every tensor");
  command->add_flag("--json", flags->json, "Print JSON");
  command->callback([flags, &action] { action = [flags] { return Run(*flags); }; });
}

}  // namespace quorum::cli
