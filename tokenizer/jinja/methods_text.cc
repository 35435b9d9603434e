// Methods of strings that make or split text or look for some.
#include <algorithm>
#include <string>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/iter.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/percent.h"
#include "tokenizer/jinja/search.h"
#include "tokenizer/jinja/strings.h"
#include "tokenizer/jinja/text.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

constexpr Builtin::Style kPositional = Builtin::kPositional;

template <std::string (*kMap)(std::string_view)>
Value Mapped(Runtime& rt, Args& args) {
  rt.budget().Characters(args.text(0).size());
  return rt.Text(kMap(args.text(0)), IsMarkup(args[0]));
}

template <StripSide kSide>
Value Strip(Runtime& rt, Args& args) {
  return StripText(rt, args[0], args[1], kSide);
}

// An argument that goes into the text of `self`: escaped if that is markup.
std::string Inserted(Runtime& rt, Args& args, std::size_t i) {
  const std::string& text = args.text(i);
  return IsMarkup(args[0]) && !IsMarkup(args[i]) ? EscapeHtml(rt.budget(), text) : text;
}

Value ListOfTexts(Runtime& rt, const std::vector<std::string_view>& parts, bool markup) {
  std::vector<Value> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) items.push_back(rt.Text(std::string(part), markup));
  return rt.List(std::move(items));
}

Value SplitFrom(Runtime& rt, Args& args, bool right) {
  std::string_view separator;
  if (!args.none_or_missing(1)) {
    separator = args.text(1);
    if (separator.empty()) Fail("empty separator");
  }
  return ListOfTexts(rt, SplitText(rt.budget(), args.text(0), separator, args.integer_or(2, -1), right),
                     IsMarkup(args[0]));
}
Value Split(Runtime& rt, Args& args) { return SplitFrom(rt, args, false); }
Value RSplit(Runtime& rt, Args& args) { return SplitFrom(rt, args, true); }

Value SplitLinesMethod(Runtime& rt, Args& args) {
  return ListOfTexts(rt, SplitLines(rt.budget(), args.text(0), args.integer_or(1, 0) != 0), IsMarkup(args[0]));
}

Value PartitionFrom(Runtime& rt, Args& args, bool right) {
  const std::string_view text = args.text(0);
  const std::string_view separator = args.text(1);
  if (separator.empty()) Fail("empty separator");
  const bool markup = IsMarkup(args[0]);
  const std::size_t hit =
      right ? FindLastBytes(rt.budget(), text, separator) : FindBytes(rt.budget(), text, separator, 0);
  const auto piece = [&](std::string_view part) { return rt.Text(std::string(part), markup); };
  if (hit == kNotFound) {
    if (right) return rt.Tuple({piece(""), piece(""), piece(text)});
    return rt.Tuple({piece(text), piece(""), piece("")});
  }
  return rt.Tuple({piece(text.substr(0, hit)), piece(separator), piece(text.substr(hit + separator.size()))});
}
Value Partition(Runtime& rt, Args& args) { return PartitionFrom(rt, args, false); }
Value RPartition(Runtime& rt, Args& args) { return PartitionFrom(rt, args, true); }

Value Replace(Runtime& rt, Args& args) {
  return rt.Text(ReplaceText(rt.budget(), args.text(0), args.text(1), Inserted(rt, args, 2), args.integer_or(3, -1)),
                 IsMarkup(args[0]));
}

Value Join(Runtime& rt, Args& args) {
  const bool markup = IsMarkup(args[0]);
  TextBuilder out(rt.budget());
  const Ref<IteratorObject> iterator = Iterate(rt.heap(), args[1]);
  bool first = true;
  for (Value item; iterator->Next(&item);) {
    if (!first) out.Append(args.text(0));
    first = false;
    if (markup) item = Escape(rt.heap(), item);
    if (!item.is_string()) Fail("sequence item: expected str instance, " + std::string(TypeName(item)) + " found");
    out.Append(TextOf(item));
  }
  return rt.Text(out.Take(), markup);
}

template <Justify kSide>
Value JustifyMethod(Runtime& rt, Args& args) {
  const std::string fill = args.has(2) ? Inserted(rt, args, 2) : " ";
  if (CodepointCount(fill) != 1) Fail("The fill character must be exactly one character long");
  return JustifyText(rt, args[0], args.integer(1), fill, kSide);
}

Value ZFill(Runtime& rt, Args& args) {
  const std::string& text = args.text(0);
  const auto length = static_cast<std::int64_t>(args[0].as<StringObject>().length());
  const std::int64_t width = args.integer(1);
  if (width <= length) return args[0];
  const std::size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  TextBuilder out(rt.budget());
  out.Append(std::string_view(text).substr(0, sign));
  out.AppendRepeated("0", static_cast<std::size_t>(width - length));
  out.Append(std::string_view(text).substr(sign));
  return rt.Text(out.Take(), IsMarkup(args[0]));
}

