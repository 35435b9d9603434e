// Logits of a text on disk, so that a large reference model has to run only once. Little-endian: "QLOGITS1", uint32
// window, uint32 vocabulary, uint64 tokens, the tokens as int32, then for each scored position float32 highest logit,
// float32 step and a uint16 for each token: logit = highest - step * code. The rounding costs a KL divergence below
// 1e-6.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/result.h"

namespace quorum::engine {

struct LogitHeader {
  std::uint32_t window = 0;
  std::uint32_t vocab = 0;
  std::vector<std::int32_t> tokens;

  /// Positions that are scored: all but the first of each window.
  std::int64_t positions() const;
};

/// Writes rows in order. Not thread-safe. Until it is finished nothing lies at `path`.
class LogitWriter {
 public:
  /// Errors: as NewFile's.
  static Result<LogitWriter> Create(const std::string& path, const LogitHeader& header, bool replace);
  Status Add(std::span<const float> logits);
  /// Error kInvalidArgument when something could not be written, kInternal when rows are missing.
  Status Finish();

 private:
  struct File;
  explicit LogitWriter(std::shared_ptr<File> file) : file_(std::move(file)) {}
  std::shared_ptr<File> file_;
};

/// Reads a file's bytes, which outlive it.
class LogitReader {
 public:
  /// Errors: kInvalidArgument (no such file, impossible numbers), kDataLoss (cut short).
  static Result<LogitReader> Parse(std::span<const std::byte> bytes);
  const LogitHeader& header() const { return header_; }
  /// Row `i` of positions(). REQUIRES: it exists; `out` has vocab values.
  void Row(std::int64_t i, std::span<float> out) const;

 private:
  LogitHeader header_;
  std::span<const std::byte> rows_;
};

}  // namespace quorum::engine
