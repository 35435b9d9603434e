// Reads the body of one request from its connection: delimited by Content-Length or by chunks (RFC 9112 7.1), never
// beyond a limit, never slower than a deadline.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "server/connection.h"
#include "server/request_head.h"

namespace quorum::server {

struct BodyLimits {
  std::uint64_t max_bytes = 32ULL << 20;
  std::chrono::milliseconds idle_timeout{15'000};  // without a byte
  std::chrono::milliseconds total_timeout{120'000};
};

class BodyReader {
 public:
  enum class State { kReading, kComplete, kTooLarge, kMalformed, kTimeout, kClosed };

  /// Sends "100 Continue" before the first byte is awaited if the client asked for it.
  BodyReader(Connection& connection, const RequestHead& head, const BodyLimits& limits);

  /// Up to `size` bytes of the body; 0 when there are no more, and then state() says why.
  std::size_t Read(char* out, std::size_t size);

  State state() const { return state_; }
  bool complete() const { return state_ == State::kComplete; }

 private:
  bool MoreBytes();  // waits for more received bytes; false (and state_) if none come
  bool NextChunk();  // reads the chunk-size line (and what ends the chunk before it)
  bool ReadLine(std::size_t max, std::size_t* length);  // finds a CR LF within `max` bytes of received()

  Connection& connection_;
  const BodyLimits limits_;
  const bool chunked_;
  bool send_continue_;
  bool first_chunk_ = true;
  std::uint64_t left_;  // bytes of the body, or of the current chunk, still to come
  std::uint64_t total_ = 0;
  std::chrono::steady_clock::time_point deadline_;
  State state_ = State::kReading;
};

}  // namespace quorum::server
