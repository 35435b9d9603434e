// How a family of models writes its calls of tools: a dialect finds them in text and reads them. Pure functions of the
// text; what does not parse is not a call.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/tools/tool_call.h"

namespace quorum::server {

enum class ToolFormat {
  kNone,      // calls are not looked for
  kHermes,    // <tool_call>{"name", "arguments"}</tool_call>: Hermes, Qwen 2.5 and 3, Granite 4, SmolLM3
  kQwenXml,   // <tool_call><function=NAME><parameter=KEY>VALUE</parameter></function></tool_call>: Qwen3-Coder
  kMistral,   // [TOOL_CALLS][{"name", "arguments"}], and [TOOL_CALLS]NAME[ARGS]{...}
  kLlama3,    // {"name", "parameters"} as the whole reply, <|python_tag|>, <function=NAME>{...}</function>
  kDeepSeek,  // <｜tool▁call▁begin｜>... of V3 and R1 (type, name, ```json) and of V3.1 (name, arguments)
  kGranite,   // <|tool_call|>[{"name", "arguments"}] (3.x), <function_call>{...} (20b)
  kPhi,       // <|tool_call|>[...]<|/tool_call|>, functools[...]
  kHarmony,   // gpt-oss's channels; also splits reasoning from content
};

/// The names that --tool-parser takes, in order: "none", "hermes", ...
std::vector<std::string> ToolFormatNames();
std::optional<ToolFormat> ToolFormatNamed(std::string_view name);
std::string_view NameOfToolFormat(ToolFormat format);

/// The format that a chat template teaches; kNone where it shows none.
ToolFormat DetectToolFormat(std::string_view chat_template);

/// Names of control tokens that the format needs to see as text.
std::vector<std::string> ControlNames(ToolFormat format);

/// What a reply begins its first call with, where that is one certain piece of text; else empty.
std::string_view CallMarker(ToolFormat format);

/// Reads one region of a reply at a time. Holds the state of the region that it reads.
class Dialect {
 public:
  virtual ~Dialect() = default;

  /// The first place in `text` where a region of calls begins, or may turn out to begin once more text is there
  /// (`whole` false; not when `ended`). `at_start`: `text` is the beginning of the reply's content.
  struct Mark {
    std::size_t begin = std::string_view::npos;
    bool whole = false;
  };
  virtual Mark Find(std::string_view text, bool at_start, bool ended) const = 0;

  enum class Verdict {
    kMore,   // not decided
    kCalls,  // calls() are complete; the region is `consumed` bytes
    kText,   // no call: its first `consumed` bytes (at least one) are content
  };
  struct Reading {
    Verdict verdict = Verdict::kMore;
    std::size_t consumed = 0;
  };
  /// Reads the region at the start of `text`, which is what it was at the last call and more. `ended`: nothing follows;
  /// never kMore then.
  virtual Reading Read(std::string_view text, bool ended) = 0;

  /// The calls of the region so far; after kText, what had been read of them.
  const std::vector<ToolCall>& calls() const { return calls_; }
  /// Bytes of the region that have gone into calls().
  std::size_t read() const { return read_; }

  /// Forgets the region.
  virtual void Reset() {
    calls_.clear();
    read_ = 0;
  }

 protected:
  std::vector<ToolCall> calls_;
  std::size_t read_ = 0;
};

/// The dialect of a format; null for kNone and kHarmony (which is more than calls: harmony.h).
std::unique_ptr<Dialect> MakeDialect(ToolFormat format, const OfferedTools& tools);

// Each file's part of MakeDialect.
std::unique_ptr<Dialect> MakeJsonDialect(ToolFormat format, const OfferedTools& tools);
std::unique_ptr<Dialect> MakeXmlDialect(const OfferedTools& tools);
std::unique_ptr<Dialect> MakeMistralDialect(const OfferedTools& tools);
std::unique_ptr<Dialect> MakeDeepSeekDialect(const OfferedTools& tools);

/// The first of `marks` in `text`, or a beginning of one at its end (unless `ended`).
Dialect::Mark FindMark(std::string_view text, const std::vector<std::string>& marks, bool ended);

/// Whether `text` begins with `word` (kYes), may yet (it is shorter), or does not.
enum class Begins { kYes, kMaybe, kNo };
Begins BeginsWith(std::string_view text, std::string_view word);

/// Index of the first byte of `text` from `at` that is not white space; text.size() if there is none.
std::size_t SkipSpace(std::string_view text, std::size_t at);

}  // namespace quorum::server
