#include "engine/window_pages.h"

#include <algorithm>
#include <map>
#include <vector>

#include "engine/step_model.h"
#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

/// Pages 0 ... 15 with three places, and where each is.
struct Bench {
  std::map<std::int32_t, std::int32_t> place;
  WindowPages windows{16, 3, [this](std::int32_t page, std::int32_t at) {
                        if (at < 0) {
                          CHECK(place.erase(page) == 1);
                          return;
                        }
                        for (const auto& [other, taken] : place) CHECK((other == page || taken != at));
                        place[page] = at;
                      }};
  void Pass(std::int32_t page, bool promising = false) {
    windows.Use(page);
    windows.Unuse(page, promising);
  }
  std::vector<std::int32_t> having() const {
    std::vector<std::int32_t> pages;
    for (const auto& [page, at] : place) {
      CHECK(windows.Has(page));
      pages.push_back(page);
    }
    return pages;
  }
};

using Pages = std::vector<std::int32_t>;

TEST_CASE("Places without users stay until they are needed; those passed over go first, the oldest at the head") {
  Bench bench;
  for (const std::int32_t page : {0, 1, 2}) bench.Pass(page);
  CHECK(bench.having() == Pages{0, 1, 2});
  bench.Pass(1);  // met again
  bench.Pass(3);
  bench.Pass(4);
  CHECK(bench.having() == Pages{1, 3, 4});
  bench.Pass(5, true);  // kept as well: at most half are, so that 1 has to go behind 4
  bench.Pass(6);
  CHECK(bench.having() == Pages{1, 5, 6});
  bench.Pass(7);
  CHECK(bench.having() == Pages{5, 6, 7});
  bench.windows.Drop(5);
  bench.windows.Drop(9);
  CHECK(bench.having() == Pages{6, 7});
  CHECK(bench.windows.used() == 0);
}

TEST_CASE("Places with users stay") {
  Bench bench;
  bench.windows.Use(0);
  bench.windows.Use(0);
  bench.windows.Use(1);
  CHECK(bench.windows.used() == 2);
  for (const std::int32_t page : {2, 3, 4, 5}) bench.Pass(page);
  CHECK(bench.having() == Pages{0, 1, 5});
  bench.windows.Unuse(0, false);
  CHECK(bench.windows.used() == 2);
  bench.windows.Unuse(0, false);
  bench.windows.Unuse(1, false);
  CHECK(bench.windows.used() == 0);
}

TEST_CASE("Of equal pages one has the place and all users") {
  Bench bench;
  bench.windows.Use(0);
  const std::int32_t at = bench.place[0];
  bench.windows.Merge(0, 1);  // 1 has none
  CHECK(bench.having() == Pages{1});
  CHECK(bench.place[1] == at);
  CHECK(bench.windows.used() == 1);
  bench.windows.Use(2);
  bench.windows.Merge(2, 1);  // both have users
  CHECK(bench.having() == Pages{1});
  CHECK(bench.windows.used() == 1);
  bench.windows.Unuse(1, false);
  CHECK(bench.windows.used() == 1);
  bench.windows.Unuse(1, false);
  CHECK(bench.windows.used() == 0);
  bench.windows.Use(3);
  bench.windows.Merge(3, 1);  // 1 is idle
  CHECK(bench.having() == Pages{1});
  CHECK(bench.windows.used() == 1);
  bench.windows.Unuse(1, false);
  bench.Pass(4);
  bench.windows.Merge(4, 5);  // idle and none
  CHECK(bench.having() == Pages{1, 5});
  bench.windows.Merge(6, 5);
  for (const std::int32_t page : {7, 8, 9}) bench.Pass(page);
  CHECK(bench.having().size() == 3);
}

TEST_CASE("Enough places are enough for any windows at any positions") {
  for (const std::int64_t window : {1, 2, 63, 64, 65, 128, 1000}) {
    for (const std::int64_t step : {1, 8, 100, 600}) {
      std::int64_t most = 0;
      for (std::int64_t computed = 0; computed < 3000; ++computed) {
        const std::int64_t begin = std::max<std::int64_t>(0, computed - window + 1) / kPageTokens;
        most = std::max(most, (computed + step + kPageTokens - 1) / kPageTokens - begin);
      }
      CAPTURE(window, step, most);
      CHECK(most <= WindowPages::Enough(1, window, step));
      // Several, of which one computes the step.
      std::int64_t idle = 0;
      for (std::int64_t computed = 0; computed < 3000; ++computed) {
        const std::int64_t begin = std::max<std::int64_t>(0, computed - window + 1) / kPageTokens;
        idle = std::max(idle, (computed + 1 + kPageTokens - 1) / kPageTokens - begin);
      }
      CHECK(most + 7 * idle <= WindowPages::Enough(8, window, step + 7));
    }
  }
}

}  // namespace
}  // namespace quorum::engine
