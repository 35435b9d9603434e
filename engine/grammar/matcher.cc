#include "engine/grammar/matcher.h"

#include <utility>

#include "engine/base/check.h"

namespace quorum::grammar {

Matcher::Matcher(std::shared_ptr<const CompiledGrammar> grammar)
    : grammar_(std::move(grammar)), table_(grammar_->table()), history_{table_->Look(table_->start())} {}

bool Matcher::Accept(TokenId token) {
  const Vocabulary& vocabulary = grammar_->vocabulary();
  if (token < 0 || token >= vocabulary.size()) return false;
  MoveToCurrentTable();
  const std::string_view bytes = vocabulary.BytesOf(token);
  Seen next;
  if (!bytes.empty()) next = table_->Read(now().state, bytes);
  if (next.state == ParseStates::kDead) {
    if (!vocabulary.IsEnd(token) || !CanEnd()) return false;
    next = now();
  }
  if (history_.size() >= 2 * (kHistory + 1)) {
    history_.erase(history_.begin(), history_.end() - static_cast<std::ptrdiff_t>(kHistory) - 1);
  }
  history_.push_back(next);
  return true;
}

void Matcher::Rollback(std::size_t tokens) {
  QUORUM_CHECK(tokens < history_.size());
  history_.resize(history_.size() - tokens);
}

void Matcher::MoveToCurrentTable() {
  auto current = grammar_->table();
  if (current == table_) return;
  if (history_.size() > kHistory + 1) {
    history_.erase(history_.begin(), history_.end() - static_cast<std::ptrdiff_t>(kHistory) - 1);
  }
  for (Seen& seen : history_) seen.state = current->Import(*table_, seen.state);
  table_ = std::move(current);
}

}  // namespace quorum::grammar
