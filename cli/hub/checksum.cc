#include "cli/hub/checksum.h"

#include <algorithm>
#include <array>
#include <cctype>

#include <fmt/format.h>
#include <openssl/evp.h>

namespace quorum::hub {
namespace {

EVP_MD_CTX* Of(void* context) { return static_cast<EVP_MD_CTX*>(context); }

}  // namespace

void Checksum::Free::operator()(void* context) const { ::EVP_MD_CTX_free(Of(context)); }

Checksum::Checksum(std::string_view etag, std::uint64_t size) {
  const bool digits = std::all_of(etag.begin(), etag.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
  const EVP_MD* kind = digits && etag.size() == 64   ? ::EVP_sha256()
                       : digits && etag.size() == 40 ? ::EVP_sha1()
                                                     : nullptr;
  if (kind == nullptr) return;
  context_.reset(::EVP_MD_CTX_new());
  if (context_ == nullptr || ::EVP_DigestInit_ex(Of(context_.get()), kind, nullptr) != 1) {
    context_.reset();
    return;
  }
  if (etag.size() != 40) return;
  const std::string head = fmt::format("blob {}", size);  // with the NUL behind it
  Add(head.c_str(), head.size() + 1);
}

void Checksum::Add(const void* data, std::size_t size) {
  if (known()) ::EVP_DigestUpdate(Of(context_.get()), data, size);
}

std::string Checksum::Finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  std::string text;
  if (!known() || ::EVP_DigestFinal_ex(Of(context_.get()), digest.data(), &size) != 1) return text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest[i]);
  return text;
}

std::string_view PlainEtag(std::string_view etag) {
  if (etag.starts_with("W/")) etag.remove_prefix(2);
  while (!etag.empty() && etag.front() == '"') etag.remove_prefix(1);
  while (!etag.empty() && etag.back() == '"') etag.remove_suffix(1);
  return etag;
}

}  // namespace quorum::hub
