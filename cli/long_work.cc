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

void Wipe() {
  if (::isatty(STDERR_FILENO) == 1) std::fprintf(stderr, "\r\x1b[K");
}

/// A line that a terminal sees drawn anew and wiped in the end; elsewhere a line every ten seconds tells that work goes
/// on, so that short work says nothing.
template <typename Line>
void Show(bool last, Line&& line) {
  using Clock = std::chrono::steady_clock;
  static const bool terminal = ::isatty(STDERR_FILENO) == 1;
  static Clock::time_point told = terminal ? Clock::time_point() : Clock::now();
  const auto now = Clock::now();
  if (now - told < (terminal ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10'000))) {
    if (last) Wipe();
    return;
  }
  told = now;
  if (!terminal) {
    fmt::print(stderr, "{}\n", line());
    return;
  }
  fmt::print(stderr, "\r{}\x1b[K", line());
  if (last) Wipe();
  std::fflush(stderr);
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
  Show(done == total, [&] {
    const double percent = total == 0 ? 100.0 : 100.0 * static_cast<double>(done) / static_cast<double>(total);
    return fmt::format("{:3.0f} %  {} of {}", percent, FormatBytes(done), FormatBytes(total));
  });
  return !WasInterrupted();
}

bool ShowCount(const char* what, std::int64_t done, std::int64_t total) {
  Show(done == total, [&] { return fmt::format("{}: {} of {}", what, done, total); });
  return !WasInterrupted();
}

int Exit(const Status& status) {
  if (status.ok()) return 0;
  Wipe();
  const int failed = Fail(status.error());
  return status.error().code == ErrorCode::kCancelled && WasInterrupted() ? kSignalStatus + g_interrupted : failed;
}

}  // namespace quorum::cli
