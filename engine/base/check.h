// Checks for programmer errors. Never reachable from a request, a model file or a flag: those get a Result.
#pragma once

namespace quorum {

/// Prints where and what, then aborts. Kept out of line so that a check costs one compare.
[[noreturn]] void CheckFailed(const char* file, int line, const char* condition);

}  // namespace quorum

#define QUORUM_CHECK(condition) \
  (static_cast<bool>(condition) ? static_cast<void>(0) : ::quorum::CheckFailed(__FILE__, __LINE__, #condition))

#ifdef NDEBUG
#define QUORUM_DCHECK(condition) static_cast<void>(0)
#else
#define QUORUM_DCHECK(condition) QUORUM_CHECK(condition)
#endif
