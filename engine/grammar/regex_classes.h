// Character classes of regular expressions.
#pragma once

#include <optional>

#include "engine/grammar/char_set.h"

namespace quorum::grammar {

/// What `\letter` stands for with d, D, w, W, s or S; nothing with another letter. What ECMA-262 and
/// Python's `re` do not agree on is left out, or, `wide`, in.
std::optional<CharSet> ClassEscape(CodePoint letter, bool wide);

/// What `.` matches; as above.
CharSet AnyButLineEnds(bool wide);

}  // namespace quorum::grammar
