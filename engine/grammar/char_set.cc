#include "engine/grammar/char_set.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace quorum::grammar {
namespace {

constexpr CodePoint kFirstSurrogate = 0xD800;
constexpr CodePoint kLastSurrogate = 0xDFFF;

}  // namespace

CharSet::CharSet(std::vector<Range> ranges) {
  std::vector<Range> parts;
  for (const auto& [first, last] : ranges) {
    const CodePoint below = std::min(last, kFirstSurrogate - 1);
    if (first <= below) parts.push_back({first, below});
    const CodePoint above = std::max(first, kLastSurrogate + 1);
    if (above <= std::min(last, kMaxCodePoint)) parts.push_back({above, std::min(last, kMaxCodePoint)});
  }
  std::sort(parts.begin(), parts.end());
  for (const Range& part : parts) {
    // Ranges on both sides of the surrogates stay apart: no code point between them exists.
    if (!ranges_.empty() && part.first <= ranges_.back().last + 1) {
      ranges_.back().last = std::max(ranges_.back().last, part.last);
    } else {
      ranges_.push_back(part);
    }
  }
}

bool CharSet::Contains(CodePoint c) const {
  const auto after = std::upper_bound(ranges_.begin(), ranges_.end(), c,
                                      [](CodePoint value, const Range& range) { return value < range.first; });
  return after != ranges_.begin() && c <= std::prev(after)->last;
}

CharSet CharSet::Union(const CharSet& other) const {
  std::vector<Range> all = ranges_;
  all.insert(all.end(), other.ranges_.begin(), other.ranges_.end());
  return CharSet(std::move(all));
}

CharSet CharSet::Intersect(const CharSet& other) const {
  CharSet both;
  auto a = ranges_.begin();
  auto b = other.ranges_.begin();
  while (a != ranges_.end() && b != other.ranges_.end()) {
    const CodePoint first = std::max(a->first, b->first);
    const CodePoint last = std::min(a->last, b->last);
    if (first <= last) both.ranges_.push_back({first, last});
    if (a->last < b->last) {
      ++a;
    } else {
      ++b;
    }
  }
  return both;
}

CharSet CharSet::Complement() const {
  std::vector<Range> gaps;
  CodePoint next = 0;
  for (const auto& [first, last] : ranges_) {
    if (first > next) gaps.push_back({next, first - 1});
    next = last + 1;
  }
  if (next <= kMaxCodePoint) gaps.push_back({next, kMaxCodePoint});
  return CharSet(std::move(gaps));
}

void AppendUtf8(std::string& out, CodePoint c) {
  const auto put = [&out](CodePoint byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

bool ReadUtf8(std::string_view text, std::size_t& at, CodePoint& c) {
  const auto byte = [text](std::size_t i) { return static_cast<CodePoint>(static_cast<unsigned char>(text[i])); };
  const CodePoint lead = byte(at);
  const std::size_t size = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (size == 0 || text.size() - at < size) return false;
  CodePoint value = size == 1 ? lead : lead & (0x7FU >> size);
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(at + i) & 0xC0U) != 0x80U) return false;
    value = (value << 6) | (byte(at + i) & 0x3FU);
  }
  constexpr CodePoint kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[size] || value > kMaxCodePoint || (value >= kFirstSurrogate && value <= kLastSurrogate)) {
    return false;
  }
  c = value;
  at += size;
  return true;
}

std::vector<CodePoint> CodePointsOf(std::string_view text) {
  std::vector<CodePoint> points;
  CodePoint c = 0;
  for (std::size_t at = 0; at < text.size() && ReadUtf8(text, at, c);) points.push_back(c);
  return points;
}

}  // namespace quorum::grammar
