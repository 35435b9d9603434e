#include "engine/grammar/schema_compiler.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "engine/grammar/formats.h"
#include "engine/grammar/regex.h"
#include "engine/grammar/schema_rewrite.h"

namespace quorum::grammar {

Error SchemaCompiler::At(const SchemaSet& set, const char* keyword, const Error& error) const {
  if (error.message.rfind("the schema at ", 0) == 0) return error;
  for (const SchemaAtom& atom : set) {
    if (document_.Find(atom.id, keyword) != nullptr) return document_.Wrong(atom.id, keyword, error.message);
  }
  return set.empty() ? error : document_.Wrong(set.front().id, "", error.message);
}

Result<ExprId> SchemaCompiler::Compile() {
  const ExprId root = Ref(sets_.Close({{0}}));
  while (!to_define_.empty()) {
    const SchemaSet set = std::move(to_define_.back());
    to_define_.pop_back();
    QUORUM_TRY(document_.Charge(300 + 10 * set.size()));
    QUORUM_ASSIGN(const ExprId body, Body(set));
    if (grammar_.overflowed()) return Grammar::TooLarge();
    grammar_.Define(rules_.at(set), body);
  }
  return root;
}

ExprId SchemaCompiler::Ref(const std::optional<SchemaSet>& set) {
  if (!set) return grammar_.Never();
  if (set->empty()) return json_.Value();
  const auto [it, added] = rules_.try_emplace(*set, 0);
  if (added) {
    it->second = grammar_.NewRule(document_.Pointer(set->front().id));
    to_define_.push_back(*set);
  }
  return grammar_.Rule(it->second);
}

Result<ExprId> SchemaCompiler::Body(const SchemaSet& set) {
  QUORUM_ASSIGN(const SchemaFacts facts, sets_.Facts(set));
  if (facts.values != nullptr) return Values(set, facts);
  for (const SchemaAtom& atom : set) {
    if (const SchemaJson* branches = document_.Find(atom.id, "anyOf"); branches != nullptr && !atom.any_of_done) {
      return Branches(set, atom, *branches, false);
    }
    if (const SchemaJson* branches = document_.Find(atom.id, "oneOf"); branches != nullptr && !atom.one_of_done) {
      return Branches(set, atom, *branches, true);
    }
  }
  QUORUM_TRY(CheckExcluded(set, facts));
  std::vector<ExprId> kinds;
  if ((facts.types & kObject) != 0) {
    QUORUM_ASSIGN(const ExprId object, Object(set, facts));
    kinds.push_back(object);
  }
  if ((facts.types & kArray) != 0) {
    QUORUM_ASSIGN(const ExprId array, Array(set, facts));
    kinds.push_back(array);
  }
  if ((facts.types & kString) != 0) {
    QUORUM_ASSIGN(const ExprId string, String(set, facts));
    kinds.push_back(string);
  }
  if ((facts.types & (kInteger | kFraction)) != 0) {
    NumberLimits limits = facts.numbers;
    limits.integer = (facts.types & kFraction) == 0;
    if (!limits.low && !limits.high && limits.multiples.empty()) {
      kinds.push_back(limits.integer ? json_.Integer() : json_.Number());
    } else {
      const auto number = BoundedNumber(limits, grammar_);
      if (!number.ok()) return At(set, limits.multiples.empty() ? "minimum" : "multipleOf", number.error());
      kinds.push_back(*number);
    }
  }
  const auto may_be = [&facts](const SchemaJson& value) {
    return (facts.types & TypeOf(value)) != 0 &&
           std::none_of(facts.excluded.begin(), facts.excluded.end(),
                        [&value](const SchemaJson* excluded) { return *excluded == value; });
  };
  for (const SchemaJson& value : {SchemaJson(true), SchemaJson(false), SchemaJson(nullptr)}) {
    if (may_be(value)) kinds.push_back(grammar_.Literal(value.dump()));
  }
  return grammar_.Choice(std::move(kinds));
}

Result<ExprId> SchemaCompiler::Branches(const SchemaSet& set, const SchemaAtom& atom, const SchemaJson& branches,
                                        bool one_of) {
  SchemaAtom done = atom;
  (one_of ? done.one_of_done : done.any_of_done) = true;
  std::vector<SchemaSet> narrowed;
  std::vector<std::size_t> numbers;
  for (std::size_t i = 0; i < branches.size(); ++i) {
    auto branch = sets_.With(set, atom, done, document_.IdOf(branches[i]));
    if (!branch) continue;
    narrowed.push_back(std::move(*branch));
    numbers.push_back(i);
  }
  for (std::size_t a = 0; one_of && a < narrowed.size(); ++a) {
    for (std::size_t b = 0; b < narrowed.size(); ++b) {
      if (a == b) continue;
      const auto excludes = sets_.Excludes(narrowed[a], narrowed[b]);
      if (!excludes.ok()) return At(set, "oneOf", excludes.error());
      if (*excludes) continue;
      return document_.Wrong(
          atom.id, "oneOf",
          "branches " + std::to_string(numbers[std::min(a, b)]) + " and " + std::to_string(numbers[std::max(a, b)]) +
              " are not seen to exclude each other, so what satisfies exactly one cannot be steered; use anyOf, "
              "or give them different types or constants");
    }
  }
  std::vector<ExprId> choices;
  for (const SchemaSet& branch : narrowed) choices.push_back(Ref(branch));
  return grammar_.Choice(std::move(choices));
}

Result<ExprId> SchemaCompiler::Values(const SchemaSet& set, const SchemaFacts& facts) {
  const SchemaJson list = facts.values_is_const ? SchemaJson::array({*facts.values}) : *facts.values;
  std::vector<ExprId> choices;
  std::vector<std::string> scalars;  // may share their beginnings
  for (const SchemaJson& value : list) {
    QUORUM_ASSIGN(const bool valid, sets_.Valid(value, set));
    if (grammar_.overflowed()) return Grammar::TooLarge();
    if (!valid) continue;
    if (value.is_structured()) {
      choices.push_back(Value(value));
    } else if (!value.is_string()) {
      scalars.push_back(value.dump());
    } else if (const auto& text = value.get_ref<const std::string&>(); text.find('\0') == std::string::npos) {
      scalars.push_back("\"" + JsonEscape(text) + "\"");
    }
  }
  if (!scalars.empty()) choices.push_back(grammar_.OneOf(std::move(scalars)));
  return grammar_.Choice(std::move(choices));
}

ExprId SchemaCompiler::Value(const SchemaJson& value) {
  if (value.is_string()) return json_.String(value.get_ref<const std::string&>());
  if (!value.is_structured()) return grammar_.Literal(value.dump());
  const bool object = value.is_object();
  std::vector<ExprId> parts = {grammar_.Literal(object ? "{" : "[")};
  for (const auto& [name, member] : value.items()) {
    if (parts.size() == 1) {
      parts.push_back(json_.Break());
    } else {
      parts.push_back(grammar_.Literal(","));
      parts.push_back(json_.AfterComma());
    }
    if (object) {
      parts.push_back(json_.String(name));
      parts.push_back(grammar_.Literal(":"));
      parts.push_back(json_.AfterColon());
    }
    parts.push_back(Value(member));
  }
  if (parts.size() > 1) parts.push_back(json_.Break());
  parts.push_back(grammar_.Literal(object ? "}" : "]"));
  return grammar_.Sequence(std::move(parts));
}

Result<ExprId> SchemaCompiler::String(const SchemaSet& set, const SchemaFacts& facts) {
  std::vector<std::pair<std::string, RegexMatch>> rules;
  for (const std::string& pattern : facts.patterns) rules.emplace_back(pattern, RegexMatch::kAnywhere);
  for (const std::string& format : facts.formats) {
    if (FormatPattern(format)[0] != '\0') rules.emplace_back(FormatPattern(format), RegexMatch::kWhole);
  }
  const bool excludes = !facts.not_patterns.empty() || !ExcludedTexts(facts).empty();
  if (rules.empty() && !excludes) return json_.String(facts.min_length, facts.max_length);
  if (facts.max_length < facts.min_length) return grammar_.Never();
  const auto lengths = sets_.OwnLengths(facts);
  if (!lengths.ok()) return At(set, facts.patterns.empty() ? "format" : "pattern", lengths.error());
  const bool bounded = lengths->first > 0 || lengths->second != kUnbounded;
  const bool plain = rules.size() == 1 && !MayLookAhead(rules.front().first);
  if (plain && !bounded && !excludes) {
    const auto text = ParseRegex(rules.front().first, rules.front().second, grammar_);
    if (!text.ok()) return At(set, facts.patterns.empty() ? "format" : "pattern", text.error());
    return json_.StringOf(*text);
  }
  const auto dfa = sets_.Strings(facts);
  if (!dfa.ok()) return At(set, facts.patterns.empty() ? "format" : "pattern", dfa.error());
  return json_.String(*dfa);
}

/// Values can be excluded where they are listed, or are strings, booleans or null.
Status SchemaCompiler::CheckExcluded(const SchemaSet& set, const SchemaFacts& facts) const {
  for (const SchemaJson* value : facts.excluded) {
    if ((TypeOf(*value) & facts.types & (kInteger | kFraction | kArray | kObject)) == 0) continue;
    return At(set, kNoneOf, InvalidArgument("a number, array or object can be excluded only from an enum"));
  }
  return {};
}

Result<ExprId> SchemaCompiler::Array(const SchemaSet& set, const SchemaFacts& facts) {
  if (facts.min_items > facts.max_items) return grammar_.Never();
  if (facts.unique_items && facts.max_items > 1) return ArrayOfUnique(set, facts);
  if (!facts.contains.empty()) return ArrayContaining(set, facts);
  const auto prefix = static_cast<std::uint32_t>(facts.prefix_items);
  const ExprId close = grammar_.Sequence({json_.Break(), grammar_.Literal("]")});
  const ExprId comma = grammar_.Sequence({grammar_.Literal(","), json_.AfterComma()});
  const ExprId rest_item = Ref(sets_.Item(set, prefix));
  // From the end: what may follow when `i` items are there.
  const std::uint32_t named = std::min(prefix, facts.max_items);
  std::uint32_t i = std::max(named, 1U);
  const std::uint32_t more =
      facts.max_items == kUnbounded ? kUnbounded : facts.max_items - std::min(i, facts.max_items);
  const std::uint32_t least = facts.min_items > i ? facts.min_items - i : 0;
  ExprId after = grammar_.Sequence({grammar_.Repeat(grammar_.Sequence({comma, rest_item}), least, more), close});
  for (; i > 1; --i) {
    const ExprId next = grammar_.Sequence({comma, Ref(sets_.Item(set, i - 1)), after});
    after = grammar_.Share("items", i - 1 >= facts.min_items ? grammar_.Choice({close, next}) : next);
  }
  std::vector<ExprId> whole;
  if (facts.min_items == 0) whole.push_back(grammar_.Literal("]"));
  if (facts.max_items > 0) whole.push_back(grammar_.Sequence({json_.Break(), Ref(sets_.Item(set, 0)), after}));
  return grammar_.Sequence({grammar_.Literal("["), grammar_.Choice(std::move(whole))});
}

/// Items of which some must be of a kind. States are how many are there and how many of these count.
Result<ExprId> SchemaCompiler::ArrayContaining(const SchemaSet& set, const SchemaFacts& facts) {
  constexpr std::size_t kMaxCounted = 400;
  const SchemaDocument::Id id = facts.contains.front();
  const auto [least, most] = sets_.ContainedIn(id);
  if (facts.contains.size() > 1) {
    return At(set, "contains", InvalidArgument("more than one for the same array are not supported"));
  }
  if (most != kUnbounded) return At(set, "maxContains", InvalidArgument("this keyword is not supported"));
  // From `last` items on, all that is known is how many still have to count.
  const std::size_t last =
      facts.max_items != kUnbounded ? facts.max_items : std::max<std::size_t>({1, facts.min_items, facts.prefix_items});
  if (last > kMaxCounted || least > kMaxCounted) {
    return At(set, "contains",
              InvalidArgument("together with bounds above " + std::to_string(kMaxCounted) + " it is not supported"));
  }
  QUORUM_TRY(document_.Charge((last + 1) * (least + 1)));
  const ExprId close = grammar_.Sequence({json_.Break(), grammar_.Literal("]")});
  const ExprId comma = grammar_.Sequence({grammar_.Literal(","), json_.AfterComma()});
  std::vector<ExprId> after;  // what may follow when `i` items are there, by how many must count yet
  for (std::size_t i = last + 1; i-- > 0;) {
    const bool ends = facts.max_items != kUnbounded && i == last;
    const bool repeats = i == last && !ends;
    const ExprId before = i == 0 ? json_.Break() : comma;
    std::vector<ExprId> now;
    for (std::uint32_t k = 0; k <= least; ++k) {
      std::vector<ExprId> ways;
      if (k == 0 && i >= facts.min_items) ways.push_back(i == 0 ? grammar_.Literal("]") : close);
      const RuleId self = grammar_.NewRule("items");
      if (!ends) {
        const ExprId same = repeats ? grammar_.Rule(self) : after[k];
        ways.push_back(grammar_.Sequence({before, Ref(sets_.Item(set, i)), same}));
        if (k > 0) {
          ways.push_back(
              grammar_.Sequence({before, Ref(sets_.ContainedItem(set, i, id)), repeats ? now.back() : after[k - 1]}));
        }
      }
      grammar_.Define(self, grammar_.Choice(std::move(ways)));
      now.push_back(grammar_.Rule(self));
    }
    if (grammar_.overflowed()) return Grammar::TooLarge();
    after = std::move(now);
  }
  return grammar_.Sequence({grammar_.Literal("["), after[least]});
}

/// Items that are all different, of few values: states are the values that are left.
Result<ExprId> SchemaCompiler::ArrayOfUnique(const SchemaSet& set, const SchemaFacts& facts) {
  constexpr std::size_t kMaxValues = 8;
  const auto wrong = [&](const char* what) { return At(set, "uniqueItems", InvalidArgument(what)); };
  if (!facts.contains.empty() || facts.prefix_items > 0) {
    return wrong("together with contains or prefixItems it is not supported");
  }
  const auto item = sets_.Item(set, 0);
  std::optional<std::vector<SchemaJson>> values = std::vector<SchemaJson>();
  if (item) {
    QUORUM_ASSIGN(values, sets_.Enumerate(*item, kMaxValues));
  }
  if (!values) return wrong("it is supported where items are one of at most 8 constants");
  const ExprId close = grammar_.Sequence({json_.Break(), grammar_.Literal("]")});
  const ExprId comma = grammar_.Sequence({grammar_.Literal(","), json_.AfterComma()});
  const std::size_t all = std::size_t{1} << values->size();
  std::vector<ExprId> after(all);  // what may follow when these are there
  std::vector<ExprId> texts;
  for (const SchemaJson& value : *values) texts.push_back(Value(value));
  for (std::size_t used = all; used-- > 0;) {
    const auto there = static_cast<std::uint32_t>(std::popcount(used));
    std::vector<ExprId> ways;
    if (there >= facts.min_items) ways.push_back(used == 0 ? grammar_.Literal("]") : close);
    for (std::size_t v = 0; v < texts.size() && there < facts.max_items; ++v) {
      if ((used >> v & 1U) != 0) continue;
      ways.push_back(
          grammar_.Sequence({used == 0 ? json_.Break() : comma, texts[v], after[used | std::size_t{1} << v]}));
    }
    after[used] = grammar_.Share("items", grammar_.Choice(std::move(ways)));
  }
  return grammar_.Sequence({grammar_.Literal("["), after[0]});
}

Result<ExprId> SchemaCompiler::Object(const SchemaSet& set, const SchemaFacts& facts) {
  if (facts.min_properties > facts.max_properties) return grammar_.Never();
  if (facts.min_properties > facts.names.size() + 1) {
    // Members with free names may repeat a name, and then count as one.
    return At(set, "minProperties", InvalidArgument("more than the named properties and one are not supported"));
  }
  const std::size_t n = facts.names.size();
  // Members are counted only where a bound is not kept anyway.
  const bool counted = facts.min_properties > facts.required.size() || facts.max_properties != kUnbounded;
  const std::size_t most = counted ? n : std::min<std::size_t>(n, 1);
  QUORUM_TRY(document_.Charge((n + 1) * (most + 1)));
  if ((n + 1) * (most + 1) > 100'000) return At(set, "maxProperties", InvalidArgument("too many properties to count"));

  std::optional<CharDfa> names_dfa;
  if (facts.has_key_schemas) {
    const auto dfa = sets_.AllowedNames(set);
    if (!dfa.ok()) return At(set, "propertyNames", dfa.error());
    names_dfa = *dfa;
  }
  std::vector<ExprId> members;
  for (const std::string& name : facts.names) {
    const auto member = sets_.Member(set, name);
    if (!member.ok()) return member.error();
    const bool allowed = !names_dfa || names_dfa->Matches(name);
    members.push_back(
        allowed ? grammar_.Sequence({json_.String(name), grammar_.Literal(":"), json_.AfterColon(), Ref(*member)})
                : grammar_.Never());
  }
  ExprId other = grammar_.Never();
  if (TakesOtherMembers(facts)) {
    QUORUM_ASSIGN(other, OtherMembers(set, facts));
  }
  const ExprId comma = grammar_.Sequence({grammar_.Literal(","), json_.AfterComma()});
  const ExprId close = grammar_.Sequence({json_.Break(), grammar_.Literal("}")});

  // rest[c]: what may follow when c members (or, not counted, any if 1) are there and the first i names are decided.
  std::vector<ExprId> rest;
  for (std::size_t c = 0; c <= most; ++c) {
    const auto there = static_cast<std::uint32_t>(c);
    const bool enough = !counted || there >= facts.min_properties;
    std::vector<ExprId> ends;
    if (!counted || there <= facts.max_properties) {
      const std::uint32_t more = facts.max_properties == kUnbounded ? kUnbounded : facts.max_properties - there;
      const std::uint32_t least = enough ? 0 : 1;
      if (enough || there + 1 >= facts.min_properties) {
        const ExprId next = grammar_.Sequence({comma, other});
        if (c > 0) {
          ends.push_back(grammar_.Sequence({grammar_.Repeat(next, least, more), close}));
        } else {
          if (least == 0) ends.push_back(grammar_.Literal("}"));
          const std::uint32_t behind = more == kUnbounded ? kUnbounded : more == 0 ? 0 : more - 1;
          if (more > 0)
            ends.push_back(grammar_.Sequence({json_.Break(), other, grammar_.Repeat(next, 0, behind), close}));
        }
      }
    }
    rest.push_back(grammar_.Share("members", grammar_.Choice(std::move(ends))));
  }
  // Two rules a name and count, or a chain of optional members would be read in as many ways as it has skips: `rest` as
  // above, `pick[c]`: one of the names from the i-th on comes next, its separator has been read.
  std::vector<ExprId> pick(most + 1, grammar_.Never());
  for (std::size_t c = 0; c <= most; ++c) {
    const std::uint32_t there = static_cast<std::uint32_t>(c);
    const bool possible = !counted || (there < facts.max_properties && there + 1 >= facts.min_properties);
    if (!possible) continue;
    const bool full = facts.max_properties != kUnbounded && there >= facts.max_properties;
    const std::uint32_t behind = facts.max_properties == kUnbounded ? kUnbounded
                                 : full                             ? 0
                                                                    : facts.max_properties - there - 1;
    pick[c] = grammar_.Share(
        "other", grammar_.Sequence({other, grammar_.Repeat(grammar_.Sequence({comma, other}), 0, behind), close}));
  }
  bool needed_behind = false;  // a name from the i-th on is required
  for (std::size_t i = n; i-- > 0;) {
    const bool must = facts.required.count(facts.names[i]) > 0;
    needed_behind = needed_behind || must;
    std::vector<ExprId> next_rest;
    std::vector<ExprId> next_pick;
    for (std::size_t c = 0; c <= most; ++c) {
      const std::size_t then = std::min(c + 1, most);
      const bool room = !counted || (c < most && c < facts.max_properties);
      const ExprId own = room ? grammar_.Sequence({members[i], rest[then]}) : grammar_.Never();
      next_pick.push_back(grammar_.Share("member", must ? own : grammar_.Choice({own, pick[c]})));
      std::vector<ExprId> ways;
      if (!needed_behind && (!counted || (c >= facts.min_properties && c <= facts.max_properties))) {
        ways.push_back(c == 0 ? grammar_.Literal("}") : close);
      }
      ways.push_back(grammar_.Sequence({c == 0 ? json_.Break() : comma, next_pick.back()}));
      next_rest.push_back(grammar_.Share("members", grammar_.Choice(std::move(ways))));
      if (grammar_.overflowed()) return Grammar::TooLarge();
    }
    rest = std::move(next_rest);
    pick = std::move(next_pick);
  }
  return grammar_.Sequence({grammar_.Literal("{"), rest[0]});
}

/// Members whose names are not declared: of each combination of patternProperties, and of none.
Result<ExprId> SchemaCompiler::OtherMembers(const SchemaSet& set, const SchemaFacts& facts) {
  if (facts.key_patterns.size() > 4) {
    return At(set, "patternProperties", InvalidArgument("more than 4 patterns are not supported"));
  }
  std::vector<ExprId> kinds;
  for (unsigned bits = 0; bits < (1U << facts.key_patterns.size()); ++bits) {
    // Without additionalProperties, only what a pattern speaks of.
    if (bits == 0 && !facts.key_patterns.empty() && !facts.says_additional) continue;
    std::set<std::string> patterns;
    for (std::size_t p = 0; p < facts.key_patterns.size(); ++p) {
      if ((bits >> p & 1U) != 0) patterns.insert(facts.key_patterns[p]);
    }
    const auto member = sets_.OtherMember(set, patterns);
    if (!member) continue;
    QUORUM_ASSIGN(const ExprId key, Keys(set, facts, patterns));
    kinds.push_back(grammar_.Sequence({key, grammar_.Literal(":"), json_.AfterColon(), Ref(member)}));
  }
  return grammar_.Share("other member", grammar_.Choice(std::move(kinds)));
}

/// Names that are not declared and match exactly `patterns` of all patternProperties.
Result<ExprId> SchemaCompiler::Keys(const SchemaSet& set, const SchemaFacts& facts,
                                    const std::set<std::string>& patterns) {
  if (facts.names.empty() && facts.key_patterns.empty() && !facts.has_key_schemas) return json_.String(0, kUnbounded);
  CharDfa keys = CharDfa::Length(0, kUnbounded);
  const auto narrow = [&](const CharDfa& by) -> Status {
    QUORUM_ASSIGN(keys, keys.Intersect(by));
    return document_.Charge(keys.states().size() * 10);
  };
  const auto build = [&]() -> Status {
    if (facts.has_key_schemas) {
      QUORUM_ASSIGN(const CharDfa allowed, sets_.AllowedNames(set));
      QUORUM_TRY(narrow(allowed));
    }
    for (const std::string& pattern : facts.key_patterns) {
      QUORUM_ASSIGN(const CharDfa* dfa, document_.PatternDfa(pattern));
      QUORUM_TRY(narrow(patterns.count(pattern) > 0 ? *dfa : dfa->Complement()));
    }
    if (!facts.names.empty()) {
      QUORUM_ASSIGN(const CharDfa declared, CharDfa::OneOf(facts.names));
      QUORUM_TRY(narrow(declared.Complement()));
    }
    return {};
  };
  if (const Status built = build(); !built.ok()) {
    return At(set, facts.key_patterns.empty() ? "additionalProperties" : "patternProperties", built.error());
  }
  return grammar_.Share("key", json_.String(keys));
}

}  // namespace quorum::grammar
