#include "server/sse.h"

#include <utility>

#include <fmt/format.h>

namespace quorum::server {

std::string SseEvent(const Json& value) {
  std::string event = "data: ";
  event += DumpJson(value);  // JSON escapes line breaks, so this is one line
  event += "\n\n";
  return event;
}

SseWriter::SseWriter(StreamWriter& out, std::chrono::milliseconds heartbeat)
    : out_(out), heartbeat_(heartbeat), last_write_(std::chrono::steady_clock::now()) {}

bool SseWriter::Write(std::string_view bytes) {
  last_write_ = std::chrono::steady_clock::now();
  return out_.Write(bytes);
}

bool SseWriter::Send(const Json& value) { return Write(SseEvent(value)); }

bool SseWriter::Done() { return Write("data: [DONE]\n\n"); }

bool SseWriter::SendNamed(std::string_view name, const Json& value) {
  return Write(fmt::format("event: {}\n{}", name, SseEvent(value)));
}

bool SseWriter::KeepAlive(std::int32_t ahead) {
  const bool probe = !probed_ && out_.ClientSilent();
  if (!probe && std::chrono::steady_clock::now() - last_write_ < heartbeat_) return true;
  probed_ = probed_ || probe;
  return ahead >= 0 ? Write(fmt::format(": queued, {} ahead\n\n", ahead)) : Write(": ping\n\n");
}

HttpResponse SseResponse(std::function<void(StreamWriter&)> stream) {
  HttpResponse response;
  response.content_type = "text/event-stream; charset=utf-8";
  response.headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  response.stream = std::move(stream);
  return response;
}

}  // namespace quorum::server
