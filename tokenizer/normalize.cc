#include "tokenizer/normalize.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "engine/base/check.h"
#include "tokenizer/bounded_text.h"
#include "tokenizer/entry_bytes.h"
#include "tokenizer/unicode.h"
#include "tokenizer/unicode9.h"
#include "tokenizer/utf8.h"

namespace quorum::tok {
namespace {

using CodePoints = std::vector<utf8proc_int32_t>;

/// Whether no normal form changes `text`, seen from its bytes alone. NFC and NFD changes need a byte of C3 and more
/// (composed letters) or CC and more (marks); the compatibility forms one of C2 and more.
bool IsPlain(std::string_view text, NormalizeStep::Kind kind) {
  const unsigned char limit = kind == NormalizeStep::Kind::kNfc ? 0xCC : 0x80;
  return std::none_of(text.begin(), text.end(), [limit](char c) { return static_cast<unsigned char>(c) >= limit; });
}

bool IsNew(utf8proc_int32_t c) { return IsAfterUnicode9(static_cast<std::uint32_t>(c)); }

/// Decomposes `text`, one code point an element, with marks in canonical order.
/// utf8proc's own driver orders marks by insertion, which is quadratic in a long run of them; a client could send one.
CodePoints Decompose(std::string_view text, bool compatible) {
  const int options = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
  CodePoints out;
  out.reserve(text.size());
  std::array<utf8proc_int32_t, 32> buffer{};  // the longest decomposition has 18
  for (std::size_t pos = 0; pos < text.size();) {
    const Utf8Unit unit = DecodeUtf8(text, pos);
    pos += unit.length;
    if (IsAfterUnicode9(unit.code_point)) {
      out.push_back(static_cast<utf8proc_int32_t>(unit.code_point));
      continue;
    }
    int boundary = 0;
    const utf8proc_ssize_t n =
        utf8proc_decompose_char(static_cast<utf8proc_int32_t>(unit.code_point), buffer.data(), buffer.size(),
                                static_cast<utf8proc_option_t>(options), &boundary);
    if (n < 0 || n > static_cast<utf8proc_ssize_t>(buffer.size())) {
      out.push_back(static_cast<utf8proc_int32_t>(unit.code_point));
    } else {
      out.insert(out.end(), buffer.begin(), buffer.begin() + n);
    }
  }
  const auto combining_class = [](utf8proc_int32_t c) {
    return IsNew(c) ? 0 : utf8proc_get_property(c)->combining_class;
  };
  for (auto run = out.begin(); run != out.end();) {
    if (combining_class(*run) == 0) {
      ++run;
      continue;
    }
    const auto run_end = std::find_if(run, out.end(), [&](utf8proc_int32_t c) { return combining_class(c) == 0; });
    std::stable_sort(run, run_end,
                     [&](utf8proc_int32_t a, utf8proc_int32_t b) { return combining_class(a) < combining_class(b); });
    run = run_end;
  }
  return out;
}

/// Joins letters and marks; what is newer than Unicode 9 joins nothing.
void Compose(CodePoints& code_points) {
  auto to = code_points.begin();
  for (auto from = code_points.begin(); from != code_points.end();) {
    const auto end = std::find_if(from, code_points.end(), IsNew);
    const utf8proc_ssize_t n = utf8proc_normalize_utf32(
        &*from, end - from, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
    QUORUM_CHECK(n >= 0);
    to = std::copy_n(from, n, to);
    from = end;
    while (from != code_points.end() && IsNew(*from)) *to++ = *from++;
  }
  code_points.erase(to, code_points.end());
}

std::string NormalForm(std::string_view text, NormalizeStep::Kind kind) {
  const bool compatible = kind == NormalizeStep::Kind::kNfkc || kind == NormalizeStep::Kind::kNfkd;
  CodePoints code_points = Decompose(text, compatible);
  if (kind == NormalizeStep::Kind::kNfc || kind == NormalizeStep::Kind::kNfkc) {
    Compose(code_points);
  }
  std::string out;
  out.reserve(text.size());
  for (const utf8proc_int32_t c : code_points) AppendUtf8(static_cast<std::uint32_t>(c), out);
  return out;
}

std::string Lowercase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    const Utf8Unit unit = DecodeUtf8(text, pos);
    pos += unit.length;
    if (unit.code_point == 0x130) {  // the one character whose lower case is two: i and a dot above
      out += "i\xCC\x87";
    } else {
      AppendUtf8(static_cast<std::uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(unit.code_point))), out);
    }
  }
  return out;
}

std::string StripAccents(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    const Utf8Unit unit = DecodeUtf8(text, pos);
    if (!IsMark(unit.code_point)) out += text.substr(pos, unit.length);
    pos += unit.length;
  }
  return out;
}

std::string_view Strip(std::string_view text, bool left, bool right) {
  while (left && !text.empty()) {
    const Utf8Unit unit = DecodeUtf8(text, 0);
    if (!IsWhitespace(unit.code_point)) break;
    text.remove_prefix(unit.length);
  }
  while (right && !text.empty()) {
    const std::size_t last = PreviousUtf8(text, text.size());
    if (!IsWhitespace(DecodeUtf8(text, last).code_point)) break;
    text.remove_suffix(text.size() - last);
  }
  return text;
}

Result<std::string> ReplaceMatches(std::size_t limit, std::string_view text, const Regex& regex,
                                   std::string_view content, Regex::Scratch& scratch) {
  BoundedText out(limit);
  std::size_t copied = 0;
  QUORUM_TRY(regex.ForEachMatch(text, scratch, [&](std::size_t begin, std::size_t end) {
    out.Append(text.substr(copied, begin - copied));
    out.Append(content);
    copied = end;
  }));
  out.Append(text.substr(copied));
  return std::move(out).Take();
}

Result<std::string> Prepended(std::size_t limit, std::string_view content, std::string_view text) {
  BoundedText out(limit);
  out.Append(content);
  out.Append(text);
  return std::move(out).Take();
}

}  // namespace

Result<std::string_view> Normalizer::Apply(std::string_view text, bool begins_segment, std::string& storage,
                                           Regex::Scratch& scratch) const {
  using Kind = NormalizeStep::Kind;
  const std::size_t limit = LongestRewrite(text.size());
  for (const NormalizeStep& step : steps_) {
    if (text.empty()) break;
    Result<std::string> made = std::string();
    switch (step.kind) {
      case Kind::kNfc:
      case Kind::kNfd:
      case Kind::kNfkc:
      case Kind::kNfkd:
        if (IsPlain(text, step.kind)) continue;
        made = NormalForm(text, step.kind);
        break;
      case Kind::kLowercase: made = Lowercase(text); break;
      case Kind::kStripAccents: made = StripAccents(text); break;
      case Kind::kStrip: text = Strip(text, step.left, step.right); continue;
      case Kind::kPrepend:
        if (!begins_segment) continue;
        made = Prepended(limit, step.content, text);
        break;
      case Kind::kPrecompiled: made = ApplyPrecompiled(limit, *step.chars_map, text); break;
      case Kind::kReplace:
        if (!step.regex && step.pattern.empty()) continue;
        made = step.regex ? ReplaceMatches(limit, text, *step.regex, step.content, scratch)
                          : ReplaceAllWithin(limit, text, step.pattern, step.content);
        break;
    }
    if (!made.ok()) return made.error();
    storage = std::move(made).value();
    text = storage;
  }
  return text;
}

}  // namespace quorum::tok
