// JSON schemas (draft 2020-12, and what older drafts spell otherwise) as grammars.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "engine/base/result.h"
#include "engine/grammar/grammar.h"
#include "engine/grammar/json_text.h"

namespace quorum::grammar {

/// Whatever the grammar produces is valid against `schema`. Where a schema allows more than can be steered, less is
/// produced, never more:
///  - members come in the order of `properties`; further members behind them;
///  - without `additionalProperties`, an object with `properties` gets no others; without `type`, keywords of one type
///  imply it;
///  - strings with a pattern or format use the usual spelling of each character; numbers with bounds have no exponent.
/// `oneOf` needs branches that are seen to exclude each other.
/// A `format` that is not known is a note, as the specification says.
/// Errors: kInvalidArgument with the JSON pointer and the keyword: malformed, not supported (never ignored), a
/// reference to nowhere or elsewhere, or limits on size and depth; and when nothing satisfies the schema as far as can
/// be seen early.
Result<Grammar> ParseJsonSchema(std::string_view schema, JsonSpace space);

/// Any JSON object.
Grammar JsonObjectGrammar(JsonSpace space);

/// Adds what `schema` allows to a grammar that `json` writes to, e.g. as the arguments of a tool call.
/// Formats that are not known, without a pattern beside them, are added to `unknown_formats`. Errors: as
/// ParseJsonSchema.
Result<ExprId> AddJsonSchema(std::string_view schema, JsonText& json, std::set<std::string>* unknown_formats = nullptr);

}  // namespace quorum::grammar
