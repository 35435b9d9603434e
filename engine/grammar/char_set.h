// Sets of Unicode scalar values: the terminals of every grammar here.
#pragma once

#include <compare>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace quorum::grammar {

using CodePoint = std::uint32_t;

inline constexpr CodePoint kMaxCodePoint = 0x10FFFF;

/// A set of code points without surrogates, as sorted ranges that neither overlap nor touch.
class CharSet {
 public:
  struct Range {
    CodePoint first = 0;  // inclusive
    CodePoint last = 0;   // inclusive
    auto operator<=>(const Range&) const = default;
  };

  CharSet() = default;
  /// Any order, may overlap; surrogates are left out.
  explicit CharSet(std::vector<Range> ranges);
  CharSet(std::initializer_list<Range> ranges) : CharSet(std::vector<Range>(ranges)) {}

  static CharSet All() { return CharSet{{0, kMaxCodePoint}}; }
  static CharSet One(CodePoint c) { return CharSet{{c, c}}; }

  bool empty() const { return ranges_.empty(); }
  bool Contains(CodePoint c) const;
  const std::vector<Range>& ranges() const { return ranges_; }

  CharSet Union(const CharSet& other) const;
  CharSet Intersect(const CharSet& other) const;
  CharSet Complement() const;
  CharSet Minus(const CharSet& other) const { return Intersect(other.Complement()); }

  auto operator<=>(const CharSet&) const = default;

 private:
  std::vector<Range> ranges_;
};

/// Appends the UTF-8 form of `c`. REQUIRES: a scalar value.
void AppendUtf8(std::string& out, CodePoint c);

/// Reads one code point of `text` at `at` and moves `at` behind it. Returns false, and does not move, where the bytes
/// are not UTF-8 (RFC 3629). REQUIRES: at < text.size().
bool ReadUtf8(std::string_view text, std::size_t& at, CodePoint& c);

/// Code points of a valid text; of an invalid one those before the fault.
std::vector<CodePoint> CodePointsOf(std::string_view text);

}  // namespace quorum::grammar
