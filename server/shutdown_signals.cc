#include "server/shutdown_signals.h"

#include <csignal>
#include <thread>

#include <unistd.h>

#include "engine/base/log.h"

namespace quorum::server {
namespace {

sigset_t ShutdownSet() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGINT);
  ::sigaddset(&set, SIGTERM);
  return set;
}

}  // namespace

ShutdownSignals::ShutdownSignals() {
  const sigset_t set = ShutdownSet();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);  // NOLINT(bugprone-unused-return-value)
  // The thread lives as long as the process: it is what a second signal speaks to, also while all else is stuck.
  std::thread([this] { Watch(); }).detach();
}

void ShutdownSignals::HandleOrderly() {
  const std::lock_guard lock(mutex_);
  orderly_ = true;
}

void ShutdownSignals::Wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return asked_; });
}

void ShutdownSignals::Watch() {
  const sigset_t set = ShutdownSet();
  for (;;) {
    int signal = 0;
    if (::sigwait(&set, &signal) != 0) continue;
    const std::lock_guard lock(mutex_);
    if (!orderly_ || asked_) {
      Log(LogLevel::kWarn, "signal {}: ending at once", signal);
      ::_exit(128 + signal);
    }
    asked_ = true;
    changed_.notify_all();
  }
}

}  // namespace quorum::server
