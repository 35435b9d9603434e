#include "tokenizer/jinja/unicode.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#include <utf8proc.h>

#include "tokenizer/jinja/unicode_tables.h"

namespace quorum::tok::jinja {
namespace {

std::uint8_t Byte(std::string_view text, std::size_t i) { return static_cast<std::uint8_t>(text[i]); }

bool IsContinuation(char c) { return (static_cast<std::uint8_t>(c) & 0xC0U) == 0x80U; }

utf8proc_category_t Category(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

template <std::size_t N>
bool InRanges(const CodepointRange (&ranges)[N], char32_t c) {
  const auto* it = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                    [](char32_t value, const CodepointRange& r) { return value < r.first; });
  return it != std::begin(ranges) && c <= std::prev(it)->last;
}

const FullCaseMapping* FindFullCase(char32_t c) {
  const auto* it = std::lower_bound(std::begin(kFullCase), std::end(kFullCase), c,
                                    [](const FullCaseMapping& m, char32_t value) { return m.from < value; });
  return it != std::end(kFullCase) && it->from == c ? it : nullptr;
}

void AppendUpper(std::string* out, char32_t c) {
  if (const FullCaseMapping* full = FindFullCase(c)) {
    out->append(full->upper);
  } else {
    AppendUtf8(out, static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))));
  }
}

void AppendTitle(std::string* out, char32_t c) {
  if (const FullCaseMapping* full = FindFullCase(c)) {
    out->append(full->title);
  } else {
    AppendUtf8(out, static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))));
  }
}

bool IsCased(char32_t c) { return IsUpper(c) || IsLower(c) || IsTitle(c); }

// Case_Ignorable of the Unicode standard: looked through when deciding whether a sigma ends a word.
bool IsCaseIgnorable(char32_t c) {
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: break;
  }
  static constexpr char32_t kMidWord[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                          0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  return std::find(std::begin(kMidWord), std::end(kMidWord), c) != std::end(kMidWord);
}

// Whether the sigma in text[begin, end) ends a word: a cased letter before it and none after it.
bool IsFinalSigma(std::string_view text, std::size_t begin, std::size_t end) {
  bool cased_before = false;
  for (std::size_t at = begin; at > 0;) {
    do --at;
    while (at > 0 && IsContinuation(text[at]));
    std::size_t pos = at;
    const char32_t c = DecodeAt(text, &pos);
    if (IsCaseIgnorable(c)) continue;
    cased_before = IsCased(c);
    break;
  }
  if (!cased_before) return false;
  for (std::size_t pos = end; pos < text.size();) {
    const char32_t c = DecodeAt(text, &pos);
    if (!IsCaseIgnorable(c)) return !IsCased(c);
  }
  return true;
}

// Lower case of the code point `c` in text[begin, end).
void AppendLower(std::string* out, std::string_view text, std::size_t begin, std::size_t end, char32_t c) {
  if (c == 0x3A3) {
    AppendUtf8(out, IsFinalSigma(text, begin, end) ? 0x3C2 : 0x3C3);
  } else if (c == 0x130) {
    out->append("i\u0307");
  } else {
    AppendUtf8(out, static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))));
  }
}

char AsciiUpper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
char AsciiLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }
bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<std::uint8_t>(c) < 0x80U; });
}

}  // namespace

bool IsValidUtf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const std::uint8_t lead = Byte(text, i);
    if (lead < 0x80U) {
      ++i;
      continue;
    }
    const std::size_t length = lead >= 0xF0U ? 4 : lead >= 0xE0U ? 3 : 2;
    if (lead < 0xC2U || lead > 0xF4U || text.size() - i < length) return false;
    for (std::size_t k = 1; k < length; ++k) {
      if (!IsContinuation(text[i + k])) return false;
    }
    const std::uint8_t second = Byte(text, i + 1);
    if ((lead == 0xE0U && second < 0xA0U) || (lead == 0xEDU && second >= 0xA0U) || (lead == 0xF0U && second < 0x90U) ||
        (lead == 0xF4U && second >= 0x90U)) {
      return false;
    }
    i += length;
  }
  return true;
}

char32_t DecodeAt(std::string_view text, std::size_t* pos) {
  const std::uint8_t lead = Byte(text, (*pos)++);
  if (lead < 0x80U) return lead;
  const int more = lead >= 0xF0U ? 3 : lead >= 0xE0U ? 2 : 1;
  char32_t c = lead & (more == 3 ? 0x07U : more == 2 ? 0x0FU : 0x1FU);
  for (int k = 0; k < more && *pos < text.size(); ++k) c = (c << 6) | (Byte(text, (*pos)++) & 0x3FU);
  return c;
}

void AppendUtf8(std::string* out, char32_t c) {
  if (c < 0x80) {
    out->push_back(static_cast<char>(c));
  } else if (c < 0x800) {
    out->push_back(static_cast<char>(0xC0U | (c >> 6)));
    out->push_back(static_cast<char>(0x80U | (c & 0x3FU)));
  } else if (c < 0x10000) {
    out->push_back(static_cast<char>(0xE0U | (c >> 12)));
    out->push_back(static_cast<char>(0x80U | ((c >> 6) & 0x3FU)));
    out->push_back(static_cast<char>(0x80U | (c & 0x3FU)));
  } else {
    out->push_back(static_cast<char>(0xF0U | (c >> 18)));
    out->push_back(static_cast<char>(0x80U | ((c >> 12) & 0x3FU)));
    out->push_back(static_cast<char>(0x80U | ((c >> 6) & 0x3FU)));
    out->push_back(static_cast<char>(0x80U | (c & 0x3FU)));
  }
}

