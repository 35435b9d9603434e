// What the bodies of all requests may take together: memory, and workers that wait for the rest of one. Small bodies
// are collected before a worker sees them (ConnectionPoller) and need no part of this, so that large or slow ones
// cannot keep them out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>

namespace quorum::server {

/// Thread-safe.
class BodyRoom {
 public:
  BodyRoom(std::uint64_t max_bytes, std::size_t max_readers) : max_bytes_(max_bytes), max_readers_(max_readers) {}

  /// What one request takes. Given back at its end, when nothing made of its body is left.
  class Part {
   public:
    explicit Part(BodyRoom& room) : room_(room) {}
    ~Part();
    Part(const Part&) = delete;
    Part& operator=(const Part&) = delete;

    /// False: there is no room for `bytes` more.
    bool Take(std::uint64_t bytes);
    /// False: as many workers as may do so wait for bodies. Reading ends with EndReading().
    bool BeginReading();
    void EndReading();

   private:
    BodyRoom& room_;
    std::uint64_t bytes_ = 0;
    bool reading_ = false;
  };

 private:
  const std::uint64_t max_bytes_;
  const std::size_t max_readers_;
  std::mutex mutex_;
  std::uint64_t bytes_ = 0;
  std::size_t readers_ = 0;
};

}  // namespace quorum::server
