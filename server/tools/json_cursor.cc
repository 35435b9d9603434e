#include "server/tools/json_cursor.h"

#include <cctype>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

namespace quorum::server {
namespace {

constexpr std::size_t kMaxDepth = 256;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// RFC 8259's number, or one of its three words.
bool IsScalar(const std::string& text) { return nlohmann::json::accept(text); }

}  // namespace

JsonCursor::State JsonCursor::Read(std::string_view text) {
  while (at_ < text.size() && mode_ != Mode::kEnd && mode_ != Mode::kBad) {
    if (Step(text[at_]) && mode_ != Mode::kBad) ++at_;
  }
  return mode_ == Mode::kEnd ? State::kDone : mode_ == Mode::kBad ? State::kBad : State::kMore;
}

bool JsonCursor::Step(char c) {
  switch (mode_) {
    case Mode::kString: StepString(c); return true;
    case Mode::kEscape: StepEscape(c); return true;
    case Mode::kHex:
      if (std::isxdigit(static_cast<unsigned char>(c)) == 0) {
        mode_ = Mode::kBad;
        return true;
      }
      clean_ += c;
      if (--hex_left_ == 0) mode_ = Mode::kString;
      return true;
    case Mode::kNumber:
    case Mode::kWord:
      if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '+' || c == '.') {
        clean_ += c;
        return true;
      }
      if (IsScalar(clean_.substr(token_)))
        EndValue();
      else
        mode_ = Mode::kBad;
      return false;
    default: break;
  }
  if (IsSpace(c)) {
    clean_ += c;
    return true;
  }
  switch (mode_) {
    case Mode::kFirstValue:
      if (c == ']') {
        Close(c);
        return true;
      }
      return BeginValue(c);
    case Mode::kValue: return BeginValue(c);
    case Mode::kFirstKey:
    case Mode::kKey:
      if (c == '}' && mode_ == Mode::kFirstKey) {
        Close(c);
      } else if (c == '"') {
        in_key_ = true;
        token_ = clean_.size();
        clean_ += c;
        mode_ = Mode::kString;
      } else {
        mode_ = Mode::kBad;
      }
      return true;
    case Mode::kColon:
      mode_ = c == ':' ? Mode::kValue : Mode::kBad;
      if (c == ':') clean_ += c;
      return true;
    default:  // kAfter
      if (c == ',') {
        clean_ += c;
        mode_ = open_.back() == '{' ? Mode::kKey : Mode::kValue;
      } else {
        Close(c);
      }
      return true;
  }
}

void JsonCursor::StepString(char c) {
  if (static_cast<unsigned char>(c) < 0x20) {
    clean_ += c == '\n' ? "\\n" : c == '\t' ? "\\t" : c == '\r' ? "\\r" : fmt::format("\\u{:04x}", int{c});
    return;
  }
  clean_ += c;
  if (c == '\\') mode_ = Mode::kEscape;
  if (c == '"') EndString();
}

void JsonCursor::StepEscape(char c) {
  mode_ = Mode::kString;
  if (c == '\'') {  // Python's and JavaScript's escape, which JSON does not have
    clean_.back() = c;
    return;
  }
  clean_ += c;
  if (c == 'u') {
    mode_ = Mode::kHex;
    hex_left_ = 4;
  } else if (std::string_view("\"\\/bfnrt").find(c) == std::string_view::npos) {
    mode_ = Mode::kBad;
  }
}

bool JsonCursor::BeginValue(char c) {
  if (open_.empty() && c != '{' && c != '[') {
    mode_ = Mode::kBad;
    return true;
  }
  if (!open_.empty() && Watching()) members_.push_back({objects_ - 1, key_, clean_.size(), std::string::npos});
  token_ = clean_.size();
  if (c == '{' || c == '[') {
    Open(c);
  } else {
    clean_ += c;
    in_key_ = false;
    mode_ = c == '"'                                           ? Mode::kString
            : c == '-' || IsDigit(c)                           ? Mode::kNumber
            : std::islower(static_cast<unsigned char>(c)) != 0 ? Mode::kWord
                                                               : Mode::kBad;
  }
  return true;
}

void JsonCursor::Open(char bracket) {
  clean_ += bracket;
  open_ += bracket;
  if (open_.size() > kMaxDepth) {
    mode_ = Mode::kBad;
    return;
  }
  if (Watching()) ++objects_;
  mode_ = bracket == '{' ? Mode::kFirstKey : Mode::kFirstValue;
}

void JsonCursor::Close(char bracket) {
  if (bracket != (open_.back() == '{' ? '}' : ']')) {
    mode_ = Mode::kBad;
    return;
  }
  clean_ += bracket;
  open_.pop_back();
  EndValue();
}

void JsonCursor::EndString() {
  if (!in_key_) {
    EndValue();
    return;
  }
  in_key_ = false;
  mode_ = Mode::kColon;
  if (!Watching()) return;
  const auto key = nlohmann::json::parse(clean_.substr(token_), nullptr, false);
  if (key.is_string())
    key_ = key.get<std::string>();
  else
    mode_ = Mode::kBad;  // a lone surrogate
}

void JsonCursor::EndValue() {
  if (open_.empty()) {
    mode_ = Mode::kEnd;
    return;
  }
  mode_ = Mode::kAfter;
  if (Watching() && !members_.empty() && members_.back().end == std::string::npos) members_.back().end = clean_.size();
}

bool NestsDeeply(std::string_view json) {
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == '{' || c == '[')) {
      if (++depth > kMaxDepth) return true;
    } else if (!in_string && (c == '}' || c == ']') && depth > 0) {
      --depth;
    }
  }
  return false;
}

}  // namespace quorum::server
