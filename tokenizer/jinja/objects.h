// The types of object that a Value can refer to, and how to make them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/jinja/dict.h"
#include "tokenizer/jinja/heap.h"
#include "tokenizer/jinja/value.h"

namespace quorum::tok::jinja {

struct Builtin;
struct ForStmt;
struct MacroBody;

/// Kind::kString. Immutable valid UTF-8.
struct StringObject final : Object {
  StringObject(Heap& heap, std::string text_in, bool markup_in);

  /// Length in code points.
  std::size_t length() const;
  bool is_ascii() const { return length() == text.size(); }

  const std::string text;
  const bool markup;  // came out of |safe or |escape: joining it with other text escapes that text

 private:
  mutable std::size_t length_ = static_cast<std::size_t>(-1);  // not yet counted
};

/// Kind::kList and Kind::kTuple. Immutable.
struct SequenceObject final : Object {
  SequenceObject(Heap& heap, std::vector<Value> items_in, bool group_in = false);

  const std::vector<Value> items;
  const bool group;  // a result of |groupby: its two items are also called grouper and list
};

/// Kind::kDict. Filled by who makes it, then immutable.
struct DictObject final : Object {
  explicit DictObject(Heap& heap) : Object(heap, sizeof(DictObject)) {}
  void Set(Value key, Value value);

  DictMap map;
};

/// Kind::kNamespace.
struct NamespaceObject final : MutableObject {
  explicit NamespaceObject(Heap& heap) : MutableObject(heap, sizeof(NamespaceObject)) {}
  void Set(Value name, Value value);
  void Clear() noexcept override { map.Clear(); }

  DictMap map;
};

/// Kind::kRange.
struct RangeObject final : Object {
  RangeObject(Heap& heap, std::int64_t start_in, std::int64_t stop_in, std::int64_t step_in);
  std::int64_t at(std::int64_t index) const { return start + index * step; }

  const std::int64_t start;
  const std::int64_t stop;
  const std::int64_t step;
  const std::int64_t length;
};

/// Kind::kIterator. What Python calls a generator: it can be walked once.
struct IteratorObject : Object {
  /// The next item, or false at the end.
  virtual bool Next(Value* item) = 0;

 protected:
  explicit IteratorObject(Heap& heap, std::size_t bytes) : Object(heap, bytes) {}
};

/// Kind::kView. What dict.keys(), values() and items() return.
struct ViewObject final : Object {
  enum class What : std::uint8_t { kKeys, kValues, kItems };
  ViewObject(Heap& heap, Value dict_in, What what_in);
  const DictMap& map() const { return dict.as<DictObject>().map; }
  Value item(std::size_t index) const;

  const Value dict;
  const What what;
};

/// Kind::kUndefined. Knows what it stands for only to say so in an error.
struct UndefinedObject final : Object {
  UndefinedObject(Heap& heap, std::string message_in);
  const std::string message;
};

/// Kind::kMethod. A builtin with its first argument.
struct MethodObject final : Object {
  MethodObject(Heap& heap, Value self_in, const Builtin* function_in);
  const Value self;
  const Builtin* const function;
};

/// The variables of one run of a function: the template itself, a macro, a call block, a recursive loop, a loop filter.
struct Activation final : MutableObject {
  Activation(Heap& heap, Ref<Activation> parent_in, std::size_t slot_count);
  void Clear() noexcept override;

  Ref<Activation> parent;  // where the function was defined
  std::vector<Value> slots;
};

/// Kind::kMacro.
struct MacroObject final : Object {
  MacroObject(Heap& heap, const MacroBody& body_in, Ref<Activation> closure_in);
  const MacroBody& body;  // in the template, which outlives the rendering
  const Ref<Activation> closure;
};

/// Kind::kLoop. The `loop` variable.
struct LoopObject final : MutableObject {
  LoopObject(Heap& heap, const Value& iterable_in, Ref<IteratorObject> iterator_in, std::int64_t depth0_in);
  void Clear() noexcept override;

  bool Advance(Value* item);

  /// The item after the current one, or null: reads one ahead.
  const Value* Peek();

  /// The number of items; reads all of them if the iterable does not know.
  std::int64_t Length();

  Value iterable;
  Ref<IteratorObject> iterator;
  const std::int64_t depth0;
  std::int64_t index0 = -1;
  std::int64_t length = -1;
  Value previous;
  Value current;
  Value ahead;
  Value last_changed;

  const ForStmt* recursive = nullptr;  // set in a loop that may be called
  Ref<Activation> closure;
};

/// Kind::kCycler.
struct CyclerObject final : Object {
  CyclerObject(Heap& heap, std::vector<Value> items_in);
  const std::vector<Value> items;
  std::size_t position = 0;
};

/// Kind::kJoiner.
struct JoinerObject final : Object {
  JoinerObject(Heap& heap, Value separator_in);
  const Value separator;
  bool used = false;
};

// Makers. Each charges the heap's budget.
Value MakeString(Heap& heap, std::string text, bool markup = false);
Value MakeList(Heap& heap, std::vector<Value> items);
Value MakeTuple(Heap& heap, std::vector<Value> items);
Value MakeUndefined(Heap& heap, std::string message);
Value MakeIterator(const Ref<IteratorObject>& iterator);

/// The text of a string value.
inline const std::string& TextOf(const Value& value) { return value.as<StringObject>().text; }
inline bool IsMarkup(const Value& value) { return value.is_string() && value.as<StringObject>().markup; }
inline const std::vector<Value>& ItemsOf(const Value& value) { return value.as<SequenceObject>().items; }

/// A text under construction: never longer than the budget allows, and charged while it grows.
class TextBuilder {
 public:
  explicit TextBuilder(Budget& budget) : budget_(budget) {}
  ~TextBuilder() { budget_.Release(charged_); }
  TextBuilder(const TextBuilder&) = delete;
  TextBuilder& operator=(const TextBuilder&) = delete;

  void Append(std::string_view text) {
    budget_.Bytes(text.size());
    if (text.size() > text_.capacity() - text_.size()) Grow(text.size());
    text_.append(text);
  }
  void Append(char c) { Append(std::string_view(&c, 1)); }
  void AppendRepeated(std::string_view text, std::size_t times);

  std::size_t size() const { return text_.size(); }
  const std::string& text() const { return text_; }
  Budget& budget() const { return budget_; }

  /// Moves the text out; the builder is empty then.
  std::string Take();

 private:
  void Grow(std::size_t more);

  Budget& budget_;
  std::string text_;
  std::size_t charged_ = 0;
};

}  // namespace quorum::tok::jinja
