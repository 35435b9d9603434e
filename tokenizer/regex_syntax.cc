#include "tokenizer/regex_syntax.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "tokenizer/utf8.h"

namespace quorum::tok {
namespace {

// Insides of character classes. White_Space, 25 code points, and its complement.
constexpr std::string_view kSpace =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpace =
    R"(\x{0}-\x{8}\x{e}-\x{1f}\x{21}-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027})"
    R"(\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
// Alphabetic (the ranges are symbols that count as such), marks, decimal digits, connectors; and, as Oniguruma has it,
// Latin-1's superscripts and fractions.
constexpr std::string_view kWord =
    R"(\p{L}\p{M}\p{Nl}\p{Nd}\p{Pc}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169}\x{1f170}-\x{1f189})"
    R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";

// The two-letter general categories, each under its one-letter group.
constexpr std::array<std::string_view, 30> kCategories = {
    "Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl", "No", "Pc", "Pd", "Ps", "Pe",
    "Pi", "Pf", "Po", "Sm", "Sc", "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn",
};
using CategorySet = std::bitset<kCategories.size()>;

/// The categories that `name` ("L", "Lu") covers; none when it is no general category.
CategorySet CategoriesOf(std::string_view name) {
  CategorySet set;
  for (std::size_t i = 0; i < kCategories.size(); ++i) {
    if (name == kCategories[i] || (name.size() == 1 && name[0] == kCategories[i][0])) set.set(i);
  }
  return set;
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  Result<std::string> Run() {
    while (!AtEnd()) {
      const std::size_t start = out_.size();
      const char c = Peek();
      if (c == '\\') {
        QUORUM_TRY(Escape());
      } else if (c == '[') {
        QUORUM_ASSIGN(const std::string set, Class());
        out_ += set;
      } else if (c == '(') {
        QUORUM_TRY(Group());
      } else if (c == '{') {
        QUORUM_TRY(Interval());
      } else {
        out_.push_back(c);
        ++pos_;
      }
      can_repeat_ = out_.size() > start && c != '(' && c != '|';
    }
    return std::move(out_);
  }

 private:
  bool AtEnd() const { return pos_ >= pattern_.size(); }
  char Peek(std::size_t ahead = 0) const { return pos_ + ahead < pattern_.size() ? pattern_[pos_ + ahead] : '\0'; }
  bool Ahead(std::string_view text) const { return pattern_.substr(pos_).starts_with(text); }
  Error Bad(std::string_view what) const {
    return Unsupported(
        fmt::format("the split pattern \"{}\" uses {} at offset {}, which is not supported", pattern_, what, pos_));
  }

  /// `\p{..}` or `\P{..}` at the cursor, as a class item.
  Result<std::string> Property() {
    bool negative = Peek(1) == 'P';
    const std::size_t close = pattern_.find('}', pos_);
    if (Peek(2) != '{' || close == std::string_view::npos) return Bad("a property without braces");
    std::string_view name = pattern_.substr(pos_ + 3, close - pos_ - 3);
    if (name.starts_with('^')) {
      negative = !negative;
      name.remove_prefix(1);
    }
    const bool plain = !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    });
    if (!plain) return Bad("an unknown property");
    pos_ = close + 1;
    // PCRE2 takes a bare script name for the script's extensions.
    const std::string_view kind = CategoriesOf(name).none() && name != "Any" ? "sc:" : "";
    return fmt::format("\\{}{{{}{}}}", negative ? 'P' : 'p', kind, name);
  }

