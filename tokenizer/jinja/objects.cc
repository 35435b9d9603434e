#include "tokenizer/jinja/objects.h"

#include <algorithm>
#include <utility>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/iter.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

// An entry of a DictMap with its hash and its places in the table.
constexpr std::size_t kDictEntryBytes = sizeof(DictMap::Entry) + sizeof(std::size_t) + 4 * sizeof(std::int32_t);

__extension__ using Int128 = __int128;  // the distance of two 64-bit numbers may need 65 bits

std::int64_t RangeLength(std::int64_t start, std::int64_t stop, std::int64_t step) {
  if (step == 0) return 0;
  const Int128 distance = static_cast<Int128>(stop) - start;
  if ((step > 0 && distance <= 0) || (step < 0 && distance >= 0)) return 0;
  const Int128 count = (distance + step + (step > 0 ? -1 : 1)) / step;
  return count > INT64_MAX ? INT64_MAX : static_cast<std::int64_t>(count);
}

}  // namespace

StringObject::StringObject(Heap& heap, std::string text_in, bool markup_in)
    : Object(heap, sizeof(StringObject) + text_in.capacity()), text(std::move(text_in)), markup(markup_in) {}

std::size_t StringObject::length() const {
  if (length_ == static_cast<std::size_t>(-1)) length_ = CodepointCount(text);
  return length_;
}

SequenceObject::SequenceObject(Heap& heap, std::vector<Value> items_in, bool group_in)
    : Object(heap, sizeof(SequenceObject) + items_in.capacity() * sizeof(Value)),
      items(std::move(items_in)),
      group(group_in) {}

void DictObject::Set(Value key, Value value) {
  if (map.Set(heap().budget(), std::move(key), std::move(value))) Charge(kDictEntryBytes);
}

void NamespaceObject::Set(Value name, Value value) {
  if (map.Set(heap().budget(), std::move(name), std::move(value))) Charge(kDictEntryBytes);
}

RangeObject::RangeObject(Heap& heap, std::int64_t start_in, std::int64_t stop_in, std::int64_t step_in)
    : Object(heap, sizeof(RangeObject)),
      start(start_in),
      stop(stop_in),
      step(step_in),
      length(RangeLength(start_in, stop_in, step_in)) {}

ViewObject::ViewObject(Heap& heap, Value dict_in, What what_in)
    : Object(heap, sizeof(ViewObject)), dict(std::move(dict_in)), what(what_in) {}

Value ViewObject::item(std::size_t index) const {
  const DictMap::Entry& entry = map().entries()[index];
  switch (what) {
    case What::kKeys: return entry.first;
    case What::kValues: return entry.second;
    default: return MakeTuple(heap(), {entry.first, entry.second});
  }
}

UndefinedObject::UndefinedObject(Heap& heap, std::string message_in)
    : Object(heap, sizeof(UndefinedObject) + message_in.capacity()), message(std::move(message_in)) {}

MethodObject::MethodObject(Heap& heap, Value self_in, const Builtin* function_in)
    : Object(heap, sizeof(MethodObject)), self(std::move(self_in)), function(function_in) {}

Activation::Activation(Heap& heap, Ref<Activation> parent_in, std::size_t slot_count)
    : MutableObject(heap, sizeof(Activation) + slot_count * sizeof(Value)),
      parent(std::move(parent_in)),
      slots(slot_count) {
  heap.budget().Items(slot_count);
}

void Activation::Clear() noexcept {
  parent = {};
  slots.clear();
}

MacroObject::MacroObject(Heap& heap, const MacroBody& body_in, Ref<Activation> closure_in)
    : Object(heap, sizeof(MacroObject)), body(body_in), closure(std::move(closure_in)) {}

LoopObject::LoopObject(Heap& heap, const Value& iterable_in, Ref<IteratorObject> iterator_in, std::int64_t depth0_in)
    : MutableObject(heap, sizeof(LoopObject)),
      iterable(iterable_in),
      iterator(std::move(iterator_in)),
      depth0(depth0_in) {}

void LoopObject::Clear() noexcept {
  iterable = previous = current = ahead = last_changed = Value();
  iterator = {};
  closure = {};
}

bool LoopObject::Advance(Value* item) {
  if (!ahead.is_missing()) {
    *item = std::move(ahead);
    ahead = Value();
  } else if (!iterator->Next(item)) {
    return false;
  }
  ++index0;
  previous = std::move(current);
  current = *item;
  return true;
}

const Value* LoopObject::Peek() {
  if (ahead.is_missing() && !iterator->Next(&ahead)) {
    ahead = Value();
    return nullptr;
  }
  return &ahead;
}

std::int64_t LoopObject::Length() {
  if (length >= 0) return length;
  length = LengthOf(iterable);
  if (length < 0) {
    std::vector<Value> rest = Drain(heap().budget(), *iterator);
    length = static_cast<std::int64_t>(rest.size()) + index0 + 1 + (ahead.is_missing() ? 0 : 1);
    iterator = Iterate(heap(), MakeList(heap(), std::move(rest)));
  }
  return length;
}

CyclerObject::CyclerObject(Heap& heap, std::vector<Value> items_in)
    : Object(heap, sizeof(CyclerObject) + items_in.capacity() * sizeof(Value)), items(std::move(items_in)) {}

JoinerObject::JoinerObject(Heap& heap, Value separator_in)
    : Object(heap, sizeof(JoinerObject)), separator(std::move(separator_in)) {}

Value MakeString(Heap& heap, std::string text, bool markup) {
  heap.budget().CheckSize(text.size());
  heap.budget().Bytes(text.size());
  return Value(Kind::kString, heap.New<StringObject>(std::move(text), markup));
}

Value MakeList(Heap& heap, std::vector<Value> items) {
  heap.budget().Items(items.size());
  return Value(Kind::kList, heap.New<SequenceObject>(std::move(items)));
}

Value MakeTuple(Heap& heap, std::vector<Value> items) {
  heap.budget().Items(items.size());
  return Value(Kind::kTuple, heap.New<SequenceObject>(std::move(items)));
}

Value MakeUndefined(Heap& heap, std::string message) {
  return Value(Kind::kUndefined, heap.New<UndefinedObject>(std::move(message)));
}

Value MakeIterator(const Ref<IteratorObject>& iterator) { return Value(Kind::kIterator, iterator); }

void TextBuilder::AppendRepeated(std::string_view text, std::size_t times) {
  if (text.empty() || times == 0) return;
  if (times > SIZE_MAX / 2 / text.size()) budget_.CheckSize(SIZE_MAX / 2);
  const std::size_t more = text.size() * times;
  if (more > text_.capacity() - text_.size()) Grow(more);
  budget_.Bytes(more);
  for (std::size_t i = 0; i < times; ++i) text_.append(text);
}

std::string TextBuilder::Take() {
  budget_.CheckSize(text_.size());
  budget_.Release(charged_);
  charged_ = 0;
  return std::exchange(text_, {});
}

void TextBuilder::Grow(std::size_t more) {
  const std::size_t size = text_.size() + more;
  budget_.CheckSize(size);
  const std::size_t capacity = std::max(text_.capacity() * 2, size);
  budget_.Allocate(capacity - charged_);
  charged_ = capacity;
  text_.reserve(capacity);
}

}  // namespace quorum::tok::jinja
