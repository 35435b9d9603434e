#include "server/tools/argument_types.h"

#include <array>
#include <cmath>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

namespace quorum::server {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kMaxDepth = 16;
constexpr std::array<std::pair<std::string_view, ArgumentTypes::Type>, 7> kNames = {
    {{"string", ArgumentTypes::kString},
     {"number", ArgumentTypes::kNumber},
     {"integer", ArgumentTypes::kInteger},
     {"boolean", ArgumentTypes::kBoolean},
     {"null", ArgumentTypes::kNull},
     {"object", ArgumentTypes::kObject},
     {"array", ArgumentTypes::kArray}}};

void AddNamed(const Json& name, ArgumentTypes& types) {
  for (const auto& [known, type] : kNames) {
    if (name == known) types.Add(type);
  }
}

ArgumentTypes::Type TypeOfValue(const Json& value) {
  if (value.is_string()) return ArgumentTypes::kString;
  if (value.is_number_integer()) return ArgumentTypes::kInteger;
  if (value.is_number()) return ArgumentTypes::kNumber;
  if (value.is_boolean()) return ArgumentTypes::kBoolean;
  if (value.is_object()) return ArgumentTypes::kObject;
  return value.is_array() ? ArgumentTypes::kArray : ArgumentTypes::kNull;
}

}  // namespace

bool ArgumentTypes::Allow(const Json& value) const {
  return has(TypeOfValue(value)) || (value.is_number_integer() && has(kNumber)) ||
         (value.is_number_float() && has(kInteger) && std::floor(value.get<double>()) == value.get<double>());
}

const Json* Resolve(const Json& root, std::string_view reference) {
  if (!reference.starts_with('#')) return nullptr;
  try {  // a malformed pointer throws
    const Json::json_pointer pointer{std::string(reference.substr(1))};
    return root.contains(pointer) ? &root.at(pointer) : nullptr;
  } catch (const Json::exception&) {
    return nullptr;
  }
}

ArgumentTypes TypesOf(const Json& root, const Json& schema, int depth) {
  ArgumentTypes types;
  if (!schema.is_object() || depth > kMaxDepth) return types;
  if (const auto type = schema.find("type"); type != schema.end()) {
    if (type->is_array()) {
      for (const Json& one : *type) AddNamed(one, types);
    } else {
      AddNamed(*type, types);
    }
    return types;
  }
  if (const auto values = schema.find("enum"); values != schema.end() && values->is_array()) {
    for (const Json& value : *values) types.Add(TypeOfValue(value));
    return types;
  }
  if (const auto value = schema.find("const"); value != schema.end()) {
    types.Add(TypeOfValue(*value));
    return types;
  }
  if (const auto reference = schema.find("$ref"); reference != schema.end() && reference->is_string()) {
    const Json* target = Resolve(root, reference->get_ref<const std::string&>());
    return target == nullptr ? types : TypesOf(root, *target, depth + 1);
  }
  for (const char* keyword : {"anyOf", "oneOf", "allOf"}) {
    const auto branches = schema.find(keyword);
    if (branches == schema.end() || !branches->is_array()) continue;
    for (const Json& branch : *branches) types.Add(TypesOf(root, branch, depth + 1));
    if (types.known()) return types;
  }
  return types;
}

}  // namespace quorum::server
