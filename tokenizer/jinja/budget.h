// What one rendering may use: steps, bytes and nesting. Everything that grows or repeats asks here first.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "tokenizer/jinja/limits.h"

namespace quorum::tok::jinja {

/// Counts down one rendering's limits; each function fails the template (jinja::Fail) when its limit is reached.
/// Not thread-safe: one object a rendering.
class Budget {
 public:
  explicit Budget(const TemplateBudget& limits);
  Budget(const Budget&) = delete;
  Budget& operator=(const Budget&) = delete;

  /// One expression evaluated or statement run.
  void Step() { Spend(kUnitsPerStep); }

  /// `n` list items copied.
  void Items(std::size_t n) { Spend(n); }

  /// One value compared, hashed, printed, or asked of an iterator.
  void Visit() { Spend(4); }

  /// `n` bytes copied or searched.
  void Bytes(std::size_t n) { Spend(n / 4); }

  /// `n` bytes of text handled one character at a time.
  void Characters(std::size_t n) { Spend(2 * n); }

  /// Whether one string may have `bytes` bytes.
  void CheckSize(std::size_t bytes) const;

  /// `bytes` more, or fewer, bytes are held by values and buffers.
  void Allocate(std::size_t bytes);
  void Release(std::size_t bytes) noexcept { live_ -= bytes; }

  /// One level of nested evaluation, for as long as it lives.
  class Nested {
   public:
    explicit Nested(Budget& budget) : budget_(budget) { budget_.EnterNested(); }
    ~Nested() { --budget_.nested_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    Budget& budget_;
  };

  /// One macro, caller() or recursive loop being run, for as long as it lives.
  class Call {
   public:
    explicit Call(Budget& budget) : budget_(budget) { budget_.EnterCall(); }
    ~Call() { --budget_.calls_; }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Budget& budget_;
  };

 private:
  // A step is worth 64 list items or 256 bytes copied, 16 values visited or 32 characters handled: about equal times.
  static constexpr std::size_t kUnitsPerStep = 64;

  void Spend(std::size_t units) {
    if (units > left_) FailSteps();
    left_ -= units;
  }
  void EnterNested();
  void EnterCall();
  [[noreturn]] void FailSteps();

  const TemplateBudget limits_;
  std::size_t left_;
  std::size_t max_size_;
  std::size_t max_live_;
  std::size_t live_ = 0;
  int nested_ = 0;
  int calls_ = 0;
};

/// Appends to a list that is not charged (yet), asking first whether the budget has room for it when it grows.
template <typename T>
void PushWithin(Budget& budget, std::vector<T>& items, T item) {
  if (items.size() == items.capacity()) {
    const std::size_t bytes = std::max<std::size_t>(8, 2 * items.capacity()) * sizeof(T);
    budget.Allocate(bytes);
    budget.Release(bytes);
  }
  budget.Items(1);
  items.push_back(std::move(item));
}

}  // namespace quorum::tok::jinja
