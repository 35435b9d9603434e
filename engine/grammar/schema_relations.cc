// Whether a value satisfies a set of schemas, and whether one set excludes another.
#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/grammar/formats.h"
#include "engine/grammar/schema_rewrite.h"
#include "engine/grammar/schema_set.h"

namespace quorum::grammar {
namespace {

using Id = SchemaDocument::Id;

constexpr int kMaxNesting = 100;

/// Equal for equal values, and only for those.
std::string ValueKey(const SchemaJson& value) {
  if (value.is_structured()) {
    std::vector<std::string> parts;
    for (const auto& [name, member] : value.items()) {
      parts.push_back(value.is_object() ? SchemaJson(name).dump() + ":" + ValueKey(member) : ValueKey(member));
    }
    if (value.is_object()) std::sort(parts.begin(), parts.end());
    std::string key = value.is_object() ? "{" : "[";
    for (const std::string& part : parts) key += part + ",";
    return key;
  }
  if (value.is_number_float()) {
    const double number = value.get<double>();
    if (number == std::floor(number) && std::abs(number) < 9e15) {
      return std::to_string(static_cast<std::int64_t>(number));
    }
  }
  return value.dump();
}

bool IsMultiple(const Decimal& value, const Decimal& of) {
  // Both as whole numbers of the finer of their last places, divided digit by digit.
  const std::size_t places = std::max(value.fraction.size(), of.fraction.size());
  const auto scaled = [places](const Decimal& d) {
    std::string digits = d.whole + d.fraction;
    digits.append(places - d.fraction.size(), '0');
    return digits;
  };
  const std::string divisor_digits = scaled(of);
  if (divisor_digits.find_first_not_of('0') == std::string::npos) return false;
  const std::string significant = divisor_digits.substr(divisor_digits.find_first_not_of('0'));
  if (significant.size() > 15) return false;  // told as no: the value is then not offered
  const std::uint64_t divisor = std::stoull(significant);
  std::uint64_t rest = 0;
  for (const char c : scaled(value)) rest = (rest * 10 + static_cast<std::uint64_t>(c - '0')) % divisor;
  return rest == 0;
}

}  // namespace

bool SameValue(const SchemaJson& a, const SchemaJson& b) {
  if (a.is_number() && b.is_number()) return a == b;
  if (a.type() != b.type()) return false;
  if (a.is_array()) return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), SameValue);
  if (!a.is_object()) return a == b;
  if (a.size() != b.size()) return false;
  for (const auto& [name, member] : a.items()) {
    const auto it = b.find(name);
    if (it == b.end() || !SameValue(member, *it)) return false;
  }
  return true;
}

Result<bool> SchemaSets::Valid(const SchemaJson& value, const SchemaSet& set, int depth) {
  for (const SchemaAtom& atom : set) {
    QUORUM_ASSIGN(const bool valid, ValidAtom(value, atom, depth));
    if (!valid) return false;
  }
  return true;
}

Result<bool> SchemaSets::ValidAtom(const SchemaJson& value, const SchemaAtom& atom, int depth) {
  const Id id = atom.id;
  if (depth > kMaxNesting)
    return document_.Wrong(id, "", "a value of an enum cannot be checked against this recursion");
  QUORUM_TRY(document_.Charge(20));
  const SchemaJson& schema = document_.schema(id);
  if (schema.is_boolean()) return schema.get<bool>();
  QUORUM_ASSIGN(const SchemaFacts* facts, FactsOf(id));
  if (facts->typed && (TypeOf(value) & facts->types) == 0) return false;
  if (const SchemaJson* one = document_.Find(id, "const"); one != nullptr && !SameValue(value, *one)) return false;
  if (const SchemaJson* list = document_.Find(id, "enum"); list != nullptr && !IsIn(value, *list)) return false;
  if (const SchemaJson* list = document_.Find(id, kNoneOf); list != nullptr && IsIn(value, *list)) return false;
  const auto valid_one = [&](const SchemaJson& sub) -> Result<bool> {
    const auto set = Close({{document_.IdOf(sub)}});
    if (!set) return false;
    return Valid(value, *set, depth + 1);
  };
  for (const auto& [keyword, done] : {std::pair("anyOf", atom.any_of_done), std::pair("oneOf", atom.one_of_done)}) {
    const SchemaJson* branches = document_.Find(id, keyword);
    if (branches == nullptr || done) continue;
    int holding = 0;
    for (const SchemaJson& branch : *branches) {
      QUORUM_ASSIGN(const bool valid, valid_one(branch));
      holding += valid ? 1 : 0;
    }
    if (holding == 0 || (keyword[0] == 'o' && holding > 1)) return false;
  }
  if (value.is_string()) return ValidString(value.get_ref<const std::string&>(), id);
  if (value.is_number()) return ValidNumber(value, id);
  if (value.is_array()) return ValidArray(value, id, depth);
  if (value.is_object()) return ValidObject(value, id, depth);
  return true;
}

