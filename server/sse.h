// Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html) over a StreamWriter.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "server/http_message.h"
#include "server/json_input.h"

namespace quorum::server {

/// `data: <one line of JSON>` and a blank line.
std::string SseEvent(const Json& value);

/// Writes events, and comments while there are none: proxies and clients give up on a connection that says nothing.
class SseWriter {
 public:
  SseWriter(StreamWriter& out, std::chrono::milliseconds heartbeat);

  /// False: the client is gone.
  bool Send(const Json& value);
  bool Done();  // "data: [DONE]"
  /// `event: NAME` and the data, as Anthropic's API and OpenAI's responses have it.
  bool SendNamed(std::string_view name, const Json& value);
  /// Writes a comment if nothing was written for the heartbeat's time, and once if the client falls silent. Comments
  /// are ": queued, N ahead" for a request that waits, else ": ping" (`ahead` below 0); never an event without data,
  /// which SDKs would try to parse.
  bool KeepAlive(std::int32_t ahead);

 private:
  bool Write(std::string_view bytes);

  bool probed_ = false;  // whether a silent client still reads

  StreamWriter& out_;
  const std::chrono::milliseconds heartbeat_;
  std::chrono::steady_clock::time_point last_write_;
};

/// An answer of events: the media type, and what keeps caches and proxies from holding them back.
HttpResponse SseResponse(std::function<void(StreamWriter&)> stream);

}  // namespace quorum::server
