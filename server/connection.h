// One accepted TCP connection, plain or under TLS: a non-blocking socket, the bytes received from it, and waiting with
// limits.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <string_view>

struct ssl_st;

namespace quorum::server {

/// Owned by one thread at a time; ShutDown() may be called from any.
class Connection {
 public:
  /// Takes over `fd`, which must be non-blocking. `tls` is the session over it, taken over too; null: plain TCP. Its
  /// handshake happens inside FillNow and Write.
  Connection(int fd, std::string remote_addr, ssl_st* tls = nullptr);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int fd() const { return fd_; }
  const std::string& remote_addr() const { return remote_addr_; }

  enum class Fill { kGot, kNothing, kEnd, kError };
  /// Appends what has arrived to received(), at most `max` bytes, without waiting.
  Fill FillNow(std::size_t max);

  /// Received and not yet consumed.
  std::string_view received() const { return std::string_view(buffer_).substr(consumed_); }
  void Consume(std::size_t count);

  enum class Wait { kReady, kTimeout, kClosed };
  /// Waits until bytes have arrived or the peer closed its side (then FillNow says so).
  Wait WaitReadable(std::chrono::milliseconds timeout) const;

  /// Sends all of `bytes`. False when the peer is gone or takes nothing for `timeout`.
  bool Write(std::string_view bytes, std::chrono::milliseconds timeout);
  /// Sends what fits in the socket's buffer right now.
  void WriteNow(std::string_view bytes);

  /// kSilent: the peer will send nothing more. It may read still, or have closed altogether: the answer to what is
  /// written next tells. Behind TLS nobody half closes, so there it is gone.
  enum class Peer { kThere, kSilent, kGone };
  Peer PeerState() const;
  bool write_failed() const { return write_failed_; }

  /// Tells the peer that nothing more will come.
  void ShutDownWrite();
  /// Ends the connection under whoever owns it: blocked reads and writes return.
  void ShutDown();

 private:
  /// Bytes received or sent; 0: the peer ended its side; -1: none now; -2: failed.
  long ReceiveSome(char* into, std::size_t max);
  long SendSome(std::string_view bytes);
  long TlsResult(int result) const;

  const int fd_;
  const std::string remote_addr_;
  ssl_st* const tls_;
  std::string buffer_;
  std::size_t consumed_ = 0;
  bool write_failed_ = false;
};

}  // namespace quorum::server