  /// An escape that stands for one character, at the cursor; nothing when it is of another kind.
  Result<std::optional<std::string>> CharacterEscape() {
    using Text = std::optional<std::string>;
    const char c = Peek(1);
    switch (c) {
      case 'n':
      case 'r':
      case 't':
      case 'f':
      case 'a':
      case 'e': pos_ += 2; return Text(std::string{'\\', c});
      case 'v': pos_ += 2; return Text("\\x{b}");
      case 'x':
      case 'u': {
        const bool braces = c == 'x' && Peek(2) == '{';
        const std::size_t begin = pos_ + (braces ? 3 : 2);
        const std::size_t most = braces ? 8 : c == 'x' ? 2 : 4;
        std::size_t end = begin;
        while (end < pattern_.size() && end - begin < most && IsHexDigit(pattern_[end])) ++end;
        const std::string digits(pattern_.substr(begin, end - begin));
        const bool closed = braces ? end < pattern_.size() && pattern_[end] == '}' : true;
        // \xHH from 80 on is a byte of a character in Oniguruma, not a code point.
        if (digits.empty() || !closed || (c == 'u' && digits.size() != 4) ||
            (c == 'x' && !braces && std::stoul(digits, nullptr, 16) >= 0x80)) {
          return Bad("such a hexadecimal escape");
        }
        pos_ = end + (braces ? 1 : 0);
        return Text(fmt::format("\\x{{{}}}", digits));
      }
      default: break;
    }
    const bool letter_or_digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (letter_or_digit) return Text(std::nullopt);
    if (c == '\0') return Bad("a final backslash");
    const std::size_t length = DecodeUtf8(pattern_, pos_ + 1).length;
    const std::string_view literal = pattern_.substr(pos_ + 1, length);
    pos_ += 1 + length;
    return Text(fmt::format("{}{}", length == 1 ? "\\" : "", literal));
  }

