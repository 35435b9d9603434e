#include "tokenizer/pipeline_tokenizer.h"

#include <fmt/format.h>

#include "engine/base/log.h"
#include "tokenizer/utf8.h"

namespace quorum::tok {

struct PipelineTokenizer::Scratch {
  PreTokenizeScratch pre;
  WordScratch words;
  std::string normalized;
  std::vector<TextPart> parts;
};

void AddEndIds(const std::vector<TokenId>& ids, TokenizerParts& parts) {
  for (const TokenId id : ids) {
    if (parts.vocab.Contains(id)) {
      parts.ends_generation.push_back(id);
    } else {  // left over from another vocabulary: it is never drawn
      Log(LogLevel::kWarn, "the end-of-generation id {} is outside the vocabulary of {}", id, parts.vocab.size());
    }
  }
  if (parts.eos) parts.ends_generation.push_back(*parts.eos);
}

PipelineTokenizer::PipelineTokenizer(TokenizerParts parts)
    : parts_(std::move(parts)), ends_generation_(FindEndOfGeneration(parts_.vocab, parts_.ends_generation)) {}

Result<std::vector<TokenId>> PipelineTokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<TokenId> out;
  if (text.size() > kMaxWordBytes) {
    return Error{ErrorCode::kTooLarge, fmt::format("a text of {} bytes is too long to tokenize", text.size()), {}, {}};
  }
  if (options.add_special) out = parts_.prefix;
  out.reserve(out.size() + text.size() / 3 + 8);
  Scratch scratch;
  std::vector<TextPart> segments;
  parts_.raw_tokens.Split(text, options.parse_special, segments);
  for (const TextPart& segment : segments) {
    if (segment.id >= 0) {
      out.push_back(segment.id);
    } else {
      const bool at_start = segment.text.data() == text.data();
      QUORUM_TRY(EncodeText(segment.text, at_start, options.parse_special, scratch, out));
    }
  }
  if (options.bytes_without_token != nullptr) *options.bytes_without_token += scratch.words.bytes_without_token;
  if (options.add_special) out.insert(out.end(), parts_.suffix.begin(), parts_.suffix.end());
  return out;
}

Status PipelineTokenizer::EncodeText(std::string_view text, bool at_start, bool parse_special, Scratch& scratch,
                                     std::vector<TokenId>& out) const {
  for (std::size_t pos = 0; pos < text.size();) {
    if (const std::size_t valid = ValidUtf8Prefix(text, pos); valid > 0) {
      QUORUM_TRY(EncodeValidText(text.substr(pos, valid), at_start && pos == 0, pos == 0, parse_special, scratch, out));
      pos += valid;
    }
    // A run of bytes that are no characters is a word of its own: no pattern or normal form knows them.
    std::size_t end = pos;
    while (end < text.size()) {
      const Utf8Unit unit = DecodeUtf8(text, end);
      if (unit.valid) break;
      end += unit.length;
    }
    QUORUM_TRY(parts_.model->Encode(text.substr(pos, end - pos), false, scratch.words, out));
    pos = end;
  }
  return {};
}

Status PipelineTokenizer::EncodeValidText(std::string_view text, bool at_start, bool begins_segment, bool parse_special,
                                          Scratch& scratch, std::vector<TokenId>& out) const {
  QUORUM_ASSIGN(const std::string_view normalized,
                parts_.normalizer.Apply(text, begins_segment, scratch.normalized, scratch.pre.regex));
  scratch.parts.clear();
  parts_.normalized_tokens.Split(normalized, parse_special, scratch.parts);
  for (const TextPart& part : scratch.parts) {
    if (part.id >= 0) {
      out.push_back(part.id);
      continue;
    }
    QUORUM_TRY(parts_.pre_tokenizer.Run(part.text, at_start && part.text.data() == normalized.data(), scratch.pre));
    bool begins = begins_segment && (at_start || !parts_.prefix_only_first);
    for (const std::string_view word : scratch.pre.pieces) {
      QUORUM_TRY(parts_.model->Encode(word, begins, scratch.words, out));
      begins = false;
    }
  }
  return {};
}

std::string_view PipelineTokenizer::TokenBytes(TokenId id) const {
  return parts_.vocab.Contains(id) ? parts_.vocab.Bytes(id) : std::string_view();
}

bool PipelineTokenizer::IsControl(TokenId id) const {
  if (!parts_.vocab.Contains(id)) return false;
  const TokenType type = parts_.vocab.Type(id);
  return type == TokenType::kControl || type == TokenType::kUnknown;
}

bool PipelineTokenizer::IsEndOfGeneration(TokenId id) const {
  return parts_.vocab.Contains(id) && ends_generation_[static_cast<std::size_t>(id)];
}

std::optional<TokenId> PipelineTokenizer::FindToken(std::string_view text) const {
  const TokenId id = parts_.vocab.Find(text);
  return id >= 0 ? std::optional<TokenId>(id) : std::nullopt;
}

}  // namespace quorum::tok
