#include "tokenizer/regex.h"

#include <array>
#include <string>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <fmt/format.h>

#include "engine/base/check.h"
#include "tokenizer/regex_syntax.h"

namespace quorum::tok {
namespace {

// Longer patterns do not occur (DeepSeek's are 2 KB), and compiling costs time.
constexpr std::size_t kMaxPatternBytes = 32 << 10;
// Backtracking steps for one match. A run of a million characters of one class needs about as many.
constexpr std::uint32_t kMatchLimit = 100'000'000;
// Only the interpreter, where there is no JIT: heap in KiB.
constexpr std::uint32_t kHeapLimitKib = 256 << 10;
// The JIT runs on 32 KiB of the machine stack; a match that needs more is repeated on one that grows up to this.
constexpr std::size_t kLargeJitStack = std::size_t{64} << 20;

template <auto kFree>
struct Free {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};

std::string ErrorText(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct Regex::Code {
  std::unique_ptr<pcre2_code, Free<pcre2_code_free>> code;
};

struct Regex::Scratch::State {
  std::unique_ptr<pcre2_match_data, Free<pcre2_match_data_free>> match{pcre2_match_data_create(1, nullptr)};
  std::unique_ptr<pcre2_match_context, Free<pcre2_match_context_free>> context{pcre2_match_context_create(nullptr)};
  std::unique_ptr<pcre2_jit_stack, Free<pcre2_jit_stack_free>> stack;
};

Regex::Scratch::Scratch() : state_(std::make_unique<State>()) {
  QUORUM_CHECK(state_->match && state_->context);
  pcre2_set_match_limit(state_->context.get(), kMatchLimit);
  pcre2_set_heap_limit(state_->context.get(), kHeapLimitKib);
}

Regex::Scratch::~Scratch() = default;

Result<Regex> Regex::Compile(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes) {
    return Unsupported(fmt::format("a split pattern of {} bytes is too long", pattern.size()));
  }
  QUORUM_ASSIGN(const std::string translated, OnigurumaToPcre2(pattern));
  const std::unique_ptr<pcre2_compile_context, Free<pcre2_compile_context_free>> context(
      pcre2_compile_context_create(nullptr));
  QUORUM_CHECK(context != nullptr);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  auto code = std::make_shared<Code>();
  // ^ and $ are for lines in Oniguruma's default syntax.
  code->code.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                                 PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                                 context.get()));
  if (!code->code) {
    return Unsupported(fmt::format("the split pattern \"{}\" cannot be compiled: {}", pattern, ErrorText(error)));
  }
  // Without JIT (an error here) pcre2_match interprets: slower, the same matches.
  pcre2_jit_compile(code->code.get(), PCRE2_JIT_COMPLETE);
  return Regex(std::move(code));
}

Result<bool> Regex::Find(std::string_view text, std::size_t start, Scratch& scratch, std::size_t& begin,
                         std::size_t& end) const {
  Scratch::State& state = *scratch.state_;
  const auto match = [&] {
    return pcre2_match(code_->code.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), start,
                       PCRE2_NO_UTF_CHECK, state.match.get(), state.context.get());
  };
  int found = match();
  if (found == PCRE2_ERROR_JIT_STACKLIMIT && !state.stack) {
    state.stack.reset(pcre2_jit_stack_create(64 << 10, kLargeJitStack, nullptr));
    if (state.stack) pcre2_jit_stack_assign(state.context.get(), nullptr, state.stack.get());
    found = match();
  }
  if (found == PCRE2_ERROR_NOMATCH) return false;
  if (found < 0) {
    return Internal(
        fmt::format("splitting a text of {} bytes stopped at byte {}: {}", text.size(), start, ErrorText(found)));
  }
  const PCRE2_SIZE* range = pcre2_get_ovector_pointer(state.match.get());
  begin = range[0];
  end = range[1];
  return true;
}

}  // namespace quorum::tok
