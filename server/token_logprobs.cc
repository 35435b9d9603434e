#include "server/token_logprobs.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <fmt/format.h>

namespace quorum::server {
namespace {

Json Bytes(const tok::Tokenizer& tokenizer, tok::TokenId token) {
  if (tokenizer.IsControl(token)) return nullptr;
  Json bytes = Json::array();
  for (const char c : tokenizer.TokenBytes(token)) bytes.push_back(int{static_cast<unsigned char>(c)});
  return bytes;
}

}  // namespace

std::size_t CountChars(std::string_view text) {
  return static_cast<std::size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

std::string TokenString(const tok::Tokenizer& tokenizer, tok::TokenId token, bool as_id) {
  if (as_id) return fmt::format("token_id:{}", token);
  const std::string_view bytes = tokenizer.TokenBytes(token);
  if (tok::IsValidUtf8(bytes)) return std::string(bytes);
  std::string spelled = "bytes:";
  for (const char c : bytes) spelled += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return spelled;
}

double FiniteLogprob(float logprob) {
  return std::isnan(logprob) ? -9999.0 : std::clamp(static_cast<double>(logprob), -9999.0, 0.0);
}

void TextMeter::Push(std::string_view token_bytes) {
  const std::string text = utf8_.Push(token_bytes);
  bytes += text.size();
  chars += CountChars(text);
}

void TokenScores::Add(const engine::Event& token) {
  const bool has_text = include_control_ || !tokenizer_.IsControl(token.token) ||
                        std::find(shown_controls_.begin(), shown_controls_.end(), token.token) != shown_controls_.end();
  const bool shown = !token.ends_text && has_text;
  ended_ = token.ends_text;
  // The last token may have ended generation, or have completed a stop string behind some text of its own; which of
  // the two is known at the end.
  if (!shown && !ended_ && !every_token_) return;
  held_.push_back({token.token, token.logprob, token.top_logprobs, text_.bytes, text_.chars});
  if (shown) text_.Push(tokenizer_.TokenBytes(token.token));
}

std::vector<ScoredToken> TokenScores::Released(std::size_t text_bytes) {
  std::vector<ScoredToken> released;
  while (!held_.empty() && held_.front().byte_begin < text_bytes) {
    released.push_back(std::move(held_.front()));
    held_.pop_front();
  }
  return released;
}

std::vector<ScoredToken> TokenScores::Rest(std::size_t text_bytes, bool stop_matched) {
  if (stop_matched && !every_token_) return Released(text_bytes);
  if (ended_ && !every_token_ && !held_.empty()) held_.pop_back();
  std::vector<ScoredToken> rest(std::make_move_iterator(held_.begin()), std::make_move_iterator(held_.end()));
  held_.clear();
  return rest;
}

std::vector<ScoredToken> PromptScores(const tok::Tokenizer& tokenizer, const std::vector<tok::TokenId>& prompt,
                                      const engine::Event& scores, bool include_control) {
  std::vector<ScoredToken> scored;
  TextMeter text;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    ScoredToken token;
    token.id = prompt[i];
    token.byte_begin = text.bytes;
    token.char_begin = text.chars;
    if (i > 0 && i - 1 < scores.prompt_logprobs.size()) token.logprob = scores.prompt_logprobs[i - 1].logprob;
    if (i > 0 && i - 1 < scores.prompt_top_logprobs.size()) token.top = scores.prompt_top_logprobs[i - 1];
    if (include_control || !tokenizer.IsControl(token.id)) text.Push(tokenizer.TokenBytes(token.id));
    scored.push_back(std::move(token));
  }
  return scored;
}

Json ChatLogprobs(const tok::Tokenizer& tokenizer, const std::vector<ScoredToken>& tokens, bool as_ids) {
  const auto entry = [&](tok::TokenId id, float logprob) {
    return Json{{"token", TokenString(tokenizer, id, as_ids)},
                {"logprob", FiniteLogprob(logprob)},
                {"bytes", Bytes(tokenizer, id)}};
  };
  Json content = Json::array();
  for (const ScoredToken& token : tokens) {
    Json item = entry(token.id, token.logprob.value_or(0));
    item["top_logprobs"] = Json::array();
    for (const engine::TokenLogprob& top : token.top) item["top_logprobs"].push_back(entry(top.id, top.logprob));
    content.push_back(std::move(item));
  }
  return content;
}

Json CompletionLogprobs(const tok::Tokenizer& tokenizer, const std::vector<ScoredToken>& tokens, bool as_ids,
                        std::size_t first_char) {
  Json out = {{"tokens", Json::array()},
              {"token_logprobs", Json::array()},
              {"top_logprobs", Json::array()},
              {"text_offset", Json::array()}};
  for (const ScoredToken& token : tokens) {
    out["tokens"].push_back(TokenString(tokenizer, token.id, as_ids));
    out["text_offset"].push_back(first_char + token.char_begin);
    if (!token.logprob.has_value()) {
      out["token_logprobs"].push_back(nullptr);
      out["top_logprobs"].push_back(nullptr);
      continue;
    }
    out["token_logprobs"].push_back(FiniteLogprob(*token.logprob));
    Json best = Json::object();
    for (const engine::TokenLogprob& top : token.top) {
      best[TokenString(tokenizer, top.id, as_ids)] = FiniteLogprob(top.logprob);
    }
    best[TokenString(tokenizer, token.id, as_ids)] =
        FiniteLogprob(*token.logprob);  // also when it is not among the best
    out["top_logprobs"].push_back(std::move(best));
  }
  return out;
}

}  // namespace quorum::server
