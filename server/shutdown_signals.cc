#include "server/shutdown_signals.h"

#include <condition_variable>
#include <csignal>
#include <mutex>
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

struct ShutdownSignals::State {
  std::mutex mutex;
  std::condition_variable changed;
  bool orderly = false;
  bool asked = false;

  [[noreturn]] void Watch() {
    const sigset_t set = ShutdownSet();
    for (;;) {
      int signal = 0;
      if (::sigwait(&set, &signal) != 0) continue;
      const std::lock_guard lock(mutex);
      if (!orderly || asked) {
        Log(LogLevel::kWarn, "signal {}: ending at once", signal);
        ::_exit(128 + signal);
      }
      asked = true;
      changed.notify_all();
    }
  }
};

ShutdownSignals::ShutdownSignals() : state_(std::make_shared<State>()) {
  const sigset_t set = ShutdownSet();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);  // NOLINT(bugprone-unused-return-value)
  // The thread lives as long as the process: it is what a second signal speaks to, also while all else is stuck.
  std::thread([state = state_] { state->Watch(); }).detach();
}

void ShutdownSignals::HandleOrderly() {
  const std::lock_guard lock(state_->mutex);
  state_->orderly = true;
}

void ShutdownSignals::Wait() {
  std::unique_lock lock(state_->mutex);
  state_->changed.wait(lock, [this] { return state_->asked; });
}

}  // namespace quorum::server
