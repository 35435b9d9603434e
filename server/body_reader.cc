#include "server/body_reader.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace quorum::server {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kReadAhead = 65536;
constexpr std::size_t kMaxChunkLine = 256;  // size and extensions; ours are never longer than a few digits
constexpr std::size_t kMaxTrailers = 4096;

}  // namespace

BodyReader::BodyReader(Connection& connection, const RequestHead& head, const BodyLimits& limits)
    : connection_(connection),
      limits_(limits),
      chunked_(head.chunked),
      send_continue_(head.expect_continue && head.has_body() && connection.received().empty()),
      left_(head.chunked ? 0 : head.content_length),
      deadline_(Clock::now() + limits.total_timeout) {
  if (!head.has_body()) state_ = State::kComplete;
  if (!chunked_ && left_ > limits_.max_bytes) state_ = State::kTooLarge;
}

bool BodyReader::MoreBytes() {
  if (send_continue_) {
    send_continue_ = false;
    if (!connection_.Write("HTTP/1.1 100 Continue\r\n\r\n", limits_.idle_timeout)) {
      state_ = State::kClosed;
      return false;
    }
  }
  for (;;) {
    switch (connection_.FillNow(kReadAhead)) {
      case Connection::Fill::kGot: return true;
      case Connection::Fill::kEnd:
      case Connection::Fill::kError: state_ = State::kClosed; return false;
      case Connection::Fill::kNothing: break;
    }
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - Clock::now());
    const auto wait = std::min(limits_.idle_timeout, left);
    if (wait.count() <= 0 || connection_.WaitReadable(wait) == Connection::Wait::kTimeout) {
      state_ = State::kTimeout;
      return false;
    }
  }
}

bool BodyReader::ReadLine(std::size_t max, std::size_t* length) {
  for (;;) {
    const std::size_t end = connection_.received().substr(0, max).find("\r\n");
    if (end != std::string_view::npos) {
      *length = end;
      return true;
    }
    if (connection_.received().size() >= max) {
      state_ = State::kMalformed;
      return false;
    }
    if (!MoreBytes()) return false;
  }
}

bool BodyReader::NextChunk() {
  std::size_t length = 0;
  if (!first_chunk_) {  // the CR LF after the data of the chunk before
    if (!ReadLine(2, &length)) return false;
    connection_.Consume(2);
  }
  first_chunk_ = false;
  if (!ReadLine(kMaxChunkLine, &length)) return false;
  // Only hex digits count as a size (strtoul would take "0x5", "+5" and " 5" as well, and a proxy in front not).
  const std::string_view line = connection_.received().substr(0, length);
  const std::string_view digits = line.substr(0, line.find(';'));
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), left_, 16);
  // A line feed alone inside the line would end it for some proxies, so it ends the request here.
  if (digits.empty() || digits.size() > 15 || line.find_first_of("\r\n") != std::string_view::npos ||
      parsed.ec != std::errc() || parsed.ptr != digits.data() + digits.size()) {
    state_ = State::kMalformed;
    return false;
  }
  connection_.Consume(length + 2);
  if (left_ > 0) {
    if (left_ > limits_.max_bytes - total_) state_ = State::kTooLarge;
    return state_ == State::kReading;
  }
  for (std::size_t trailers = 0; trailers < kMaxTrailers;) {  // trailer lines are read and dropped
    if (!ReadLine(kMaxTrailers, &length)) return false;
    connection_.Consume(length + 2);
    if (length == 0) {
      state_ = State::kComplete;
      return false;
    }
    trailers += length + 2;
  }
  state_ = State::kMalformed;
  return false;
}

std::size_t BodyReader::Read(char* out, std::size_t size) {
  if (state_ != State::kReading || size == 0) return 0;
  if (chunked_ && left_ == 0 && !NextChunk()) return 0;
  if (connection_.received().empty() && !MoreBytes()) return 0;
  const std::string_view ready = connection_.received();
  const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>({size, ready.size(), left_}));
  std::memcpy(out, ready.data(), count);
  connection_.Consume(count);
  left_ -= count;
  total_ += count;
  if (!chunked_ && left_ == 0) state_ = State::kComplete;
  return count;
}

}  // namespace quorum::server
