// API keys, and what each of them may use.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/result.h"
#include "server/http_message.h"

namespace quorum::server {

/// What one key may use at a time; 0: no limit.
struct KeyLimits {
  int concurrent = 0;                  // requests that run or wait
  std::int64_t tokens_per_minute = 0;  // prompt tokens that were computed, and generated ones
};

/// One key's use. Thread-safe.
class KeyAccount {
 public:
  using Clock = std::chrono::steady_clock;

  KeyAccount(std::string name, KeyLimits limits)
      : name_(std::move(name)), limits_(limits), tokens_(static_cast<double>(limits.tokens_per_minute)) {}

  const std::string& name() const { return name_; }

  struct Refusal {
    std::string message;  // which limit
    double wait;          // seconds until trying again makes sense
  };
  /// Takes a place for a request. Nothing: it may run.
  std::optional<Refusal> Enter(Clock::time_point now);
  void Leave();
  /// Tokens are paid for when they are known: the account may fall below zero, and requests wait until it is not.
  void Charge(std::int64_t tokens);

 private:
  const std::string name_;
  const KeyLimits limits_;
  std::mutex mutex_;
  int running_ = 0;
  double tokens_;
  Clock::time_point filled_{};
};

/// The keys that are accepted; none: everybody is. Immutable after loading, thread-safe.
class ApiKeys {
 public:
  /// One key a line; empty lines and lines that begin with '#' are skipped. A key is one word, or `sha256:` and the
  /// hexadecimal digest of one, so that the file need not hold it. Behind it may stand `name=WORD`, `concurrent=N` and
  /// `tokens-per-minute=N`.
  /// Errors: kNotFound, kInvalidArgument (a key with characters that a header cannot carry or that stands there twice,
  /// an option that is none, or no key at all).
  static Result<ApiKeys> FromFile(const std::string& path);
  static Result<ApiKeys> FromText(std::string_view text, const std::string& name);

  bool required() const { return !keys_.empty(); }

  /// Checks `Authorization: Bearer KEY` (the scheme in any case), or `x-api-key: KEY`. The time does not depend on how
  /// much of a key is right, nor on which key it is. The account is null where no key is required.
  Result<std::shared_ptr<KeyAccount>> Check(const HttpRequest& request) const;

 private:
  using Digest = std::array<std::uint8_t, 32>;
  struct Key {
    Digest digest;
    std::shared_ptr<KeyAccount> account;
  };
  static Digest DigestOf(std::string_view key);
  static Result<Key> ReadLine(std::string_view line, const std::string& where);

  std::vector<Key> keys_;
};

}  // namespace quorum::server
