#include "cli/long_work.h"

#include <csignal>

#include <chrono>
#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.h"
#include "cli/command_line.h"
#include "engine/base/units.h"

namespace quorum::cli {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;

constexpr int kSignalStatus = 128;

void OnInterrupts(void (*handler)(int)) {
  struct sigaction action{};
  action.sa_handler = handler;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

/// Whether to draw now.
bool Due(bool last) {
  static const bool terminal = ::isatty(STDERR_FILENO) == 1;
  static std::chrono::steady_clock::time_point drawn;
  if (!terminal) return false;
  const auto now = std::chrono::steady_clock::now();
  if (!last && now - drawn < std::chrono::milliseconds(100)) return false;
  drawn = now;
  return true;
}

void Wipe() {
  if (::isatty(STDERR_FILENO) == 1) std::fprintf(stderr, "\r\x1b[K");
}

}  // namespace

void EndOnInterrupts() {
  OnInterrupts([](int signal) { ::_exit(kSignalStatus + signal); });
}

void CatchInterrupts() {
  OnInterrupts([](int signal) { g_interrupted = signal; });
}

bool WasInterrupted() { return g_interrupted != 0; }

Error Interrupted() { return {ErrorCode::kCancelled, "interrupted", {}, {}}; }

bool ShowBytes(std::uint64_t done, std::uint64_t total) {
  if (Due(done == total)) {
    fmt::print(stderr, "\r{:3.0f} %  {} of {}\x1b[K",
               total == 0 ? 100.0 : 100.0 * static_cast<double>(done) / static_cast<double>(total), FormatBytes(done),
               FormatBytes(total));
    if (done == total) Wipe();
  }
  return !WasInterrupted();
}

bool ShowCount(const char* what, std::int64_t done, std::int64_t total) {
  if (Due(done == total)) {
    fmt::print(stderr, "\r{}: {} of {}", what, done, total);
    if (done == total) Wipe();
    std::fflush(stderr);
  }
  return !WasInterrupted();
}

int Exit(const Status& status) {
  if (status.ok()) return 0;
  Wipe();
  const int failed = Fail(status.error());
  return status.error().code == ErrorCode::kCancelled && WasInterrupted() ? kSignalStatus + g_interrupted : failed;
}

}  // namespace quorum::cli
