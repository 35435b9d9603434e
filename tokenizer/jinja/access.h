// Attributes, items and slices of values, with Jinja's rules for which of the two is tried first.
#pragma once

#include <string_view>

#include "tokenizer/jinja/builtin.h"

namespace quorum::tok::jinja {

/// value.name: an attribute or method, else an item, else undefined. Methods that would change a list or dict are
/// undefined, as in Jinja's immutable sandbox. Fails for an undefined `value`.
Value GetAttr(Runtime& rt, const Value& value, std::string_view name);

/// value[key]: an item, else an attribute, else undefined.
Value GetItem(Runtime& rt, const Value& value, const Value& key);

/// value[start:stop:step]; absent parts are kMissing or None.
Value GetSlice(Runtime& rt, const Value& value, const Value& start, const Value& stop, const Value& step);

/// The path of a filter's `attribute` argument, such as "function.name" or "items.0", split into keys.
std::vector<Value> AttributePath(Runtime& rt, const Value& attribute);

/// Follows `path` from `value`; where something is undefined and `fallback` is neither missing nor None, takes that.
Value FollowPath(Runtime& rt, Value value, const std::vector<Value>& path, const Value& fallback = {});

/// Whether `name` is an attribute (not an item) of `value`.
bool HasAttribute(Runtime& rt, const Value& value, std::string_view name);

}  // namespace quorum::tok::jinja
