#include "engine/page_allocator.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/prefix_cache.h"
#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

using Tokens = std::vector<tok::TokenId>;

/// One page of tokens, all `token`.
Tokens PageOf(tok::TokenId token) { return Tokens(static_cast<std::size_t>(kPageTokens), token); }

PrefixCache::Tokens Span(const Tokens& tokens) { return tokens; }

TEST_CASE("Pages are handed out once each, counted, and come back") {
  PageAllocator pages(3);
  std::set<std::int32_t> taken;
  for (int i = 0; i < 3; ++i) taken.insert(*pages.Allocate());
  CHECK(taken == std::set<std::int32_t>{0, 1, 2});
  CHECK_FALSE(pages.Allocate().has_value());
  pages.Ref(1);
  CHECK(pages.refs(1) == 2);
  CHECK(pages.Unref(1) == 1);
  CHECK(pages.referenced_pages() == 3);
  CHECK(pages.Unref(1) == 0);
  CHECK(pages.referenced_pages() == 2);
  CHECK(pages.free_pages() == 0);  // taken until it is freed
  pages.Free(1);
  CHECK(pages.free_pages() == 1);
  CHECK(pages.Allocate() == 1);
  CHECK_FALSE(PageAllocator(0).Allocate().has_value());
}

TEST_CASE("A page is found by its tokens and by everything before them") {
  PrefixCache cache(8);
  const auto root = *cache.Take();
  CHECK(cache.Insert({PrefixCache::kNoParent}, {}, Span(PageOf(1)), root) == root);
  const auto child = *cache.Take();
  CHECK(cache.Insert({root}, {}, Span(PageOf(2)), child) == child);
  CHECK(cache.refs(root) == 1);

  CHECK(cache.Find({PrefixCache::kNoParent}, Span(PageOf(1))) == root);
  CHECK(cache.refs(root) == 2);
  CHECK(cache.Find({root}, Span(PageOf(2))) == child);
  CHECK_FALSE(cache.Find({PrefixCache::kNoParent}, Span(PageOf(2))).has_value());  // other position
  CHECK_FALSE(cache.Find({root}, Span(PageOf(1))).has_value());
  Tokens almost = PageOf(2);
  almost.back() = 3;
  CHECK_FALSE(cache.Find({root}, Span(almost)).has_value());
}

TEST_CASE("An equal page that was there already takes the place of the new one") {
  PrefixCache cache(4);
  const auto first = *cache.Take();
  const auto second = *cache.Take();
  CHECK(cache.Insert({PrefixCache::kNoParent}, {}, Span(PageOf(1)), first) == first);
  CHECK(cache.Insert({PrefixCache::kNoParent}, {}, Span(PageOf(1)), second) == first);
  CHECK(cache.refs(first) == 2);
  CHECK(cache.refs(second) == 0);
  CHECK(cache.available() == 3);
  CHECK(cache.cached() == 1);
}

TEST_CASE("Pages without references stay until memory is needed: leaves first, least recently used first") {
  PrefixCache cache(4);
  const auto a = *cache.Take();
  cache.Insert({PrefixCache::kNoParent}, {}, Span(PageOf(1)), a);
  const auto b = *cache.Take();
  cache.Insert({a}, {}, Span(PageOf(2)), b);
  const auto c = *cache.Take();
  cache.Insert({PrefixCache::kNoParent}, {}, Span(PageOf(3)), c);
  for (const auto page : {b, a, c}) cache.Release(page);
  CHECK(cache.referenced() == 0);
  CHECK(cache.available() == 4);
  CHECK(cache.cached() == 3);

  const auto spare = *cache.Take();  // the page that is really free
  CHECK(cache.cached() == 3);
  // b is used again, so that c is now the oldest leaf; a is older, but has a child.
  CHECK(cache.Find({a}, Span(PageOf(2))) == b);
  cache.Release(b);
  CHECK(cache.Take() == c);
  CHECK_FALSE(cache.Find({PrefixCache::kNoParent}, Span(PageOf(3))).has_value());
  CHECK(cache.Take() == b);
  CHECK(cache.Take() == a);  // a leaf now
  CHECK_FALSE(cache.Take().has_value());
  CHECK(cache.cached() == 0);
  // A page may come back with other content.
  CHECK(cache.Insert({PrefixCache::kNoParent}, {}, Span(PageOf(2)), b) == b);
  CHECK(cache.Find({PrefixCache::kNoParent}, Span(PageOf(2))) == b);
  cache.Release(spare);
  CHECK(cache.available() == 1);
}

