// JSON of model files (safetensors headers and indexes, config.json) as plain data. nlohmann's parser does the reading;
// nothing of it crosses this header.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/base/result.h"

namespace quorum::quant {

struct JsonMember;

/// One value. Integers that fit are int64, other numbers are doubles. Objects keep the text's order; keys are unique.
struct JsonValue {
  using Array = std::vector<JsonValue>;
  using Object = std::vector<JsonMember>;

  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value;

  template <typename T>
  const T* As() const {
    return std::get_if<T>(&value);
  }
  bool is_null() const { return value.index() == 0; }
  /// The member `key` of an object, or null.
  const JsonValue* Find(std::string_view key) const;
  /// For messages: `"text"`, `3`, `an object`; cut when long, on one line.
  std::string Describe() const;
};

/// A member of an object.
struct JsonMember {
  std::string key;
  JsonValue value;
};

/// Parses `text`. Python's json module writes NaN, Infinity and -Infinity, which JSON does not have: they become the
/// strings "NaN" and so on, so that whoever reads the value can name its key.
/// Errors: kInvalidArgument (syntax with its place, nested deeper than 64, a key twice in one object).
Result<JsonValue> ParseJson(std::string_view text);

}  // namespace quorum::quant
