// What an argument of a tool may be, as far as its JSON schema says: formats that write arguments without quotes need
// it to tell "5" from 5.
#pragma once

#include <cstdint>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

namespace quorum::server {

class ArgumentTypes {
 public:
  enum Type : std::uint8_t {
    kString = 1,
    kNumber = 2,
    kInteger = 4,
    kBoolean = 8,
    kNull = 16,
    kObject = 32,
    kArray = 64
  };

  void Add(Type type) { set_ |= type; }
  void Add(ArgumentTypes other) { set_ |= other.set_; }
  bool known() const { return set_ != 0; }  // else the schema says nothing
  bool has(Type type) const { return (set_ & type) != 0; }
  bool only_string() const { return set_ == kString; }
  /// Whether a value of this kind is one of them.
  bool Allow(const nlohmann::ordered_json& value) const;

 private:
  std::uint8_t set_ = 0;
};

/// From type, enum, const, anyOf, oneOf, allOf and references within `root`, the whole schema of the arguments.
ArgumentTypes TypesOf(const nlohmann::ordered_json& root, const nlohmann::ordered_json& schema, int depth = 0);

/// What `reference` ("#/$defs/City") stands for in `root`; null: nothing.
const nlohmann::ordered_json* Resolve(const nlohmann::ordered_json& root, std::string_view reference);

}  // namespace quorum::server
