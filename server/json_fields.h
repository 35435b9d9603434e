// Reads the fields of a JSON object with types and ranges, and knows afterwards which fields nobody asked for.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "server/json_input.h"

namespace quorum::server {

/// The object must outlive it. A field whose value is null counts as absent (SDKs send nulls).
class JsonFields {
 public:
  /// `path` names the object in errors: "" for the body, else e.g. "messages[2]".
  explicit JsonFields(const Json& object, std::string path = {}) : object_(object), path_(std::move(path)) {}

  /// The field, or null when it is absent. It then counts as honoured.
  const Json* Find(std::string_view name);

  // Typed; nothing when absent. Errors: kInvalidArgument with the field as param.
  Result<std::optional<bool>> Bool(std::string_view name);
  Result<std::optional<std::int64_t>> Int(std::string_view name, std::int64_t min, std::int64_t max);
  /// `above_min`: min itself is not allowed.
  Result<std::optional<double>> Number(std::string_view name, double min, double max, bool above_min = false);
  Result<std::optional<std::string>> String(std::string_view name);

  /// The name of a field for errors, e.g. "messages[2].role".
  std::string Param(std::string_view name) const;
  Error Wrong(std::string_view name, std::string_view expected) const;

  /// Fields that are known, but need no value here: they count as honoured.
  void Known(std::initializer_list<std::string_view> names);

  /// Fields that are present and not null, but were never looked at.
  std::vector<std::string> Unread() const;
  /// Adds them to `ignored`, the object being called `as`: "messages[].content[]", whichever it is.
  void NameUnread(std::string_view as, std::vector<std::string>& ignored) const;

 private:
  const Json& object_;
  std::string path_;
  std::set<std::string, std::less<>> read_;
};

/// "a string", "null"…: the kind of a value, for messages.
std::string_view KindOf(const Json& value);

}  // namespace quorum::server
