// Builtin filters, tests, methods and global functions: how they are declared, found and called.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/jinja/objects.h"

namespace quorum::tok::jinja {

/// What builtins need of the interpreter. Not thread-safe.
class Runtime {
 public:
  Runtime(Heap& heap, std::int64_t now_unix) : heap_(heap), now_unix_(now_unix) {}
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  virtual ~Runtime() = default;

  Heap& heap() const { return heap_; }
  Budget& budget() const { return heap_.budget(); }

  /// Seconds since 1970, UTC: the time that strftime_now() tells.
  std::int64_t now_unix() const { return now_unix_; }

  /// Runs a macro.
  virtual Value CallMacro(const MacroObject& macro, CallArgs args) = 0;

  /// Runs the body of a recursive loop over `iterable`.
  virtual Value CallLoop(LoopObject& loop, const Value& iterable) = 0;

  Value Text(std::string text, bool markup = false) const { return MakeString(heap_, std::move(text), markup); }
  Value List(std::vector<Value> items) const { return MakeList(heap_, std::move(items)); }
  Value Tuple(std::vector<Value> items) const { return MakeTuple(heap_, std::move(items)); }

 private:
  Heap& heap_;
  const std::int64_t now_unix_;
};

inline constexpr std::size_t kMaxParams = 6;

/// The arguments of one call after binding: by position in Builtin::params, kMissing where none was given.
class Args {
 public:
  Value& operator[](std::size_t i) { return values_[i]; }
  bool has(std::size_t i) const { return !values_[i].is_missing(); }

  // Conversions of argument `i`; they fail like Python when the type is wrong.
  const std::string& text(std::size_t i) const;
  std::int64_t integer(std::size_t i) const;
  std::int64_t integer_or(std::size_t i, std::int64_t fallback) const { return has(i) ? integer(i) : fallback; }
  bool truth_or(std::size_t i, bool fallback) const;
  bool none_or_missing(std::size_t i) const { return values_[i].is_missing() || values_[i].is_none(); }

  std::vector<Value> rest;                             // positional arguments beyond the params of a variadic builtin
  std::vector<std::pair<std::string, Value>> keyword;  // keyword arguments of a variadic builtin

 private:
  std::array<Value, kMaxParams> values_;
};

/// One builtin. Filters, tests and methods get the value that they apply to as their first argument.
struct Builtin {
  enum Style : std::uint8_t {
    kNamed,       // arguments by position or by name
    kPositional,  // by position only
    kVariadic,    // beyond `params`, any number by position and by name
  };

  std::string_view name;
  Value (*run)(Runtime& rt, Args& args);
  std::array<std::string_view, kMaxParams> params;
  std::size_t required;
  Style style = kNamed;
};

/// Binds `call` to the parameters of `builtin` and runs it. Fails if they do not fit.
Value Invoke(Runtime& rt, const Builtin& builtin, CallArgs call);

/// Calls any value. Fails if it cannot be called.
Value Call(Runtime& rt, const Value& callee, CallArgs args);

// Null if there is none of that name.
const Builtin* FindFilter(std::string_view name);
const Builtin* FindTest(std::string_view name);
const Builtin* FindGlobal(std::string_view name);

/// The method `name` of values of the type of `value`.
const Builtin* FindMethod(const Value& value, std::string_view name);

/// A table of builtins that can be searched by name.
class BuiltinTable {
 public:
  explicit BuiltinTable(std::vector<Builtin> builtins);
  const Builtin* Find(std::string_view name) const;
  const std::vector<Builtin>& all() const { return builtins_; }

 private:
  std::vector<Builtin> builtins_;  // sorted by name
};

// The tables, one a file.
const BuiltinTable& TextFilters();
const BuiltinTable& ListFilters();
const BuiltinTable& SelectFilters();
const BuiltinTable& NumberFilters();
const BuiltinTable& Tests();
const BuiltinTable& TextMethods();
const BuiltinTable& TextTestMethods();
const BuiltinTable& ContainerMethods(Kind kind);
const BuiltinTable& Globals();

}  // namespace quorum::tok::jinja
