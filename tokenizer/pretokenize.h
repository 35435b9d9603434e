// Pre-tokenization: cuts a text into the words inside which byte-pair merges happen.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/regex.h"

namespace quorum::tok {

/// What becomes of the matches of a split ("delimiters"), as Hugging Face names it. "the-final--countdown" on "-":
enum class SplitBehavior : std::uint8_t {
  kRemoved,             // the|final|countdown
  kIsolated,            // the|-|final|-|-|countdown
  kMergedWithPrevious,  // the-|final-|-|countdown
  kMergedWithNext,      // the|-final|-|-countdown
  kContiguous,          // the|-|final|--|countdown
};

/// One step of a pre-tokenizer; each piece of the step before is cut further.
struct SplitStep {
  enum class Kind : std::uint8_t {
    kRegex,           // by matches of `regex`
    kLiteral,         // by occurrences of `text`
    kGroupDigits,     // digit runs in threes from the right: 1|234|567
    kBeforeMarks,     // before each `text` that follows something else: a__b|__c for "_"
    kAddPrefixSpace,  // " " before a piece that does not start with one (ByteLevel)
    kSpellBytes,      // bytes become GPT-2's printable characters, on which later steps (Falcon's) work
    kUnspellBytes,    // and back
    kMetaspace,       // spaces become `text`; one more goes before a piece that does not start with it, see `prepend`
  };
  enum class Prepend : std::uint8_t { kNever, kFirst, kAlways };  // kFirst: only at the start of the whole input

  Kind kind = Kind::kRegex;
  std::optional<Regex> regex;
  std::string text;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;       // what lies between the matches are the delimiters
  bool whole_words = false;  // kGroupDigits: only runs that no letter, mark or "_" follows
  Prepend prepend = Prepend::kNever;
};

/// One thread's buffers.
struct PreTokenizeScratch {
  /// A run of the text, and whether it is a delimiter.
  struct Span {
    std::size_t begin;
    std::size_t end;
    bool match;
  };
  Regex::Scratch regex;
  std::vector<std::string_view> pieces, next;
  std::vector<Span> spans;
  std::deque<std::string> changed;  // pieces that differ from the text
};

/// Immutable and thread-safe.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  explicit PreTokenizer(std::vector<SplitStep> steps) : steps_(std::move(steps)) {}

  /// Cuts `text`, which is valid UTF-8 and not empty, into `scratch.pieces`: views of `text` or of `scratch`, never
  /// empty. `at_start`: `text` begins the input. Errors: kInternal when a pattern hits its limit.
  Status Run(std::string_view text, bool at_start, PreTokenizeScratch& scratch) const;

 private:
  std::vector<SplitStep> steps_;
};

}  // namespace quorum::tok
