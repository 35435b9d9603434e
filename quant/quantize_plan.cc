#include "quant/quantize_plan.h"

#include <charconv>
#include <utility>

namespace quorum::quant {
namespace {

constexpr std::size_t kMostPlanBytes = std::size_t{16} << 20;
constexpr std::int64_t kMostExpert = 1 << 20;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

std::optional<std::int64_t> Number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > kMostExpert) return {};
  return value;
}

// A message about a line shows at most this much of it, and only characters that a terminal prints.
std::string Shown(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 80)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + (text.size() > 80 ? "...'" : "'");
}

Error Fault(int line, const std::string& what) {
  return InvalidArgument("plan, line " + std::to_string(line) + ": " + what);
}

Status ParseExperts(std::string_view list, int line, PlanRule& rule) {
  while (true) {
    const std::size_t comma = list.find(',');
    const std::string_view part = Trim(list.substr(0, comma));
    const std::size_t dash = part.find('-');
    const auto first = Number(Trim(part.substr(0, dash)));
    const auto last = dash == std::string_view::npos ? first : Number(Trim(part.substr(dash + 1)));
    if (!first || !last || *first > *last) {
      return Fault(line, Shown(part) + " is no expert and no range of experts like 0-3");
    }
    rule.experts.emplace_back(*first, *last);
    if (comma == std::string_view::npos) return {};
    list.remove_prefix(comma + 1);
  }
}

Result<PlanRule> ParseRule(std::string_view text, int line) {
  std::size_t space = text.size();
  while (space > 0 && !IsSpace(text[space - 1])) --space;
  if (space == 0) return Fault(line, "expected PATTERN TYPE, found " + Shown(text));
  PlanRule rule;
  rule.line = line;
  const std::string_view type = text.substr(space);
  const auto encoding = FindEncoding(type);
  if (!encoding) return Fault(line, Shown(type) + " is no type; there are " + EncodingNames());
  rule.encoding = *encoding;
  std::string_view pattern = Trim(text.substr(0, space));
  if (pattern.ends_with(']')) {
    const std::size_t open = pattern.rfind('[');
    if (open == std::string_view::npos) return Fault(line, Shown(pattern) + " has a ] without a [");
    QUORUM_TRY(ParseExperts(pattern.substr(open + 1, pattern.size() - open - 2), line, rule));
    pattern = Trim(pattern.substr(0, open));
  }
  if (pattern.empty()) return Fault(line, "the pattern is empty");
  for (const char c : pattern) {
    if (IsSpace(c)) return Fault(line, "expected PATTERN TYPE, found " + Shown(text));
    if (c == '[' || c == ']') return Fault(line, Shown(pattern) + " has a bracket that does not stand around experts");
  }
  rule.pattern = pattern;
  return rule;
}

bool Contains(std::string_view name, std::string_view part) { return name.find(part) != std::string_view::npos; }

// Small tensors that decide much, and those that are no factor of a product.
bool StaysAsItIs(std::string_view name, std::size_t axes) {
  if (axes < 2 || !name.ends_with(".weight")) return true;
  for (const char* part :
       {"_norm", "ffn_gate_inp", "rope_f", "attn_sinks", "attn_rel_b", "exp_probs", "position_embd", "token_types"}) {
    if (Contains(name, part)) return true;
  }
  return false;
}

}  // namespace

bool MatchesGlob(std::string_view pattern, std::string_view name) {
  std::size_t p = 0;
  std::size_t n = 0;
  std::size_t star = std::string_view::npos;  // the last star, and where it began to match
  std::size_t mark = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

bool PlanRule::Covers(std::string_view name) const { return MatchesGlob(pattern, name); }

bool PlanRule::CoversExpert(std::int64_t expert) const {
  if (experts.empty()) return true;
  for (const auto& [first, last] : experts) {
    if (expert >= first && expert <= last) return true;
  }
  return false;
}

std::optional<Encoding> QuantizePlan::Choose(std::string_view name, std::size_t axes, bool tied,
                                             std::int64_t expert) const {
  std::optional<Encoding> chosen;
  if (!StaysAsItIs(name, axes)) {
    chosen = base;
    const bool output = name == "output.weight" || (tied && name == "token_embd.weight");
    const DTypeInfo& info = Info(base.type);
    const bool coarse = info.bytes * 8 < info.block * 6;  // fewer than six bits
    if (output && coarse && !pure) chosen = Encoding{DType::kQ6_K, false};
  }
  for (const PlanRule& rule : rules) {
    if (!rule.Covers(name)) continue;
    if (rule.experts.empty() || (expert >= 0 && rule.CoversExpert(expert))) chosen = rule.encoding;
  }
  return chosen;
}

bool QuantizePlan::TellsExpertsApart(std::string_view name) const {
  for (const PlanRule& rule : rules) {
    if (!rule.experts.empty() && rule.Covers(name)) return true;
  }
  return false;
}

Result<std::vector<PlanRule>> ParsePlan(std::string_view text) {
  if (text.size() > kMostPlanBytes) return InvalidArgument("the plan is larger than 16 MiB");
  std::vector<PlanRule> rules;
  for (int line = 1; !text.empty(); ++line) {
    const std::size_t end = text.find('\n');
    std::string_view row = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    row = Trim(row.substr(0, row.find('#')));
    if (row.empty()) continue;
    QUORUM_ASSIGN(PlanRule rule, ParseRule(row, line));
    rules.push_back(std::move(rule));
  }
  return rules;
}

std::string PlanText(const std::vector<PlanRule>& rules) {
  std::string text;
  for (const PlanRule& rule : rules) {
    text += rule.pattern;
    for (std::size_t i = 0; i < rule.experts.size(); ++i) {
      const auto& [first, last] = rule.experts[i];
      text += (i == 0 ? "[" : ",") + std::to_string(first);
      if (last != first) text += "-" + std::to_string(last);
    }
    if (!rule.experts.empty()) text += ']';
    text += ' ' + NameOf(rule.encoding) + '\n';
  }
  return text;
}

}  // namespace quorum::quant
