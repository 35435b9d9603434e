// SIGINT and SIGTERM as an orderly end: the first asks for it, the second does not wait.
#pragma once

#include <memory>

namespace quorum::server {

/// Make one before any thread is started: it blocks the two signals in this thread and so in all later ones, and
/// ignores SIGPIPE (a client that leaves is an error value, not the end of the process).
class ShutdownSignals {
 public:
  ShutdownSignals();
  ShutdownSignals(const ShutdownSignals&) = delete;
  ShutdownSignals& operator=(const ShutdownSignals&) = delete;

  /// Until this is called a signal ends the process at once, with status 128 + signal: there is nothing to finish yet.
  void HandleOrderly();
  /// Waits for the first signal. A second one, at any time after it, ends the process at once.
  void Wait();

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with a thread that outlives this object
};

}  // namespace quorum::server
