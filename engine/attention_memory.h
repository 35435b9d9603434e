// Memory of attention's workers: an arena for one task, and in it the states of online softmax.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>

#include "engine/base/check.h"

namespace quorum::engine {

/// Memory that grows and is never given back: one a thread, so that a running server allocates nothing per step.
class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena() { Free(); }

  /// Starts over with room for `bytes` in all, each piece rounded up to 64.
  void Reset(std::size_t bytes) {
    used_ = 0;
    if (bytes <= size_) return;
    Free();
    data_ = static_cast<std::byte*>(::operator new(bytes, kAlign));
    size_ = bytes;
  }
  template <typename T>
  T* Take(std::int64_t count) {
    T* piece = reinterpret_cast<T*>(data_ + used_);
    used_ += Bytes<T>(count);
    QUORUM_CHECK(used_ <= size_);
    return piece;
  }
  template <typename T>
  static std::size_t Bytes(std::int64_t count) {
    return (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
  }

 private:
  static constexpr std::align_val_t kAlign{64};
  void Free() {
    ::operator delete(data_, kAlign);
    data_ = nullptr;
    size_ = 0;
  }
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t used_ = 0;
};

/// Online softmax states of some rows.
struct States {
  float* m;
  float* l;
  float* o;  // (rows, padded dim)

  static std::size_t Bytes(std::int64_t rows, std::int64_t dim) {
    return 2 * Arena::Bytes<float>(rows) + Arena::Bytes<float>(rows * dim);
  }
  static States Take(Arena& arena, std::int64_t rows, std::int64_t dim) {
    States s{};
    s.m = arena.Take<float>(rows);
    s.l = arena.Take<float>(rows);
    s.o = arena.Take<float>(rows * dim);
    return s;
  }
  void Clear(std::int64_t rows, std::int64_t dim) const {
    std::fill_n(m, rows, -std::numeric_limits<float>::infinity());
    std::fill_n(l, rows, 0.0F);
    std::fill_n(o, rows * dim, 0.0F);
  }
};

}  // namespace quorum::engine
