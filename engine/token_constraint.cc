#include "engine/token_constraint.h"

#include <algorithm>
#include <iterator>

namespace quorum::engine {

std::shared_ptr<const grammar::Vocabulary> MakeGrammarVocabulary(const tok::Tokenizer& tokenizer) {
  std::vector<grammar::VocabularyToken> tokens;
  tokens.reserve(static_cast<std::size_t>(tokenizer.vocab_size()));
  for (tok::TokenId id = 0; id < tokenizer.vocab_size(); ++id) {
    const auto kind = tokenizer.IsEndOfGeneration(id) ? grammar::TokenKind::kEnd
                      : tokenizer.IsControl(id)       ? grammar::TokenKind::kControl
                                                      : grammar::TokenKind::kText;
    tokens.push_back({tokenizer.TokenBytes(id), kind});
  }
  return std::make_shared<const grammar::Vocabulary>(tokens);
}

TokenConstraint::TokenConstraint(const GenerationRequest& request, const tok::Tokenizer& tokenizer)
    : matcher_(request.grammar), avoid_end_(request.ignore_eos) {
  const auto ends = request.grammar->vocabulary().end_tokens();
  ends_.assign(ends.begin(), ends.end());
  std::copy_if(request.stop_ids.begin(), request.stop_ids.end(), std::back_inserter(ends_),
               [&](tok::TokenId id) { return tokenizer.IsControl(id); });
}

const TokenFilter& TokenConstraint::Filter() {
  allowed_ = matcher_.Allowed();
  filter_.allowed = allowed_.get();
  const bool may_end = matcher_.CanEnd() && (!avoid_end_ || allowed_->count() == 0);
  filter_.also = may_end ? std::span<const tok::TokenId>(ends_) : std::span<const tok::TokenId>();
  return filter_;
}

Status TokenConstraint::Push(tok::TokenId token, grammar::Prefetcher& prefetcher) {
  if (!matcher_.Accept(token)) {
    const bool ends = matcher_.CanEnd() && std::find(ends_.begin(), ends_.end(), token) != ends_.end();
    return ends ? Status() : Internal("A token was generated that does not fit the grammar.");
  }
  if (!matcher_.Finished()) prefetcher.Start(matcher_.prefetch());
  return {};
}

}  // namespace quorum::engine
