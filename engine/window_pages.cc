#include "engine/window_pages.h"

#include <cstddef>

#include "engine/base/check.h"
#include "engine/step_model.h"

namespace quorum::engine {

std::int64_t WindowPages::Enough(std::int64_t sequences, std::int64_t window, std::int64_t step_tokens) {
  // n positions in a row touch (n + 62) / 64 + 1 pages at most; a sequence's are window - 1 and its part of the step.
  return sequences * ((window - 1) / kPageTokens + 3) + step_tokens / kPageTokens + 2;
}

WindowPages::WindowPages(std::int32_t pages, std::int32_t places, Map map)
    : map_(std::move(map)), most_kept_(static_cast<std::size_t>(places / 2)) {
  if (places == 0) return;
  pages_.resize(static_cast<std::size_t>(pages));
  for (std::int32_t place = places; place-- > 0;) free_.push_back(place);
}

void WindowPages::SetIdle(std::int32_t page, bool kept) {
  At(page).kept = kept;
  At(page).since = ++tick_;
  Segment(At(page)).emplace(tick_, page);
  if (idle_[1].size() <= most_kept_) return;
  const std::int32_t oldest = idle_[1].begin()->second;
  SetBusy(oldest);
  SetIdle(oldest, false);
}

void WindowPages::SetBusy(std::int32_t page) { Segment(At(page)).erase({At(page).since, page}); }

/// Takes the place of an idle page away.
void WindowPages::Forget(std::int32_t page) {
  SetBusy(page);
  free_.push_back(At(page).place);
  At(page) = {};
  map_(page, kNone);
}

void WindowPages::Use(std::int32_t page) {
  if (!managed()) return;
  Page& used = At(page);
  if (used.place != kNone) {
    if (used.users == 0) SetBusy(page);
    used.met_again = true;
  } else {
    if (free_.empty()) {
      const Order& order = idle_[idle_[0].empty() ? 1 : 0];
      QUORUM_CHECK(!order.empty());
      Forget(order.begin()->second);
    }
    used.place = free_.back();
    free_.pop_back();
    map_(page, used.place);
  }
  if (used.users++ == 0) ++used_;
}

void WindowPages::Unuse(std::int32_t page, bool promising) {
  if (!managed()) return;
  Page& used = At(page);
  QUORUM_CHECK(used.users > 0);
  if (--used.users > 0) return;
  --used_;
  SetIdle(page, promising || used.met_again);
}

void WindowPages::Drop(std::int32_t page) {
  if (!managed() || At(page).place == kNone) return;
  QUORUM_CHECK(At(page).users == 0);
  Forget(page);
}

void WindowPages::Merge(std::int32_t from, std::int32_t to) {
  if (!managed() || At(from).place == kNone) return;
  Page& source = At(from);
  Page& target = At(to);
  if (target.place == kNone) {
    if (source.users == 0) SetBusy(from);
    target = source;
    source = {};
    map_(from, kNone);
    map_(to, target.place);
    if (target.users == 0) SetIdle(to, target.kept);
    return;
  }
  if (source.users > 0) {
    if (target.users == 0) {
      SetBusy(to);
    } else {
      --used_;
    }
    target.users += source.users;
    source.users = 0;
    SetIdle(from, false);
  }
  target.met_again = true;
  Forget(from);
}

}  // namespace quorum::engine
