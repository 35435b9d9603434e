#include "cli/eval_table.h"

#include <stdlib.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/eval_report.h"
#include "engine/base/mapped_file.h"

namespace quorum::cli {
namespace {

using Json = nlohmann::ordered_json;

/// Decoded tokens a second, after a short prompt.
Result<double> DecodeSpeed(Stepper& stepper, const Text& text) {
  const std::size_t most = std::min<std::size_t>(text.tokens.size(), static_cast<std::size_t>(text.window));
  const std::size_t prompt = std::min<std::size_t>(16, most / 2);
  const std::size_t count = std::min<std::size_t>(48, most - prompt);
  if (prompt == 0 || count == 0) return 0.0;
  std::vector<float> logits(stepper.vocab());
  QUORUM_TRY(stepper.Step(text.tokens, 0, prompt, true, logits));
  const auto begin = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < count; ++i) QUORUM_TRY(stepper.Step(text.tokens, prompt + i, 1, true, logits));
  return static_cast<double>(count) / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// A file in the temporary folder that goes when its owner does.
class TemporaryPath {
 public:
  TemporaryPath() {
    std::FILE* file = nullptr;
    path_ = "/tmp/quorum-eval-XXXXXX";
    const int fd = ::mkstemp(path_.data());
    if (fd >= 0) file = ::fdopen(fd, "wb");
    if (file != nullptr) std::fclose(file);
  }
  TemporaryPath(const TemporaryPath&) = delete;
  TemporaryPath& operator=(const TemporaryPath&) = delete;
  ~TemporaryPath() { std::remove(path_.c_str()); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace

Status CompareModels(const EvalFlags& flags, const Text& text) {
  std::vector<std::string> paths = {flags.model.path};
  paths.insert(paths.end(), flags.compare.begin(), flags.compare.end());
  const std::vector<std::string> choices = flags.top_k.empty() ? std::vector<std::string>{""} : flags.top_k;
  const TemporaryPath logits_path;
  std::optional<MappedFile> logits_file;
  std::optional<engine::LogitReader> logits;
  Json rows = Json::array();
  if (!flags.json) {
    fmt::print("{}{} tokens in windows of {}. ", SettingsText(flags), text.tokens.size(), text.window);
    fmt::print("KL divergence (nats) and top-1 agreement are from the first row, MB those of the weights in memory.\n");
    fmt::print("{:36} {:>7} {:>10} {:>40} {:>10} {:>8} {:>10} {:>10}\n", "model", "experts", "MB", "perplexity", "KL",
               "top-1 %", "prefill/s", "decode/s");
  }
  for (const std::string& path : paths) {
    ModelFlags model_flags = flags.model;
    model_flags.path = path;
    model_flags.demo = flags.model.demo && path == flags.model.path;
    QUORUM_ASSIGN(Stepper stepper, Stepper::Load(model_flags, text.window, {}));
    const engine::ExpertShape shape = stepper.model().experts();
    for (const std::string& choice : choices) {
      if (shape.most() == 0 && choice != choices.front()) continue;  // dense: one row
      std::int32_t visited = 0;                                      // experts a token
      if (shape.most() > 0) {
        QUORUM_ASSIGN(const engine::ExpertRequest request, ExpertsOf(flags, choice));
        QUORUM_TRY(stepper.Choose(request));
        visited = request.dense ? shape.most() : request.top_k > 0 ? request.top_k : shape.top_k;
      }
      const bool first = !logits;
      std::optional<engine::LogitWriter> writer;
      if (first) {
        QUORUM_ASSIGN(writer, engine::LogitWriter::Create(logits_path.path(),
                                                          {static_cast<std::uint32_t>(text.window),
                                                           static_cast<std::uint32_t>(stepper.vocab()), text.tokens},
                                                          true));
      }
      ReferenceLogits reference;
      if (!first) reference.file = &*logits;
      QUORUM_ASSIGN(const Scores scores, Score(stepper, text, reference, writer ? &*writer : nullptr));
      QUORUM_ASSIGN(const double decode, DecodeSpeed(stepper, text));
      if (first) {
        QUORUM_TRY(writer->Finish());
        QUORUM_ASSIGN(logits_file, MappedFile::Open(logits_path.path()));
        QUORUM_ASSIGN(logits, engine::LogitReader::Parse(logits_file->bytes()));
      }
      const double prefill = static_cast<double>(scores.losses.size()) / scores.seconds;
      const auto bytes = static_cast<double>(stepper.model().memory().weights);
      if (flags.json) {
        Json row = ToJson(model_flags.Name(), flags, stepper, text, scores);
        row["experts"] = visited > 0 ? Json(visited) : Json();
        if (!first) row["reference"] = {{"model", rows[0]["model"]}, {"experts", rows[0]["experts"]}};
        row["weight_bytes"] = stepper.model().memory().weights;
        row["prefill_tokens_per_second"] = prefill;
        row["decode_tokens_per_second"] = decode;
        rows.push_back(std::move(row));
        continue;
      }
      std::string name = model_flags.Name();
      if (name.size() > 36) name = "..." + name.substr(name.size() - 33);
      fmt::print(
          "{:36} {:>7} {:10.1f} {:>40} {:>10} {:>8} {:10.1f} {:10.1f}\n", name,
          visited > 0 ? std::to_string(visited) : "dense", bytes * 1e-6, Perplexity(engine::MeanOf(scores.losses)),
          scores.difference ? fmt::format("{:.6f}", scores.difference->kl.mean) : "",
          scores.difference ? fmt::format("{:.2f}", 100 * scores.difference->same_top.fraction) : "", prefill, decode);
      std::fflush(stdout);
    }
  }
  if (flags.json) fmt::print("{}\n", rows.dump(2));
  return {};
}

}  // namespace quorum::cli
