// Quantizes a model's tensors into a GGUF file: chooses each tensor's type, reads rows as floats, encodes them on
// several threads and streams the result, so that memory holds a few megabytes however large the model is.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "quant/encode.h"
#include "quant/gguf.h"
#include "quant/gguf_writer.h"
#include "quant/imatrix.h"
#include "quant/quantize_plan.h"

namespace quorum::quant {

/// A tensor to be quantized. Rows are counted through all matrices of a stack. Functions are called from several
/// threads.
struct SourceTensor {
  std::string name;          // as the GGUF file will have it
  DType type = DType::kF32;  // in the source
  std::vector<std::int64_t> dims;
  /// Writes rows [first, first + count) as floats to `dst`, count * dims[0] values. Null for values that are no
  /// weights.
  std::function<void(std::int64_t first, std::int64_t count, float* dst)> read;
  /// The tensor in its own type, for copying; empty where there is none.
  std::span<const std::byte> raw;
  /// Gives back the memory behind rows that nobody needs any more. May be null.
  std::function<void(std::int64_t first, std::int64_t count)> release;

  std::int64_t rows() const;
};

/// Tensors of a GGUF file, which must outlive them.
std::vector<SourceTensor> SourcesOf(const GgufFile& file);

struct QuantizeOptions {
  QuantizePlan plan;
  const ImportanceMatrix* importance = nullptr;  // null: all columns count alike
  int threads = 1;
  bool replace = false;
  bool requantize = false;  // also tensors that the source has quantized
  bool verify = false;      // read the file again when it is on the disk
  bool measure = false;     // the error of each tensor, which takes some more time
  GgufWriter::Note note;    // is told of unfinished work that is gone on with or given up; may be null
};

/// What became of one tensor of the file that was written.
struct TensorReport {
  std::string name;
  Encoding encoding;
  Encoding wanted;  // what the plan says: another type where rows do not fit its blocks (FitToRow)
  std::uint64_t bytes = 0;
  std::int64_t elements = 0;
  std::int64_t columns = 0;     // of a row
  bool copied = false;          // the source's bytes
  bool requantized = false;     // the source had it quantized in another type
  double squares = 0;           // sum of x^2; with QuantizeOptions::measure
  double error_squares = 0;     // sum of (x - what the file says)^2
  double weighted_squares = 0;  // the same weighed by the importance of the columns, for tensors that have one
  double weighted_error = 0;
};

struct QuantizeReport {
  std::vector<TensorReport> tensors;
  std::uint64_t file_bytes = 0;
  std::uint64_t data_bytes = 0;  // of them, those behind the metadata
  std::int64_t elements = 0;
  std::string sha256;  // of the tensors' bytes, also in the file
  std::vector<std::string>
      no_importance;  // matrices, or experts as "name[3]", that the importance matrix has nothing about
};

/// Types of all tensors, without writing anything. Where the plan tells the experts of a layer apart, the layer's
/// expert tensors are split: `blk.N.ffn_gate_exps.weight` becomes `blk.N.ffn_gate.E.weight`, and so on for up and down.
/// Errors: kInvalidArgument (a rule of the plan that matches nothing; values with no rows to quantize), kUnsupported (a
/// tensor that is quantized already and `requantize` is not set).
struct TensorChoice {
  const SourceTensor* source = nullptr;
  std::string name;
  std::int64_t first_row = 0;
  std::int64_t rows = 0;
  std::int64_t expert = -1;  // -1: all of them
  std::vector<std::int64_t> dims;
  Encoding encoding;
  Encoding wanted;  // by the plan, before FitToRow
  bool copy = false;
};
Result<std::vector<TensorChoice>> ChooseTypes(const std::vector<SourceTensor>& sources, const QuantizeOptions& options);

/// Whether `importance` can be of the model with these tensors. Returns the entries' names that no tensor has, where
/// they may be of another conversion. Errors: kInvalidArgument, naming the entry, for one of another size than its
/// tensor or of a layer beyond the last, and when no entry names a tensor.
Result<std::vector<std::string>> CheckImportance(const ImportanceMatrix& importance,
                                                 const std::vector<SourceTensor>& sources);

/// What QuantizeTensors with the same arguments would write.
struct PlannedSize {
  std::uint64_t tensor_bytes = 0;
  std::int64_t elements = 0;
  std::uint64_t file_bytes = 0;
};
Result<PlannedSize> SizeOf(GgufWriter writer, const std::vector<SourceTensor>& sources, const QuantizeOptions& options);

/// Writes `dst` with the metadata that `writer` has and the tensors of `sources`. Adds `quorum.quantize.*` keys, the
/// checksum of the tensors among them. An interrupted run leaves `dst`.partial, and a run with the same arguments goes
/// on behind the last tensor in it. Errors: those of ChooseTypes and GgufWriter::WriteResumable; kInvalidArgument for a
/// weight that is not finite.
Result<QuantizeReport> QuantizeTensors(GgufWriter& writer, const std::vector<SourceTensor>& sources,
                                       const QuantizeOptions& options, const std::string& dst,
                                       const GgufWriter::Progress& progress = {});

/// Copies the metadata of a GGUF file, without what speaks of its parts and alignment.
void CopyMetadata(const GgufFile& file, GgufWriter& writer);

}  // namespace quorum::quant
