#include "cli/text_files.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "tokenizer/utf8.h"
#include "tokenizer/utf8_stream.h"

namespace quorum::cli {
namespace {

constexpr std::size_t kWordTopics = 32;

std::string_view FirstWord(std::string_view line) { return line.substr(0, line.find_first_of(" \t\r\n")); }

/// The lines of a text, each with its line end.
std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::size_t size = end == std::string_view::npos ? text.size() : end + 1;
    lines.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return lines;
}

/// The commonest first words, most frequent first.
std::vector<std::string> CommonWords(const std::vector<std::string_view>& lines) {
  std::map<std::string_view, std::int64_t> counts;
  for (const std::string_view line : lines) ++counts[FirstWord(line)];
  std::vector<std::pair<std::string_view, std::int64_t>> order(counts.begin(), counts.end());
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  std::vector<std::string> words;
  for (std::size_t i = 0; i < std::min(order.size(), kWordTopics); ++i) words.emplace_back(order[i].first);
  return words;
}

}  // namespace

Status CheckUtf8(const std::string& path, std::string_view text) {
  const std::size_t at = tok::ValidUtf8Prefix(text, 0);
  if (at == text.size()) return {};
  return InvalidArgument(
      fmt::format("{} is no UTF-8: byte {:#04x} at offset {} (line {}) begins no character; iconv "
                  "makes UTF-8 of other encodings",
                  path, static_cast<unsigned char>(text[at]), at,
                  1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n')));
}

Result<Texts> ReadTexts(const std::vector<std::string>& paths, const tok::Tokenizer& tokenizer, bool by_first_word) {
  Texts out;
  std::vector<MappedFile> files;
  std::vector<std::string_view> contents;
  for (const std::string& path : paths) {
    QUORUM_ASSIGN(MappedFile file, MappedFile::Open(path));
    files.push_back(std::move(file));
  }
  std::vector<std::string_view> lines;
  for (const MappedFile& file : files) {
    contents.emplace_back(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
    QUORUM_TRY(CheckUtf8(file.path(), contents.back()));
    if (!by_first_word) continue;
    const std::vector<std::string_view> more = Lines(contents.back());
    lines.insert(lines.end(), more.begin(), more.end());
  }
  std::map<std::string_view, std::int32_t> topic_of;
  const std::vector<std::string> words = CommonWords(lines);
  for (const std::string& word : words) {
    topic_of[word] = static_cast<std::int32_t>(out.topics.size());
    out.topics.push_back(word.empty() ? "(empty)" : tok::SanitizeUtf8(word));
  }
  const auto other = static_cast<std::int32_t>(out.topics.size());
  bool any_other = false;
  std::int64_t lost = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    engine::TopicText text;
    const auto add = [&](std::string_view part, std::int32_t topic) -> Status {
      std::int64_t missing = 0;
      QUORUM_ASSIGN(const std::vector<tok::TokenId> tokens, tokenizer.Encode(part, {.bytes_without_token = &missing}));
      lost += missing;
      text.tokens.insert(text.tokens.end(), tokens.begin(), tokens.end());
      text.topics.resize(text.tokens.size(), topic);
      return {};
    };
    if (by_first_word) {
      for (const std::string_view line : Lines(contents[i])) {
        const auto found = topic_of.find(FirstWord(line));
        any_other |= found == topic_of.end();
        QUORUM_TRY(add(line, found == topic_of.end() ? other : found->second));
      }
    } else {
      QUORUM_TRY(add(contents[i], static_cast<std::int32_t>(i)));
      out.topics.push_back(paths[i].substr(paths[i].find_last_of('/') + 1));
    }
    out.tokens += std::ssize(text.tokens);
    out.texts.push_back(std::move(text));
  }
  if (any_other) out.topics.emplace_back("(other)");
  if (lost > 0) Log(LogLevel::kWarn, "{} bytes of the texts have no token in this vocabulary and are left out", lost);
  if (out.tokens < 2) return InvalidArgument("the texts have fewer than two tokens");
  return out;
}

}  // namespace quorum::cli
