// Texts that rules of a model's file make of others. A file may have any number of rules, and each may make a text
// longer: forty that double a letter would fill any memory.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/base/result.h"

namespace quorum::tok {

/// How long all of a file's rules together may make a text of `bytes`. Those in use make at most 13 bytes of one (NFKD
/// of U+FDFA, its spaces written as U+2581).
constexpr std::size_t LongestRewrite(std::size_t bytes) { return 16 * bytes + (std::size_t{64} << 10); }

/// Takes no more than `limit` bytes: a piece that goes beyond makes it full, and that is an error in the end.
class BoundedText {
 public:
  explicit BoundedText(std::size_t limit) : limit_(limit) {}

  void Append(std::string_view piece) {
    full_ = full_ || piece.size() > limit_ - text_.size();
    if (!full_) text_ += piece;
  }
  bool full() const { return full_; }

  /// Errors: kTooLarge.
  Result<std::string> Take() && {
    if (!full_) return std::move(text_);
    return Error{
        ErrorCode::kTooLarge,
        fmt::format("the tokenizer's rules make more than {} bytes of a text, which is no longer believed", limit_),
        {},
        {}};
  }

 private:
  std::size_t limit_;
  std::string text_;
  bool full_ = false;
};

}  // namespace quorum::tok
