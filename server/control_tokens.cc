#include "server/control_tokens.h"

#include <algorithm>
#include <iterator>

namespace quorum::server {

ControlTokens::ControlTokens(const tok::Tokenizer& tokenizer) {
  for (tok::TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    // A name of one byte (a byte token that is marked so by mistake) would swallow ordinary text.
    if (tokenizer.IsControl(id) && tokenizer.TokenBytes(id).size() > 1) {
      names_.push_back({std::string(tokenizer.TokenBytes(id)), id});
    }
  }
  std::sort(names_.begin(), names_.end(), [](const Name& a, const Name& b) { return a.text < b.text; });
  for (const Name& name : names_) {
    if (first_bytes_.find(name.text.front()) == std::string::npos) first_bytes_ += name.text.front();
  }
}

// Narrows the sorted names byte by byte: the work is bounded by the longest common prefix, whatever the vocabulary.
ControlTokens::Match ControlTokens::MatchAt(std::string_view text, std::size_t at) const {
  Match match;
  auto begin = names_.begin();
  auto end = names_.end();
  for (std::size_t depth = 0; begin != end && at + depth < text.size(); ++depth) {
    const unsigned char byte = static_cast<unsigned char>(text[at + depth]);
    const auto byte_of = [depth](const Name& name) {
      return depth < name.text.size() ? int{static_cast<unsigned char>(name.text[depth])} : -1;
    };
    begin = std::partition_point(begin, end, [&](const Name& name) { return byte_of(name) < byte; });
    end = std::partition_point(begin, end, [&](const Name& name) { return byte_of(name) == byte; });
    if (begin != end && begin->text.size() == depth + 1) match = {at, depth + 1, begin->id};
  }
  return match;
}

ControlTokens::Match ControlTokens::Find(std::string_view text, std::size_t from) const {
  for (std::size_t at = from; (at = text.find_first_of(first_bytes_, at)) != std::string_view::npos; ++at) {
    const Match match = MatchAt(text, at);
    if (match.size > 0) return match;
  }
  return {};
}

std::string ControlTokens::Break(std::string_view text, std::string_view mark) const {
  std::string broken;
  std::size_t copied = 0;
  // A name may begin inside another one: every place where one begins is broken behind its first byte.
  for (Match match = Find(text, 0); match.size > 0; match = Find(text, match.begin + 1)) {
    broken.append(text.substr(copied, match.begin + 1 - copied));
    broken.append(mark);
    copied = match.begin + 1;
  }
  broken.append(text.substr(copied));
  return broken;
}

}  // namespace quorum::server
