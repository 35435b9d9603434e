// Compiled split patterns: PCRE2 with its JIT, which stays behind this header.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <utility>

#include "engine/base/result.h"

namespace quorum::tok {

/// A compiled pattern. Copies share the code; immutable and thread-safe.
///
/// Its classes are those of PCRE2's Unicode tables: 14 with 10.42 (Debian 12), 16 with 10.46 (Debian 13). Hugging
/// Face's libraries are at 16 and 17. With the older one about 9,400 characters that these know count as unassigned,
/// nearly all of them CJK extensions H and I (from U+31350 and U+2EBF0) and ancient scripts: they are cut like symbols,
/// not like letters. All others split alike (tests/tools/tokenizer_diff.py --sweep).
class Regex {
 public:
  /// One thread's buffers for matching, usable with any Regex.
  class Scratch {
   public:
    Scratch();
    ~Scratch();
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;

   private:
    friend class Regex;
    struct State;
    std::unique_ptr<State> state_;
  };

  /// Compiles an Oniguruma pattern (regex_syntax.h). Errors: kUnsupported, naming the pattern.
  static Result<Regex> Compile(std::string_view pattern);

  /// Finds the next match in `text`, which is valid UTF-8, from `start` on; looks behind `start` where the pattern
  /// does. Returns false when there is none.
  /// Errors: kInternal when PCRE2 gives up (match limit, memory).
  Result<bool> Find(std::string_view text, std::size_t start, Scratch& scratch, std::size_t& begin,
                    std::size_t& end) const;

  /// Calls `visit(begin, end)` for the matches from left to right, as Oniguruma's find_iter does: an empty match
  /// counts unless it follows a match directly. Errors: as Find.
  template <typename Visit>
  Status ForEachMatch(std::string_view text, Scratch& scratch, Visit&& visit) const {
    std::size_t from = 0;
    std::size_t last_end = std::string_view::npos;
    while (from <= text.size()) {
      std::size_t begin = 0;
      std::size_t end = 0;
      QUORUM_ASSIGN(const bool found, Find(text, from, scratch, begin, end));
      if (!found) break;
      if (begin == end && end == last_end) {
        if (from == text.size()) break;
        // To the next character.
        do ++from;
        while (from < text.size() && (static_cast<unsigned char>(text[from]) & 0xC0) == 0x80);
        continue;
      }
      visit(begin, end);
      from = last_end = end;
    }
    return {};
  }

 private:
  struct Code;
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}

  std::shared_ptr<const Code> code_;
};

}  // namespace quorum::tok
