// Where one reply stands in its grammar.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "engine/grammar/compiled_grammar.h"

namespace quorum::grammar {

/// Copying it is cheap. Not thread-safe itself; any number may use one grammar at once.
class Matcher {
 public:
  /// Tokens that can be taken back.
  static constexpr std::size_t kHistory = 64;

  explicit Matcher(std::shared_ptr<const CompiledGrammar> grammar);

  /// Text and control tokens that may follow; end tokens are not among them, see CanEnd(). Not empty unless Finished().
  /// Whatever it allows can be completed.
  std::shared_ptr<const TokenSet> Allowed() const { return table_->Mask(now().state); }

  /// The text may end here.
  bool CanEnd() const { return now().accepts; }
  /// It may end and nothing else may follow.
  bool Finished() const { return now().accepts && !now().open; }

  /// Moves on by a token. False, and nothing changes: it is not allowed. An end token is, where CanEnd(), and leaves
  /// the matcher where it is.
  bool Accept(TokenId token);

  /// Takes back the last `tokens` accepted ones. REQUIRES: no more than were accepted, nor than kHistory.
  void Rollback(std::size_t tokens);

  const CompiledGrammar& grammar() const { return *grammar_; }

  /// What Allowed() will need, for another thread to have it ready: calling it fills the grammar's cache.
  struct Prefetch {
    std::shared_ptr<const CompiledGrammar> grammar;  // keeps alive what the table refers to
    std::shared_ptr<StateTable> table;
    StateId state;
    void operator()() const { table->Mask(state); }
  };
  Prefetch prefetch() const { return {grammar_, table_, now().state}; }

 private:
  using Seen = StateTable::Seen;
  const Seen& now() const { return history_.back(); }
  void MoveToCurrentTable();

  std::shared_ptr<const CompiledGrammar> grammar_;
  std::shared_ptr<StateTable> table_;
  std::vector<Seen> history_;  // after each token, the latest last; never empty
};

}  // namespace quorum::grammar
