// Methods of strings that answer a question: where is this, how often, is it all digits?
#include <algorithm>
#include <string>

#include "tokenizer/jinja/builtin.h"
#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/search.h"
#include "tokenizer/jinja/strings.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

constexpr Builtin::Style kPositional = Builtin::kPositional;

// The part [start, end) of a string that a search is limited to, in bytes.
struct Window {
  std::size_t begin = 0;
  std::size_t end = 0;
  bool empty = false;  // start lies after end or beyond the text: not even an empty text is found there
};

// Arguments `i` and `i + 1` as start and end, with Python's meaning of absent and negative ones.
Window WindowOf(Runtime& rt, Args& args, std::size_t i) {
  const std::string& text = args.text(0);
  const auto length = static_cast<std::int64_t>(args[0].as<StringObject>().length());
  const auto bound = [&](std::size_t which, std::int64_t fallback) {
    if (args.none_or_missing(which)) return fallback;
    const std::int64_t index = args.integer(which);
    return index < 0 ? std::max<std::int64_t>(index + length, 0) : index;
  };
  const std::int64_t start = bound(i, 0);
  const std::int64_t end = std::min(bound(i + 1, length), length);
  if (start > end) return {0, 0, true};
  if (args[0].as<StringObject>().is_ascii()) {
    return {static_cast<std::size_t>(start), static_cast<std::size_t>(end), false};
  }
  rt.budget().Characters(text.size());
  return {ByteOffset(text, static_cast<std::size_t>(start)), ByteOffset(text, static_cast<std::size_t>(end)), false};
}

// The code point where argument 1 is found, or -1.
std::int64_t Position(Runtime& rt, Args& args, bool last) {
  const std::string_view text = args.text(0);
  const std::string& needle = args.text(1);
  const Window window = WindowOf(rt, args, 2);
  if (window.empty) return -1;
  const std::string_view part = text.substr(window.begin, window.end - window.begin);
  const std::size_t hit = last ? FindLastBytes(rt.budget(), part, needle) : FindBytes(rt.budget(), part, needle, 0);
  if (hit == kNotFound) return -1;
  rt.budget().Bytes(window.begin + hit);
  return static_cast<std::int64_t>(CodepointCount(text.substr(0, window.begin + hit)));
}

Value Find(Runtime& rt, Args& args) { return Value::Int(Position(rt, args, false)); }
Value RFind(Runtime& rt, Args& args) { return Value::Int(Position(rt, args, true)); }

Value RequirePosition(std::int64_t position) {
  if (position < 0) Fail("substring not found");
  return Value::Int(position);
}
Value Index(Runtime& rt, Args& args) { return RequirePosition(Position(rt, args, false)); }
Value RIndex(Runtime& rt, Args& args) { return RequirePosition(Position(rt, args, true)); }

Value Count(Runtime& rt, Args& args) {
  const std::string_view text = args.text(0);
  const std::string& needle = args.text(1);
  const Window window = WindowOf(rt, args, 2);
  if (window.empty) return Value::Int(0);
  const std::string_view part = text.substr(window.begin, window.end - window.begin);
  rt.budget().Bytes(part.size());
  if (needle.empty()) return Value::Int(static_cast<std::int64_t>(CodepointCount(part)) + 1);
  std::int64_t count = 0;
  for (std::size_t at = 0; (at = FindBytes(rt.budget(), part, needle, at)) != kNotFound; at += needle.size()) {
    rt.budget().Visit();
    ++count;
  }
  return Value::Int(count);
}

// startswith and endswith: argument 1 is a string or a tuple of them.
Value Affixed(Runtime& rt, Args& args, bool at_end) {
  const std::string_view text = args.text(0);
  const Window window = WindowOf(rt, args, 2);
  const std::string_view part = text.substr(window.begin, window.end - window.begin);
  const auto matches = [&](const Value& affix) {
    if (affix.is_undefined()) FailUndefined(affix);
    if (!affix.is_string())
      Fail("the first argument must be str or a tuple of str, not " + std::string(TypeName(affix)));
    const std::string& wanted = TextOf(affix);
    rt.budget().Visit();
    rt.budget().Bytes(wanted.size());
    if (window.empty || wanted.size() > part.size()) return false;
    return part.substr(at_end ? part.size() - wanted.size() : 0, wanted.size()) == wanted;
  };
  if (!args[1].is(Kind::kTuple)) return Value::Bool(matches(args[1]));
  return Value::Bool(std::any_of(ItemsOf(args[1]).begin(), ItemsOf(args[1]).end(), matches));
}
Value StartsWith(Runtime& rt, Args& args) { return Affixed(rt, args, false); }
Value EndsWith(Runtime& rt, Args& args) { return Affixed(rt, args, true); }

