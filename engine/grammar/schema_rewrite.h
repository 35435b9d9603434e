// Keywords that say "if", "not" and "depends on", said with alternatives instead, which the compiler can steer.
#pragma once

#include <cstddef>
#include <string>

#include "engine/base/result.h"
#include "engine/grammar/schema_document.h"

namespace quorum::grammar {

// What a negation becomes where JSON Schema has no word for it. No document may use these itself.
inline constexpr const char* kNoneOf = "$none-of";          // values that it is not
inline constexpr const char* kNotPattern = "$not-pattern";  // a string that does not match

/// Replaces not, if/then/else, dependentRequired, dependentSchemas and dependencies in `root`, whose keywords were
/// checked, by allOf and anyOf that hold for exactly the same values.
/// Errors: kInvalidArgument with the JSON pointer, for what cannot be negated, or becomes too large.
Status RewriteSchema(SchemaJson& root);

}  // namespace quorum::grammar
