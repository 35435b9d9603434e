// Character classes of regular expressions.
#pragma once

#include <optional>

#include "engine/grammar/char_set.h"

namespace quorum::grammar {

/// What `\letter` stands for with d, D, w, W, s or S; nothing with another letter.
std::optional<CharSet> ClassEscape(CodePoint letter);

/// What `.` matches.
CharSet AnyButLineEnds();

}  // namespace quorum::grammar
