// The tensors of a GGUF file, found so that none is ignored by accident.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "engine/base/result.h"
#include "engine/model_tensors.h"
#include "quant/gguf.h"

namespace quorum::engine {

/// Rows [first, first + count) of a matrix. REQUIRES: it has them.
inline TensorRef Rows(const TensorRef& matrix, std::int64_t first, std::int64_t count) {
  TensorRef part = matrix;
  part.rows = count;
  part.data = matrix.data.subspan(static_cast<std::size_t>(first * matrix.row_bytes()),
                                  static_cast<std::size_t>(count * matrix.row_bytes()));
  return part;
}

/// Finds tensors by name and remembers which, so that the ones nobody asked for can be refused.
class TensorFinder {
 public:
  explicit TensorFinder(const quant::GgufFile& file) : file_(file) {}

  const quant::GgufTensor* Find(const std::string& name) {
    const quant::GgufTensor* tensor = file_.FindTensor(name);
    if (tensor != nullptr) used_.insert(name);
    return tensor;
  }

  Error Fault(const TensorRef& tensor, const std::string& what) const {
    return InvalidArgument(fmt::format("{}: tensor '{}' {}", file_.path(), tensor.name, what));
  }

  /// The first that there is.
  std::string FirstOf(std::initializer_list<std::string> names) {
    for (const std::string& name : names) {
      if (file_.FindTensor(name) != nullptr) return name;
    }
    return *names.begin();
  }

  /// Axes of a tensor; 0: the file has none of that name.
  std::size_t Axes(const std::string& name) const {
    const quant::GgufTensor* tensor = file_.FindTensor(name);
    return tensor == nullptr ? 0 : tensor->dims.size();
  }

  Result<TensorRef> Required(const std::string& name) {
    QUORUM_ASSIGN(std::optional<TensorRef> tensor, Optional(name));
    if (!tensor) return InvalidArgument(fmt::format("{}: tensor '{}' is missing", file_.path(), name));
    return *std::move(tensor);
  }

  /// A vector or a matrix.
  Result<std::optional<TensorRef>> Optional(const std::string& name) {
    const quant::GgufTensor* tensor = Find(name);
    if (tensor == nullptr) return std::optional<TensorRef>();
    QUORUM_TRY(CheckAxes(*tensor, 2));
    return std::optional<TensorRef>(TensorRef{name, tensor->type, tensor->dim(1), tensor->dim(0), tensor->data});
  }

  /// Matrix `i` of a tensor {cols, rows, count}.
  Result<TensorRef> Slice(const std::string& name, std::int64_t i, std::int64_t count) {
    const quant::GgufTensor* tensor = Find(name);
    if (tensor == nullptr) return InvalidArgument(fmt::format("{}: tensor '{}' is missing", file_.path(), name));
    QUORUM_TRY(CheckAxes(*tensor, 3));
    if (tensor->dim(2) != count) {
      return InvalidArgument(
          fmt::format("{}: tensor '{}' holds {} matrices, expected {}", file_.path(), name, tensor->dim(2), count));
    }
    const std::size_t bytes = tensor->data.size() / static_cast<std::size_t>(count);
    return TensorRef{name, tensor->type, tensor->dim(1), tensor->dim(0),
                     tensor->data.subspan(static_cast<std::size_t>(i) * bytes, bytes)};
  }

  /// Row `i` of a matrix with one row an expert.
  Result<std::optional<TensorRef>> OptionalRow(const std::string& name, std::int64_t i, std::int64_t count) {
    QUORUM_ASSIGN(const std::optional<TensorRef> all, Optional(name));
    if (!all) return std::optional<TensorRef>();
    if (all->rows != count) {
      return Fault(*all, fmt::format("has {} rows, expected {}", all->rows, count));
    }
    return std::optional<TensorRef>(Rows(*all, i, 1));
  }

  /// Marks the tensors of block `block` and those behind it as used, where they are for multi-token prediction.
  void IgnorePredictionBlocks(std::size_t block) {
    for (; file_.FindTensor(fmt::format("blk.{}.nextn.eh_proj.weight", block)) != nullptr; ++block) {
      const std::string prefix = fmt::format("blk.{}.", block);
      for (const quant::GgufTensor& tensor : file_.tensors()) {
        if (tensor.name.starts_with(prefix)) used_.insert(tensor.name);
      }
    }
  }

  Status AllUsed() const {
    for (const quant::GgufTensor& tensor : file_.tensors()) {
      if (!used_.contains(tensor.name)) {
        return Unsupported(
            fmt::format("{}: tensor '{}' belongs to a feature that Quorum does not have for this "
                        "architecture",
                        file_.path(), tensor.name));
      }
    }
    return {};
  }

 private:
  Status CheckAxes(const quant::GgufTensor& tensor, std::size_t most) const {
    for (std::size_t i = most; i < tensor.dims.size(); ++i) {
      if (tensor.dims[i] != 1) {
        return InvalidArgument(
            fmt::format("{}: tensor '{}' has {} axes, expected {}", file_.path(), tensor.name, i + 1, most));
      }
    }
    return {};
  }

  const quant::GgufFile& file_;
  std::set<std::string, std::less<>> used_;
};

}  // namespace quorum::engine
