// Which KV pages are taken, and by how many sequences. Single-threaded.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace quorum::engine {

/// Hands out page ids 0 ... num_pages-1. A page is taken until Free, also while nobody refers to it (the prefix cache
/// keeps such pages).
class PageAllocator {
 public:
  explicit PageAllocator(std::int32_t num_pages);

  /// A free page with one reference, or nothing.
  std::optional<std::int32_t> Allocate();

  void Ref(std::int32_t page);
  /// Returns the references left. REQUIRES: at least one.
  std::int32_t Unref(std::int32_t page);
  /// REQUIRES: no references; not free.
  void Free(std::int32_t page);

  std::int32_t refs(std::int32_t page) const;
  std::int32_t num_pages() const { return static_cast<std::int32_t>(refs_.size()); }
  std::int32_t free_pages() const { return static_cast<std::int32_t>(free_.size()); }
  std::int32_t referenced_pages() const { return referenced_; }

 private:
  static constexpr std::int32_t kFree = -1;

  std::vector<std::int32_t> refs_;  // per page; kFree where it is free
  std::vector<std::int32_t> free_;  // a stack: the page freed last is likeliest in a CPU cache
  std::int32_t referenced_ = 0;
};

}  // namespace quorum::engine
