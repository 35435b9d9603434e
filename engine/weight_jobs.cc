#include "engine/weight_jobs.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "engine/base/check.h"
#include "engine/kernels/packed_matrix.h"
#include "quant/quantize.h"

namespace quorum::engine {
namespace {

/// Rows of one packing task: whole panels, about 256 KiB of file bytes.
std::int64_t RowsOfTask(const TensorRef& tensor) {
  return std::max<std::int64_t>((256 << 10) / std::max<std::int64_t>(tensor.row_bytes(), 1) / kPanelRows, 1) *
         kPanelRows;
}

/// Rows [first, last) of a matrix with any type that holds weights, as float panels.
Status PackAsFloats(const TensorRef& src, const std::byte* rows, std::int64_t count, std::uint8_t* dst) {
  std::vector<float> floats(static_cast<std::size_t>(count * src.cols));
  QUORUM_CHECK(quant::Dequantize(src.type, rows, floats.data(), count * src.cols));
  return PackMatrix(quant::DType::kF32, floats.data(), count, src.cols, dst);
}

/// Packs `src` (rows, cols) as the matrix (cols, rows).
Status PackTransposed(const TensorRef& src, std::uint8_t* dst) {
  const std::vector<float> values = src.Floats();
  std::vector<float> turned(values.size());
  for (std::int64_t i = 0; i < src.rows; ++i) {
    for (std::int64_t j = 0; j < src.cols; ++j) {
      turned[static_cast<std::size_t>(j * src.rows + i)] = values[static_cast<std::size_t>(i * src.cols + j)];
    }
  }
  const quant::DType type = TransposedType(src.type);
  std::vector<std::byte> stored(static_cast<std::size_t>(quant::BytesOf(type, std::ssize(turned))));
  QUORUM_CHECK(quant::Quantize(type, turned.data(), stored.data(), std::ssize(turned)));  // back to what they were
  return PackMatrix(type, stored.data(), src.cols, src.rows, dst);
}

/// Rows [first, last) of a job: what one thread packs at a time.
struct PackTask {
  std::size_t job;
  std::int64_t first, last;
};

std::vector<PackTask> Split(const std::vector<PackJob>& jobs) {
  std::vector<PackTask> tasks;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    const TensorRef& src = *jobs[i].src;
    const std::int64_t step = jobs[i].kind == PackKind::kTransposed ? src.rows : RowsOfTask(src);
    for (std::int64_t first = 0; first < src.rows; first += step) {
      tasks.push_back({i, first, std::min(src.rows, first + step)});
    }
  }
  return tasks;
}

/// Fills the arena. A job's rows are taken for ExactRows until some are not; what was packed before that is packed
/// again in the end. Which rows a file has is seen nowhere else: looking through all of them first would read it twice.
class Packing {
 public:
  Packing(const std::vector<PackJob>& jobs, std::uint8_t* arena)
      : jobs_(jobs), arena_(arena), tasks_(Split(jobs)), inexact_(jobs.size()), packed_exact_(tasks_.size()) {
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      const bool matrix = jobs[i].kind == PackKind::kMatrix || jobs[i].kind == PackKind::kGateUp;
      inexact_[i] = !matrix || !ExactFormatOf(jobs[i].src->type);
    }
  }

  Status Run(ThreadPool& pool, const PackReleaseFn& release, const PackProgressFn& progress) {
    std::int64_t total = 0;
    for (const PackJob& job : jobs_) {
      total += job.src->file_bytes() + (job.second != nullptr ? job.second->file_bytes() : 0);
    }
    std::vector<std::size_t> all(tasks_.size());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = i;
    std::int64_t done = 0;
    QUORUM_TRY(RunTasks(all, pool, release, [&](std::int64_t bytes) {
      done += bytes;
      return !progress || progress(done, total);
    }));
    std::vector<std::size_t> again;
    for (const std::size_t i : all) {
      if (packed_exact_[i] != 0 && inexact_[tasks_[i].job]) again.push_back(i);
    }
    return RunTasks(again, pool, release, [&](std::int64_t) { return !progress || progress(total, total); });
  }

  std::vector<bool> Exact() const {
    std::vector<bool> exact;
    for (const std::atomic<bool>& inexact : inexact_) exact.push_back(!inexact);
    return exact;
  }

