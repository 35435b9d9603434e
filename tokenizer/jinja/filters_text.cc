// Filters on text.
#include <algorithm>
#include <array>
#include <string>

#include "tokenizer/jinja/access.h"
#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/iter.h"
#include "tokenizer/jinja/json.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/percent.h"
#include "tokenizer/jinja/strings.h"
#include "tokenizer/jinja/text.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

// A filter that maps the text of its subject to another text and keeps markup markup.
template <std::string (*kMap)(std::string_view)>
Value Mapped(Runtime& rt, Args& args) {
  const Value text = SoftStr(rt.heap(), args[0]);
  rt.budget().Characters(TextOf(text).size());
  return rt.Text(kMap(TextOf(text)), IsMarkup(text));
}

// Upper case after a space, a hyphen or an opening bracket, lower case elsewhere.
std::string TitleFilter(std::string_view text) {
  const auto separates = [](char32_t c) {
    return c == '-' || c == '(' || c == '{' || c == '[' || c == '<' || IsSpace(c);
  };
  std::string out;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    std::size_t after_first = pos;
    if (separates(DecodeAt(text, &after_first))) {
      out.append(text.substr(begin, after_first - begin));
      pos = after_first;
      continue;
    }
    pos = after_first;
    while (pos < text.size()) {
      std::size_t next = pos;
      if (separates(DecodeAt(text, &next))) break;
      pos = next;
    }
    out += ToUpper(text.substr(begin, after_first - begin));
    out += ToLower(text.substr(after_first, pos - after_first));
  }
  return out;
}

Value Title(Runtime& rt, Args& args) {
  const std::string text = Str(rt.budget(), args[0]);
  rt.budget().Characters(text.size());
  return rt.Text(TitleFilter(text));
}

Value Trim(Runtime& rt, Args& args) { return StripText(rt, SoftStr(rt.heap(), args[0]), args[1], StripSide::kBoth); }

Value Replace(Runtime& rt, Args& args) {
  const std::string text = Str(rt.budget(), args[0]);
  const std::string from = Str(rt.budget(), args[1]);
  const std::string to = Str(rt.budget(), args[2]);
  return rt.Text(ReplaceText(rt.budget(), text, from, to, args.none_or_missing(3) ? -1 : args.integer(3)));
}

Value Indent(Runtime& rt, Args& args) {
  const std::string& text = args.text(0);
  TextBuilder indent(rt.budget());
  if (args.has(1) && args[1].is_string()) {
    indent.Append(TextOf(args[1]));
  } else {
    indent.AppendRepeated(" ", static_cast<std::size_t>(std::max<std::int64_t>(args.integer_or(1, 4), 0)));
  }
  const bool first = args.truth_or(2, false);
  const bool blank = args.truth_or(3, false);
  TextBuilder out(rt.budget());
  const std::vector<std::string_view> lines = SplitLines(rt.budget(), text, false);
  // Jinja adds a newline before it splits: after a line break at the end that makes one more, empty line (but completes
  // a carriage return), and of an empty text one line.
  const bool ends_with_break =
      !lines.empty() && lines.back().data() + lines.back().size() != text.data() + text.size() && text.back() != '\r';
  const std::size_t count = lines.size() + (text.empty() || ends_with_break ? 1 : 0);
  if (first) out.Append(indent.text());
  for (std::size_t i = 0; i < count; ++i) {
    const std::string_view line = i < lines.size() ? lines[i] : std::string_view();
    if (i != 0) {
      out.Append('\n');
      if (blank || !line.empty()) out.Append(indent.text());
    }
    out.Append(line);
  }
  return rt.Text(out.Take(), IsMarkup(args[0]));
}

Value Truncate(Runtime& rt, Args& args) {
  const Value end = args.has(3) ? args[3] : rt.Text("...");
  const std::int64_t length = args.integer_or(1, 255);
  const std::int64_t leeway = args.none_or_missing(4) ? 5 : args.integer(4);
  const std::int64_t end_length = RequireLength(end);
  if (length < end_length) Fail("expected length >= " + std::to_string(end_length) + ", got " + std::to_string(length));
  if (leeway < 0) Fail("expected leeway >= 0, got " + std::to_string(leeway));
  const std::int64_t have = RequireLength(args[0]);
  if (have <= length || have - length <= leeway) return args[0];
  const std::string& text = args.text(0);
  rt.budget().Characters(text.size());
  std::string_view kept =
      std::string_view(text).substr(0, ByteOffset(text, static_cast<std::size_t>(length - end_length)));
  if (!args.truth_or(2, false)) kept = kept.substr(0, std::min(kept.rfind(' '), kept.size()));
  if (!end.is_string()) Fail("can only concatenate str to str");
  TextBuilder out(rt.budget());
  out.Append(kept);
  out.Append(IsMarkup(args[0]) ? TextOf(Escape(rt.heap(), end)) : TextOf(end));
  return rt.Text(out.Take(), IsMarkup(args[0]));
}

Value Center(Runtime& rt, Args& args) {
  return JustifyText(rt, SoftStr(rt.heap(), args[0]), args.integer_or(1, 80), " ", Justify::kCenter);
}

Value WordCount(Runtime& rt, Args& args) {
  const std::string text = Str(rt.budget(), args[0]);
  rt.budget().Characters(text.size());
  std::int64_t count = 0;
  bool in_word = false;
  for (std::size_t pos = 0; pos < text.size();) {
    const bool word = IsWord(DecodeAt(text, &pos));
    if (word && !in_word) ++count;
    in_word = word;
  }
  return Value::Int(count);
}

