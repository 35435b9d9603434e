#include "tokenizer/utf8_stream.h"

#include "tokenizer/utf8.h"

namespace quorum::tok {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

/// Appends `bytes` with invalid parts replaced; returns the length of an unfinished character at the end, which is
/// left out.
std::size_t AppendSanitized(std::string_view bytes, std::string& out) {
  std::size_t pos = 0;
  while (pos < bytes.size()) {
    const std::size_t valid = ValidUtf8Prefix(bytes, pos);
    out.append(bytes.substr(pos, valid));
    pos += valid;
    if (pos == bytes.size()) break;
    const Utf8Unit unit = DecodeUtf8(bytes, pos);
    if (unit.incomplete) return bytes.size() - pos;
    out.append(kReplacement);
    pos += unit.length;
  }
  return 0;
}

}  // namespace

std::string Utf8Stream::Push(std::string_view bytes) {
  std::string out;
  std::string joined;
  if (!held_.empty()) {
    joined = held_ + std::string(bytes);
    bytes = joined;
  }
  out.reserve(bytes.size());
  const std::size_t unfinished = AppendSanitized(bytes, out);
  held_.assign(bytes.substr(bytes.size() - unfinished));
  return out;
}

std::string Utf8Stream::Finish() {
  if (held_.empty()) return {};
  held_.clear();
  return std::string(kReplacement);
}

std::string SanitizeUtf8(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size());
  if (AppendSanitized(bytes, out) > 0) out.append(kReplacement);
  return out;
}

bool IsValidUtf8(std::string_view text) { return ValidUtf8Prefix(text, 0) == text.size(); }

}  // namespace quorum::tok