/// Looked up: a list of thousands is checked against itself when it is compiled.
bool SchemaSets::IsIn(const SchemaJson& value, const SchemaJson& list) {
  const auto [it, added] = value_keys_.try_emplace(&list);
  if (added) {
    for (const SchemaJson& one : list) it->second.insert(ValueKey(one));
  }
  return it->second.count(ValueKey(value)) > 0;
}

Result<const SchemaFacts*> SchemaSets::FactsOf(Id id) {
  const auto known = own_facts_.find(id);
  if (known != own_facts_.end()) return &known->second;
  QUORUM_ASSIGN(SchemaFacts facts, Facts({{id}}));
  return &own_facts_.emplace(id, std::move(facts)).first->second;
}

Result<bool> SchemaSets::ValidString(const std::string& value, Id id) {
  QUORUM_ASSIGN(const SchemaFacts* facts, FactsOf(id));
  if (facts->min_length > 0 || facts->max_length != kUnbounded) {
    const std::size_t length = CodePointsOf(value).size();
    if (length < facts->min_length || length > facts->max_length) return false;
  }
  for (const std::string& pattern : facts->patterns) {
    const auto dfa = document_.PatternDfa(pattern);
    if (!dfa.ok()) return document_.Wrong(id, "pattern", dfa.error().message);
    if (!(*dfa)->Matches(value)) return false;
  }
  for (const std::string& pattern : facts->not_patterns) {
    const auto dfa = document_.PatternDfa(pattern);
    if (!dfa.ok()) return document_.Wrong(id, kNotPattern, dfa.error().message);
    if ((*dfa)->Matches(value)) return false;
  }
  for (const std::string& format : facts->formats) {
    if (FormatPattern(format)[0] == '\0') continue;
    const auto dfa = document_.FormatDfa(format);
    if (!dfa.ok()) return document_.Wrong(id, "format", dfa.error().message);
    if (!(*dfa)->Matches(value)) return false;
  }
  return true;
}

Result<bool> SchemaSets::ValidNumber(const SchemaJson& value, Id id) {
  QUORUM_ASSIGN(const SchemaFacts* facts, FactsOf(id));
  const NumberLimits& limits = facts->numbers;
  if (!limits.low && !limits.high && limits.multiples.empty()) return true;
  const auto number = Decimal::Parse(value.dump());
  if (!number) return false;
  if (limits.low) {
    const int order = Decimal::Compare(*number, *limits.low);
    if (order < 0 || (order == 0 && limits.low_open)) return false;
  }
  if (limits.high) {
    const int order = Decimal::Compare(*number, *limits.high);
    if (order > 0 || (order == 0 && limits.high_open)) return false;
  }
  return std::all_of(limits.multiples.begin(), limits.multiples.end(),
                     [&](const Decimal& multiple) { return IsMultiple(*number, multiple); });
}

Result<bool> SchemaSets::ValidArray(const SchemaJson& value, Id id, int depth) {
  const SchemaSet own = {{id}};
  QUORUM_ASSIGN(const SchemaFacts* facts, FactsOf(id));
  if (value.size() < facts->min_items || value.size() > facts->max_items) return false;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const auto item = Item(own, i);
    if (!item) return false;
    QUORUM_ASSIGN(const bool valid, Valid(value[i], *item, depth + 1));
    if (!valid) return false;
    const auto same = [&](const SchemaJson& other) { return SameValue(value[i], other); };
    QUORUM_TRY(document_.Charge(facts->unique_items ? i : 0));
    if (facts->unique_items && std::any_of(value.begin(), value.begin() + static_cast<std::ptrdiff_t>(i), same)) {
      return false;
    }
  }
  if (facts->contains.empty()) return true;
  const Contained bounds = ContainedIn(id);
  const auto wanted = Close({{document_.IdOf(*document_.Find(id, "contains"))}});
  std::uint32_t holding = 0;
  for (const SchemaJson& item : value) {
    if (!wanted) break;
    QUORUM_ASSIGN(const bool valid, Valid(item, *wanted, depth + 1));
    holding += valid ? 1 : 0;
  }
  return holding >= bounds.least && holding <= bounds.most;
}

