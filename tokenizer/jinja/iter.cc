#include "tokenizer/jinja/iter.h"

#include <string>
#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

// Positions 0..count-1 of something that can be indexed, upwards or downwards.
class IndexedIterator final : public IteratorObject {
 public:
  IndexedIterator(Heap& heap, Value value, std::int64_t count, bool backwards)
      : IteratorObject(heap, sizeof(IndexedIterator)), value_(std::move(value)), count_(count), backwards_(backwards) {}

  bool Next(Value* item) override {
    if (position_ >= count_) return false;
    heap().budget().Visit();
    const std::int64_t index = backwards_ ? count_ - 1 - position_ : position_;
    ++position_;
    const auto i = static_cast<std::size_t>(index);
    switch (value_.kind()) {
      case Kind::kList:
      case Kind::kTuple: *item = ItemsOf(value_)[i]; break;
      case Kind::kDict: *item = value_.as<DictObject>().map.entries()[i].first; break;
      case Kind::kView: *item = value_.as<ViewObject>().item(i); break;
      case Kind::kRange: *item = Value::Int(value_.as<RangeObject>().at(index)); break;
      default: return false;
    }
    return true;
  }

 private:
  const Value value_;
  const std::int64_t count_;
  const bool backwards_;
  std::int64_t position_ = 0;
};

class TextIterator final : public IteratorObject {
 public:
  TextIterator(Heap& heap, Value text) : IteratorObject(heap, sizeof(TextIterator)), text_(std::move(text)) {}

  bool Next(Value* item) override {
    const std::string& text = TextOf(text_);
    if (position_ >= text.size()) return false;
    heap().budget().Visit();
    const std::size_t begin = position_;
    DecodeAt(text, &position_);
    *item = MakeString(heap(), text.substr(begin, position_ - begin));
    return true;
  }

 private:
  const Value text_;
  std::size_t position_ = 0;
};

// `for x in loop`: what is left of the loop, each item with the loop itself.
class LoopIterator final : public IteratorObject {
 public:
  LoopIterator(Heap& heap, Value loop) : IteratorObject(heap, sizeof(LoopIterator)), loop_(std::move(loop)) {}

  bool Next(Value* item) override {
    Value next;
    if (!loop_.as<LoopObject>().Advance(&next)) return false;
    *item = MakeTuple(heap(), {next, loop_});
    return true;
  }

 private:
  const Value loop_;
};

class LazyIterator final : public IteratorObject {
 public:
  LazyIterator(Heap& heap, std::function<bool(Value*)> next)
      : IteratorObject(heap, sizeof(LazyIterator) + 128), next_(std::move(next)) {}

  bool Next(Value* item) override {
    if (!next_) return false;
    if (running_) Fail("generator already executing");
    const Budget::Nested nested(heap().budget());
    heap().budget().Visit();
    running_ = true;
    const bool more = next_(item);  // if it throws, the rendering is over
    running_ = false;
    if (!more) next_ = nullptr;  // a generator that ended stays ended
    return more;
  }

 private:
  std::function<bool(Value*)> next_;
  bool running_ = false;
};

[[noreturn]] void FailNotIterable(const Value& value) {
  Fail("'" + std::string(TypeName(value)) + "' object is not iterable");
}

}  // namespace

Ref<IteratorObject> Iterate(Heap& heap, const Value& value) {
  switch (value.kind()) {
    case Kind::kIterator: return Ref<IteratorObject>(&value.as<IteratorObject>());
    case Kind::kString: return heap.New<TextIterator>(value);
    case Kind::kLoop: return heap.New<LoopIterator>(value);
    case Kind::kUndefined:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kRange:
    case Kind::kView: return heap.New<IndexedIterator>(value, LengthOf(value), false);
    default: FailNotIterable(value);
  }
}

Ref<IteratorObject> IterateReversed(Heap& heap, const Value& value) {
  switch (value.kind()) {
    case Kind::kString: {
      std::vector<Value> characters = ItemsFrom(heap, value);
      const auto count = static_cast<std::int64_t>(characters.size());
      const Value list = MakeList(heap, std::move(characters));
      return heap.New<IndexedIterator>(list, count, true);
    }
    case Kind::kUndefined:
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kRange:
    case Kind::kView: return heap.New<IndexedIterator>(value, LengthOf(value), true);
    default: Fail("'" + std::string(TypeName(value)) + "' object is not reversible");
  }
}

std::vector<Value> Drain(Budget& budget, IteratorObject& iterator) {
  std::vector<Value> items;
  for (Value item; iterator.Next(&item);) PushWithin(budget, items, std::move(item));
  return items;
}

std::vector<Value> ItemsFrom(Heap& heap, const Value& value) {
  if (value.is_sequence()) {
    heap.budget().Items(ItemsOf(value).size());
    return ItemsOf(value);
  }
  return Drain(heap.budget(), *Iterate(heap, value));
}

Ref<IteratorObject> MakeLazy(Heap& heap, std::function<bool(Value*)> next) {
  return heap.New<LazyIterator>(std::move(next));
}

}  // namespace quorum::tok::jinja