  static bool IsHexDigit(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

  Status Escape() {
    QUORUM_ASSIGN(const std::optional<std::string> character, CharacterEscape());
    if (character) {
      out_ += *character;
      return {};
    }
    const std::string word = fmt::format("[{}]", kWord);
    switch (Peek(1)) {
      case 's': out_ += fmt::format("[{}]", kSpace); break;
      case 'S': out_ += fmt::format("[^{}]", kSpace); break;
      case 'd': out_ += R"(\p{Nd})"; break;
      case 'D': out_ += R"(\P{Nd})"; break;
      case 'w': out_ += word; break;
      case 'W': out_ += fmt::format("[^{}]", kWord); break;
      case 'h': out_ += "[0-9A-Fa-f]"; break;
      case 'H': out_ += "[^0-9A-Fa-f]"; break;
      case 'b': out_ += fmt::format("(?:(?<={0})(?!{0})|(?<!{0})(?={0}))", word); break;
      case 'B': out_ += fmt::format("(?:(?<={0})(?={0})|(?<!{0})(?!{0}))", word); break;
      case 'A':
      case 'z':
      case 'Z': out_ += {'\\', Peek(1)}; break;
      case 'p':
      case 'P': {
        QUORUM_ASSIGN(const std::string property, Property());
        out_ += property;
        return {};
      }
      default: return Bad(fmt::format("the escape \\{}", Peek(1)));
    }
    pos_ += 2;
    return {};
  }

  /// Items of a character class up to its `]` or `&&`, which stay at the cursor. Collects general categories in
  /// `categories` as long as there is nothing else, otherwise sets `mixed`.
  Result<std::string> ClassItems(CategorySet& categories, bool& mixed) {
    std::string items;
    bool first = true;
    for (;; first = false) {
      if (AtEnd()) return Bad("an unclosed character class");
      const char c = Peek();
      if ((c == ']' && !first) || Ahead("&&")) return items;
      if (c == '[') return Bad("a class inside a class");
      if (c != '\\') {
        mixed = true;
        if (c == ']') items.push_back('\\');
        items.push_back(c);
        ++pos_;
        continue;
      }
      if (Peek(1) == 'p') {
        const std::size_t begin = pos_;
        QUORUM_ASSIGN(const std::string property, Property());
        items += property;
        const CategorySet set = CategoriesOf(pattern_.substr(begin + 3, pos_ - begin - 4));
        if (set.none()) mixed = true;
        categories |= set;
        continue;
      }
      mixed = true;
      QUORUM_ASSIGN(const std::optional<std::string> character, CharacterEscape());
      if (character) {
        items += *character;
        continue;
      }
      switch (Peek(1)) {
        case 's': items += kSpace; break;
        case 'S': items += kNotSpace; break;
        case 'd': items += R"(\p{Nd})"; break;
        case 'D': items += R"(\P{Nd})"; break;
        case 'w': items += kWord; break;
        case 'h': items += "0-9A-Fa-f"; break;
        case 'P': {
          QUORUM_ASSIGN(const std::string property, Property());
          items += property;
          continue;
        }
        default: return Bad(fmt::format("\\{} in a class", Peek(1)));
      }
      pos_ += 2;
    }
  }

  Result<std::string> Class() {
    ++pos_;
    const bool negative = Peek() == '^';
    if (negative) ++pos_;
    CategorySet categories;
    bool mixed = false;
    QUORUM_ASSIGN(std::string items, ClassItems(categories, mixed));
    if (Ahead("&&")) {
      // [A&&[^B]] with A made of categories is [^(the other categories)B]: no lookahead that would cost stack.
      if (negative || mixed || !Ahead("&&[^")) return Bad("such a class intersection");
      pos_ += 4;
      CategorySet ignored;
      QUORUM_ASSIGN(const std::string excluded, ClassItems(ignored, mixed));
      if (!Ahead("]]")) return Bad("such a class intersection");
      pos_ += 2;
      items.clear();
      for (std::size_t i = 0; i < kCategories.size(); ++i) {
        if (!categories[i]) items += fmt::format("\\p{{{}}}", kCategories[i]);
      }
      return fmt::format("[^{}{}]", items, excluded);
    }
    ++pos_;
    return fmt::format("[{}{}]", negative ? "^" : "", items);
  }

  Status Group() {
    if (Ahead("(*")) return Bad("(*");
    if (!Ahead("(?")) {
      out_.push_back('(');
      ++pos_;
      return {};
    }
    for (const std::string_view start : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!"}) {
      if (Ahead(start)) {
        out_ += start;
        pos_ += start.size();
        return {};
      }
    }
    const std::size_t begin = pos_;
    std::string flags = "(?";
    for (pos_ += 2; Peek() == 'i' || Peek() == 'm' || Peek() == '-'; ++pos_) {
      flags.push_back(Peek() == 'm' ? 's' : Peek());  // Ruby's m is everyone's s
    }
    // In mid-pattern (?i) would also split the alternatives around it.
    if (Peek() == ':' || (Peek() == ')' && begin == 0)) {
      flags.push_back(Peek());
      out_ += flags;
      ++pos_;
      return {};
    }
    pos_ = begin;
    return Bad("such a group");
  }

  Status Interval() {
    const std::size_t close = pattern_.find('}', pos_);
    const std::string_view inside =
        close == std::string_view::npos ? std::string_view() : pattern_.substr(pos_ + 1, close - pos_ - 1);
    const std::size_t comma = inside.find(',');
    const auto digits = [](std::string_view text) {
      return text.size() <= 5 && std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
    };
    const std::string_view low = inside.substr(0, comma);
    const std::string_view high = comma == std::string_view::npos ? std::string_view() : inside.substr(comma + 1);
    if (!can_repeat_ || !digits(low) || !digits(high) || (low.empty() && high.empty())) {
      out_ += "\\{";
      ++pos_;
      return {};
    }
    pos_ = close + 1;
    // `{n,m}+` repeats again and `{n}?` makes optional in Oniguruma; PCRE2 reads them as possessive and lazy.
    if (Peek() == '+' || (Peek() == '?' && comma == std::string_view::npos)) return Bad("such a repetition");
    out_ += fmt::format("{{{}{}{}}}", low.empty() ? "0" : low, comma == std::string_view::npos ? "" : ",", high);
    return {};
  }

  std::string_view pattern_;
  std::size_t pos_ = 0;
  bool can_repeat_ = false;  // something stands before the cursor that {n} may repeat
  std::string out_;
};

}  // namespace

Result<std::string> OnigurumaToPcre2(std::string_view pattern) { return Translator(pattern).Run(); }

}  // namespace quorum::tok
