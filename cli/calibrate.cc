#include "cli/calibrate.h"

#include <filesystem>
#include <vector>

#include "cli/long_work.h"
#include "cli/model_flags.h"
#include "cli/text_files.h"
#include "engine/calibration.h"
#include "engine/model_files.h"

namespace quorum::cli {

Result<quant::ImportanceMatrix> Calibrate(const std::string& model, const std::string& text, int threads,
                                          std::span<const quant::SourceTensor> sources) {
  QUORUM_ASSIGN(const auto files, engine::ModelFiles::Open(model));
  QUORUM_ASSIGN(const engine::LoadedTokenizer loaded, LoadModelTokenizer(model, files->spec().vocab_size));
  const tok::Tokenizer& tokenizer = *loaded.tokenizer;
  QUORUM_ASSIGN(const Texts texts, ReadTexts({text}, tokenizer, false));
  engine::ThreadPool pool(threads);
  engine::CalibrationOptions options;
  options.pool = &pool;
  QUORUM_ASSIGN(const std::vector<tok::TokenId> trial, tokenizer.Encode("a", {.add_special = true}));
  if (tokenizer.bos() && !trial.empty() && trial.front() == *tokenizer.bos()) options.bos = tokenizer.bos();
  options.release = [&](std::span<const std::byte> bytes) { return files->Release(bytes); };
  options.progress = [](std::int64_t done, std::int64_t total) {
    return ShowCount("calibrating: windows of all layers", done, total);
  };
  QUORUM_ASSIGN(quant::ImportanceMatrix matrix,
                engine::Calibrate(files->spec(), files->tensors(), sources, texts.texts.front().tokens, options));
  QUORUM_TRY(files->CheckIntact());
  matrix.datasets = {std::filesystem::path(text).filename().string()};
  return matrix;
}

}  // namespace quorum::cli