SchemaSets::Contained SchemaSets::ContainedIn(Id id) const {
  Contained bounds;
  const auto count = [this, id](const char* keyword, std::uint32_t otherwise) {
    const SchemaJson* value = document_.Find(id, keyword);
    if (value == nullptr) return otherwise;
    return static_cast<std::uint32_t>(std::min(value->get<double>(), static_cast<double>(kUnbounded - 1)));
  };
  bounds.least = count("minContains", 1);
  bounds.most = count("maxContains", kUnbounded);
  return bounds;
}

Result<std::optional<std::vector<SchemaJson>>> SchemaSets::Enumerate(const SchemaSet& set, std::size_t most,
                                                                     int depth) {
  using Values = std::optional<std::vector<SchemaJson>>;
  if (depth > 6) return Values();
  QUORUM_TRY(document_.Charge(50));
  QUORUM_ASSIGN(const SchemaFacts facts, Facts(set));
  std::vector<SchemaJson> found;
  const auto add = [&](const SchemaJson& value) {
    const auto same = [&](const SchemaJson& other) { return SameValue(value, other); };
    if (std::none_of(found.begin(), found.end(), same)) found.push_back(value);
  };
  if (facts.values != nullptr) {
    const SchemaJson list = facts.values_is_const ? SchemaJson::array({*facts.values}) : *facts.values;
    for (const SchemaJson& value : list) {
      QUORUM_ASSIGN(const bool valid, Valid(value, set));
      if (valid) add(value);
      if (found.size() > most) return Values();
    }
    return Values(std::move(found));
  }
  for (const SchemaAtom& atom : set) {
    for (const bool any : {true, false}) {
      const SchemaJson* branches = document_.Find(atom.id, any ? "anyOf" : "oneOf");
      if (branches == nullptr || (any ? atom.any_of_done : atom.one_of_done)) continue;
      SchemaAtom done = atom;
      (any ? done.any_of_done : done.one_of_done) = true;
      for (const SchemaJson& branch : *branches) {
        const auto narrowed = With(set, atom, done, document_.IdOf(branch));
        if (!narrowed) continue;
        QUORUM_ASSIGN(const Values values, Enumerate(*narrowed, most, depth + 1));
        if (!values) return Values();
        for (const SchemaJson& value : *values) {
          QUORUM_ASSIGN(const bool valid, Valid(value, set));  // exactly one branch of oneOf
          if (valid) add(value);
        }
        if (found.size() > most) return Values();
      }
      return Values(std::move(found));
    }
  }
  if ((facts.types & ~static_cast<unsigned>(kNull | kBoolean)) != 0) return Values();
  for (const SchemaJson& value : {SchemaJson(nullptr), SchemaJson(false), SchemaJson(true)}) {
    QUORUM_ASSIGN(const bool valid, Valid(value, set));
    if (valid) add(value);
  }
  return Values(std::move(found));
}

Result<bool> SchemaSets::ValidObject(const SchemaJson& value, Id id, int depth) {
  const SchemaSet own = {{id}};
  QUORUM_ASSIGN(const SchemaFacts* facts, FactsOf(id));
  if (value.size() < facts->min_properties || value.size() > facts->max_properties) return false;
  for (const std::string& name : facts->required) {
    if (!value.contains(name)) return false;
  }
  const auto names = Names(own);
  for (const auto& [name, member] : value.items()) {
    QUORUM_ASSIGN(const auto set, Member(own, name));
    if (!set || !names) return false;
    QUORUM_ASSIGN(const bool valid, Valid(member, *set, depth + 1));
    QUORUM_ASSIGN(const bool valid_name, Valid(SchemaJson(name), *names, depth + 1));
    if (!valid || !valid_name) return false;
  }
  return true;
}

