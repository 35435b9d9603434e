#include "server/reasoning.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

namespace quorum::server {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

// DeepSeek-R1, Qwen3, Granite 3.3, GLM, MiniMax ...; Magistral; Seed-OSS; Command A Reasoning; Granite 3.2.
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kMarks = {
    {{"<think>", "</think>"},
     {"[THINK]", "[/THINK]"},
     {"<seed:think>", "</seed:think>"},
     {"<|START_THINKING|>", "<|END_THINKING|>"},
     {"Here is my thought process:", "Here is my response:"}}};

/// Characters at the end of `text` that may be the beginning of `mark`.
std::size_t Overlap(std::string_view text, std::string_view mark) {
  for (std::size_t n = std::min(text.size(), mark.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == mark.substr(0, n)) return n;
  }
  return 0;
}

std::vector<tok::TokenId> Encode(const tok::Tokenizer& tokenizer, std::string_view text) {
  auto ids = tokenizer.Encode(text, {.add_special = false, .parse_special = true});
  return ids.ok() ? std::move(*ids) : std::vector<tok::TokenId>();
}

}  // namespace

ReasoningMarks FindReasoningMarks(std::string_view template_source, const tok::Tokenizer& tokenizer) {
  for (const auto& [open, close] : kMarks) {
    if (template_source.find(close) != std::string_view::npos) return {std::string(open), std::string(close)};
  }
  for (const auto& [open, close] : kMarks) {
    if (tokenizer.FindToken(open).has_value() && tokenizer.FindToken(close).has_value()) {
      return {std::string(open), std::string(close)};
    }
  }
  return {};
}

bool EndsInThought(const ReasoningMarks& marks, const tok::Tokenizer& tokenizer, std::span<const tok::TokenId> prompt) {
  if (!marks.known()) return false;
  std::string tail;
  const std::size_t last = std::min(prompt.size(), marks.open.size() + 8);
  for (const tok::TokenId token : prompt.last(last)) tail += tokenizer.TokenBytes(token);
  tail.resize(tail.find_last_not_of(kSpace) + 1);
  return std::string_view(tail).ends_with(marks.open);
}

engine::ThinkingRules ThinkingRulesOf(const ReasoningMarks& marks, const tok::Tokenizer& tokenizer) {
  engine::ThinkingRules rules;
  if (!marks.known()) return rules;
  rules.open = Encode(tokenizer, marks.open);
  rules.close = Encode(tokenizer, marks.close);
  // As models end their thoughts themselves.
  const std::vector<tok::TokenId> before = Encode(tokenizer, "\n");
  const std::vector<tok::TokenId> after = Encode(tokenizer, "\n\n");
  rules.forced = before;
  rules.forced.insert(rules.forced.end(), rules.close.begin(), rules.close.end());
  rules.forced.insert(rules.forced.end(), after.begin(), after.end());
  return rules;
}

engine::ThinkingRules HarmonyThinking(const tok::Tokenizer& tokenizer) {
  engine::ThinkingRules rules;
  for (const char* name : {"<|channel|>", "<|message|>", "<|end|>", "<|start|>"}) {
    if (!tokenizer.FindToken(name).has_value()) return rules;  // then these would be text, and no thought
  }
  rules.open = Encode(tokenizer, "<|channel|>analysis<|message|>");
  rules.close = Encode(tokenizer, "<|end|>");
  rules.forced = Encode(tokenizer, "<|end|><|start|>assistant<|channel|>final<|message|>");
  return rules;
}

ReasoningSplitter::Piece ReasoningSplitter::Push(std::string_view text) {
  Piece out;
  held_ += text;
  while (Advance(out)) {
  }
  return out;
}

/// Takes what is certain off held_; whether the state changed, so that there may be more.
bool ReasoningSplitter::Advance(Piece& out) {
  switch (state_) {
    case State::kStart: {
      const std::size_t begin = held_.find_first_not_of(kSpace);
      if (begin == std::string::npos) return false;
      const std::string_view text = std::string_view(held_).substr(begin);
      if (text.starts_with(marks_.open)) {
        held_.erase(0, begin + marks_.open.size());
        state_ = State::kBegun;
        return true;
      }
      if (std::string_view(marks_.open).starts_with(text)) return false;
      state_ = State::kAnswer;
      return true;
    }
    case State::kBegun:
    case State::kClosed: {
      held_.erase(0, std::min(held_.find_first_not_of("\r\n"), held_.size()));
      if (held_.empty()) return false;
      state_ = state_ == State::kBegun ? State::kThought : State::kAnswer;
      return true;
    }
    case State::kThought: {
      const std::size_t end = held_.find(marks_.close);
      const bool closed = end != std::string::npos;
      std::size_t certain = closed ? end : held_.size() - Overlap(held_, marks_.close);
      while (certain > 0 && kSpace.find(held_[certain - 1]) != std::string_view::npos) --certain;
      out.reasoning.append(held_, 0, certain);
      held_.erase(0, closed ? end + marks_.close.size() : certain);
      if (closed) state_ = State::kClosed;
      return closed;
    }
    case State::kAnswer: break;
  }
  out.content += held_;
  held_.clear();
  return false;
}

ReasoningSplitter::Piece ReasoningSplitter::Finish() {
  Piece out;
  (state_ == State::kThought ? out.reasoning : out.content) = std::exchange(held_, {});
  return out;
}

}  // namespace quorum::server
