#include "tokenizer/jinja/json.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/number.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/sort.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

using Json = nlohmann::ordered_json;

Value TextFromJson(Heap& heap, const std::string& text) {
  if (!IsValidUtf8(text)) Fail("a text given to the template is not valid UTF-8");
  return MakeString(heap, text);
}

std::string JsonNumber(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return FloatRepr(value);
}

class Writer {
 public:
  Writer(TextBuilder& out, const JsonStyle& style) : out_(out), style_(style) {}

  void Write(const Value& value) {
    out_.budget().Visit();
    switch (value.kind()) {
      case Kind::kNone: out_.Append("null"); break;
      case Kind::kBool: out_.Append(value.boolean() ? "true" : "false"); break;
      case Kind::kInt: out_.Append(std::to_string(value.integer())); break;
      case Kind::kBigInt: out_.Append(std::to_string(value.big())); break;
      case Kind::kFloat: out_.Append(JsonNumber(value.number())); break;
      case Kind::kString: WriteText(TextOf(value)); break;
      case Kind::kList:
      case Kind::kTuple: WriteList(ItemsOf(value)); break;
      case Kind::kDict: WriteDict(value.as<DictObject>().map); break;
      default: Fail("Object of type " + std::string(TypeName(value)) + " is not JSON serializable");
    }
  }

 private:
  void NewLine() {
    if (!style_.indented) return;
    out_.Append('\n');
    out_.AppendRepeated(style_.indent, level_);
  }

  void WriteList(const std::vector<Value>& items) {
    if (items.empty()) return out_.Append("[]");
    const Budget::Nested nested(out_.budget());
    out_.Append('[');
    ++level_;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i != 0) out_.Append(style_.item_separator);
      NewLine();
      Write(items[i]);
    }
    --level_;
    NewLine();
    out_.Append(']');
  }

  void WriteDict(const DictMap& map) {
    if (map.size() == 0) return out_.Append("{}");
    const Budget::Nested nested(out_.budget());
    std::vector<const DictMap::Entry*> entries;
    for (const DictMap::Entry& entry : map.entries()) entries.push_back(&entry);
    if (style_.sort_keys) {
      StableSort(entries, [this](const DictMap::Entry* a, const DictMap::Entry* b) {
        return Compare(out_.budget(), CompareOp::kLt, a->first, b->first);
      });
    }
    out_.Append('{');
    ++level_;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (i != 0) out_.Append(style_.item_separator);
      NewLine();
      WriteKey(entries[i]->first);
      out_.Append(style_.key_separator);
      Write(entries[i]->second);
    }
    --level_;
    NewLine();
    out_.Append('}');
  }

  void WriteKey(const Value& key) {
    switch (key.kind()) {
      case Kind::kString: WriteText(TextOf(key)); break;
      case Kind::kNone:
      case Kind::kBool:
      case Kind::kInt:
      case Kind::kBigInt:
      case Kind::kFloat:
        out_.Append('"');
        Write(key);
        out_.Append('"');
        break;
      default: Fail("keys must be str, int, float, bool or None, not " + std::string(TypeName(key)));
    }
  }

  void WriteText(std::string_view text) {
    out_.Append('"');
    std::size_t copied = 0;
    for (std::size_t pos = 0; pos < text.size();) {
      const std::size_t begin = pos;
      const char32_t c = DecodeAt(text, &pos);
      if (c >= 0x20 && c != '"' && c != '\\' && (c < 0x7F || !style_.ensure_ascii)) continue;
      out_.Append(text.substr(copied, begin - copied));
      copied = pos;
      WriteEscape(c);
    }
    out_.Append(text.substr(copied));
    out_.Append('"');
    out_.budget().Characters(text.size());
  }

  void WriteEscape(char32_t c) {
    switch (c) {
      case '"': return out_.Append("\\\"");
      case '\\': return out_.Append("\\\\");
      case '\n': return out_.Append("\\n");
      case '\r': return out_.Append("\\r");
      case '\t': return out_.Append("\\t");
      case '\f': return out_.Append("\\f");
      case '\b': return out_.Append("\\b");
      default: break;
    }
    if (c < 0x10000) return WriteUnit(c);
    WriteUnit(0xD800 + ((c - 0x10000) >> 10));
    WriteUnit(0xDC00 + ((c - 0x10000) & 0x3FF));
  }

  void WriteUnit(char32_t unit) {
    std::string escape = "\\u";
    AppendHex(&escape, unit, 4);
    out_.Append(escape);
  }

  TextBuilder& out_;
  const JsonStyle& style_;
  std::size_t level_ = 0;
};

}  // namespace

Value FromJson(Heap& heap, const Json& json) {
  heap.budget().Visit();
  switch (json.type()) {
    case Json::value_t::null: return Value::None();
    case Json::value_t::boolean: return Value::Bool(json.get<bool>());
    case Json::value_t::number_integer: return Value::Int(json.get<std::int64_t>());
    case Json::value_t::number_unsigned: {
      const auto number = json.get<std::uint64_t>();
      if (number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return Value::BigInt(number);
      return Value::Int(static_cast<std::int64_t>(number));
    }
    case Json::value_t::number_float: return Value::Float(json.get<double>());
    case Json::value_t::string: return TextFromJson(heap, json.get_ref<const std::string&>());
    case Json::value_t::array: {
      const Budget::Nested nested(heap.budget());
      std::vector<Value> items;
      items.reserve(json.size());
      for (const Json& item : json) items.push_back(FromJson(heap, item));
      return MakeList(heap, std::move(items));
    }
    case Json::value_t::object: {
      const Budget::Nested nested(heap.budget());
      const Ref<DictObject> dict = heap.New<DictObject>();
      for (const auto& [key, value] : json.items()) dict->Set(TextFromJson(heap, key), FromJson(heap, value));
      return Value(Kind::kDict, dict);
    }
    default: Fail("a binary or discarded JSON value was given to the template");
  }
}

void AppendJson(TextBuilder& out, const Value& value, const JsonStyle& style) { Writer(out, style).Write(value); }

}  // namespace quorum::tok::jinja
