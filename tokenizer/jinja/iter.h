// Walking over values.
#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "tokenizer/jinja/objects.h"

namespace quorum::tok::jinja {

/// An iterator over `value`; an iterator is its own. Fails if the value cannot be iterated.
Ref<IteratorObject> Iterate(Heap& heap, const Value& value);

/// An iterator over `value` from its end. Fails if Python's reversed() would.
Ref<IteratorObject> IterateReversed(Heap& heap, const Value& value);

/// All items that are left.
std::vector<Value> Drain(Budget& budget, IteratorObject& iterator);

/// All items of `value`: what Python's list() makes.
std::vector<Value> ItemsFrom(Heap& heap, const Value& value);

/// The items of a value whose walk begins only when the first one is asked for, as in Python's generator functions.
class DeferredItems {
 public:
  explicit DeferredItems(Value source) : source_(std::move(source)) {}
  const Value& source() const { return source_; }
  bool Next(Heap& heap, Value* item) {
    if (!iterator_) iterator_ = Iterate(heap, source_);
    return iterator_->Next(item);
  }

 private:
  Value source_;
  Ref<IteratorObject> iterator_;
};

/// An iterator whose items come from `next`, which holds all that it needs. `next` is called in nested evaluation, so
/// that a long chain of lazy filters fails instead of exhausting the stack.
Ref<IteratorObject> MakeLazy(Heap& heap, std::function<bool(Value*)> next);

}  // namespace quorum::tok::jinja
