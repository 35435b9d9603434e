// JSON from outside, parsed only after a scan that bounds what parsing it can cost.
#pragma once

#include <cstddef>
#include <string_view>

#include <nlohmann/json.hpp>

#include "engine/base/result.h"

namespace quorum::server {

/// Keys keep the order in which they came: templates show it to the model.
using Json = nlohmann::ordered_json;

struct JsonLimits {
  int depth = 64;                      // nesting; deeper documents would overflow the stack when copied or compared
  double member_work = 2e8;            // sum over objects of members squared: look-up is linear in an ordered object
  std::size_t max_values = 2'000'000;  // values in all: each costs some 50 bytes of memory
};

/// Whether `text` may be parsed: no byte order mark, no NUL (not as an escape either), nesting and members within
/// limits. Says nothing of whether it is JSON.
Status ScanJson(std::string_view text, const JsonLimits& limits = {});

/// Parses `text`. A key that comes twice has its last value. Numbers that no double can hold, lone surrogates, NaN and
/// comments are errors. Errors: kInvalidArgument, saying at which byte.
Result<Json> ParseJson(std::string_view text, const JsonLimits& limits = {});

/// One line of JSON; bytes that are not UTF-8 become U+FFFD.
std::string DumpJson(const Json& value);

}  // namespace quorum::server
