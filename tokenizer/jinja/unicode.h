// UTF-8 text as Python's str sees it: code points, character classes and case. Not a general Unicode library.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace quorum::tok::jinja {

/// Whether `text` is well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF.
bool IsValidUtf8(std::string_view text);

/// The code point at byte `*pos`, which moves past it. `text` must be valid UTF-8 and `*pos` a boundary before its end.
char32_t DecodeAt(std::string_view text, std::size_t* pos);

/// Appends `c` as UTF-8.
void AppendUtf8(std::string* out, char32_t c);

/// Appends `c` as Python escapes it: \x, \u or \U and hexadecimal digits.
void AppendEscape(std::string* out, char32_t c);

/// Appends the last `digits` hexadecimal digits of `value`.
void AppendHex(std::string* out, char32_t value, int digits);

/// How many code points `text` has.
std::size_t CodepointCount(std::string_view text);

/// The byte where code point `index` begins; text.size() if there are not so many.
std::size_t ByteOffset(std::string_view text, std::size_t index);

// Classes with the meaning of Python's str.isspace(), isalpha() and so on for one code point.
bool IsSpace(char32_t c);
bool IsLineBreak(char32_t c);
bool IsPrintable(char32_t c);
bool IsAlpha(char32_t c);
bool IsDecimal(char32_t c);
bool IsDigit(char32_t c);
bool IsNumeric(char32_t c);
bool IsAlnum(char32_t c);
bool IsUpper(char32_t c);
bool IsLower(char32_t c);
bool IsTitle(char32_t c);

/// `\w` of Python's regular expressions.
bool IsWord(char32_t c);

/// 0 to 9 for a code point for which IsDecimal() holds.
int DecimalValue(char32_t c);

// May `c` begin, or continue, an identifier?
bool IsIdentifierStart(char32_t c);
bool IsIdentifierPart(char32_t c);

// Full case mappings of whole strings (ß becomes SS, a final Σ becomes ς).
std::string ToUpper(std::string_view text);
std::string ToLower(std::string_view text);
std::string ToTitle(std::string_view text);        // str.title(): every run of letters
std::string ToCapitalized(std::string_view text);  // first code point in title case, the rest lower
std::string SwapCase(std::string_view text);
std::string CaseFold(std::string_view text);

// How many bytes of white space `text` begins, or ends, with.
std::size_t LeadingSpace(std::string_view text);
std::size_t TrailingSpace(std::string_view text);

}  // namespace quorum::tok::jinja