void AppendEscape(std::string* out, char32_t c) {
  out->append(c < 0x100 ? "\\x" : c < 0x10000 ? "\\u" : "\\U");
  AppendHex(out, c, c < 0x100 ? 2 : c < 0x10000 ? 4 : 8);
}

void AppendHex(std::string* out, char32_t value, int digits) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4)
    out->push_back("0123456789abcdef"[(value >> shift) & 0xFU]);
}

std::size_t CodepointCount(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return !IsContinuation(c); }));
}

std::size_t ByteOffset(std::string_view text, std::size_t index) {
  std::size_t seen = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (IsContinuation(text[i])) continue;
    if (seen == index) return i;
    ++seen;
  }
  return text.size();
}

bool IsSpace(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
         c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsLineBreak(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029;
}

bool IsPrintable(char32_t c) {
  if (c < 0x7F) return c >= 0x20;
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
  }
}

bool IsAlpha(char32_t c) {
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO: return true;
    default: return false;
  }
}

bool IsDecimal(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_ND; }
int DecimalValue(char32_t c) {
  int before = 0;  // every run of decimal digits in Unicode begins with a zero
  while (IsDecimal(c - 1 - static_cast<char32_t>(before))) ++before;
  return before % 10;
}

bool IsDigit(char32_t c) { return IsDecimal(c) || InRanges(kDigitNotDecimal, c); }

bool IsNumeric(char32_t c) {
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return true;
    default: return InRanges(kNumericLetters, c);
  }
}

bool IsAlnum(char32_t c) { return IsAlpha(c) || IsNumeric(c); }
bool IsUpper(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LU || InRanges(kOtherUppercase, c); }
bool IsLower(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LL || InRanges(kOtherLowercase, c); }
bool IsTitle(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LT; }
bool IsWord(char32_t c) { return c == '_' || IsAlnum(c); }
bool IsIdentifierStart(char32_t c) { return c == '_' || IsAlpha(c) || Category(c) == UTF8PROC_CATEGORY_NL; }

bool IsIdentifierPart(char32_t c) {
  if (IsIdentifierStart(c)) return true;
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_PC: return true;
    default: return c == 0xB7;
  }
}

std::string ToUpper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  if (IsAscii(text)) {
    std::transform(text.begin(), text.end(), std::back_inserter(out), AsciiUpper);
    return out;
  }
  for (std::size_t pos = 0; pos < text.size();) AppendUpper(&out, DecodeAt(text, &pos));
  return out;
}

std::string ToLower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  if (IsAscii(text)) {
    std::transform(text.begin(), text.end(), std::back_inserter(out), AsciiLower);
    return out;
  }
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const char32_t c = DecodeAt(text, &pos);
    AppendLower(&out, text, begin, pos, c);
  }
  return out;
}

std::string ToTitle(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool in_word = false;
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const char32_t c = DecodeAt(text, &pos);
    if (in_word) {
      AppendLower(&out, text, begin, pos, c);
    } else {
      AppendTitle(&out, c);
    }
    in_word = IsCased(c);
  }
  return out;
}

std::string ToCapitalized(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const char32_t c = DecodeAt(text, &pos);
    if (begin == 0) {
      AppendTitle(&out, c);
    } else {
      AppendLower(&out, text, begin, pos, c);
    }
  }
  return out;
}

std::string SwapCase(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    const std::size_t begin = pos;
    const char32_t c = DecodeAt(text, &pos);
    if (IsUpper(c)) {
      AppendLower(&out, text, begin, pos, c);
    } else if (IsLower(c)) {
      AppendUpper(&out, c);
    } else {
      AppendUtf8(&out, c);
    }
  }
  return out;
}

std::string CaseFold(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t pos = 0; pos < text.size();) {
    const auto c = static_cast<utf8proc_int32_t>(DecodeAt(text, &pos));
    utf8proc_int32_t folded[8];
    int boundary = 0;
    const auto n = utf8proc_decompose_char(c, folded, 8, UTF8PROC_CASEFOLD, &boundary);
    for (utf8proc_ssize_t i = 0; i < n && i < 8; ++i) AppendUtf8(&out, static_cast<char32_t>(folded[i]));
  }
  return out;
}

std::size_t LeadingSpace(std::string_view text) {
  std::size_t pos = 0;
  while (pos < text.size()) {
    std::size_t next = pos;
    if (!IsSpace(DecodeAt(text, &next))) break;
    pos = next;
  }
  return pos;
}

std::size_t TrailingSpace(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t begin = end - 1;
    while (begin > 0 && IsContinuation(text[begin])) --begin;
    std::size_t pos = begin;
    if (!IsSpace(DecodeAt(text, &pos))) break;
    end = begin;
  }
  return text.size() - end;
}

}  // namespace quorum::tok::jinja
