// Commands that take long: a line of progress, and an orderly end on Ctrl-C.
#pragma once

#include <cstdint>

#include "engine/base/result.h"

namespace quorum::cli {

/// From now on SIGINT and SIGTERM end the process at once, with the status that a shell would tell: for work that
/// leaves nothing half done.
void EndOnInterrupts();

/// From now on SIGINT and SIGTERM only make WasInterrupted() true.
void CatchInterrupts();
bool WasInterrupted();
/// The error of work that stopped for it; Exit gives it the shell's status.
Error Interrupted();

/// Each draws a line anew, several times a second at the most, wipes it when all is done, and returns false after
/// Ctrl-C. Where stderr is no terminal, a line every ten seconds.
bool ShowBytes(std::uint64_t done, std::uint64_t total);
bool ShowCount(const char* what, std::int64_t done, std::int64_t total);

/// Exit status of a command: 0, or after saying what went wrong 1, or 130 for Ctrl-C and 143 for SIGTERM.
int Exit(const Status& status);

}  // namespace quorum::cli
