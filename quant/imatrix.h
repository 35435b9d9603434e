// Importance matrices as llama.cpp's `llama-imatrix` writes them: for each matrix of a model the sums of squares of
// what its columns were multiplied with, and how many rows those were. Both formats: the older binary one (`.dat`) and
// GGUF files of type "imatrix".
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"

namespace quorum::quant {

struct ImportanceEntry {
  std::vector<float> sums;    // (matrices, columns) sums of squares
  std::vector<float> counts;  // (matrices) rows that went in; one matrix, or one an expert

  std::int64_t matrices() const { return static_cast<std::int64_t>(counts.size()); }
  std::int64_t columns() const { return counts.empty() ? 0 : static_cast<std::int64_t>(sums.size() / counts.size()); }
};

/// By the name of the weight tensor: "blk.0.ffn_down_exps.weight". Immutable when read; safe to share.
class ImportanceMatrix {
 public:
  /// Reads either format; errors name the file, the entry and what is wrong with it: kNotFound, kInvalidArgument,
  /// kDataLoss (cut short).
  static Result<ImportanceMatrix> Open(const std::string& path);
  /// The same from bytes, for tests and fuzzers.
  static Result<ImportanceMatrix> Parse(std::span<const std::byte> bytes, const std::string& name);

  /// Writes the GGUF format, or the older one when `path` ends in ".dat".
  Status Write(const std::string& path, bool replace) const;
  std::string ToDat() const;

  /// Null: nothing is known of this tensor.
  const ImportanceEntry* Find(std::string_view name) const;
  /// Mean squares of the `columns` columns of matrix `i` of `name`; empty where nothing is known of it, also for an
  /// expert that no token visited.
  std::vector<float> Means(std::string_view name, std::int64_t i, std::int64_t columns) const;

  /// Matrices of stacks that no row went into, as "name[3]".
  std::vector<std::string> Unvisited() const;

  std::map<std::string, ImportanceEntry, std::less<>> entries;
  std::vector<std::string> datasets;
  std::int32_t chunks = 0;      // how many windows of text were read
  std::int32_t chunk_size = 0;  // of how many tokens
};

}  // namespace quorum::quant
