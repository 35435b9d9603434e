// The arguments of a call as grammar expressions: as JSON, or as Qwen3-Coder writes them.
#pragma once

#include <set>
#include <string>

#include "engine/base/result.h"
#include "engine/grammar/grammar.h"
#include "engine/grammar/json_text.h"
#include "server/json_input.h"

namespace quorum::server {

/// Objects that satisfy `parameters`, a JSON schema (null: takes nothing), as JSON.
/// Formats of strings that are not known, without a pattern beside them, are added to `unknown_formats`.
/// Errors: kInvalidArgument: it cannot be followed.
Result<grammar::ExprId> JsonArguments(const Json& parameters, grammar::JsonText& json,
                                      std::set<std::string>& unknown_formats);

/// The same as <parameter=KEY>\nVALUE\n</parameter>\n for each property, in the schema's order; strings are not quoted.
/// `exact` false: what cannot be followed allows any value, and there are no errors.
Result<grammar::ExprId> XmlArguments(const Json& parameters, bool exact, grammar::JsonText& json,
                                     std::set<std::string>& unknown_formats);

}  // namespace quorum::server