 private:
  /// `report` is told of the file bytes of every batch.
  Status RunTasks(const std::vector<std::size_t>& tasks, ThreadPool& pool, const PackReleaseFn& release,
                  const std::function<bool(std::int64_t)>& report) {
    const std::size_t batch = static_cast<std::size_t>(std::max(32, 4 * pool.size()));
    for (std::size_t begin = 0; begin < tasks.size(); begin += batch) {
      const std::size_t end = std::min(tasks.size(), begin + batch);
      std::atomic<std::size_t> failed = end;
      pool.ParallelFor(static_cast<std::int64_t>(end - begin), [&](std::int64_t i, int) {
        const std::size_t at = begin + static_cast<std::size_t>(i);
        if (!RunTask(tasks[at]).ok()) failed.store(at);
      });
      if (const std::size_t i = failed.load(); i < end) {  // types and shapes alone decide: it fails alike
        return RunTask(tasks[i]).error();
      }
      std::int64_t bytes = 0;
      for (std::size_t i = begin; i < end; ++i) {
        const PackTask& task = tasks_[tasks[i]];
        for (const TensorRef* tensor : {jobs_[task.job].src, jobs_[task.job].second}) {
          if (tensor == nullptr) continue;
          QUORUM_ASSIGN(const std::int64_t part, Release(task, *tensor, release));
          bytes += part;
        }
      }
      if (!report(bytes)) return Error{ErrorCode::kCancelled, "loading was interrupted", {}, {}};
    }
    return {};
  }

  Status RunTask(std::size_t index) {
    const PackTask& task = tasks_[index];
    const PackJob& job = jobs_[task.job];
    const TensorRef& src = *job.src;
    std::uint8_t* dst = arena_ + job.offset;
    const std::int64_t panel = task.first / kPanelRows;
    const std::int64_t count = task.last - task.first;
    std::vector<std::byte> room, second_room;
    const std::byte* rows = src.Rows(task.first, count, room);
    const std::byte* second = job.second == nullptr ? nullptr : job.second->Rows(task.first, count, second_room);
    const auto exact = [&](const std::byte* some) {
      return some == nullptr || ExactRows(src.type, some, count, src.cols);
    };
    std::atomic<bool>& inexact = inexact_[task.job];
    if (!inexact && !(exact(rows) && exact(second))) inexact = true;
    const bool is_exact = !inexact;
    packed_exact_[index] = is_exact ? 1 : 0;
    // The plan refused types without one.
    const PackFormat format = (is_exact ? ExactFormatOf(src.type) : PackFormatOf(src.type)).value_or(PackFormat::kF32);
    switch (job.kind) {
      case PackKind::kMatrix:
        return PackMatrix(src.type, format, rows, count, src.cols, dst + panel * PanelBytes(format, src.cols));
      case PackKind::kTransposed: return PackTransposed(src, dst);  // small, and one task
      case PackKind::kGateUp:
        return PackGateUp(src.type, format, rows, second, count, src.cols,
                          dst + 2 * panel * PanelBytes(format, src.cols));
      case PackKind::kFloatMatrix:
        return PackAsFloats(src, rows, count, dst + panel * PanelBytes(PackFormat::kF32, src.cols));
      case PackKind::kFloats:
        QUORUM_CHECK(
            quant::Dequantize(src.type, rows, reinterpret_cast<float*>(dst) + task.first * src.cols, count * src.cols));
        return {};
      case PackKind::kCopy:
        std::memcpy(dst + task.first * src.row_bytes(), rows, static_cast<std::size_t>(count * src.row_bytes()));
        return {};
    }
    return {};
  }

  /// Gives back what a task has read; returns how many bytes.
  static Result<std::int64_t> Release(const PackTask& task, const TensorRef& tensor, const PackReleaseFn& release) {
    std::int64_t bytes = 0;
    for (const std::span<const std::byte> part : tensor.FileParts(task.first, task.last - task.first)) {
      bytes += std::ssize(part);
      if (release) QUORUM_TRY(release(part));
    }
    return bytes;
  }

  const std::vector<PackJob>& jobs_;
  std::uint8_t* arena_;
  const std::vector<PackTask> tasks_;
  std::vector<std::atomic<bool>> inexact_;  // of each job
  std::vector<std::uint8_t> packed_exact_;  // of each task
};

}  // namespace

quant::DType TransposedType(quant::DType type) {
  return type == quant::DType::kBF16 || type == quant::DType::kF16 ? type : quant::DType::kF32;
}

Result<std::vector<bool>> RunPackJobs(const std::vector<PackJob>& jobs, std::uint8_t* arena, ThreadPool& pool,
                                      const PackReleaseFn& release, const PackProgressFn& progress) {
  Packing packing(jobs, arena);
  QUORUM_TRY(packing.Run(pool, release, progress));
  return packing.Exact();
}

}  // namespace quorum::engine
