// JSON documents in and out of templates.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "tokenizer/jinja/objects.h"

namespace quorum::tok::jinja {

/// The value of a JSON document; keys keep their order. Fails for texts that are not UTF-8 and for excessive nesting.
Value FromJson(Heap& heap, const nlohmann::ordered_json& json);

/// Python's json.dumps.
struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  bool indented = false;
  std::string indent;  // one level's worth, if indented
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

/// Appends `value` as JSON. Fails for values that JSON cannot express.
void AppendJson(TextBuilder& out, const Value& value, const JsonStyle& style);

}  // namespace quorum::tok::jinja
