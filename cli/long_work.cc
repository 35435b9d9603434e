#include "cli/long_work.h"

#include <csignal>

#include <chrono>
#include <cstdio>

#include <fmt/format.h>
#include <unistd.h>

#include "cli/command.h"

namespace quorum::cli {
namespace {

constexpr int kInterruptedStatus = 130;  // as a shell reports SIGINT

volatile std::sig_atomic_t g_interrupted = 0;

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

void CatchInterrupts() {
  struct sigaction action{};
  action.sa_handler = [](int) { g_interrupted = 1; };
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

bool WasInterrupted() { return g_interrupted != 0; }

Error Interrupted() { return {ErrorCode::kCancelled, "interrupted", {}, {}}; }

bool ShowBytes(std::uint64_t done, std::uint64_t total) {
  constexpr double kGiga = 1e9;
  if (Due(done == total)) {
    fmt::print(stderr, "\r{:3.0f} %  {:.2f} of {:.2f} GB",
               total == 0 ? 100.0 : 100.0 * static_cast<double>(done) / static_cast<double>(total),
               static_cast<double>(done) / kGiga, static_cast<double>(total) / kGiga);
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
  return status.error().code == ErrorCode::kCancelled ? kInterruptedStatus : failed;
}

}  // namespace quorum::cli
