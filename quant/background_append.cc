#include "quant/background_append.h"

#include <algorithm>
#include <system_error>
#include <utility>

namespace quorum::quant {

BackgroundAppend::BackgroundAppend(ResumableFile& file, Sha256& hash) : file_(file), hash_(hash) {
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error&) {
    // No more threads: Add does it.
  }
}

BackgroundAppend::~BackgroundAppend() { Stop(); }

Status BackgroundAppend::Add(std::span<const std::byte> bytes) {
  if (!thread_.joinable()) return Write(bytes);
  while (!bytes.empty()) {
    const std::span<const std::byte> part = bytes.first(std::min(bytes.size(), kPiece - filling_.size()));
    filling_.insert(filling_.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
    if (filling_.size() == kPiece) QUORUM_TRY(Hand());
  }
  return {};
}

Status BackgroundAppend::Finish() {
  if (thread_.joinable() && !filling_.empty()) QUORUM_TRY(Hand());
  Stop();
  return failed_ ? Status(*failed_) : Status();
}

Status BackgroundAppend::Write(std::span<const std::byte> bytes) {
  hash_.Add(bytes);
  return file_.Append(bytes);
}

/// Gives what was filled to the thread.
Status BackgroundAppend::Hand() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return waiting_.empty(); });
  if (failed_) return *failed_;
  waiting_.swap(filling_);
  changed_.notify_all();
  return {};
}

void BackgroundAppend::Run() {
  std::vector<std::byte> piece;
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    piece.clear();
    piece.swap(waiting_);
    const bool writing = !failed_;
    changed_.notify_all();
    lock.unlock();
    Status written = writing ? Write(piece) : Status();
    lock.lock();
    if (!written.ok()) failed_ = written.error();
  }
}

/// What was handed over is still written.
void BackgroundAppend::Stop() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

}  // namespace quorum::quant