// Whether the text is not empty and `kTest` holds for all of it.
template <bool (*kTest)(char32_t)>
Value All(Runtime& rt, Args& args) {
  const std::string& text = args.text(0);
  rt.budget().Characters(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    if (!kTest(DecodeAt(text, &pos))) return Value::Bool(false);
  }
  return Value::Bool(!text.empty());
}

Value IsAsciiText(Runtime& rt, Args& args) {
  rt.budget().Bytes(args.text(0).size());
  return Value::Bool(args[0].as<StringObject>().is_ascii());
}

Value IsPrintableText(Runtime& rt, Args& args) {
  return Value::Bool(args.text(0).empty() || All<IsPrintable>(rt, args).boolean());
}

Value IsIdentifierText(Runtime& rt, Args& args) {
  const std::string& text = args.text(0);
  std::size_t pos = 0;
  return Value::Bool(!text.empty() && IsIdentifierStart(DecodeAt(text, &pos)) &&
                     All<IsIdentifierPart>(rt, args).boolean());
}

Value IsLowerMethod(Runtime& rt, Args& args) { return Value::Bool(IsLowerText(rt.budget(), args.text(0))); }
Value IsUpperMethod(Runtime& rt, Args& args) { return Value::Bool(IsUpperText(rt.budget(), args.text(0))); }

// Every word begins with an upper case letter and goes on in lower case.
Value IsTitleMethod(Runtime& rt, Args& args) {
  const std::string& text = args.text(0);
  rt.budget().Characters(text.size());
  bool found = false;
  bool in_word = false;
  for (std::size_t pos = 0; pos < text.size();) {
    const char32_t c = DecodeAt(text, &pos);
    const bool upper = IsUpper(c) || IsTitle(c);
    const bool lower = !upper && IsLower(c);
    if ((upper && in_word) || (lower && !in_word)) return Value::Bool(false);
    in_word = upper || lower;
    found = found || in_word;
  }
  return Value::Bool(found);
}

}  // namespace

const BuiltinTable& TextTestMethods() {
  static const BuiltinTable table({
      {"count", Count, {"self", "sub", "start", "end"}, 2, kPositional},
      {"endswith", EndsWith, {"self", "suffix", "start", "end"}, 2, kPositional},
      {"find", Find, {"self", "sub", "start", "end"}, 2, kPositional},
      {"index", Index, {"self", "sub", "start", "end"}, 2, kPositional},
      {"isalnum", All<IsAlnum>, {"self"}, 1, kPositional},
      {"isalpha", All<IsAlpha>, {"self"}, 1, kPositional},
      {"isascii", IsAsciiText, {"self"}, 1, kPositional},
      {"isdecimal", All<IsDecimal>, {"self"}, 1, kPositional},
      {"isdigit", All<IsDigit>, {"self"}, 1, kPositional},
      {"isidentifier", IsIdentifierText, {"self"}, 1, kPositional},
      {"islower", IsLowerMethod, {"self"}, 1, kPositional},
      {"isnumeric", All<IsNumeric>, {"self"}, 1, kPositional},
      {"isprintable", IsPrintableText, {"self"}, 1, kPositional},
      {"isspace", All<IsSpace>, {"self"}, 1, kPositional},
      {"istitle", IsTitleMethod, {"self"}, 1, kPositional},
      {"isupper", IsUpperMethod, {"self"}, 1, kPositional},
      {"rfind", RFind, {"self", "sub", "start", "end"}, 2, kPositional},
      {"rindex", RIndex, {"self", "sub", "start", "end"}, 2, kPositional},
      {"startswith", StartsWith, {"self", "prefix", "start", "end"}, 2, kPositional},
  });
  return table;
}

}  // namespace quorum::tok::jinja
