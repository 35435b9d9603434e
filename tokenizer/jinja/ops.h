// What all values can be asked: truth, equality, order, length, membership.
#pragma once

#include <cstdint>
#include <string_view>

#include "tokenizer/jinja/value.h"

namespace quorum::tok::jinja {

enum class CompareOp : std::uint8_t { kEq, kNe, kLt, kLe, kGt, kGe, kIn, kNotIn };

/// Python's name of the value's type, for error messages.
std::string_view TypeName(const Value& value);

/// Fails with what was undefined.
[[noreturn]] void FailUndefined(const Value& undefined);

bool Truthy(const Value& value);

/// ==
bool Equal(Budget& budget, const Value& a, const Value& b);

/// a `op` b, with Python's meaning and Python's type errors.
bool Compare(Budget& budget, CompareOp op, const Value& a, const Value& b);

/// The same object, or the same small constant.
bool Same(const Value& a, const Value& b);

/// What len() gives, or -1 for a value that has no length.
std::int64_t LengthOf(const Value& value);

/// LengthOf, or a failure.
std::int64_t RequireLength(const Value& value);

/// item in container
bool Contains(Budget& budget, const Value& container, const Value& item);

bool IsIterable(const Value& value);
bool IsCallable(const Value& value);

/// Has a length and can be indexed.
bool IsSequenceLike(const Value& value);

}  // namespace quorum::tok::jinja
