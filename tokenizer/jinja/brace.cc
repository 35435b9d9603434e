// str.format().
#include <algorithm>
#include <string>

#include "tokenizer/jinja/access.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/number.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/percent.h"
#include "tokenizer/jinja/spec.h"
#include "tokenizer/jinja/text.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

bool IsAllDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

class BraceFormatter {
 public:
  BraceFormatter(Runtime& rt, bool escape, const std::vector<Value>& args,
                 const std::vector<std::pair<std::string, Value>>& keyword)
      : rt_(rt), escape_(escape), args_(args), keyword_(keyword) {}

  // `levels` of format specifications may still contain fields themselves.
  void Append(TextBuilder& out, std::string_view format, int levels) {
    for (std::size_t pos = 0; pos < format.size();) {
      const char c = format[pos];
      if (c != '{' && c != '}') {
        const std::size_t end = std::min(format.find_first_of("{}", pos), format.size());
        out.Append(format.substr(pos, end - pos));
        pos = end;
      } else if (pos + 1 < format.size() && format[pos + 1] == c) {
        out.Append(c);
        pos += 2;
      } else if (c == '}') {
        Fail("Single '}' encountered in format string");
      } else {
        const std::size_t end = FieldEnd(format, pos + 1);
        AppendField(out, format.substr(pos + 1, end - pos - 1), levels);
        pos = end + 1;
      }
    }
  }

 private:
  // The position of the brace that closes the field beginning at `pos`.
  static std::size_t FieldEnd(std::string_view format, std::size_t pos) {
    std::size_t open = 1;
    bool in_key = false;  // brackets of a key hide braces
    for (; pos < format.size(); ++pos) {
      const char c = format[pos];
      if (c == '[' && !in_key && open == 1) in_key = true;
      if (c == ']') in_key = false;
      if (in_key) continue;
      if (c == '{') ++open;
      if (c == '}' && --open == 0) return pos;
    }
    Fail("expected '}' before end of string");
  }

  // "name.attribute[key]!r:spec"
  void AppendField(TextBuilder& out, std::string_view field, int levels) {
    rt_.budget().Step();
    std::size_t end = 0;
    bool in_key = false;
    for (; end < field.size() && (in_key || (field[end] != '!' && field[end] != ':')); ++end) {
      if (field[end] == '[') in_key = true;
      if (field[end] == ']') in_key = false;
      if (field[end] == '{') Fail("unexpected '{' in field name");
    }
    const std::string_view name = field.substr(0, end);
    std::string_view spec;
    char conversion = 0;
    if (end < field.size() && field[end] == '!') {
      if (end + 1 >= field.size()) Fail("end of string while looking for conversion specifier");
      conversion = field[end + 1];
      end += 2;
      if (end < field.size() && field[end] != ':') Fail("expected ':' after conversion specifier");
    }
    if (end < field.size()) spec = field.substr(end + 1);
    const Value value = Converted(Lookup(name), conversion);
    TextBuilder expanded(rt_.budget());
    if (levels <= 0) Fail("Max string recursion exceeded");
    Append(expanded, spec, levels - 1);
    if (!escape_) return AppendFormatted(out, value, expanded.text());
    TextBuilder shown(rt_.budget());
    AppendFormatted(shown, value, expanded.text());
    out.Append(IsMarkup(value) ? shown.text() : EscapeHtml(rt_.budget(), shown.text()));
  }

  Value Converted(const Value& value, char conversion) {
    if (conversion == 0) return value;
    if (conversion == 's') return rt_.Text(Str(rt_.budget(), value));
    if (conversion == 'r') return rt_.Text(Repr(rt_.budget(), value));
    if (conversion == 'a') return PercentFormat(rt_, rt_.Text("%a"), rt_.Tuple({value}));
    Fail(std::string("Unknown conversion specifier ") + conversion);
  }

  Value Lookup(std::string_view name) {
    std::size_t pos = std::min(name.find_first_of(".["), name.size());
    Value value = First(name.substr(0, pos), name.empty());
    while (pos < name.size()) {
      if (name[pos] == '.') {
        const std::size_t end = std::min(name.find_first_of(".[", pos + 1), name.size());
        if (end == pos + 1) Fail("Empty attribute in format string");
        value = GetAttr(rt_, value, name.substr(pos + 1, end - pos - 1));
        pos = end;
      } else if (name[pos] == '[') {
        const std::size_t end = name.find(']', pos + 1);
        if (end == std::string_view::npos) Fail("Missing ']' in format string");
        const std::string_view key = name.substr(pos + 1, end - pos - 1);
        if (key.empty()) Fail("Empty attribute in format string");
        bool too_large = false;
        const auto index = IsAllDigits(key) ? ParseInt(key, 10, &too_large) : std::nullopt;
        value = GetItem(rt_, value, index ? Value::Int(*index) : rt_.Text(std::string(key)));
        pos = end + 1;
      } else {
        Fail("Only '.' or '[' may follow ']' in format field specifier");
      }
    }
    return value;
  }

  // The argument that a field begins with. `automatic`: the field has no name at all, so arguments are counted.
  Value First(std::string_view name, bool automatic) {
    if (automatic || IsAllDigits(name)) {
      if (numbering_ != Numbering::kNone && numbering_ != (automatic ? Numbering::kAutomatic : Numbering::kManual)) {
        Fail("cannot switch between automatic and manual field numbering");
      }
      numbering_ = automatic ? Numbering::kAutomatic : Numbering::kManual;
      bool too_large = false;
      const std::int64_t index = automatic ? next_++ : ParseInt(name, 10, &too_large).value_or(INT64_MAX);
      if (index >= static_cast<std::int64_t>(args_.size()))
        Fail("Replacement index out of range for positional args tuple");
      return args_[static_cast<std::size_t>(index)];
    }
    rt_.budget().Items(keyword_.size());
    const auto it = std::find_if(keyword_.begin(), keyword_.end(), [&](const auto& kw) { return kw.first == name; });
    if (it == keyword_.end()) Fail("format() has no argument '" + std::string(name) + "'");
    return it->second;
  }

  enum class Numbering : std::uint8_t { kNone, kAutomatic, kManual };

  Runtime& rt_;
  const bool escape_;
  const std::vector<Value>& args_;
  const std::vector<std::pair<std::string, Value>>& keyword_;
  Numbering numbering_ = Numbering::kNone;
  std::int64_t next_ = 0;
};

}  // namespace

Value BraceFormat(Runtime& rt, const Value& format, const std::vector<Value>& args,
                  const std::vector<std::pair<std::string, Value>>& keyword) {
  TextBuilder out(rt.budget());
  BraceFormatter(rt, IsMarkup(format), args, keyword).Append(out, TextOf(format), 2);
  return rt.Text(out.Take(), IsMarkup(format));
}

}  // namespace quorum::tok::jinja
