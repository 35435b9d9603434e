// GBNF, llama.cpp's notation for grammars.
#pragma once

#include <string_view>

#include "engine/base/result.h"
#include "engine/grammar/grammar.h"

namespace quorum::grammar {

/// Reads rules `name ::= ...` as grammars/README.md of llama.cpp describes them: "literals" and [classes] with the
/// escapes
/// \n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH, `.`, groups, alternatives with |, * + ? {m} {m,} {m,n}, and # comments.
/// The text is what `root` describes. An alternative may also begin a line. Names may hold underscores. Errors:
/// kInvalidArgument with the line.
Result<Grammar> ParseGbnf(std::string_view text);

}  // namespace quorum::grammar
