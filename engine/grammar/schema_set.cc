#include "engine/grammar/schema_set.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "engine/grammar/formats.h"
#include "engine/grammar/schema_rewrite.h"

namespace quorum::grammar {
namespace {

using Id = SchemaDocument::Id;

unsigned TypeBit(const std::string& name) {
  if (name == "null") return kNull;
  if (name == "boolean") return kBoolean;
  if (name == "integer") return kInteger;
  if (name == "number") return kInteger | kFraction;
  if (name == "string") return kString;
  if (name == "array") return kArray;
  return kObject;
}

unsigned TypesOf(const SchemaJson& type) {
  if (type.is_string()) return TypeBit(type.get_ref<const std::string&>());
  unsigned types = 0;
  for (const SchemaJson& one : type) types |= TypeBit(one.get_ref<const std::string&>());
  return types;
}

std::uint32_t Count(const SchemaJson& value) {
  return static_cast<std::uint32_t>(std::min(value.get<double>(), static_cast<double>(kUnbounded - 1)));
}

void AddOnce(std::vector<std::string>& list, const std::string& text) {
  if (std::find(list.begin(), list.end(), text) == list.end()) list.push_back(text);
}

/// Characters of the shortest and the longest text that `dfa` takes, looked at as far as `most`: beyond it they are
/// told as most + 1 and kUnbounded.
std::pair<std::uint32_t, std::uint32_t> LengthsOf(const CharDfa& dfa, std::uint32_t most) {
  const auto& states = dfa.states();
  std::vector<std::size_t> now(states.empty() ? 0 : 1, 0);  // the states that some text of `length` leads to
  std::uint32_t shortest = most + 1, longest = 0;
  for (std::uint32_t length = 0; !now.empty(); ++length) {
    if (length > most) return {shortest, kUnbounded};
    std::vector<char> seen(states.size(), 0);
    std::vector<std::size_t> next;
    for (const std::size_t at : now) {
      if (states[at].accepts) {
        shortest = std::min(shortest, length);
        longest = length;
      }
      for (const auto& [chars, target] : states[at].edges) {
        const auto to = static_cast<std::size_t>(target);
        if (std::exchange(seen[to], 1) == 0) next.push_back(to);
      }
    }
    now = std::move(next);
  }
  return {shortest, longest};
}

}  // namespace

unsigned TypeOf(const SchemaJson& value) {
  switch (value.type()) {
    case SchemaJson::value_t::null: return kNull;
    case SchemaJson::value_t::boolean: return kBoolean;
    case SchemaJson::value_t::string: return kString;
    case SchemaJson::value_t::array: return kArray;
    case SchemaJson::value_t::object: return kObject;
    case SchemaJson::value_t::number_float:
      return value.get<double>() == std::floor(value.get<double>()) ? kInteger : kFraction;
    default: return kInteger;
  }
}

std::vector<std::string> ExcludedTexts(const SchemaFacts& facts) {
  std::vector<std::string> texts;
  for (const SchemaJson* value : facts.excluded) {
    if (value->is_string()) texts.push_back(value->get<std::string>());
  }
  return texts;
}

std::optional<SchemaSet> SchemaSets::Close(std::vector<SchemaAtom> atoms) const {
  std::set<SchemaAtom> closed(atoms.begin(), atoms.end());
  for (std::size_t i = 0; i < atoms.size(); ++i) {
    const Id id = atoms[i].id;
    const SchemaJson& schema = document_.schema(id);
    if (schema.is_boolean()) {
      if (!schema.get<bool>()) return std::nullopt;
      closed.erase(atoms[i]);
      continue;
    }
    const auto add = [&](Id other) {
      if (closed.insert({other}).second) atoms.push_back({other});
    };
    if (const Id target = document_.Reference(id); target >= 0) add(target);
    if (const SchemaJson* all = document_.Find(id, "allOf")) {
      for (const SchemaJson& one : *all) add(document_.IdOf(one));
    }
  }
  // An atom whose alternatives are done says all that the same one without that says.
  SchemaSet set;
  for (const SchemaAtom& atom : closed) {
    if (!set.empty() && set.back().id == atom.id) {
      set.back().any_of_done = set.back().any_of_done || atom.any_of_done;
      set.back().one_of_done = set.back().one_of_done || atom.one_of_done;
    } else {
      set.push_back(atom);
    }
  }
  return set;
}

std::optional<SchemaSet> SchemaSets::With(const SchemaSet& set, const SchemaAtom& replaced, const SchemaAtom& by,
                                          Id member) const {
  std::vector<SchemaAtom> atoms;
  for (const SchemaAtom& atom : set) atoms.push_back(atom == replaced ? by : atom);
  atoms.push_back({member});
  return Close(std::move(atoms));
}

Result<SchemaFacts> SchemaSets::Facts(const SchemaSet& set) const {
  SchemaFacts facts;
  for (const SchemaAtom& atom : set) {
    const Id id = atom.id;
    const auto find = [&](const char* keyword, unsigned types) {
      const SchemaJson* value = document_.Find(id, keyword);
      if (value != nullptr) facts.implied |= types;
      return value;
    };
    const auto raise = [&](const char* keyword, unsigned types, std::uint32_t& at_least) {
      if (const SchemaJson* value = find(keyword, types)) at_least = std::max(at_least, Count(*value));
    };
    const auto lower = [&](const char* keyword, unsigned types, std::uint32_t& at_most) {
      if (const SchemaJson* value = find(keyword, types)) at_most = std::min(at_most, Count(*value));
    };
    if (const SchemaJson* type = document_.Find(id, "type")) {
      facts.types &= TypesOf(*type);
      facts.typed = true;
    }
    for (const char* keyword : {"const", "enum"}) {
      const SchemaJson* values = document_.Find(id, keyword);
      if (values == nullptr || facts.values != nullptr) continue;
      facts.values = values;
      facts.values_is_const = keyword[0] == 'c';
    }
    raise("minLength", kString, facts.min_length);
    lower("maxLength", kString, facts.max_length);
    if (const SchemaJson* pattern = find("pattern", kString)) AddOnce(facts.patterns, pattern->get<std::string>());
    if (const SchemaJson* pattern = find(kNotPattern, kString)) {
      AddOnce(facts.not_patterns, pattern->get<std::string>());
    }
    if (const SchemaJson* values = document_.Find(id, kNoneOf)) {
      for (const SchemaJson& value : *values) facts.excluded.push_back(&value);
    }
    if (const SchemaJson* format = document_.Find(id, "format")) {
      const auto& name = format->get_ref<const std::string&>();
      const bool wide = name == "int64";
      if (name == "int32" || wide) {
        const auto limit = [&](const char* text, bool low) {
          const auto value = Decimal::Parse(text);
          auto& bound = low ? facts.numbers.low : facts.numbers.high;
          if (!bound || (Decimal::Compare(*value, *bound) > 0) == low) bound = value;
        };
        limit(wide ? "-9223372036854775808" : "-2147483648", true);
        limit(wide ? "9223372036854775807" : "2147483647", false);
      } else if (FormatPattern(name) != nullptr) {
        facts.implied |= kString;
        AddOnce(facts.formats, name);
      }
    }
    const auto bound = [&](const char* keyword, bool low, bool open) -> Status {
      const SchemaJson* value = find(keyword, kInteger | kFraction);
      if (value == nullptr) return {};
      const auto number = Decimal::Parse(value->dump());
      if (!number) return document_.Wrong(id, keyword, "this number is too large or too small to be supported");
      auto& held = low ? facts.numbers.low : facts.numbers.high;
      bool& held_open = low ? facts.numbers.low_open : facts.numbers.high_open;
      const int order = held ? Decimal::Compare(*number, *held) : (low ? 1 : -1);
      if (order == 0) {
        held_open = held_open || open;
      } else if ((order > 0) == low) {
        held = number;
        held_open = open;
      }
      return {};
    };
    QUORUM_TRY(bound("minimum", true, false));
    QUORUM_TRY(bound("exclusiveMinimum", true, true));
    QUORUM_TRY(bound("maximum", false, false));
    QUORUM_TRY(bound("exclusiveMaximum", false, true));
    if (const SchemaJson* multiple = find("multipleOf", kInteger | kFraction)) {
      const auto number = Decimal::Parse(multiple->dump());
      if (!number || number->zero()) return document_.Wrong(id, "multipleOf", "this number is not supported");
      facts.numbers.multiples.push_back(*number);
    }
    raise("minItems", kArray, facts.min_items);
    lower("maxItems", kArray, facts.max_items);
    const SchemaJson* items = find("items", kArray);
    const SchemaJson* prefix = find("prefixItems", kArray);
    if (prefix == nullptr && items != nullptr && items->is_array()) prefix = items;
    if (prefix != nullptr) facts.prefix_items = std::max(facts.prefix_items, prefix->size());
    if (const SchemaJson* unique = find("uniqueItems", kArray)) facts.unique_items |= unique->get<bool>();
    if (find("contains", kArray) != nullptr) facts.contains.push_back(id);
    raise("minProperties", kObject, facts.min_properties);
    lower("maxProperties", kObject, facts.max_properties);
    if (const SchemaJson* properties = find("properties", kObject)) {
      for (const auto& [name, member] : properties->items()) {
        if (facts.declared.insert(name).second) facts.names.push_back(name);
      }
    }
    if (const SchemaJson* patterns = find("patternProperties", kObject)) {
      for (const auto& [pattern, member] : patterns->items()) AddOnce(facts.key_patterns, pattern);
    }
    if (const SchemaJson* required = find("required", kObject)) {
      for (const SchemaJson& name : *required) facts.required.insert(name.get<std::string>());
    }
    if (find("additionalProperties", kObject) != nullptr) facts.says_additional = true;
    if (find("propertyNames", kObject) != nullptr) facts.has_key_schemas = true;
  }
  for (const std::string& name : facts.required) {
    if (facts.declared.count(name) == 0) facts.names.push_back(name);
  }
  if (!facts.typed && facts.implied != 0) facts.types &= facts.implied;
  return facts;
}

std::optional<SchemaSet> SchemaSets::Item(const SchemaSet& set, std::size_t index) const {
  std::vector<SchemaAtom> atoms;
  for (const SchemaAtom& atom : set) {
    const SchemaJson* items = document_.Find(atom.id, "items");
    const SchemaJson* prefix = document_.Find(atom.id, "prefixItems");
    if (prefix == nullptr && items != nullptr && items->is_array()) {  // before 2020-12
      prefix = items;
      items = document_.Find(atom.id, "additionalItems");
    }
    if (prefix != nullptr && index < prefix->size()) {
      atoms.push_back({document_.IdOf((*prefix)[index])});
    } else if (items != nullptr && !items->is_array()) {
      atoms.push_back({document_.IdOf(*items)});
    }
  }
  return Close(std::move(atoms));
}

std::optional<SchemaSet> SchemaSets::ContainedItem(const SchemaSet& set, std::size_t index, Id id) const {
  auto item = Item(set, index);
  if (!item) return item;
  item->push_back({document_.IdOf(*document_.Find(id, "contains"))});
  return Close(std::move(*item));
}

Result<std::optional<SchemaSet>> SchemaSets::Member(const SchemaSet& set, const std::string& name) {
  std::vector<SchemaAtom> atoms;
  for (const SchemaAtom& atom : set) {
    bool known = false;
    const auto add = [&](const SchemaJson& schema) {
      known = true;
      atoms.push_back({document_.IdOf(schema)});
    };
    if (const SchemaJson* properties = document_.Find(atom.id, "properties")) {
      if (const auto it = properties->find(name); it != properties->end()) add(*it);
    }
    if (const SchemaJson* patterns = document_.Find(atom.id, "patternProperties")) {
      for (const auto& [pattern, schema] : patterns->items()) {
        const auto dfa = document_.PatternDfa(pattern);
        if (!dfa.ok()) return document_.Wrong(atom.id, "patternProperties", dfa.error().message);
        if ((*dfa)->Matches(name)) add(schema);
      }
    }
    if (known) continue;
    if (const SchemaJson* additional = document_.Find(atom.id, "additionalProperties")) add(*additional);
  }
  return Close(std::move(atoms));
}

std::optional<SchemaSet> SchemaSets::OtherMember(const SchemaSet& set, const std::set<std::string>& patterns) const {
  std::vector<SchemaAtom> atoms;
  for (const SchemaAtom& atom : set) {
    bool known = false;
    if (const SchemaJson* own = document_.Find(atom.id, "patternProperties")) {
      for (const auto& [pattern, schema] : own->items()) {
        if (patterns.count(pattern) == 0) continue;
        known = true;
        atoms.push_back({document_.IdOf(schema)});
      }
    }
    const SchemaJson* additional = document_.Find(atom.id, "additionalProperties");
    if (!known && additional != nullptr) atoms.push_back({document_.IdOf(*additional)});
  }
  return Close(std::move(atoms));
}

std::optional<SchemaSet> SchemaSets::Names(const SchemaSet& set) const {
  std::vector<SchemaAtom> atoms;
  for (const SchemaAtom& atom : set) {
    if (const SchemaJson* names = document_.Find(atom.id, "propertyNames")) atoms.push_back({document_.IdOf(*names)});
  }
  return Close(std::move(atoms));
}

Result<std::pair<std::uint32_t, std::uint32_t>> SchemaSets::OwnLengths(const SchemaFacts& facts) {
  std::uint32_t least = facts.min_length, most = facts.max_length;
  constexpr std::uint32_t kFar = 4096;
  const std::uint32_t far = std::min(kFar, most == kUnbounded ? least : std::max(least, most));
  const auto imply = [&](const CharDfa& dfa) {
    const auto [shortest, longest] = LengthsOf(dfa, far);
    if (shortest >= least) least = 0;
    if (longest <= most) most = kUnbounded;
  };
  if (least == 0 && most == kUnbounded) return std::pair(least, most);
  for (const std::string& pattern : facts.patterns) {
    QUORUM_ASSIGN(const CharDfa* dfa, document_.PatternDfa(pattern));
    imply(*dfa);
  }
  for (const std::string& format : facts.formats) {
    if (FormatPattern(format)[0] == '\0') continue;
    QUORUM_ASSIGN(const CharDfa* dfa, document_.FormatDfa(format));
    imply(*dfa);
  }
  return std::pair(least, most);
}

Result<CharDfa> SchemaSets::Strings(const SchemaFacts& facts) {
  if (facts.max_length < facts.min_length) return CharDfa();
  QUORUM_ASSIGN(const auto lengths, OwnLengths(facts));
  const auto [least, most] = lengths;
  if (least >= CharDfa::kMaxStates || (most != kUnbounded && most >= CharDfa::kMaxStates)) {
    return InvalidArgument("a length of " + std::to_string(CharDfa::kMaxStates) +
                           " or more together with a pattern, a format or key rules is not supported");
  }
  CharDfa all = CharDfa::Length(least, most);
  for (const std::string& pattern : facts.patterns) {
    QUORUM_ASSIGN(const CharDfa* dfa, document_.PatternDfa(pattern));
    QUORUM_ASSIGN(all, all.Intersect(*dfa));
    QUORUM_TRY(document_.Charge(all.states().size() * 10));
  }
  for (const std::string& pattern : facts.not_patterns) {
    QUORUM_ASSIGN(const CharDfa* dfa, document_.PatternDfa(pattern));
    QUORUM_ASSIGN(all, all.Intersect(dfa->Complement()));
    QUORUM_TRY(document_.Charge(all.states().size() * 10));
  }
  if (const std::vector<std::string> texts = ExcludedTexts(facts); !texts.empty()) {
    QUORUM_ASSIGN(const CharDfa excluded, CharDfa::OneOf(texts));
    QUORUM_ASSIGN(all, all.Intersect(excluded.Complement()));
    QUORUM_TRY(document_.Charge(all.states().size() * 10));
  }
  for (const std::string& format : facts.formats) {
    if (FormatPattern(format)[0] == '\0') continue;
    QUORUM_ASSIGN(const CharDfa* dfa, document_.FormatDfa(format));
    QUORUM_ASSIGN(all, all.Intersect(*dfa));
    QUORUM_TRY(document_.Charge(all.states().size() * 10));
  }
  return all;
}

Result<CharDfa> SchemaSets::AllowedNames(const SchemaSet& set) {
  const auto names = Names(set);
  if (!names) return CharDfa();
  if (names->empty()) return CharDfa::Length(0, kUnbounded);
  QUORUM_ASSIGN(const SchemaFacts facts, Facts(*names));
  if ((facts.types & kString) == 0) return CharDfa();
  if (facts.values != nullptr) {
    const SchemaJson list = facts.values_is_const ? SchemaJson::array({*facts.values}) : *facts.values;
    std::vector<std::string> texts;
    for (const SchemaJson& value : list) {
      if (!value.is_string()) continue;
      QUORUM_ASSIGN(const bool valid, Valid(value, *names));
      if (valid) texts.push_back(value.get<std::string>());
    }
    return CharDfa::OneOf(texts);
  }
  for (const SchemaAtom& atom : *names) {
    for (const char* keyword : {"anyOf", "oneOf"}) {
      if (document_.Find(atom.id, keyword) != nullptr) {
        return document_.Wrong(atom.id, keyword, "this keyword is not supported in propertyNames");
      }
    }
  }
  return Strings(facts);
}

}  // namespace quorum::grammar
