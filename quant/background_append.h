// Writing and hashing beside the work that makes the bytes. For GgufWriter::WriteResumable.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "engine/base/result.h"
#include "quant/resumable_file.h"

namespace quorum::quant {

/// Appends to a file and adds to a hash, in a thread of its own; in the caller's where the system gives none. Nobody
/// else may use the two until Finish or the destructor has returned. Holds two pieces of memory of kPiece at the most.
class BackgroundAppend {
 public:
  static constexpr std::size_t kPiece = std::size_t{4} << 20;

  BackgroundAppend(ResumableFile& file, Sha256& hash);
  BackgroundAppend(const BackgroundAppend&) = delete;
  BackgroundAppend& operator=(const BackgroundAppend&) = delete;
  ~BackgroundAppend();

  /// Takes a copy, for which it waits until there is room. Errors: those of writing what was added before.
  Status Add(std::span<const std::byte> bytes);
  /// Waits until all is written.
  Status Finish();

 private:
  Status Write(std::span<const std::byte> bytes);
  Status Hand();
  void Run();
  void Stop();

  ResumableFile& file_;
  Sha256& hash_;
  std::vector<std::byte> filling_;  // the caller's

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::byte> waiting_;  // for the thread; empty: there is room
  bool stop_ = false;
  std::optional<Error> failed_;

  std::thread thread_;
};

}  // namespace quorum::quant
