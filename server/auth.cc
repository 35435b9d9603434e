#include "server/auth.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <system_error>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

namespace quorum::server {
namespace {

constexpr std::string_view kHashed = "sha256:";

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r'; }

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view NextWord(std::string_view& text) {
  text = Trim(text);
  const auto end = static_cast<std::size_t>(std::find_if(text.begin(), text.end(), IsSpace) - text.begin());
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end);
  return word;
}

std::optional<std::int64_t> Number(std::string_view text) {
  std::int64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = parsed.ec == std::errc() && parsed.ptr == text.data() + text.size();
  return whole && value >= 1 && value <= 1'000'000'000 ? std::optional(value) : std::nullopt;
}

bool FromHex(std::string_view hex, std::array<std::uint8_t, 32>& out) {
  if (hex.size() != 64) return false;
  for (std::size_t i = 0; i < 32; ++i) {
    const auto parsed = std::from_chars(hex.data() + 2 * i, hex.data() + 2 * i + 2, out[i], 16);
    if (parsed.ec != std::errc() || parsed.ptr != hex.data() + 2 * i + 2) return false;
  }
  return true;
}

Error Unauthenticated(std::string message) {
  return {ErrorCode::kUnauthenticated, std::move(message), {}, "invalid_api_key"};
}

}  // namespace

std::optional<KeyAccount::Refusal> KeyAccount::Enter(Clock::time_point now) {
  const std::lock_guard lock(mutex_);
  if (limits_.tokens_per_minute > 0) {
    const double rate = static_cast<double>(limits_.tokens_per_minute) / 60.0;
    if (filled_ != Clock::time_point{}) {
      const double seconds = std::chrono::duration<double>(now - filled_).count();
      tokens_ = std::min(tokens_ + seconds * rate, static_cast<double>(limits_.tokens_per_minute));
    }
    filled_ = now;
    if (tokens_ <= 0) {
      return Refusal{fmt::format("this API key may use {} tokens a minute and has used them; try again later",
                                 limits_.tokens_per_minute),
                     std::min(120.0, (1.0 - tokens_) / rate)};
    }
  }
  if (limits_.concurrent > 0 && running_ >= limits_.concurrent) {
    return Refusal{fmt::format("this API key may have {} {} at a time, and {}; try again later", limits_.concurrent,
                               limits_.concurrent == 1 ? "request" : "requests",
                               limits_.concurrent == 1 ? "it has one" : "it has as many"),
                   1.0};
  }
  ++running_;
  return std::nullopt;
}

void KeyAccount::Leave() {
  const std::lock_guard lock(mutex_);
  --running_;
}

void KeyAccount::Charge(std::int64_t tokens) {
  const std::lock_guard lock(mutex_);
  if (limits_.tokens_per_minute > 0) tokens_ -= static_cast<double>(tokens);
}

ApiKeys::Digest ApiKeys::DigestOf(std::string_view key) {
  Digest digest{};
  ::SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  return digest;
}

Result<ApiKeys> ApiKeys::FromFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return InvalidArgument(fmt::format("{} is a folder", path));
  if (!file) return NotFound(fmt::format("cannot read the API key file {}", path));
  constexpr std::size_t kMost = std::size_t{16} << 20;
  std::string text(kMost + 1, '\0');
  file.read(text.data(), std::ssize(text));
  if (file.bad()) return InvalidArgument(fmt::format("cannot read the API key file {}", path));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kMost) return InvalidArgument(fmt::format("{} is no list of API keys: it has over 16 MiB", path));
  return FromText(text, path);
}

Result<ApiKeys> ApiKeys::FromText(std::string_view text, const std::string& name) {
  ApiKeys keys;
  std::set<Digest> known;
  int number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    const std::string where = fmt::format("{}:{}", name, number);
    QUORUM_ASSIGN(Key key, ReadLine(line, where));
    if (!known.insert(key.digest).second) {
      return InvalidArgument(fmt::format("{}: this key stands in an earlier line, too", where));
    }
    keys.keys_.push_back(std::move(key));
  }
  if (keys.keys_.empty()) return InvalidArgument(fmt::format("{} holds no API key", name));
  return keys;
}

Result<ApiKeys::Key> ApiKeys::ReadLine(std::string_view line, const std::string& where) {
  const std::string_view word = NextWord(line);
  constexpr std::size_t kLongest = 1024;  // no client's head holds much more
  if (word.size() > kLongest || std::any_of(word.begin(), word.end(), [](char c) { return c <= 0x20 || c >= 0x7F; })) {
    return InvalidArgument(
        fmt::format("{}: an API key is one word of printable ASCII, of at most {} characters", where, kLongest));
  }
  Key key;
  if (word.starts_with(kHashed)) {
    if (!FromHex(word.substr(kHashed.size()), key.digest)) {
      return InvalidArgument(fmt::format("{}: 'sha256:' must be followed by 64 hexadecimal digits", where));
    }
  } else {
    key.digest = DigestOf(word);
  }
  std::string name = where.substr(where.rfind(':') + 1);  // the line's number: a name that tells nothing of the key
  name.insert(0, "key-");
  KeyLimits limits;
  for (std::string_view option = NextWord(line); !option.empty(); option = NextWord(line)) {
    const std::size_t equals = std::min(option.find('='), option.size());
    const std::string_view left = option.substr(0, equals);
    const std::string_view right = option.substr(std::min(equals + 1, option.size()));
    const auto value = Number(right);
    if (left == "name" && !right.empty()) {
      name = right;
    } else if (left == "concurrent" && value.has_value()) {
      limits.concurrent = static_cast<int>(*value);
    } else if (left == "tokens-per-minute" && value.has_value()) {
      limits.tokens_per_minute = *value;
    } else {
      return InvalidArgument(
          fmt::format("{}: '{}' is none of name=WORD, concurrent=N and tokens-per-minute=N (N from 1)", where, option));
    }
  }
  key.account = std::make_shared<KeyAccount>(std::move(name), limits);
  return key;
}

Result<std::shared_ptr<KeyAccount>> ApiKeys::Check(const HttpRequest& request) const {
  if (!required()) return std::shared_ptr<KeyAccount>();
  std::string_view given;
  if (const std::string* header = request.FindHeader("Authorization"); header != nullptr) {
    constexpr std::string_view kScheme = "Bearer ";
    const std::string_view value = *header;
    if (!EqualsIgnoreCase(value.substr(0, kScheme.size()), kScheme)) {
      return Unauthenticated("the Authorization header must be 'Bearer KEY'");
    }
    given = Trim(value.substr(kScheme.size()));
  } else if (const std::string* plain = request.FindHeader("x-api-key"); plain != nullptr) {
    given = Trim(*plain);
  } else {
    return Unauthenticated("an API key is needed: send the header 'Authorization: Bearer KEY' or 'x-api-key: KEY'");
  }
  // Digests are compared, so that neither a key's length nor its beginning shows in the time.
  const Digest digest = DigestOf(given);
  std::shared_ptr<KeyAccount> account;
  for (const Key& key : keys_) {
    if (::CRYPTO_memcmp(digest.data(), key.digest.data(), digest.size()) == 0) account = key.account;
  }
  if (account == nullptr) return Unauthenticated("the API key is not valid");
  return account;
}

}  // namespace quorum::server
