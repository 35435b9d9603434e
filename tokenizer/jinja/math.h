// Arithmetic operators. Integers are 64-bit: where Python would go on with a larger one, the template fails.
#pragma once

#include <cstdint>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/value.h"

namespace quorum::tok::jinja {

enum class BinaryOp : std::uint8_t { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow };
enum class UnaryOp : std::uint8_t { kNot, kNegate, kPlus };

/// a `op` b for numbers, text, lists and tuples.
Value Apply(Runtime& rt, BinaryOp op, const Value& a, const Value& b);

Value Apply(Runtime& rt, UnaryOp op, const Value& a);

}  // namespace quorum::tok::jinja
