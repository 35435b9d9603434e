// Which tensor gets which type.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/base/result.h"
#include "quant/encode.h"

namespace quorum::quant {

/// A line of a plan. `pattern` is a whole tensor name with `*` for any characters and `?` for one. With experts, the
/// rule is for these of a stacked tensor alone.
struct PlanRule {
  std::string pattern;
  std::vector<std::pair<std::int64_t, std::int64_t>> experts;  // first, last; empty: all
  Encoding encoding;
  int line = 0;

  bool Covers(std::string_view name) const;
  bool CoversExpert(std::int64_t expert) const;
};

struct QuantizePlan {
  Encoding base;
  bool pure = false;            // every matrix gets `base`; else the output matrix gets more than four or five bits
  std::vector<PlanRule> rules;  // later ones win

  /// The type that the plan gives a tensor, before FitToRow. `tied`: there is no output matrix but the embedding.
  /// `expert` -1: whatever holds for the whole stack. Nothing: the tensor stays as it is (norms, routers, vectors,
  /// positions).
  std::optional<Encoding> Choose(std::string_view name, std::size_t axes, bool tied, std::int64_t expert) const;
  /// Whether a rule speaks of some experts of `name` only.
  bool TellsExpertsApart(std::string_view name) const;
};

/// Reads a plan: one rule a line, `PATTERN TYPE` or `PATTERN[EXPERTS] TYPE`, EXPERTS like `0-3,7`; `#` starts a
/// comment.
///
///     blk.*.ffn_down_exps.weight        q5_k
///     blk.3.ffn_*_exps.weight[0-3,7]    q8_0
///     output.weight                     q8_0
///
/// Errors: kInvalidArgument naming the line.
Result<std::vector<PlanRule>> ParsePlan(std::string_view text);

/// The plan as text that ParsePlan reads.
std::string PlanText(const std::vector<PlanRule>& rules);

/// Whether `name` is `pattern`, in time |name| * |pattern| at the most.
bool MatchesGlob(std::string_view pattern, std::string_view name);

}  // namespace quorum::quant
