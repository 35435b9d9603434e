// The values of the template language.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja/heap.h"

namespace quorum::tok::jinja {

struct Builtin;

enum class Kind : std::uint8_t {
  kMissing,  // no value at all: an unset variable, an argument not given; templates never see it
  kNone,
  kBool,
  kInt,
  kBigInt,  // an integer of a JSON document above the range of kInt: can be printed and compared, not computed with
  kFloat,
  kFunction,  // a Builtin
  // From here on the value is an object.
  kUndefined,
  kString,
  kList,
  kTuple,
  kDict,
  kNamespace,
  kRange,
  kIterator,
  kView,
  kMethod,
  kMacro,
  kLoop,
  kCycler,
  kJoiner,
};

/// One value: small ones inline, others by reference. Copies share; what templates can reach is immutable, except
/// namespaces and the state of loops, cyclers and joiners.
class Value {
 public:
  Value() = default;  // kMissing
  Value(const Value& other) : kind_(other.kind_), data_(other.data_) {
    if (is_object()) data_.object->Retain();
  }
  Value(Value&& other) noexcept : kind_(std::exchange(other.kind_, Kind::kMissing)), data_(other.data_) {}
  Value& operator=(Value other) noexcept {
    std::swap(kind_, other.kind_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Value() {
    if (is_object()) data_.object->Drop();
  }

  /// An object value; `kind` must be that of the object's type.
  template <typename T>
  Value(Kind kind, const Ref<T>& object) : kind_(kind) {
    data_.object = object.get();
    data_.object->Retain();
  }
  Value(Kind kind, Object* object) : kind_(kind) {
    data_.object = object;
    data_.object->Retain();
  }

  static Value None() { return Value(Kind::kNone); }
  static Value Bool(bool b) {
    Value v(Kind::kBool);
    v.data_.integer = b ? 1 : 0;
    return v;
  }
  static Value Int(std::int64_t i) {
    Value v(Kind::kInt);
    v.data_.integer = i;
    return v;
  }
  static Value BigInt(std::uint64_t i) {
    Value v(Kind::kBigInt);
    v.data_.big = i;
    return v;
  }
  static Value Float(double d) {
    Value v(Kind::kFloat);
    v.data_.number = d;
    return v;
  }
  static Value Function(const Builtin* function) {
    Value v(Kind::kFunction);
    v.data_.function = function;
    return v;
  }

  Kind kind() const { return kind_; }
  bool is(Kind kind) const { return kind_ == kind; }
  bool is_object() const { return kind_ >= Kind::kUndefined; }
  bool is_missing() const { return kind_ == Kind::kMissing; }
  bool is_undefined() const { return kind_ == Kind::kUndefined; }
  bool is_none() const { return kind_ == Kind::kNone; }
  bool is_string() const { return kind_ == Kind::kString; }
  bool is_sequence() const { return kind_ == Kind::kList || kind_ == Kind::kTuple; }

  /// A bool or an int: what Python calls int.
  bool is_integral() const { return kind_ == Kind::kInt || kind_ == Kind::kBool; }
  bool is_number() const { return is_integral() || kind_ == Kind::kFloat; }

  // The payload; the kind must fit.
  bool boolean() const { return data_.integer != 0; }
  std::int64_t integer() const { return data_.integer; }  // also of a bool: 0 or 1
  std::uint64_t big() const { return data_.big; }
  double number() const { return kind_ == Kind::kFloat ? data_.number : static_cast<double>(data_.integer); }
  const Builtin* function() const { return data_.function; }
  Object* object() const { return data_.object; }

  template <typename T>
  T& as() const {
    return static_cast<T&>(*data_.object);
  }

 private:
  explicit Value(Kind kind) : kind_(kind) {}

  Kind kind_ = Kind::kMissing;
  union {
    std::int64_t integer;
    std::uint64_t big;
    double number;
    const Builtin* function;
    Object* object;
  } data_ = {0};
};

/// Arguments of a call. Keyword names are unique.
struct CallArgs {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

}  // namespace quorum::tok::jinja