TEST_CASE("Pages in use are never evicted") {
  PrefixCache cache(2);
  const auto a = *cache.Take();
  cache.Insert({PrefixCache::kNoParent}, {}, Span(PageOf(1)), a);
  const auto b = *cache.Take();
  CHECK_FALSE(cache.Take().has_value());
  cache.Release(a);
  CHECK(cache.Find({PrefixCache::kNoParent}, Span(PageOf(1))) == a);
  CHECK_FALSE(cache.Take().has_value());
  cache.Release(b);
  CHECK(cache.Take() == b);
}

constexpr std::int32_t kRoot = PrefixCache::kNoParent;

/// `common` tokens 1, then `own` up to `size`.
Tokens Parting(std::int32_t common, std::int32_t size, tok::TokenId own) {
  Tokens tokens(static_cast<std::size_t>(size), own);
  std::fill_n(tokens.begin(), common, 1);
  return tokens;
}

TEST_CASE("The page that agrees for the longest is found, also in its middle and where it is not full") {
  PrefixCache cache(8);
  const auto a = *cache.Take();
  const auto b = *cache.Take();
  const auto c = *cache.Take();
  CHECK(cache.Insert({kRoot}, {}, Parting(40, 64, 7), a) == a);
  CHECK(cache.Insert({kRoot}, {}, Parting(20, 30, 3), b) == b);
  CHECK(cache.Insert({kRoot}, {}, Parting(5, 6, 0), c) == c);
  CHECK(cache.cached() == 3);
  const auto longest = [&](const Tokens& tokens) {
    const PrefixCache::Match match = cache.Longest({kRoot}, tokens);
    return std::pair(match.page, match.tokens);
  };
  CHECK(longest(Parting(40, 64, 7)) == std::pair(a, 64));
  CHECK(longest(Parting(40, 64, 2)) == std::pair(a, 40));
  CHECK(longest(Parting(33, 64, 2)) == std::pair(a, 33));
  CHECK(longest(Parting(20, 64, 3)) == std::pair(b, 30));
  CHECK(longest(Parting(5, 64, 0)) == std::pair(c, 6));
  CHECK(longest(Parting(0, 64, 9)).second == 0);
  CHECK_FALSE(cache.Find({kRoot}, Parting(20, 64, 3)).has_value());  // only full pages are shared
  CHECK(cache.Longest({a}, Parting(40, 64, 7)).tokens == 0);         // nothing stands behind a
}

TEST_CASE(
    "A page grows in place, what it begins with is dropped once unused, and what another one covers is not kept") {
  PrefixCache cache(8);
  const auto part = *cache.Take();
  cache.Insert({kRoot}, {}, Parting(10, 10, 0), part);
  cache.Insert({kRoot}, {}, Parting(10, 12, 4), part);
  CHECK(cache.cached() == 1);
  CHECK(cache.Longest({kRoot}, Parting(10, 64, 4)).tokens == 12);
  cache.Release(part);
  CHECK(cache.available() == 8);

  const auto longer = *cache.Take();
  cache.Insert({kRoot}, {}, Parting(10, 40, 4), longer);
  CHECK(cache.cached() == 1);  // `part` is gone
  const auto covered = *cache.Take();
  CHECK(cache.Insert({kRoot}, {}, Parting(10, 30, 4), covered) == covered);
  CHECK(cache.cached() == 1);
  CHECK(cache.Insert({kRoot}, {}, Parting(10, 64, 4), longer) == longer);  // full now
  CHECK(cache.Insert({longer}, {}, Parting(3, 3, 0), covered) == covered);
  CHECK(cache.Known(Parting(10, 64, 4), {}) == 64);
  Tokens more = Parting(10, 64, 4);
  more.insert(more.end(), {1, 1, 9});
  CHECK(cache.Known(more, {}) == 66);
  cache.Release(covered);
  cache.Release(longer);
  CHECK(cache.referenced() == 0);
}

