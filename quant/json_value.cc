#include "quant/json_value.h"

#include <exception>
#include <limits>
#include <optional>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "quant/gguf_parser.h"

namespace quorum::quant {
namespace {

constexpr std::size_t kMaxDepth = 64;

/// Builds the tree from nlohmann's events. Stops at the first fault.
class TreeBuilder {
 public:
  using number_integer_t = nlohmann::json::number_integer_t;
  using number_unsigned_t = nlohmann::json::number_unsigned_t;
  using number_float_t = nlohmann::json::number_float_t;
  using string_t = nlohmann::json::string_t;
  using binary_t = nlohmann::json::binary_t;

  bool null() { return Add({}); }
  bool boolean(bool value) { return Add({value}); }
  bool number_integer(number_integer_t value) { return Add({std::int64_t{value}}); }
  bool number_unsigned(number_unsigned_t value) {
    if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      return Add({static_cast<std::int64_t>(value)});
    }
    return Add({static_cast<double>(value)});
  }
  bool number_float(number_float_t value, const string_t&) { return Add({value}); }
  bool string(string_t& value) { return Add({std::move(value)}); }
  bool binary(binary_t&) { return Fail("a binary value"); }
  bool start_object(std::size_t) { return Open({JsonValue::Object()}); }
  bool start_array(std::size_t) { return Open({JsonValue::Array()}); }
  bool end_object() { return Close(); }
  bool end_array() { return Close(); }
  bool key(string_t& name) {
    Level& level = open_.back();
    if (!level.keys.insert(name).second) return Fail("key " + Quoted(name) + " is there twice");
    level.key = std::move(name);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::json::exception& error) {
    std::string what = error.what();
    const std::size_t at = what.find("syntax error");
    return Fail("not valid JSON at byte " + std::to_string(position) + ": " +
                (at == std::string::npos ? what : what.substr(at)));
  }

  Result<JsonValue> Take() {
    if (!fault_.empty()) return InvalidArgument(fault_);
    return std::move(root_);
  }
  void Abandon(const std::string& why) { Fail(why); }

 private:
  struct Level {
    JsonValue value;
    std::string key;  // where the next value of an object goes
    std::set<std::string, std::less<>> keys;
  };

  bool Fail(std::string why) {
    if (fault_.empty()) fault_ = std::move(why);
    return false;
  }

  bool Add(JsonValue value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return true;
    }
    Level& level = open_.back();
    if (auto* array = std::get_if<JsonValue::Array>(&level.value.value)) {
      array->push_back(std::move(value));
    } else if (auto* object = std::get_if<JsonValue::Object>(&level.value.value)) {
      object->push_back({std::move(level.key), std::move(value)});
    }
    return true;
  }

  bool Open(JsonValue value) {
    if (open_.size() >= kMaxDepth) return Fail("nested deeper than " + std::to_string(kMaxDepth) + " levels");
    open_.push_back({std::move(value), {}, {}});
    return true;
  }

  bool Close() {
    JsonValue value = std::move(open_.back().value);
    open_.pop_back();
    return Add(std::move(value));
  }

  JsonValue root_;
  std::vector<Level> open_;
  std::string fault_;
};

/// `text` with bare NaN, Infinity and -Infinity put in quotes; nothing where there are none.
std::optional<std::string> QuoteNonNumbers(std::string_view text) {
  std::string out;
  std::size_t copied = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') {
      for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\' ? 1U : 0U;
      continue;
    }
    for (const std::string_view word : {"NaN", "-Infinity", "Infinity"}) {
      if (text.substr(i, word.size()) != word) continue;
      out.append(text.substr(copied, i - copied)).append("\"").append(word).append("\"");
      copied = i + word.size();
      i = copied - 1;
      break;
    }
  }
  if (copied == 0) return std::nullopt;
  return out.append(text.substr(copied));
}

}  // namespace

const JsonValue* JsonValue::Find(std::string_view key) const {
  const auto* object = As<Object>();
  if (object == nullptr) return nullptr;
  for (const auto& [name, member] : *object) {
    if (name == key) return &member;
  }
  return nullptr;
}

std::string JsonValue::Describe() const {
  if (is_null()) return "null";
  if (const auto* flag = As<bool>()) return *flag ? "true" : "false";
  if (const auto* integer = As<std::int64_t>()) return std::to_string(*integer);
  if (const auto* number = As<double>()) return nlohmann::json(*number).dump();
  if (const auto* text = As<std::string>()) return Quoted(*text);
  return As<Array>() != nullptr ? "a list" : "an object";
}

Result<JsonValue> ParseJson(std::string_view text) {
  TreeBuilder builder;
  try {
    const std::optional<std::string> quoted = QuoteNonNumbers(text);
    if (quoted) text = *quoted;
    if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) builder.Abandon("not valid JSON");
  } catch (const std::exception& error) {
    builder.Abandon(std::string("not valid JSON: ") + error.what());
  }
  return builder.Take();
}

}  // namespace quorum::quant
