// What `quorum quantize` reads: a GGUF file, or a Hugging Face folder in GGUF's words.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/model_files.h"
#include "quant/equalize.h"
#include "quant/gguf.h"
#include "quant/gguf_writer.h"
#include "quant/quantize_model.h"

namespace quorum::cli {

class QuantizeSource {
 public:
  /// Errors: those of GgufFile::Open or ModelFiles::Open; kUnsupported for models that GGUF has no words for.
  static Result<QuantizeSource> Open(const std::string& path);

  std::vector<quant::SourceTensor>& tensors() { return tensors_; }
  /// The new file's metadata.
  Status Describe(quant::GgufWriter& writer) const;
  /// What equalization has to know. Errors: those of SpecFromGguf.
  Result<quant::EqualizeShape> Shape() const;
  /// Whether the source's bytes could all be read, and whether `dst`, made of it, is the same model.
  Status Check(const std::string& dst) const;

 private:
  std::string path_;
  std::unique_ptr<quant::GgufFile> gguf_;  // one of the two
  std::unique_ptr<engine::ModelFiles> folder_;
  std::vector<quant::SourceTensor> tensors_;
};

}  // namespace quorum::cli
