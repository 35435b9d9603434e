// The part of the engine that keeps chosen prefixes over restarts.
#include <algorithm>
#include <utility>

#include "engine/engine_core.h"

namespace quorum::engine {
namespace {

constexpr std::size_t kMostChosen = 64;

PrefixCache::Tokens PageAt(const std::vector<tok::TokenId>& tokens, std::size_t page) {
  constexpr auto kTokens = static_cast<std::size_t>(kPageTokens);
  return PrefixCache::Tokens(tokens).subspan(page * kTokens, kTokens);
}

void ReleaseAll(PrefixCache& cache, const std::vector<std::int32_t>& pages) {
  for (auto page = pages.rbegin(); page != pages.rend(); ++page) cache.Release(*page);
}

}  // namespace

void EngineCore::ChoosePrefix(ChosenPrefix chosen) {
  if (std::find(chosen_.begin(), chosen_.end(), chosen) != chosen_.end()) return;
  if (chosen_.size() == kMostChosen) chosen_.erase(chosen_.begin());
  chosen_.push_back(std::move(chosen));
  prefixes_changed_ = true;
}

/// The leading pages of a prefix that the cache has, each with a reference for the caller.
std::vector<std::int32_t> EngineCore::PagesOf(const ChosenPrefix& chosen) {
  PrefixCache& cache = scheduler_.cache();
  std::vector<std::int32_t> pages;
  for (std::size_t page = 0; page * static_cast<std::size_t>(kPageTokens) < chosen.tokens.size(); ++page) {
    const auto found = cache.Find({pages.empty() ? PrefixCache::kNoParent : pages.back(), &chosen.lineage},
                                  PageAt(chosen.tokens, page));
    if (!found) break;
    pages.push_back(*found);
  }
  return pages;
}

/// Of so many pages of a prefix, the first that windowed layers see behind them. Those before it are stored without
/// these layers.
std::size_t EngineCore::FirstInWindow(std::size_t pages) const {
  const WindowMemory memory = model_.window_memory();
  if (memory.places == 0) return 0;
  const std::int64_t first = static_cast<std::int64_t>(pages) * kPageTokens - memory.window + 1;
  return static_cast<std::size_t>(std::max<std::int64_t>(0, first) / kPageTokens);
}

std::vector<StoredPrefix> EngineCore::ExportPrefixes() {
  prefixes_changed_ = false;
  std::vector<StoredPrefix> stored;
  const auto bytes = static_cast<std::size_t>(model_.page_bytes());
  for (const ChosenPrefix& chosen : chosen_) {
    std::vector<std::int32_t> pages = PagesOf(chosen);
    const WindowPages& windows = scheduler_.cache().windows();
    const auto can_go_on = [&] {  // behind the last page
      return std::all_of(pages.begin() + static_cast<std::ptrdiff_t>(FirstInWindow(pages.size())), pages.end(),
                         [&windows](std::int32_t page) { return windows.Has(page); });
    };
    while (!can_go_on()) {
      scheduler_.cache().Release(pages.back());
      pages.pop_back();
    }
    if (!pages.empty()) {
      StoredPrefix prefix;
      prefix.lineage = chosen.lineage;
      prefix.tokens.assign(chosen.tokens.begin(), chosen.tokens.begin() + std::ssize(pages) * kPageTokens);
      prefix.pages.resize(pages.size() * bytes);
      for (std::size_t i = 0; i < pages.size(); ++i) {
        model_.ReadPage(pages[i], std::span(prefix.pages).subspan(i * bytes, bytes));
      }
      stored.push_back(std::move(prefix));
    }
    ReleaseAll(scheduler_.cache(), pages);
  }
  return stored;
}

void EngineCore::ImportPrefixes(std::vector<StoredPrefix> prefixes) {
  PrefixCache& cache = scheduler_.cache();
  const auto bytes = static_cast<std::size_t>(model_.page_bytes());
  for (StoredPrefix& prefix : prefixes) {
    const auto outside = [this](tok::TokenId token) { return token < 0 || token >= model_.vocab_size(); };
    if (std::any_of(prefix.tokens.begin(), prefix.tokens.end(), outside)) continue;
    const Lineage lineage =
        prefix.lineage.empty() ? nullptr : std::make_shared<const std::string>(std::move(prefix.lineage));
    ChosenPrefix chosen{lineage == nullptr ? "" : *lineage, std::move(prefix.tokens)};
    std::vector<std::int32_t> pages = PagesOf(chosen);
    const std::size_t in_window = FirstInWindow(prefix.pages.size() / bytes);
    const auto write = [&](std::size_t page, std::int32_t id) {
      if (page >= in_window) cache.windows().Use(id);
      model_.WritePage(id, std::span(prefix.pages).subspan(page * bytes, bytes));
      if (page >= in_window) cache.windows().Unuse(id, true);
    };
    for (std::size_t page = in_window; page < pages.size(); ++page) write(page, pages[page]);
    for (std::size_t page = pages.size(); page * bytes < prefix.pages.size(); ++page) {
      if (cache.cached() >= cache.num_pages() / 2) break;
      const auto taken = cache.Take();
      if (!taken) break;
      write(page, *taken);
      const PrefixCache::Place place{pages.empty() ? PrefixCache::kNoParent : pages.back(), lineage.get()};
      pages.push_back(cache.Insert(place, lineage, PageAt(chosen.tokens, page), *taken));
    }
    ReleaseAll(cache, pages);
    ChoosePrefix(std::move(chosen));
  }
  prefixes_changed_ = false;
}

}  // namespace quorum::engine
