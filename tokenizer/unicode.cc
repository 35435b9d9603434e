#include "tokenizer/unicode.h"

#include <utf8proc.h>

namespace quorum::tok {
namespace {

utf8proc_category_t Category(std::uint32_t code_point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(code_point));
}

bool Within(std::uint32_t c, std::uint32_t first, std::uint32_t last) { return c >= first && c <= last; }

}  // namespace

bool IsWhitespace(std::uint32_t c) {
  return Within(c, 0x09, 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || Within(c, 0x2000, 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsMark(std::uint32_t code_point) {
  const utf8proc_category_t category = Category(code_point);
  return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_MC || category == UTF8PROC_CATEGORY_ME;
}

bool IsDigit(std::uint32_t code_point) { return Category(code_point) == UTF8PROC_CATEGORY_ND; }

bool IsWord(std::uint32_t c) {
  switch (Category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return true;
    case UTF8PROC_CATEGORY_SO:  // letters in circles and squares
      return Within(c, 0x24B6, 0x24E9) || Within(c, 0x1F130, 0x1F149) || Within(c, 0x1F150, 0x1F169) ||
             Within(c, 0x1F170, 0x1F189);
    default: return false;
  }
}

}  // namespace quorum::tok