Value String(Runtime& rt, Args& args) { return SoftStr(rt.heap(), args[0]); }
Value EscapeFilter(Runtime& rt, Args& args) { return Escape(rt.heap(), args[0]); }

Value ForceEscape(Runtime& rt, Args& args) { return rt.Text(EscapeHtml(rt.budget(), Str(rt.budget(), args[0])), true); }

Value Safe(Runtime& rt, Args& args) { return rt.Text(Str(rt.budget(), args[0]), true); }

Value Format(Runtime& rt, Args& args) {
  if (!args.rest.empty() && !args.keyword.empty()) {
    Fail("can't handle positional and keyword arguments at the same time");
  }
  Value values = rt.Tuple(std::move(args.rest));
  if (!args.keyword.empty()) {
    const Ref<DictObject> dict = rt.heap().New<DictObject>();
    for (auto& [name, value] : args.keyword) dict->Set(rt.Text(name), std::move(value));
    values = Value(Kind::kDict, dict);
  }
  return PercentFormat(rt, SoftStr(rt.heap(), args[0]), values);
}

void AppendUrlQuoted(TextBuilder& out, std::string_view text, bool query) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  out.budget().Characters(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool alnum = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (alnum || c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query)) {
      out.Append(c);
    } else if (c == ' ' && query) {
      out.Append('+');
    } else {
      const std::array<char, 3> escape = {'%', kHex[byte >> 4], kHex[byte & 15U]};
      out.Append(std::string_view(escape.data(), escape.size()));
    }
  }
}

Value UrlEncode(Runtime& rt, Args& args) {
  TextBuilder out(rt.budget());
  if (args[0].is_string() || !IsIterable(args[0])) {
    AppendUrlQuoted(out, Str(rt.budget(), args[0]), false);
    return rt.Text(out.Take());
  }
  Value pairs = args[0];
  if (pairs.is(Kind::kDict)) {
    pairs = Value(Kind::kView, rt.heap().New<ViewObject>(args[0], ViewObject::What::kItems));
  }
  const Ref<IteratorObject> iterator = Iterate(rt.heap(), pairs);
  bool first = true;
  for (Value pair; iterator->Next(&pair);) {
    const std::vector<Value> parts = ItemsFrom(rt.heap(), pair);
    if (parts.size() != 2) Fail("expected pairs of a key and a value");
    if (!first) out.Append('&');
    first = false;
    AppendUrlQuoted(out, Str(rt.budget(), parts[0]), true);
    out.Append('=');
    AppendUrlQuoted(out, Str(rt.budget(), parts[1]), true);
  }
  return rt.Text(out.Take());
}

// As transformers defines it: no HTML escapes, keys in their order.
Value ToJson(Runtime& rt, Args& args) {
  JsonStyle style;
  style.ensure_ascii = args.truth_or(1, false);
  style.sort_keys = args.truth_or(4, false);
  if (!args.none_or_missing(2)) {
    style.indented = true;
    style.item_separator = ",";
    if (args[2].is_string()) {
      style.indent = TextOf(args[2]);
    } else {
      TextBuilder spaces(rt.budget());
      spaces.AppendRepeated(" ", static_cast<std::size_t>(std::max<std::int64_t>(args.integer(2), 0)));
      style.indent = spaces.Take();
    }
  }
  if (!args.none_or_missing(3)) {
    const std::vector<Value> separators = ItemsFrom(rt.heap(), args[3]);
    if (separators.size() != 2 || !separators[0].is_string() || !separators[1].is_string()) {
      Fail("separators must be a pair of strings");
    }
    style.item_separator = TextOf(separators[0]);
    style.key_separator = TextOf(separators[1]);
  }
  TextBuilder out(rt.budget());
  AppendJson(out, args[0], style);
  return rt.Text(out.Take());
}

}  // namespace

const BuiltinTable& TextFilters() {
  static const BuiltinTable table({
      {"capitalize", Mapped<ToCapitalized>, {"s"}, 1},
      {"center", Center, {"value", "width"}, 1},
      {"e", EscapeFilter, {"s"}, 1, Builtin::kPositional},
      {"escape", EscapeFilter, {"s"}, 1, Builtin::kPositional},
      {"forceescape", ForceEscape, {"value"}, 1},
      {"format", Format, {"value"}, 1, Builtin::kVariadic},
      {"indent", Indent, {"s", "width", "first", "blank"}, 1},
      {"lower", Mapped<ToLower>, {"s"}, 1},
      {"replace", Replace, {"s", "old", "new", "count"}, 3},
      {"safe", Safe, {"value"}, 1},
      {"string", String, {"s"}, 1},
      {"title", Title, {"s"}, 1},
      {"tojson", ToJson, {"x", "ensure_ascii", "indent", "separators", "sort_keys"}, 1},
      {"trim", Trim, {"value", "chars"}, 1},
      {"truncate", Truncate, {"s", "length", "killwords", "end", "leeway"}, 1},
      {"upper", Mapped<ToUpper>, {"s"}, 1},
      {"urlencode", UrlEncode, {"value"}, 1},
      {"wordcount", WordCount, {"s"}, 1},
  });
  return table;
}

}  // namespace quorum::tok::jinja
