// Logging through spdlog, which stays behind this header: `Log(LogLevel::kInfo, "...")` with fmt formatting.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace quorum {

enum class LogLevel { kDebug, kInfo, kWarn, kError, kOff };

/// Sets the lowest level that is printed (default kInfo). Lines go to stderr. Thread-safe.
void SetLogLevel(LogLevel level);

/// Text by default; with `json` each line is one JSON object {"ts","level","msg"}. Call before threads start.
void SetLogJson(bool json);

/// Whether `level` is printed: guards costly arguments.
bool LogEnabled(LogLevel level);

/// Prints one finished line. Thread-safe.
void LogLine(LogLevel level, std::string_view line);

/// One finished line about something that has names and values: `message key=value ...`, or members of the JSON line.
/// Values that are numbers or booleans stay so in JSON; empty ones are left out.
void LogFields(LogLevel level, std::string_view message,
               const std::vector<std::pair<std::string_view, std::string>>& fields);

template <typename... Args>
void Log(LogLevel level, fmt::format_string<Args...> format, Args&&... args) {
  if (LogEnabled(level)) LogLine(level, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace quorum
