// Python's two ways to fill values into text: the % operator and str.format().
#pragma once

#include "tokenizer/jinja/builtin.h"

namespace quorum::tok::jinja {

/// format % args. `args` is a tuple, a mapping or one value.
Value PercentFormat(Runtime& rt, const Value& format, const Value& args);

/// format.format(*args, **keyword).
Value BraceFormat(Runtime& rt, const Value& format, const std::vector<Value>& args,
                  const std::vector<std::pair<std::string, Value>>& keyword);

}  // namespace quorum::tok::jinja
