// Which pages of the running sequences have memory in the windowed layers.
#include <algorithm>

#include "engine/scheduler.h"

namespace quorum::engine {

/// The first page that windowed layers still see once `computed` tokens are.
std::int32_t Scheduler::WindowBegin(std::int32_t computed) const {
  return std::max(0, computed - limits_.window.window + 1) / kPageTokens;
}

/// From now on the sequence uses pages [begin, end) in windowed layers.
void Scheduler::UseWindow(Sequence& sequence, std::int32_t begin, std::int32_t end, bool promising) {
  WindowPages& windows = cache_.windows();
  if (!windows.managed()) return;
  end = std::max(begin, end);
  const auto each = [&](std::int32_t from, std::int32_t to, std::int32_t but_from, std::int32_t but_to, auto&& what) {
    for (std::int32_t page = from; page < to; ++page) {
      if (page < but_from || page >= but_to) what(sequence.pages[static_cast<std::size_t>(page)]);
    }
  };
  each(sequence.window_begin, sequence.window_end, begin, end,
       [&](std::int32_t page) { windows.Unuse(page, promising); });
  each(begin, end, sequence.window_begin, sequence.window_end, [&](std::int32_t page) { windows.Use(page); });
  sequence.window_begin = begin;
  sequence.window_end = end;
}

/// Gives the planned step its memory: what no window reaches any more first goes back.
void Scheduler::PlaceWindows() {
  if (!cache_.windows().managed()) return;
  const auto end = [](const Sequence& sequence) {
    return Sequence::PagesFor(sequence.computed + sequence.step_tokens);
  };
  for (Sequence* sequence : running_) {
    UseWindow(*sequence, std::max(sequence->window_begin, WindowBegin(sequence->computed)),
              std::min(sequence->window_end, end(*sequence)));
  }
  for (Sequence* sequence : running_) UseWindow(*sequence, sequence->window_begin, end(*sequence));
}

/// How many of the pages `found`, which continue the sequence's full ones, it can have: up to one where all that the
/// windowed layers would see behind it has memory there.
std::size_t Scheduler::CanGoOnAfter(const Sequence& sequence, std::span<const std::int32_t> found) const {
  const WindowPages& windows = cache_.windows();
  if (!windows.managed()) return found.size();
  std::size_t usable = 0;
  std::int32_t lacking = -1;  // the last page without
  for (std::size_t i = 0; i < found.size(); ++i) {
    const std::int32_t page = sequence.indexed + static_cast<std::int32_t>(i);
    if (!windows.Has(found[i])) lacking = page;
    if (lacking < WindowBegin((page + 1) * kPageTokens)) usable = i + 1;
  }
  return usable;
}

}  // namespace quorum::engine
