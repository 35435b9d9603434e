#include "tokenizer/jinja/strings.h"

#include <algorithm>

#include "tokenizer/jinja/error.h"
#include "tokenizer/jinja/ops.h"
#include "tokenizer/jinja/search.h"
#include "tokenizer/jinja/unicode.h"

namespace quorum::tok::jinja {
namespace {

// The byte where the last code point of text[0, end) begins.
std::size_t PreviousBoundary(std::string_view text, std::size_t end) {
  do --end;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U);
  return end;
}

bool OneOf(Budget& budget, std::string_view characters, std::string_view c) {
  budget.Characters(1);
  budget.Bytes(characters.size());
  return characters.find(c) != std::string_view::npos;
}

std::vector<std::string_view> SplitOnSpace(Budget& budget, std::string_view text, std::int64_t limit) {
  std::vector<std::string_view> parts;
  text.remove_prefix(LeadingSpace(text));
  while (!text.empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(parts.size()) >= limit) {
      parts.push_back(text);  // with the white space at its end
      break;
    }
    std::size_t end = 0;
    while (end < text.size()) {
      std::size_t next = end;
      if (IsSpace(DecodeAt(text, &next))) break;
      end = next;
    }
    PushWithin(budget, parts, text.substr(0, end));
    text.remove_prefix(end);
    text.remove_prefix(LeadingSpace(text));
  }
  return parts;
}

