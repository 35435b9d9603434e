#include "server/json_fields.h"

#include <cmath>

#include <fmt/format.h>

namespace quorum::server {

std::string_view KindOf(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null: return "null";
    case Json::value_t::object: return "an object";
    case Json::value_t::array: return "an array";
    case Json::value_t::string: return "a string";
    case Json::value_t::boolean: return "a boolean";
    default: return "a number";
  }
}

std::string JsonFields::Param(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

Error JsonFields::Wrong(std::string_view name, std::string_view expected) const {
  const auto it = object_.find(name);
  const std::string found = it == object_.end() ? "absent" : fmt::format("{}", KindOf(*it));
  return InvalidArgument(fmt::format("'{}' must be {}, but is {}", Param(name), expected, found), Param(name));
}

const Json* JsonFields::Find(std::string_view name) {
  read_.emplace(name);
  const auto it = object_.find(name);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

Result<std::optional<bool>> JsonFields::Bool(std::string_view name) {
  const Json* value = Find(name);
  if (value == nullptr) return std::optional<bool>();
  if (!value->is_boolean()) return Wrong(name, "a boolean");
  return std::optional<bool>(value->get<bool>());
}

Result<std::optional<std::int64_t>> JsonFields::Int(std::string_view name, std::int64_t min, std::int64_t max) {
  const Json* value = Find(name);
  if (value == nullptr) return std::optional<std::int64_t>();
  std::optional<std::int64_t> number;
  bool in_range = true;
  if (value->is_number_unsigned()) {
    const auto wide = value->get<std::uint64_t>();
    in_range = wide <= static_cast<std::uint64_t>(INT64_MAX);
    number = in_range ? static_cast<std::int64_t>(wide) : INT64_MAX;
  } else if (value->is_number_integer()) {
    number = value->get<std::int64_t>();
  } else if (value->is_number_float()) {
    const double d = value->get<double>();  // 16.0 is an integer to JSON, and some clients write it so
    if (std::abs(d) >= 9e15 || d == std::floor(d)) {
      in_range = std::abs(d) < 9e15;
      number = in_range ? static_cast<std::int64_t>(d) : d < 0 ? INT64_MIN : INT64_MAX;
    }
  }
  if (!number.has_value()) {
    return value->is_number()
               ? InvalidArgument(fmt::format("'{}' must be a whole number, but is {}", Param(name), value->dump()),
                                 Param(name))
               : Wrong(name, "an integer");
  }
  if (!in_range || *number < min || *number > max) {
    const bool only_one_end_matters = max >= INT32_MAX;
    const std::string range = !only_one_end_matters ? fmt::format("from {} to {}", min, max)
                              : *number < min       ? fmt::format("at least {}", min)
                                                    : fmt::format("at most {}", max);
    return InvalidArgument(fmt::format("'{}' must be {}, but is {}", Param(name), range, value->dump()), Param(name));
  }
  return number;
}

Result<std::optional<double>> JsonFields::Number(std::string_view name, double min, double max, bool above_min) {
  const Json* value = Find(name);
  if (value == nullptr) return std::optional<double>();
  if (!value->is_number()) return Wrong(name, "a number");
  const double number = value->get<double>();
  if (!(number >= min && number <= max) || (above_min && number == min)) {
    return InvalidArgument(fmt::format("'{}' must be {} {} and at most {}, but is {}", Param(name),
                                       above_min ? "above" : "at least", min, max, value->dump()),
                           Param(name));
  }
  return std::optional<double>(number);
}

Result<std::optional<std::string>> JsonFields::String(std::string_view name) {
  const Json* value = Find(name);
  if (value == nullptr) return std::optional<std::string>();
  if (!value->is_string()) return Wrong(name, "a string");
  return std::optional<std::string>(value->get<std::string>());
}

std::vector<std::string> JsonFields::Unread() const {
  std::vector<std::string> names;
  for (const auto& [name, value] : object_.items()) {
    if (!value.is_null() && read_.find(name) == read_.end()) names.push_back(Param(name));
  }
  return names;
}

void JsonFields::Known(std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names) read_.emplace(name);
}

void JsonFields::NameUnread(std::string_view as, std::vector<std::string>& ignored) const {
  for (const auto& [name, value] : object_.items()) {
    if (!value.is_null() && read_.find(name) == read_.end()) ignored.push_back(fmt::format("{}.{}", as, name));
  }
}

}  // namespace quorum::server
