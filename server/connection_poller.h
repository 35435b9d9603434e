// The thread that watches every connection which no worker serves: accepts, collects request heads, keeps idle
// connections, and closes slow ones. A connection costs a thread only while its request is being answered.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/connection.h"
#include "server/request_head.h"
#include "server/tls_context.h"

namespace quorum::server {

struct PollerOptions {
  HeadLimits head;
  std::shared_ptr<const TlsContext> tls;  // null: plain TCP
  std::size_t max_connections = 2048;
  std::size_t body_ahead = 65536;                  // a body up to this size is collected here, not in a worker
  std::chrono::milliseconds head_timeout{10'000};  // from a head's first byte to its last
  std::chrono::milliseconds body_timeout{30'000};  // for a body collected here
  std::chrono::milliseconds idle_timeout{30'000};  // between requests
  std::chrono::milliseconds linger_timeout{2'000};
};

class ConnectionPoller {
 public:
  /// Called on the poller's thread with a complete, acceptable head, already consumed from the connection. Takes the
  /// connection over until Return(); false: it was not taken, and is answered with 503 and closed.
  using Dispatch = std::function<bool(std::shared_ptr<Connection>, RequestHead)>;
  /// The whole answer, head and body, to a request that is refused before any handler sees it.
  using Refusal = std::function<std::string(const HeadRefusal&)>;

  ConnectionPoller(int listen_fd, PollerOptions options, Dispatch dispatch, Refusal refusal);
  ~ConnectionPoller();  // Stop()
  ConnectionPoller(const ConnectionPoller&) = delete;
  ConnectionPoller& operator=(const ConnectionPoller&) = delete;

  enum class After { kKeepAlive, kClose };
  /// Gives a connection back when its request has been answered. Thread-safe.
  void Return(std::shared_ptr<Connection> connection, After after);

  /// Stops accepting and closes idle connections; the thread ends. Thread-safe, idempotent.
  void Stop();

  std::size_t open_connections() const { return open_.load(); }

 private:
  using Clock = std::chrono::steady_clock;
  enum class Phase { kIdle, kHead, kBody, kLinger };
  struct Watched {
    std::shared_ptr<Connection> connection;
    Phase phase = Phase::kIdle;
    Clock::time_point deadline;
    std::size_t searched = 0;  // bytes in which no end of the head was found
    RequestHead head;
  };

  void Run();
  void Accept();
  bool MakeRoom();  // closes the connection that has been idle longest; false: none is idle
  void Watch(std::shared_ptr<Connection> connection);
  void TakeReturned();
  void OnReadable(int fd);
  bool Advance(Watched& watched);  // acts on what has been received; false: the connection left the poller
  void Refuse(Watched& watched, const HeadRefusal& refusal);
  void Linger(Watched& watched);
  void Forget(int fd);
  void ExpireDeadlines();
  void Wake();

  const int listen_fd_;
  const PollerOptions options_;
  const Dispatch dispatch_;
  const Refusal refusal_;
  int epoll_fd_ = -1;
  int wake_fd_ = -1;
  std::unordered_map<int, Watched> watched_;  // by descriptor; the poller's thread only
  std::atomic<std::size_t> open_{0};          // watched and with workers
  Clock::time_point accept_again_{};          // accepting pauses until then; zero: it does not
  Clock::time_point next_scan_{};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::vector<std::pair<std::shared_ptr<Connection>, After>> returned_;
  std::thread thread_;
};

}  // namespace quorum::server
