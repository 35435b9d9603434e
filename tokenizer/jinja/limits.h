// How much one rendering of a template may use.
#pragma once

#include <cstdint>

namespace quorum::tok {

/// Limits on one rendering: a template comes from a model file and must not be able to hang or exhaust the server.
struct TemplateBudget {
  std::int64_t steps = 2'000'000;          // expressions evaluated and statements run
  std::int64_t output_bytes = 64LL << 20;  // bytes of the result, and of any string made on the way
  int depth = 200;                         // nesting of calls and expressions
};

}  // namespace quorum::tok
