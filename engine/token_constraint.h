// One choice's place in the grammar of its request: what the sampler may draw, and when the text is complete.
#pragma once

#include <memory>
#include <vector>

#include "engine/engine.h"
#include "engine/grammar/matcher.h"
#include "engine/grammar/prefetcher.h"
#include "engine/sampler.h"

namespace quorum::engine {

/// The tokens of `tokenizer` as a grammar sees them. The model's ids beyond the tokenizer's stand for nothing.
std::shared_ptr<const grammar::Vocabulary> MakeGrammarVocabulary(const tok::Tokenizer& tokenizer);

class TokenConstraint {
 public:
  /// REQUIRES: request.grammar.
  TokenConstraint(const GenerationRequest& request, const tok::Tokenizer& tokenizer);

  /// For the next draw; valid until the next call. End tokens and stop ids without text are allowed where the text may
  /// end; with ignore_eos, only where it must.
  const TokenFilter& Filter();

  /// Takes the token that was drawn, and lets `prefetcher` find what may follow. Errors: kInternal when it does not
  /// fit.
  Status Push(tok::TokenId token, grammar::Prefetcher& prefetcher);

  /// The text is complete and nothing else may follow.
  bool complete() const { return matcher_.Finished(); }

 private:
  grammar::Matcher matcher_;
  std::vector<tok::TokenId> ends_;
  const bool avoid_end_;
  std::shared_ptr<const grammar::TokenSet> allowed_;
  TokenFilter filter_;
};

}  // namespace quorum::engine