Result<bool> SchemaSets::Excludes(const SchemaSet& made, const SchemaSet& other, int depth) {
  if (depth > 6) return false;  // not seen to
  QUORUM_TRY(document_.Charge(50));
  QUORUM_ASSIGN(const SchemaFacts facts, Facts(made));
  QUORUM_ASSIGN(SchemaFacts other_facts, Facts(other));
  if (!other_facts.typed) other_facts.types = kAllTypes;  // what is implied only narrows what is made
  if (facts.values != nullptr) {
    const SchemaJson list = facts.values_is_const ? SchemaJson::array({*facts.values}) : *facts.values;
    for (const SchemaJson& value : list) {
      QUORUM_ASSIGN(const bool is_made, Valid(value, made));
      if (!is_made) continue;
      QUORUM_ASSIGN(const bool matches, Valid(value, other));
      if (matches) return false;
    }
    return true;
  }
  // Alternatives: every one must be excluded.
  for (const bool mine : {true, false}) {
    for (const SchemaAtom& atom : mine ? made : other) {
      for (const bool any : {true, false}) {
        const SchemaJson* branches = document_.Find(atom.id, any ? "anyOf" : "oneOf");
        if (branches == nullptr || (any ? atom.any_of_done : atom.one_of_done)) continue;
        SchemaAtom done = atom;
        (any ? done.any_of_done : done.one_of_done) = true;
        for (const SchemaJson& branch : *branches) {
          const auto narrowed = With(mine ? made : other, atom, done, document_.IdOf(branch));
          if (!narrowed) continue;
          QUORUM_ASSIGN(const bool excludes,
                        mine ? Excludes(*narrowed, other, depth + 1) : Excludes(made, *narrowed, depth + 1));
          if (!excludes) return false;
        }
        return true;
      }
    }
  }
  if (other_facts.values != nullptr) {
    const SchemaJson list =
        other_facts.values_is_const ? SchemaJson::array({*other_facts.values}) : *other_facts.values;
    for (const SchemaJson& value : list) {
      QUORUM_ASSIGN(const bool matches, Valid(value, other));
      if (!matches) continue;
      QUORUM_ASSIGN(const bool is_made, Valid(value, made));
      if (is_made) return false;
    }
    return true;
  }
  const unsigned common = facts.types & other_facts.types;
  if ((common & (kNull | kBoolean)) != 0) return false;
  if ((common & (kInteger | kFraction)) != 0) {
    const auto apart = [](const NumberLimits& below, const NumberLimits& above) {
      if (!below.high || !above.low) return false;
      const int order = Decimal::Compare(*below.high, *above.low);
      return order < 0 || (order == 0 && (below.high_open || above.low_open));
    };
    if (!apart(facts.numbers, other_facts.numbers) && !apart(other_facts.numbers, facts.numbers)) return false;
  }
  if ((common & kString) != 0) {
    QUORUM_ASSIGN(const CharDfa a, Strings(facts));
    QUORUM_ASSIGN(const CharDfa b, Strings(other_facts));
    QUORUM_ASSIGN(const CharDfa both, a.Intersect(b));
    if (!both.Empty()) return false;
  }
  if ((common & kArray) != 0) {
    QUORUM_ASSIGN(const bool excludes, ExcludesArray(made, facts, other, other_facts, depth));
    if (!excludes) return false;
  }
  if ((common & kObject) != 0) {
    QUORUM_ASSIGN(const bool excludes, ExcludesObject(made, facts, other, other_facts, depth));
    if (!excludes) return false;
  }
  return true;
}

Result<bool> SchemaSets::ExcludesArray(const SchemaSet& made, const SchemaFacts& facts, const SchemaSet& other,
                                       const SchemaFacts& other_facts, int depth) {
  if (facts.max_items < other_facts.min_items || other_facts.max_items < facts.min_items) return true;
  const std::uint32_t sure = std::min(std::max(facts.min_items, other_facts.min_items), 8U);
  for (std::uint32_t i = 0; i < sure; ++i) {
    const auto item = Item(made, i);
    const auto other_item = Item(other, i);
    if (!item || !other_item) return true;
    QUORUM_ASSIGN(const bool excludes, Excludes(*item, *other_item, depth + 1));
    if (excludes) return true;
  }
  return false;
}

Result<bool> SchemaSets::ExcludesObject(const SchemaSet& made, const SchemaFacts& facts, const SchemaSet& other,
                                        const SchemaFacts& other_facts, int depth) {
  if (facts.max_properties < other_facts.min_properties || other_facts.max_properties < facts.min_properties)
    return true;
  std::set<std::string> names = facts.required;
  names.insert(other_facts.required.begin(), other_facts.required.end());
  for (const std::string& name : names) {
    const bool must = facts.required.count(name) > 0;
    const bool other_must = other_facts.required.count(name) > 0;
    const bool declared = facts.declared.count(name) > 0;
    // Produced objects have no members beyond the declared ones, unless the schema says so.
    if (other_must && !must && !declared && !TakesOtherMembers(facts)) return true;
    QUORUM_ASSIGN(const auto member, Member(made, name));
    QUORUM_ASSIGN(const auto other_member, Member(other, name));
    if (must && !other_member) return true;
    if (other_must && !member) return true;
    if (!member || !other_member) continue;
    QUORUM_ASSIGN(const bool excludes, Excludes(*member, *other_member, depth + 1));
    if (excludes) return true;
  }
  return false;
}

}  // namespace quorum::grammar
