#include "tokenizer/jinja/search.h"

#include <cstring>
#include <string>

namespace quorum::tok::jinja {
namespace {

constexpr std::size_t kShortNeedle = 16;

}  // namespace

std::size_t FindBytes(Budget& budget, std::string_view text, std::string_view needle, std::size_t from) {
  if (from > text.size() || needle.size() > text.size() - from) return kNotFound;
  if (needle.empty()) return from;
  // memmem works in linear time (two-way); find() is faster for short needles and compares each byte with all of them
  // at worst.
  std::size_t at = text.size();
  bool found = false;
  if (needle.size() <= kShortNeedle) {
    const std::size_t hit = text.find(needle, from);
    found = hit != std::string_view::npos;
    if (found) at = hit;
  } else if (const void* hit = memmem(text.data() + from, text.size() - from, needle.data(), needle.size())) {
    found = true;
    at = static_cast<std::size_t>(static_cast<const char*>(hit) - text.data());
  }
  budget.Bytes(at - from + needle.size());
  return found ? at : kNotFound;
}

std::size_t FindLastBytes(Budget& budget, std::string_view text, std::string_view needle) {
  if (needle.size() > text.size()) return kNotFound;
  if (needle.empty()) return text.size();
  if (needle.size() == 1) {
    budget.Bytes(text.size());
    return text.rfind(needle[0]);
  }
  // The last occurrence is the first one when both are read backwards.
  const std::string backwards(text.rbegin(), text.rend());
  const std::string key(needle.rbegin(), needle.rend());
  const std::size_t at = FindBytes(budget, backwards, key, 0);
  budget.Bytes(text.size());
  return at == kNotFound ? kNotFound : text.size() - at - needle.size();
}

}  // namespace quorum::tok::jinja
