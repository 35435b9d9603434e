// A regular expression's tree, and what it matches as a grammar's expression.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engine/base/result.h"
#include "engine/grammar/regex.h"

namespace quorum::grammar {

struct RegexNode {
  enum class Kind { kChars, kSequence, kChoice, kRepeat, kBegin, kEnd, kAhead, kNotAhead };
  Kind kind = Kind::kSequence;
  CharSet chars;
  std::vector<std::size_t> parts;  // of a tree's nodes; a part stands before what it is part of
  std::uint32_t min = 0;
  std::uint32_t max = 0;
};

/// Adds what the tree below `root` matches to `grammar`. Errors: as ParseRegex.
Result<ExprId> RegexExpr(const std::vector<RegexNode>& nodes, std::size_t root, RegexMatch match, Grammar& grammar);

}  // namespace quorum::grammar
