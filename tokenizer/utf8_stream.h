// Streaming detokenizer: bytes of tokens in, whole UTF-8 characters out.
#pragma once

#include <string>
#include <string_view>

namespace quorum::tok {

/// Holds back the bytes of an unfinished character. Bytes that can never become valid UTF-8 come out as U+FFFD
/// (one per maximal invalid part, as the Unicode standard recommends and Python's errors="replace" does), so that
/// the concatenation of all outputs equals the replacement-decoding of the concatenated input.
class Utf8Stream {
 public:
  /// Adds bytes; returns the text that is now certain, always valid UTF-8.
  std::string Push(std::string_view bytes);

  /// Ends the stream: an unfinished character becomes one U+FFFD.
  std::string Finish();

 private:
  std::string held_;
};

/// `bytes` with every invalid part replaced by U+FFFD.
std::string SanitizeUtf8(std::string_view bytes);

/// Whether `text` is valid UTF-8.
bool IsValidUtf8(std::string_view text);

}  // namespace quorum::tok
