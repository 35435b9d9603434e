#include "server/json_input.h"

#include <array>

#include <fmt/format.h>

namespace quorum::server {
namespace {

/// Walks over the text once, knowing strings from structure.
class Scanner {
 public:
  Scanner(std::string_view text, const JsonLimits& limits) : text_(text), limits_(limits) {}

  Status Run() {
    if (text_.substr(0, 3) == "\xEF\xBB\xBF") {
      return InvalidArgument("the request body begins with a byte order mark; send plain UTF-8");
    }
    for (at_ = 0; at_ < text_.size(); ++at_) {
      switch (text_[at_]) {
        case '"': QUORUM_TRY(SkipString()); break;
        case '{':
        case '[':
          if (++depth_ > limits_.depth) {
            return InvalidArgument(fmt::format("the JSON is nested deeper than {} levels", limits_.depth));
          }
          members_[static_cast<std::size_t>(depth_)] = 0;
          break;
        case '}':
        case ']':
          if (depth_ > 0) --depth_;
          break;
        case ':': QUORUM_TRY(AddMember(members_[static_cast<std::size_t>(depth_)])); break;
        case ',':
          if (++values_ > limits_.max_values) return InvalidArgument("the JSON has too many values");
          break;
        case '\0': return InvalidArgument(fmt::format("the JSON has a NUL byte at byte {}", at_));
        default: break;
      }
    }
    return {};
  }

 private:
  Status SkipString() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) {
      if (text_[at_] != '\\') continue;
      if (text_.substr(at_, 6) == "\\u0000") {
        return InvalidArgument(fmt::format("the JSON has a NUL character in a string at byte {}", at_));
      }
      ++at_;
    }
    return {};
  }

  /// Charged as the parser will meet it, member by member: an object that never ends costs as much as one that does.
  Status AddMember(double& members) {
    work_ += 2 * members + 1;  // sums to members squared
    members += 1;
    if (work_ > limits_.member_work) return InvalidArgument("the JSON's objects have too many members");
    return {};
  }

  std::string_view text_;
  const JsonLimits& limits_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::size_t values_ = 0;
  double work_ = 0;
  std::array<double, 1025> members_{};  // of the open objects, by depth
};

}  // namespace

Status ScanJson(std::string_view text, const JsonLimits& limits) {
  QUORUM_CHECK(limits.depth < 1024);
  return Scanner(text, limits).Run();
}

Result<Json> ParseJson(std::string_view text, const JsonLimits& limits) {
  QUORUM_TRY(ScanJson(text, limits));
  try {
    return Json::parse(text);
  } catch (const Json::exception& e) {
    // The library's message begins with an identifier of its own, "[json.exception.parse_error.101] ",
    // and may quote a string of any length.
    const std::string_view what = e.what();
    const std::size_t end = what.find("] ");
    return InvalidArgument(fmt::format("the request body is not valid JSON: {}",
                                       what.substr(end == std::string_view::npos ? 0 : end + 2, 300)));
  }
}

std::string DumpJson(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

}  // namespace quorum::server