std::vector<std::string_view> SplitOnSpaceFromRight(Budget& budget, std::string_view text, std::int64_t limit) {
  std::vector<std::string_view> parts;
  text.remove_suffix(TrailingSpace(text));
  while (!text.empty()) {
    if (limit >= 0 && static_cast<std::int64_t>(parts.size()) >= limit) {
      parts.push_back(text);  // with the white space at its beginning
      break;
    }
    std::size_t begin = text.size();
    while (begin > 0) {
      const std::size_t previous = PreviousBoundary(text, begin);
      std::size_t pos = previous;
      if (IsSpace(DecodeAt(text, &pos))) break;
      begin = previous;
    }
    PushWithin(budget, parts, text.substr(begin));
    text = text.substr(0, begin);
    text.remove_suffix(TrailingSpace(text));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

// Whether `text` has a letter for which `is_wanted` holds and none with another case.
bool HasOnlyCase(Budget& budget, std::string_view text, bool (*is_wanted)(char32_t), bool (*is_other)(char32_t)) {
  budget.Characters(text.size());
  bool found = false;
  for (std::size_t pos = 0; pos < text.size();) {
    const char32_t c = DecodeAt(text, &pos);
    if (is_other(c) || IsTitle(c)) return false;
    found = found || is_wanted(c);
  }
  return found;
}

}  // namespace

Value StripText(Runtime& rt, const Value& value, const Value& characters, StripSide side) {
  std::string_view text = TextOf(value);
  rt.budget().Bytes(text.size());
  if (characters.is_missing() || characters.is_none()) {
    if (side != StripSide::kRight) text.remove_prefix(LeadingSpace(text));
    if (side != StripSide::kLeft) text.remove_suffix(TrailingSpace(text));
  } else {
    if (characters.is_undefined()) FailUndefined(characters);
    if (!characters.is_string()) Fail("strip arg must be None or str");
    const std::string& set = TextOf(characters);
    while (side != StripSide::kRight && !text.empty()) {
      std::size_t next = 0;
      DecodeAt(text, &next);
      if (!OneOf(rt.budget(), set, text.substr(0, next))) break;
      text.remove_prefix(next);
    }
    while (side != StripSide::kLeft && !text.empty()) {
      const std::size_t last = PreviousBoundary(text, text.size());
      if (!OneOf(rt.budget(), set, text.substr(last))) break;
      text = text.substr(0, last);
    }
  }
  if (text.size() == TextOf(value).size()) return value;
  return rt.Text(std::string(text), IsMarkup(value));
}

std::string ReplaceText(Budget& budget, std::string_view text, std::string_view from, std::string_view to,
                        std::int64_t count) {
  TextBuilder out(budget);
  std::int64_t left = count < 0 ? INT64_MAX : count;
  if (from.empty()) {  // before every character and at the end
    std::size_t pos = 0;
    for (; left > 0; --left) {
      out.Append(to);
      if (pos >= text.size()) return out.Take();
      const std::size_t begin = pos;
      DecodeAt(text, &pos);
      budget.Characters(1);
      out.Append(text.substr(begin, pos - begin));
    }
    out.Append(text.substr(pos));
    return out.Take();
  }
  std::size_t pos = 0;
  for (; left > 0; --left) {
    const std::size_t hit = FindBytes(budget, text, from, pos);
    if (hit == kNotFound) break;
    budget.Items(1);
    out.Append(text.substr(pos, hit - pos));
    out.Append(to);
    pos = hit + from.size();
  }
  out.Append(text.substr(pos));
  return out.Take();
}

std::vector<std::string_view> SplitLines(Budget& budget, std::string_view text, bool keep_ends) {
  budget.Characters(text.size());
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t at = pos;
    const char32_t c = DecodeAt(text, &pos);
    if (!IsLineBreak(c)) continue;
    if (c == '\r' && pos < text.size() && text[pos] == '\n') ++pos;
    PushWithin(budget, lines, text.substr(begin, (keep_ends ? pos : at) - begin));
    begin = pos;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::vector<std::string_view> SplitText(Budget& budget, std::string_view text, std::string_view separator,
                                        std::int64_t limit, bool from_right) {
  if (separator.empty()) {
    budget.Characters(text.size());
    return from_right ? SplitOnSpaceFromRight(budget, text, limit) : SplitOnSpace(budget, text, limit);
  }
  std::vector<std::size_t> hits;
  const auto wanted = limit < 0 ? SIZE_MAX : static_cast<std::size_t>(limit);
  if (!from_right) {
    std::size_t pos = 0;
    while (hits.size() < wanted) {
      const std::size_t hit = FindBytes(budget, text, separator, pos);
      if (hit == kNotFound) break;
      PushWithin(budget, hits, hit);
      pos = hit + separator.size();
    }
  } else {
    // Read backwards, so that overlapping occurrences are taken from the right.
    const std::string backwards(text.rbegin(), text.rend());
    const std::string key(separator.rbegin(), separator.rend());
    budget.Bytes(text.size());
    std::size_t pos = 0;
    while (hits.size() < wanted) {
      const std::size_t hit = FindBytes(budget, backwards, key, pos);
      if (hit == kNotFound) break;
      PushWithin(budget, hits, text.size() - hit - key.size());
      pos = hit + key.size();
    }
    std::reverse(hits.begin(), hits.end());
  }
  std::vector<std::string_view> parts;
  std::size_t begin = 0;
  for (const std::size_t hit : hits) {
    PushWithin(budget, parts, text.substr(begin, hit - begin));
    begin = hit + separator.size();
  }
  parts.push_back(text.substr(begin));
  return parts;
}

Value JustifyText(Runtime& rt, const Value& text, std::int64_t width, std::string_view fill, Justify side) {
  const auto length = static_cast<std::int64_t>(text.as<StringObject>().length());
  if (width <= length) return text;
  const std::int64_t missing = width - length;
  std::int64_t left = 0;
  if (side == Justify::kRight) left = missing;
  if (side == Justify::kCenter) left = missing / 2 + (missing & width & 1);
  TextBuilder out(rt.budget());
  out.AppendRepeated(fill, static_cast<std::size_t>(left));
  out.Append(TextOf(text));
  out.AppendRepeated(fill, static_cast<std::size_t>(missing - left));
  return rt.Text(out.Take(), IsMarkup(text));
}

bool IsLowerText(Budget& budget, std::string_view text) { return HasOnlyCase(budget, text, IsLower, IsUpper); }
bool IsUpperText(Budget& budget, std::string_view text) { return HasOnlyCase(budget, text, IsUpper, IsLower); }

}  // namespace quorum::tok::jinja
