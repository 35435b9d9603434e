#include "engine/grammar/char_set.h"

#include <random>

#include "tests/support/catch.h"

namespace quorum::grammar {
namespace {

TEST_CASE("CharSet: ranges are sorted, joined and without surrogates") {
  const CharSet set({{'m', 'p'}, {'a', 'c'}, {'d', 'f'}, {0xD7FE, 0xE001}});
  CHECK(set.ranges() == std::vector<CharSet::Range>{{'a', 'f'}, {'m', 'p'}, {0xD7FE, 0xD7FF}, {0xE000, 0xE001}});
  CHECK(set.Contains('e'));
  CHECK_FALSE(set.Contains('g'));
  CHECK_FALSE(set.Contains(0xD800));
  CHECK(CharSet::All().Complement().empty());
  CHECK(CharSet().Complement() == CharSet::All());
}

TEST_CASE("CharSet: operations agree with membership") {
  std::mt19937 random(7);
  const auto some = [&random] {
    std::vector<CharSet::Range> ranges;
    for (int i = 0; i < 6; ++i) {
      const auto first = static_cast<CodePoint>(random() % 200);
      ranges.push_back({first, first + static_cast<CodePoint>(random() % 20)});
    }
    return CharSet(std::move(ranges));
  };
  for (int round = 0; round < 200; ++round) {
    const CharSet a = some();
    const CharSet b = some();
    const CharSet both = a.Intersect(b);
    const CharSet either = a.Union(b);
    const CharSet only = a.Minus(b);
    for (CodePoint c = 0; c < 230; ++c) {
      REQUIRE(both.Contains(c) == (a.Contains(c) && b.Contains(c)));
      REQUIRE(either.Contains(c) == (a.Contains(c) || b.Contains(c)));
      REQUIRE(only.Contains(c) == (a.Contains(c) && !b.Contains(c)));
      REQUIRE(a.Complement().Contains(c) != a.Contains(c));
    }
  }
}

TEST_CASE("UTF-8: every scalar value comes back, and nothing else is read") {
  for (CodePoint c = 0; c <= kMaxCodePoint; c = c == 0xD7FF ? 0xE000 : c + 1) {
    std::string text;
    AppendUtf8(text, c);
    std::size_t at = 0;
    CodePoint back = 0;
    if (!ReadUtf8(text, at, back) || back != c || at != text.size()) FAIL("code point " << c);
  }
  for (const char* wrong : {"\x80", "\xC0\x80", "\xC1\xBF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                            "\xF5\x80\x80\x80", "\xE6\x97"}) {
    std::size_t at = 0;
    CodePoint c = 0;
    CHECK_FALSE(ReadUtf8(wrong, at, c));
    CHECK(at == 0);
  }
}

}  // namespace
}  // namespace quorum::grammar
