// What belongs to one request from its acceptance to its last byte: its key's place, and what the log says of it.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "server/auth.h"

namespace quorum::server {

/// Shared by those who write parts of the answer; one of them at a time.
class RequestScope {
 public:
  explicit RequestScope(std::string id) : id_(std::move(id)), started_(std::chrono::steady_clock::now()) {}
  ~RequestScope() {
    if (account_ != nullptr) account_->Leave();
  }
  RequestScope(const RequestScope&) = delete;
  RequestScope& operator=(const RequestScope&) = delete;

  /// Whose key came with the request.
  void NameKey(std::string name) { key_name_ = std::move(name); }
  /// A place has been taken in `account` (KeyAccount::Enter): it is given back at the end, and pays for the tokens.
  void HoldPlace(std::shared_ptr<KeyAccount> account) { account_ = std::move(account); }

  /// A prompt has been computed, `cached` of its tokens being there already.
  void CountPrompt(std::int64_t tokens, std::int64_t cached) {
    prompt_ += tokens;
    cached_ += cached;
    if (account_ != nullptr) account_->Charge(tokens - cached);
  }
  void CountGenerated(std::int64_t tokens) {
    generated_ += tokens;
    if (account_ != nullptr) account_->Charge(tokens);
  }

  const std::string& id() const { return id_; }
  const std::string& key_name() const { return key_name_; }
  std::int64_t prompt() const { return prompt_; }
  std::int64_t cached() const { return cached_; }
  std::int64_t generated() const { return generated_; }
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count(); }

 private:
  const std::string id_;
  std::string key_name_;
  std::shared_ptr<KeyAccount> account_;  // null: no place is held
  const std::chrono::steady_clock::time_point started_;
  std::int64_t prompt_ = 0, cached_ = 0, generated_ = 0;
};

}  // namespace quorum::server
