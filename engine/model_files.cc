#include "engine/model_files.h"

#include <filesystem>
#include <utility>

#include "engine/model_config.h"

namespace quorum::engine {

bool IsFolder(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path, ignored);
}

Result<std::unique_ptr<ModelFiles>> ModelFiles::Open(const std::string& path) {
  auto files = std::make_unique<ModelFiles>();
  if (IsFolder(path)) {
    QUORUM_ASSIGN(HfFolder folder, OpenHfFolder(path));
    files->folder_ = std::make_unique<HfFolder>(std::move(folder));
    QUORUM_ASSIGN(files->spec_, SpecFromHf(*files->folder_));
    QUORUM_ASSIGN(files->tensors_, TensorsFromHf(*files->folder_, files->spec_));
  } else {
    QUORUM_ASSIGN(quant::GgufFile file, quant::GgufFile::Open(path));
    files->gguf_ = std::make_unique<quant::GgufFile>(std::move(file));
    QUORUM_ASSIGN(files->spec_, SpecFromGguf(*files->gguf_));
    QUORUM_ASSIGN(files->tensors_, TensorsFromGguf(*files->gguf_, files->spec_));
  }
  QUORUM_TRY(files->CheckIntact());
  return files;
}

const std::vector<std::string>& ModelFiles::paths() const {
  return gguf_ != nullptr ? gguf_->paths() : folder_->weights.paths();
}

Status ModelFiles::Release(std::span<const std::byte> part) const {
  if (gguf_ != nullptr) {
    gguf_->Release(part);
  } else {
    folder_->weights.Release(part);
  }
  return CheckIntact();
}

Status ModelFiles::CheckIntact() const {
  return gguf_ != nullptr ? gguf_->CheckIntact() : folder_->weights.CheckIntact();
}

}  // namespace quorum::engine
