#include "engine/grammar/regex_classes.h"

namespace quorum::grammar {
namespace {

CharSet Digits() { return {{'0', '9'}}; }
CharSet WordChars() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
/// White space of both ECMA-262 and Python.
CharSet Spaces() {
  return {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}};
}
/// White space of at least one: Python adds the ASCII separators and U+0085, ECMA-262 the byte order mark.
CharSet AnySpaces() { return Spaces().Union({{0x1C, 0x1F}, {0x85, 0x85}, {0xFEFF, 0xFEFF}}); }
/// Where Unicode has no decimal digits (general category Nd) besides ASCII's.
CharSet WithoutDigits() {
  return {{0, '0' - 1}, {'9' + 1, 0x65F}, {0x1C5A, 0xA61F}, {0xAC00, 0xFF0F}, {0xFF1A, 0x1049F}, {0x1F000, 0x1FBEF}};
}
/// Where Unicode has no letters, digits or marks besides ASCII's: controls, punctuation, symbols, emoji.
CharSet WithoutWordChars() {
  return CharSet{{0, 0xA9},        {0xAB, 0xB1},     {0xB4, 0xB4},       {0xB6, 0xB8},
                 {0xBB, 0xBB},     {0xD7, 0xD7},     {0xF7, 0xF7},       {0x2010, 0x2027},
                 {0x2030, 0x205E}, {0x20A0, 0x20C0}, {0x2190, 0x23FF},   {0x2500, 0x2775},
                 {0x3001, 0x3004}, {0x3008, 0x3020}, {0x1F300, 0x1F5FF}, {0x1F600, 0x1F64F}}
      .Minus(WordChars());
}

}  // namespace

std::optional<CharSet> ClassEscape(CodePoint letter, bool wide) {
  if (wide) {
    // What leaves doubtful characters out on both sides: \D for \d, and so on.
    const auto opposite = ClassEscape(letter ^ 0x20U, false);
    return opposite ? std::optional(opposite->Complement()) : std::nullopt;
  }
  switch (letter) {
    case 'd': return Digits();
    case 'D': return WithoutDigits();
    case 'w': return WordChars();
    case 'W': return WithoutWordChars();
    case 's': return Spaces();
    case 'S': return AnySpaces().Complement();
    default: return std::nullopt;
  }
}

CharSet AnyButLineEnds(bool wide) {
  if (wide) return CharSet::One('\n').Complement();
  return CharSet{{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}.Complement();
}

}  // namespace quorum::grammar