Value ExpandTabs(Runtime& rt, Args& args) {
  const std::string& text = args.text(0);
  const std::int64_t size = args.integer_or(1, 8);
  rt.budget().Characters(text.size());
  TextBuilder out(rt.budget());
  std::int64_t column = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const char32_t c = DecodeAt(text, &pos);
    if (c == '\t') {
      const std::int64_t blanks = size > 0 ? size - column % size : 0;
      out.AppendRepeated(" ", static_cast<std::size_t>(blanks));
      column += blanks;
    } else {
      out.Append(std::string_view(text).substr(begin, pos - begin));
      column = c == '\n' || c == '\r' ? 0 : column + 1;
    }
  }
  return rt.Text(out.Take(), IsMarkup(args[0]));
}

Value RemovePrefix(Runtime& rt, Args& args) {
  const std::string& text = args.text(0);
  const std::string& prefix = args.text(1);
  rt.budget().Bytes(prefix.size());
  if (text.compare(0, prefix.size(), prefix) != 0) return args[0];
  return rt.Text(text.substr(prefix.size()), IsMarkup(args[0]));
}

Value RemoveSuffix(Runtime& rt, Args& args) {
  const std::string& text = args.text(0);
  const std::string& suffix = args.text(1);
  rt.budget().Bytes(suffix.size());
  if (suffix.size() > text.size() || text.compare(text.size() - suffix.size(), suffix.size(), suffix) != 0)
    return args[0];
  return rt.Text(text.substr(0, text.size() - suffix.size()), IsMarkup(args[0]));
}

Value FormatMethod(Runtime& rt, Args& args) { return BraceFormat(rt, args[0], args.rest, args.keyword); }

Value FormatMap(Runtime& rt, Args& args) {
  if (!args[1].is(Kind::kDict)) Fail("format_map() needs a mapping");
  std::vector<std::pair<std::string, Value>> keyword;
  for (const auto& [name, value] : args[1].as<DictObject>().map.entries()) {
    if (name.is_string()) keyword.emplace_back(TextOf(name), value);
  }
  return BraceFormat(rt, args[0], {}, keyword);
}

}  // namespace

const BuiltinTable& TextMethods() {
  static const BuiltinTable table({
      {"capitalize", Mapped<ToCapitalized>, {"self"}, 1, kPositional},
      {"casefold", Mapped<CaseFold>, {"self"}, 1, kPositional},
      {"center", JustifyMethod<Justify::kCenter>, {"self", "width", "fillchar"}, 2, kPositional},
      {"expandtabs", ExpandTabs, {"self", "tabsize"}, 1},
      {"format", FormatMethod, {"self"}, 1, Builtin::kVariadic},
      {"format_map", FormatMap, {"self", "mapping"}, 2, kPositional},
      {"join", Join, {"self", "iterable"}, 2, kPositional},
      {"ljust", JustifyMethod<Justify::kLeft>, {"self", "width", "fillchar"}, 2, kPositional},
      {"lower", Mapped<ToLower>, {"self"}, 1, kPositional},
      {"lstrip", Strip<StripSide::kLeft>, {"self", "chars"}, 1, kPositional},
      {"partition", Partition, {"self", "sep"}, 2, kPositional},
      {"removeprefix", RemovePrefix, {"self", "prefix"}, 2, kPositional},
      {"removesuffix", RemoveSuffix, {"self", "suffix"}, 2, kPositional},
      {"replace", Replace, {"self", "old", "new", "count"}, 3, kPositional},
      {"rjust", JustifyMethod<Justify::kRight>, {"self", "width", "fillchar"}, 2, kPositional},
      {"rpartition", RPartition, {"self", "sep"}, 2, kPositional},
      {"rsplit", RSplit, {"self", "sep", "maxsplit"}, 1},
      {"rstrip", Strip<StripSide::kRight>, {"self", "chars"}, 1, kPositional},
      {"split", Split, {"self", "sep", "maxsplit"}, 1},
      {"splitlines", SplitLinesMethod, {"self", "keepends"}, 1},
      {"strip", Strip<StripSide::kBoth>, {"self", "chars"}, 1, kPositional},
      {"swapcase", Mapped<SwapCase>, {"self"}, 1, kPositional},
      {"title", Mapped<ToTitle>, {"self"}, 1, kPositional},
      {"upper", Mapped<ToUpper>, {"self"}, 1, kPositional},
      {"zfill", ZFill, {"self", "width"}, 2, kPositional},
  });
  return table;
}

}  // namespace quorum::tok::jinja
