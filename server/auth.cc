#include "server/auth.h"

#include <algorithm>
#include <fstream>
#include <iterator>

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

namespace quorum::server {
namespace {

std::string_view Trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

Error Unauthenticated(std::string message) {
  return {ErrorCode::kUnauthenticated, std::move(message), {}, "invalid_api_key"};
}

}  // namespace

ApiKeys::Digest ApiKeys::DigestOf(std::string_view key) {
  Digest digest{};
  ::SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.data());
  return digest;
}

Result<ApiKeys> ApiKeys::FromFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFound(fmt::format("cannot read the API key file {}", path));
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  return FromText(text, path);
}

Result<ApiKeys> ApiKeys::FromText(std::string_view text, const std::string& name) {
  ApiKeys keys;
  int number = 0;
  while (!text.empty()) {
    ++number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = Trim(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    if (std::any_of(line.begin(), line.end(), [](char c) { return c <= 0x20 || c >= 0x7F; })) {
      return InvalidArgument(fmt::format("{}:{}: an API key is one word of printable ASCII", name, number));
    }
    keys.digests_.push_back(DigestOf(line));
  }
  if (keys.digests_.empty()) return InvalidArgument(fmt::format("{} holds no API key", name));
  return keys;
}

Status ApiKeys::Check(const HttpRequest& request) const {
  if (!required()) return {};
  const std::string* header = request.FindHeader("Authorization");
  if (header == nullptr) {
    return Unauthenticated("an API key is needed: send the header 'Authorization: Bearer KEY'");
  }
  constexpr std::string_view kScheme = "Bearer ";
  const std::string_view value = *header;
  if (!EqualsIgnoreCase(value.substr(0, kScheme.size()), kScheme)) {
    return Unauthenticated("the Authorization header must be 'Bearer KEY'");
  }
  // Digests are compared, so that neither a key's length nor its beginning shows in the time.
  const Digest given = DigestOf(Trim(value.substr(kScheme.size())));
  int matches = 0;
  for (const Digest& digest : digests_)
    matches |= ::CRYPTO_memcmp(given.data(), digest.data(), digest.size()) == 0 ? 1 : 0;
  if (matches == 0) return Unauthenticated("the API key is not valid");
  return {};
}

}  // namespace quorum::server
