// Which KV pages have memory in the layers that see only a window of positions. Single-threaded.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <set>
#include <utility>
#include <vector>

namespace quorum::engine {

/// A page has memory in every full layer as long as it is taken; in the windowed layers it has a place of a smaller
/// memory while a sequence's window lies on it, and afterwards until the place is needed. A page with a place has the
/// keys and values of all its positions there; one without can still be read by full layers, but a prefix that ends on
/// it, or so close behind it that the window reaches it, cannot be continued.
///
/// Places without users go by segmented least recent use (Karedla et al. 1994): those that were met again, and those
/// where a sequence ended, are kept before those that a window only passed over.
class WindowPages {
 public:
  static constexpr std::int32_t kNone = -1;
  /// Tells the memory that `page` is at `place` from now on, or nowhere (kNone).
  using Map = std::function<void(std::int32_t page, std::int32_t place)>;

  /// Places that so many sequences may use at once: each its window, together the tokens of a step, and a copy.
  static std::int64_t Enough(std::int64_t sequences, std::int64_t window, std::int64_t step_tokens);

  /// `places` == 0: every page always has its own, and nothing is kept account of.
  WindowPages(std::int32_t pages, std::int32_t places, Map map);

  bool managed() const { return !pages_.empty(); }
  bool Has(std::int32_t page) const { return !managed() || At(page).place != kNone; }
  std::int32_t used() const { return used_; }  // places with users

  /// Counts one user more and gives the page a place if it has none. REQUIRES: a place without user is left.
  void Use(std::int32_t page);
  /// One user fewer; `promising`: a sequence is likely to go on from here.
  void Unuse(std::int32_t page, bool promising);
  /// The page's content is gone. REQUIRES: no users.
  void Drop(std::int32_t page);
  /// `to` has the same content as `from`, whose users go over to it; so does its place where `to` has none.
  void Merge(std::int32_t from, std::int32_t to);

 private:
  struct Page {
    std::int32_t place = kNone;
    std::int32_t users = 0;
    bool met_again = false;
    bool kept = false;        // of the idle places: which segment
    std::uint64_t since = 0;  // idle
  };
  using Order = std::set<std::pair<std::uint64_t, std::int32_t>>;  // (since, page)

  Page& At(std::int32_t page) { return pages_[static_cast<std::size_t>(page)]; }
  const Page& At(std::int32_t page) const { return pages_[static_cast<std::size_t>(page)]; }
  Order& Segment(const Page& page) { return idle_[page.kept ? 1 : 0]; }
  void SetIdle(std::int32_t page, bool kept);
  void SetBusy(std::int32_t page);
  void Forget(std::int32_t page);

  Map map_;
  std::size_t most_kept_;
  std::int32_t used_ = 0;
  std::uint64_t tick_ = 0;
  std::vector<Page> pages_;
  std::vector<std::int32_t> free_;
  std::array<Order, 2> idle_;  // passed over; kept
};

}  // namespace quorum::engine
