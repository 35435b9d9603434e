#include "cli/quantize_source.h"

#include <filesystem>
#include <utility>

#include "engine/base/log.h"
#include "engine/gguf_export.h"
#include "engine/model_config.h"

namespace quorum::cli {

Result<QuantizeSource> QuantizeSource::Open(const std::string& path) {
  QuantizeSource source;
  source.path_ = path;
  if (!engine::IsFolder(path)) {
    QUORUM_ASSIGN(quant::GgufFile file, quant::GgufFile::Open(path));
    source.gguf_ = std::make_unique<quant::GgufFile>(std::move(file));
    source.tensors_ = quant::SourcesOf(*source.gguf_);
    return source;
  }
  QUORUM_ASSIGN(source.folder_, engine::ModelFiles::Open(path));
  const engine::ModelFiles* files = source.folder_.get();
  // A file that is cut short meanwhile is found by Check.
  const auto release = [files](std::span<const std::byte> bytes) { static_cast<void>(files->Release(bytes)); };
  auto tensors = engine::GgufTensorsOf(files->spec(), files->tensors(), release);
  if (!tensors.ok()) return Error{tensors.error().code, path + ": " + tensors.error().message, {}, {}};
  source.tensors_ = std::move(tensors).value();
  return source;
}

Status QuantizeSource::Describe(quant::GgufWriter& writer) const {
  const std::string name = std::filesystem::path(path_).lexically_normal().filename().string();
  if (gguf_ != nullptr) {
    quant::CopyMetadata(*gguf_, writer);
    writer.SetString("quorum.quantize.source", name);
    writer.SetUint64("quorum.quantize.source_bytes", gguf_->file_bytes());
    return {};
  }
  writer.SetString("quorum.quantize.source", name);
  const engine::ModelSpec& spec = folder_->spec();
  QUORUM_TRY(engine::WriteGgufSpec(spec, writer));
  QUORUM_ASSIGN(const bool text, engine::WriteGgufTokenizer(path_, spec.vocab_size, writer));
  if (!text) Log(LogLevel::kWarn, "{} has no tokenizer, so that the new file has none either", path_);
  return {};
}

Result<quant::EqualizeShape> QuantizeSource::Shape() const {
  if (gguf_ != nullptr) {
    QUORUM_ASSIGN(const engine::ModelSpec spec, engine::SpecFromGguf(*gguf_));
    return quant::EqualizeShape{spec.architecture, spec.attention.heads, spec.attention.kv_heads};
  }
  const engine::ModelSpec& spec = folder_->spec();
  return quant::EqualizeShape{engine::GgufArchitectureOf(spec.architecture), spec.attention.heads,
                              spec.attention.kv_heads};
}

Status QuantizeSource::Check(const std::string& dst) const {
  if (gguf_ != nullptr) return gguf_->CheckIntact();
  QUORUM_TRY(folder_->CheckIntact());
  QUORUM_ASSIGN(const quant::GgufFile made, quant::GgufFile::Open(dst));
  return engine::CheckGgufSpec(folder_->spec(), made);
}

}  // namespace quorum::cli
