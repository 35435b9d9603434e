// Text normalization before splitting, as tokenizer.json's "normalizer" asks for it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/regex.h"

namespace quorum::tok {

/// One step of a normalizer.
struct NormalizeStep {
  enum class Kind : std::uint8_t {
    kNfc,
    kNfd,
    kNfkc,
    kNfkd,
    kLowercase,     // character by character, the full mapping
    kStripAccents,  // removes marks (general category M)
    kStrip,         // white space at the ends chosen by `left` and `right`
    kPrepend,       // `content` before a text that is not empty and begins a segment
    kPrecompiled,   // SentencePiece's `chars_map`, as Hugging Face applies it
    kReplace,       // every match of `regex`, or else of the literal `pattern`, by `content`
  };
  Kind kind = Kind::kNfc;
  bool left = false;
  bool right = false;
  std::string pattern;
  std::optional<Regex> regex;
  std::string content;
  std::shared_ptr<const CharsMap> chars_map;
};

/// Immutable and thread-safe.
class Normalizer {
 public:
  Normalizer() = default;
  explicit Normalizer(std::vector<NormalizeStep> steps) : steps_(std::move(steps)) {}

  /// Normalizes `text`, which is valid UTF-8. `begins_segment`: no bytes that are not UTF-8 were cut off before it
  /// (such bytes pass the normalizer by). The result is a view of `text` itself when nothing changes, else of
  /// `storage`, which is overwritten. Time is O(n log n) in the text's length (a literal or regex aside).
  Result<std::string_view> Apply(std::string_view text, bool begins_segment, std::string& storage,
                                 Regex::Scratch& scratch) const;

 private:
  std::vector<NormalizeStep> steps_;
};

}  // namespace quorum::tok
