#include "cli/inspect_format.h"

#include <algorithm>

#include <fmt/format.h>

namespace quorum::cli {

std::string Printable(std::string_view text, std::size_t limit) {
  std::size_t end = std::min(text.size(), limit);
  while (end > 0 && end < text.size() && (static_cast<unsigned char>(text[end]) & 0xc0U) == 0x80U) --end;
  std::string out;
  for (const char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte < 32 || byte == 127 ? ' ' : c;
  }
  return end < text.size() ? out + "..." : out;
}

std::string Short(std::int64_t n, std::string_view unit) {
  const double value = static_cast<double>(n);
  if (n < 100000) return fmt::format("{} {}", n, unit);
  if (n < 1000000000) return fmt::format("{:.1f} M{}", value * 1e-6, unit);
  return fmt::format("{:.2f} {}{}", value * 1e-9, unit.empty() ? "B" : "G", unit);
}

void Section(const char* title) { fmt::print("\n{}\n", title); }

void Line(const char* label, const std::string& value) {
  if (!value.empty()) fmt::print("  {:<16}{}\n", label, value);
}

}  // namespace quorum::cli
