#include "engine/page_allocator.h"

#include <cstddef>

#include "engine/base/check.h"

namespace quorum::engine {

PageAllocator::PageAllocator(std::int32_t num_pages) : refs_(static_cast<std::size_t>(num_pages), kFree) {
  free_.reserve(refs_.size());
  for (std::int32_t page = num_pages; page-- > 0;) free_.push_back(page);
}

std::optional<std::int32_t> PageAllocator::Allocate() {
  if (free_.empty()) return {};
  const std::int32_t page = free_.back();
  free_.pop_back();
  refs_[static_cast<std::size_t>(page)] = 1;
  ++referenced_;
  return page;
}

void PageAllocator::Ref(std::int32_t page) {
  std::int32_t& refs = refs_[static_cast<std::size_t>(page)];
  QUORUM_CHECK(refs != kFree);
  if (refs++ == 0) ++referenced_;
}

std::int32_t PageAllocator::Unref(std::int32_t page) {
  std::int32_t& refs = refs_[static_cast<std::size_t>(page)];
  QUORUM_CHECK(refs > 0);
  if (--refs == 0) --referenced_;
  return refs;
}

void PageAllocator::Free(std::int32_t page) {
  std::int32_t& refs = refs_[static_cast<std::size_t>(page)];
  QUORUM_CHECK(refs == 0);
  refs = kFree;
  free_.push_back(page);
}

std::int32_t PageAllocator::refs(std::int32_t page) const {
  const std::int32_t refs = refs_[static_cast<std::size_t>(page)];
  return refs == kFree ? 0 : refs;
}

}  // namespace quorum::engine
