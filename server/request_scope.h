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
  /// `account` may be null. A place has been taken in it (KeyAccount::Enter) and is given back at the end.
  RequestScope(std::string id, std::shared_ptr<KeyAccount> account)
      : id_(std::move(id)), account_(std::move(account)), started_(std::chrono::steady_clock::now()) {}
  ~RequestScope() {
    if (account_ != nullptr) account_->Leave();
  }
  RequestScope(const RequestScope&) = delete;
  RequestScope& operator=(const RequestScope&) = delete;

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
  std::string key_name() const { return account_ == nullptr ? std::string() : account_->name(); }
  std::int64_t prompt() const { return prompt_; }
  std::int64_t cached() const { return cached_; }
  std::int64_t generated() const { return generated_; }
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count(); }

 private:
  const std::string id_;
  const std::shared_ptr<KeyAccount> account_;
  const std::chrono::steady_clock::time_point started_;
  std::int64_t prompt_ = 0, cached_ = 0, generated_ = 0;
};

}  // namespace quorum::server
