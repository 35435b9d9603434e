// Anonymous, zeroed, 64-byte aligned (page aligned) memory for weights, KV pages and workspaces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/base/result.h"

namespace quorum {

/// Owns one mmap'd arena. Pages are touched only when written, so reserving is cheap. Movable.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  /// Reserves `bytes` (0 gives an empty buffer). Errors: kInternal with the sum when the kernel refuses.
  static Result<AlignedBuffer> Allocate(std::size_t bytes, bool huge_pages = true);

  AlignedBuffer(AlignedBuffer&& other) noexcept;
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept;
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  ~AlignedBuffer();

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

  /// The buffer seen as `T`s. REQUIRES: offset is a multiple of alignof(T) and the range lies inside.
  template <typename T>
  T* As(std::size_t byte_offset = 0) {
    return reinterpret_cast<T*>(data_ + byte_offset);
  }
  template <typename T>
  const T* As(std::size_t byte_offset = 0) const {
    return reinterpret_cast<const T*>(data_ + byte_offset);
  }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace quorum
