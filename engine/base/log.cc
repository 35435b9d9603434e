#include "engine/base/log.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <nlohmann/json.hpp>

namespace quorum {
namespace {

std::atomic<LogLevel> g_level{LogLevel::kInfo};
std::atomic<bool> g_json{false};

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = [] {
    auto made = std::make_shared<spdlog::logger>("quorum", std::make_shared<spdlog::sinks::stderr_color_sink_mt>());
    made->set_level(spdlog::level::trace);
    made->set_pattern("%Y-%m-%d %H:%M:%S.%e %^%-7l%$ %v");
    made->flush_on(spdlog::level::trace);
    return made;
  }();
  return *logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug: return spdlog::level::debug;
    case LogLevel::kInfo: return spdlog::level::info;
    case LogLevel::kWarn: return spdlog::level::warn;
    case LogLevel::kError: return spdlog::level::err;
    case LogLevel::kOff: break;
  }
  return spdlog::level::off;
}

}  // namespace

void SetLogLevel(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }

void SetLogJson(bool json) {
  g_json.store(json, std::memory_order_relaxed);
  Logger().set_pattern(json ? R"({"ts":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})"
                            : "%Y-%m-%d %H:%M:%S.%e %^%-7l%$ %v");
}

bool LogEnabled(LogLevel level) { return level >= g_level.load(std::memory_order_relaxed); }

namespace {

bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }

std::string Quoted(std::string_view text) {
  return nlohmann::json(std::string(text)).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

void LogLine(LogLevel level, std::string_view line) {
  if (g_json.load(std::memory_order_relaxed)) {
    Logger().log(ToSpdlog(level), "\"msg\":{}", Quoted(line));
  } else {
    std::string shown(line);  // a file or a request may have had a say in it
    std::replace_if(shown.begin(), shown.end(), IsControl, ' ');
    Logger().log(ToSpdlog(level), "{}", shown);
  }
}

void LogFields(LogLevel level, std::string_view message,
               const std::vector<std::pair<std::string_view, std::string>>& fields) {
  if (!LogEnabled(level)) return;
  const bool json = g_json.load(std::memory_order_relaxed);
  std::string line = json ? "\"msg\":" + Quoted(message) : std::string(message);
  for (const auto& [name, value] : fields) {
    if (value.empty()) continue;
    const auto parsed = nlohmann::json::parse(value, nullptr, false);
    const bool odd =
        value.find_first_of(" \"") != std::string::npos || std::any_of(value.begin(), value.end(), IsControl);
    const bool plain = !odd && (parsed.is_number() || parsed.is_boolean());
    const bool quote = json ? !plain : odd;
    line += fmt::format(fmt::runtime(json ? ",\"{}\":{}" : " {}={}"), name, quote ? Quoted(value) : value);
  }
  Logger().log(ToSpdlog(level), "{}", line);
}

}  // namespace quorum
