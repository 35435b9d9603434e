// A model on disk in whichever format: the one place where formats are told apart.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "engine/hf_family.h"
#include "engine/model_spec.h"
#include "engine/model_tensors.h"
#include "quant/gguf.h"

namespace quorum::engine {

/// What it is and where its tensors lie. Owns the mappings that the tensors point into. Immutable.
class ModelFiles {
 public:
  /// `path`: a GGUF file (of a split model the first) or a Hugging Face folder.
  /// Errors: those of GgufFile::Open, SpecFromGguf and TensorsFromGguf, or of OpenHfFolder, SpecFromHf and
  /// TensorsFromHf.
  static Result<std::unique_ptr<ModelFiles>> Open(const std::string& path);

  const ModelSpec& spec() const { return spec_; }
  const ModelTensors& tensors() const { return tensors_; }
  /// The files with the weights.
  const std::vector<std::string>& paths() const;
  /// Null for a folder.
  const quant::GgufFile* gguf() const { return gguf_.get(); }

  /// Gives the pages of some bytes back.
  /// Error kDataLoss when bytes could not be read since the files were opened.
  Status Release(std::span<const std::byte> part) const;
  Status CheckIntact() const;

 private:
  std::unique_ptr<quant::GgufFile> gguf_;  // one of the two
  std::unique_ptr<HfFolder> folder_;
  ModelSpec spec_;
  ModelTensors tensors_;
};

/// Whether `path` is a folder.
bool IsFolder(const std::string& path);

}  // namespace quorum::engine
