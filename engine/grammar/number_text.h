// Numbers within bounds, and multiples, as automata over their decimal digits.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "engine/grammar/grammar.h"

namespace quorum::grammar {

/// A decimal number, exact: digits with the point behind the first `whole.size()` of them.
struct Decimal {
  bool negative = false;
  std::string whole = "0";  // without leading zeros; "0" if there are none
  std::string fraction;     // without trailing zeros

  bool zero() const { return whole == "0" && fraction.empty(); }
  /// Reads a JSON number. Nothing: not one, or with more than 400 digits on a side.
  static std::optional<Decimal> Parse(std::string_view text);
  /// -1, 0 or 1.
  static int Compare(const Decimal& a, const Decimal& b);
};

struct NumberLimits {
  bool integer = false;
  std::optional<Decimal> low, high;
  bool low_open = false, high_open = false;  // the bound itself is excluded
  std::vector<Decimal> multiples;            // of all of these, each > 0
};

/// The numbers within `limits`, in plain notation: at most 16 digits before the point (more where a bound needs them)
/// and, unless `multiples` say how many, so many behind it that no double in reach confuses two of them. No "-0".
/// Errors: kInvalidArgument when that needs too many states.
Result<ExprId> BoundedNumber(const NumberLimits& limits, Grammar& grammar);

}  // namespace quorum::grammar
