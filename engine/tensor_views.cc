#include "engine/tensor_views.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "engine/base/check.h"
#include "quant/quantize.h"

namespace quorum::engine {
namespace {

using quant::DType;

std::shared_ptr<const TensorRef> Share(const TensorRef& matrix) { return std::make_shared<const TensorRef>(matrix); }

class StridedRows final : public RowSource {
 public:
  StridedRows(const TensorRef& matrix, std::int64_t first, std::int64_t count, std::int64_t step)
      : matrix_(Share(matrix)), first_(first), count_(count), step_(step) {}

  void Read(std::int64_t first, std::int64_t count, std::byte* dst) const override {
    if (step_ == 1) {
      std::vector<std::byte> room;
      const std::byte* rows = matrix_->Rows(first_ + first, count, room);
      std::memcpy(dst, rows, static_cast<std::size_t>(count * matrix_->row_bytes()));
      return;
    }
    std::vector<std::byte> room;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::byte* row = matrix_->Rows(first_ + (first + i) * step_, 1, room);
      std::memcpy(dst + i * matrix_->row_bytes(), row, static_cast<std::size_t>(matrix_->row_bytes()));
    }
  }

  std::vector<std::span<const std::byte>> Bytes(std::int64_t first, std::int64_t count) const override {
    const std::int64_t begin = first * step_;
    const std::int64_t end = std::min((first + count) * step_, (count_ - 1) * step_ + 1);
    return matrix_->FileParts(first_ + begin, end - begin);
  }

  std::optional<DType> Smaller() const override { return matrix_->source ? matrix_->source->Smaller() : std::nullopt; }

 private:
  std::shared_ptr<const TensorRef> matrix_;
  std::int64_t first_, count_, step_;
};

class StridedEntries final : public RowSource {
 public:
  StridedEntries(const TensorRef& vector, std::int64_t first, std::int64_t count, std::int64_t step)
      : vector_(Share(vector)), first_(first), count_(count), step_(step), size_(quant::Info(vector.type).bytes) {}

  void Read(std::int64_t, std::int64_t, std::byte* dst) const override {
    std::vector<std::byte> room;
    const std::byte* src = vector_->Rows(0, 1, room) + first_ * size_;
    for (std::int64_t i = 0; i < count_; ++i) {
      std::memcpy(dst + i * size_, src + i * step_ * size_, static_cast<std::size_t>(size_));
    }
  }

  std::vector<std::span<const std::byte>> Bytes(std::int64_t, std::int64_t) const override {
    return vector_->FileParts(0, vector_->rows);
  }

 private:
  std::shared_ptr<const TensorRef> vector_;
  std::int64_t first_, count_, step_, size_;
};

/// Row r of the transpose is column r: read in strips, so that a line of the file is used whole.
class TransposedRows final : public RowSource {
 public:
  explicit TransposedRows(const TensorRef& matrix) : matrix_(Share(matrix)), size_(quant::Info(matrix.type).bytes) {}

  void Read(std::int64_t first, std::int64_t count, std::byte* dst) const override {
    std::vector<std::byte> room;
    const auto size = static_cast<std::size_t>(size_);
    for (std::int64_t c = 0; c < matrix_->rows; ++c) {
      const std::byte* src = matrix_->Rows(c, 1, room) + first * size_;
      for (std::int64_t r = 0; r < count; ++r) {
        std::memcpy(dst + (r * matrix_->rows + c) * size_, src + r * size_, size);
      }
    }
  }

  std::vector<std::span<const std::byte>> Bytes(std::int64_t first, std::int64_t count) const override {
    if (first + count < matrix_->cols) return {};
    return matrix_->FileParts(0, matrix_->rows);
  }

 private:
  std::shared_ptr<const TensorRef> matrix_;
  std::int64_t size_;
};

class ConvertedRows final : public RowSource {
 public:
  ConvertedRows(const TensorRef& matrix, DType type) : matrix_(Share(matrix)), type_(type) {}

  void Read(std::int64_t first, std::int64_t count, std::byte* dst) const override {
    std::vector<std::byte> room;
    std::vector<float> row(static_cast<std::size_t>(matrix_->cols));
    const std::byte* src = matrix_->Rows(first, count, room);
    const std::int64_t bytes = quant::BytesOf(type_, matrix_->cols);
    for (std::int64_t i = 0; i < count; ++i) {
      QUORUM_CHECK(quant::Dequantize(matrix_->type, src + i * matrix_->row_bytes(), row.data(), matrix_->cols));
      QUORUM_CHECK(quant::Quantize(type_, row.data(), dst + i * bytes, matrix_->cols));
    }
  }

  std::vector<std::span<const std::byte>> Bytes(std::int64_t first, std::int64_t count) const override {
    return matrix_->FileParts(first, count);
  }

 private:
  std::shared_ptr<const TensorRef> matrix_;
  DType type_;
};

}  // namespace

TensorRef RowsOf(const TensorRef& matrix, std::string name, std::int64_t first, std::int64_t count, std::int64_t step) {
  QUORUM_CHECK(first >= 0 && count >= 1 && step >= 1 && first + (count - 1) * step < matrix.rows);
  TensorRef view{std::move(name), matrix.type, count, matrix.cols, {}, {}};
  if (matrix.source == nullptr && step == 1) {
    view.data = matrix.data.subspan(static_cast<std::size_t>(first * matrix.row_bytes()),
                                    static_cast<std::size_t>(count * matrix.row_bytes()));
  } else {
    view.source = std::make_shared<StridedRows>(matrix, first, count, step);
  }
  return view;
}

TensorRef EntriesOf(const TensorRef& vector, std::string name, std::int64_t first, std::int64_t count,
                    std::int64_t step) {
  QUORUM_CHECK(IsUnquantized(vector.type) && vector.rows == 1);
  QUORUM_CHECK(first >= 0 && count >= 1 && step >= 1 && first + (count - 1) * step < vector.cols);
  return {std::move(name), vector.type, 1, count, {}, std::make_shared<StridedEntries>(vector, first, count, step)};
}

TensorRef Transposed(const TensorRef& matrix) {
  QUORUM_CHECK(IsUnquantized(matrix.type));
  return {matrix.name, matrix.type, matrix.cols, matrix.rows, {}, std::make_shared<TransposedRows>(matrix)};
}

TensorRef ConvertedTo(const TensorRef& matrix, DType type) {
  if (matrix.type == type) return matrix;
  QUORUM_CHECK(quant::CanQuantize(type) && matrix.cols % quant::Info(type).block == 0);
  return {matrix.name, type, matrix.rows, matrix.cols, {}, std::make_shared<ConvertedRows>(matrix, type)};
}

bool IsUnquantized(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16 || type == DType::kF64;
}

}  // namespace quorum::engine