TEST_CASE("Lineages are compared by content and share nothing") {
  PrefixCache cache(8);
  const auto lineage = [](const char* text) { return std::make_shared<const std::string>(text); };
  const Lineage one = lineage("one");
  const Lineage two = lineage("two");
  const auto plain = *cache.Take();
  const auto first = *cache.Take();
  cache.Insert({kRoot}, {}, PageOf(1), plain);
  cache.Insert({kRoot, one.get()}, one, PageOf(1), first);
  CHECK(first != plain);
  CHECK(cache.Find({kRoot}, PageOf(1)) == plain);
  CHECK(cache.Find({kRoot, lineage("one").get()}, PageOf(1)) == first);
  CHECK_FALSE(cache.Find({kRoot, two.get()}, PageOf(1)).has_value());
  CHECK(cache.Longest({kRoot, two.get()}, PageOf(1)).tokens == 0);
  CHECK(cache.Known(PageOf(1), one) == 64);
  CHECK(cache.Known(PageOf(1), two) == 0);
}

TEST_CASE("Random use keeps the books straight and never confuses prefixes") {
  std::mt19937 random(9);
  constexpr std::int32_t kPages = 20;
  PrefixCache cache(kPages);
  struct Chain {
    Tokens symbols;  // of each page
    std::vector<std::int32_t> pages;
  };
  std::vector<Chain> live;
  std::vector<Tokens> content(kPages);  // symbols of the prefix that ends in a page, as its last writer saw it
  int found = 0;
  for (int round = 0; round < 20000; ++round) {
    if (random() % 2 == 0 && !live.empty()) {
      const std::size_t victim = random() % live.size();
      for (auto page = live[victim].pages.rbegin(); page != live[victim].pages.rend(); ++page) cache.Release(*page);
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(victim));
      continue;
    }
    Chain chain;
    for (std::size_t depth = 1 + random() % 4; depth > 0; --depth) {
      chain.symbols.push_back(static_cast<tok::TokenId>(random() % 3));
      const Tokens tokens = PageOf(chain.symbols.back());
      const std::int32_t parent = chain.pages.empty() ? PrefixCache::kNoParent : chain.pages.back();
      auto page = cache.Find({parent}, Span(tokens));
      if (page) {
        ++found;
        REQUIRE(content[static_cast<std::size_t>(*page)] == chain.symbols);
      } else {
        page = cache.Take();
        if (!page) break;
        content[static_cast<std::size_t>(*page)] = chain.symbols;
        REQUIRE(cache.Insert({parent}, {}, Span(tokens), *page) == *page);
      }
      chain.pages.push_back(*page);
    }
    live.push_back(std::move(chain));
    std::set<std::int32_t> referenced;
    for (const Chain& each : live) referenced.insert(each.pages.begin(), each.pages.end());
    REQUIRE(cache.referenced() == static_cast<std::int32_t>(referenced.size()));
    REQUIRE(cache.available() == kPages - cache.referenced());
  }
  CHECK(found > 1000);
  for (const Chain& chain : live) {
    for (auto page = chain.pages.rbegin(); page != chain.pages.rend(); ++page) cache.Release(*page);
  }
  CHECK(cache.referenced() == 0);
  std::set<std::int32_t> all;
  for (std::int32_t i = 0; i < kPages; ++i) all.insert(*cache.Take());
  CHECK(all.size() == kPages);
}

}  // namespace
}  // namespace quorum::engine
