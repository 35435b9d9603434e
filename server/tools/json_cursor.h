// Reads one JSON object or array from text that is still growing: where it ends, whether it can still be JSON, and
// where the members of its outer objects stand. Linear over all calls.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace quorum::server {

class JsonCursor {
 public:
  enum class State { kMore, kDone, kBad };

  /// `watch`: the depth of the objects whose members are noted: 1 where the value is an object itself, 2 where it is an
  /// array of objects.
  explicit JsonCursor(int watch = 1) : watch_(watch) {}

  /// Reads on. `text` begins where the value begins, with what was read before and more.
  /// Models forget to escape line breaks inside strings: these are taken and escaped in clean().
  State Read(std::string_view text);

  std::size_t end() const { return at_; }              // bytes of text that were read; when done, where the value ends
  const std::string& clean() const { return clean_; }  // what was read, as strict JSON

  struct Member {
    int object = 0;  // number of the watched object that it belongs to
    std::string key;
    std::size_t begin = 0;                // its value in clean()
    std::size_t end = std::string::npos;  // npos: not complete yet
  };
  const std::vector<Member>& members() const { return members_; }
  int objects() const { return objects_; }  // watched objects that have begun

  /// The value of a member so far.
  std::string_view ValueOf(const Member& member) const {
    return std::string_view(clean_).substr(
        member.begin, member.end == std::string::npos ? std::string::npos : member.end - member.begin);
  }

 private:
  enum class Mode {
    kValue,
    kFirstValue,  // or ']'
    kFirstKey,    // or '}'
    kKey,
    kColon,
    kAfter,  // a value: ',' or the end of what holds it
    kString,
    kEscape,
    kHex,
    kNumber,
    kWord,
    kEnd,
    kBad
  };

  bool Step(char c);  // false: look at the character again in the new mode
  void StepString(char c);
  void StepEscape(char c);
  bool BeginValue(char c);
  void Open(char bracket);
  void Close(char bracket);
  void EndString();
  void EndValue();
  bool Watching() const { return static_cast<int>(open_.size()) == watch_ && open_.back() == '{'; }

  const int watch_;
  Mode mode_ = Mode::kValue;
  std::size_t at_ = 0;
  std::string clean_;
  std::string open_;       // brackets
  std::size_t token_ = 0;  // where the string, number or word begins in clean_
  int hex_left_ = 0;
  bool in_key_ = false;
  std::string key_;
  std::vector<Member> members_;
  int objects_ = 0;
};

/// Whether a text that may be JSON nests deeper than a cursor takes: writing such a value would recurse as deeply.
bool NestsDeeply(std::string_view json);

}  // namespace quorum::server
