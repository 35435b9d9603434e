// A TCP client that sends exactly the bytes a test wants, and reads answers one by one.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace quorum::server {

struct RawResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // chunks joined
  bool whole = false;                          // its end came, as the head announced it

  std::string Header(const std::string& name) const {
    const auto it = headers.find(name);
    return it == headers.end() ? "" : it->second;
  }
};

/// Waits at most ten seconds for anything, which only a failing test does.
class RawClient {
 public:
  /// `receive_buffer`: bytes of the kernel's buffer, 0 for the usual.
  explicit RawClient(int port, int receive_buffer = 0);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  bool connected() const { return fd_ >= 0; }
  /// False when the server no longer takes bytes.
  bool Send(std::string_view bytes);
  void HalfClose();
  void Close();
  void Reset();  // closes with RST

  /// The next whole answer; 1xx answers are skipped unless `interim`.
  RawResponse Read(bool head_only = false, bool interim = false);
  /// Reads until `text` has come (true) or the stream ended or ten seconds passed.
  bool ReadUntil(std::string_view text);
  /// Everything that came and was not consumed by Read().
  const std::string& pending() const { return pending_; }
  /// Whether the server has closed the connection, waiting up to `ms`.
  bool ClosedWithin(int ms);

 private:
  bool More(int ms);

  int fd_ = -1;
  bool ended_ = false;
  std::string pending_;
};

/// `METHOD PATH HTTP/1.1` with Host, the given headers (each ending in CR LF) and body with its Content-Length.
std::string RequestText(std::string_view method, std::string_view path, std::string_view body = {},
                        std::string_view headers = {});

/// One request on a connection of its own.
RawResponse Fetch(int port, std::string_view method, std::string_view path, std::string_view body = {},
                  std::string_view headers = {});

}  // namespace quorum::server
