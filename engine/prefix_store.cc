#include "engine/prefix_store.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "engine/base/byte_reader.h"
#include "engine/base/mapped_file.h"
#include "engine/base/new_file.h"
#include "engine/step_model.h"

namespace quorum::engine {
namespace {

constexpr std::string_view kMagic = "QPREFIX1";
constexpr std::size_t kSumBytes = 16;

using Sum = std::array<std::byte, kSumBytes>;

Sum Checksum(std::span<const std::byte> bytes) {
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits(bytes.data(), bytes.size()));
  Sum sum;
  std::memcpy(sum.data(), canonical.digest, sum.size());
  return sum;
}

void Append(std::vector<std::byte>& out, const void* data, std::size_t size) {
  if (size == 0) return;
  const std::size_t at = out.size();
  out.resize(at + size);
  std::memcpy(out.data() + at, data, size);
}

template <typename T>
void Put(std::vector<std::byte>& out, T value) {
  Append(out, &value, sizeof value);
}

void PutText(std::vector<std::byte>& out, std::string_view text) {
  Put(out, static_cast<std::uint32_t>(text.size()));
  Append(out, text.data(), text.size());
}

Result<std::string> ReadText(ByteReader& reader, std::string_view what) {
  QUORUM_ASSIGN(const auto size, reader.Read<std::uint32_t>(what));
  QUORUM_ASSIGN(const auto bytes, reader.ReadBytes(size, what));
  return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

Result<StoredPrefix> ReadPrefix(ByteReader& reader, std::int64_t page_bytes) {
  StoredPrefix prefix;
  QUORUM_ASSIGN(prefix.lineage, ReadText(reader, "a lineage"));
  QUORUM_ASSIGN(const auto count, reader.Read<std::uint32_t>("a number of tokens"));
  if (count == 0 || count % kPageTokens != 0) return DataLoss("a stored prefix does not consist of whole pages");
  QUORUM_ASSIGN(const auto ids, reader.ReadBytes(std::uint64_t{count} * sizeof(tok::TokenId), "tokens"));
  const std::uint64_t pages = count / static_cast<std::uint64_t>(kPageTokens);
  // What a file claims is compared with what it has before anything of that size is allocated.
  if (pages > reader.remaining() / static_cast<std::uint64_t>(page_bytes)) {
    return DataLoss("a stored prefix has more pages than the file holds");
  }
  QUORUM_ASSIGN(const auto content, reader.ReadBytes(pages * static_cast<std::uint64_t>(page_bytes), "pages"));
  prefix.tokens.resize(count);
  std::memcpy(prefix.tokens.data(), ids.data(), ids.size());
  prefix.pages.assign(content.begin(), content.end());
  return prefix;
}

}  // namespace

std::vector<std::byte> WritePrefixes(const PrefixKind& kind, std::span<const StoredPrefix> prefixes) {
  std::vector<std::byte> out;
  Append(out, kMagic.data(), kMagic.size());
  PutText(out, kind.fingerprint);
  Put(out, static_cast<std::uint64_t>(kind.page_bytes));
  Put(out, static_cast<std::uint32_t>(kPageTokens));
  Put(out, static_cast<std::uint32_t>(prefixes.size()));
  for (const StoredPrefix& prefix : prefixes) {
    PutText(out, prefix.lineage);
    Put(out, static_cast<std::uint32_t>(prefix.tokens.size()));
    Append(out, prefix.tokens.data(), prefix.tokens.size() * sizeof(tok::TokenId));
    Append(out, prefix.pages.data(), prefix.pages.size());
  }
  const Sum sum = Checksum(out);
  Append(out, sum.data(), sum.size());
  return out;
}

Result<std::vector<StoredPrefix>> ReadPrefixes(const PrefixKind& kind, std::span<const std::byte> bytes) {
  if (bytes.size() < kMagic.size() + kSumBytes || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return InvalidArgument("this is no file of stored prefixes, or of another version");
  }
  const auto content = bytes.first(bytes.size() - kSumBytes);
  const Sum sum = Checksum(content);
  if (std::memcmp(sum.data(), bytes.data() + content.size(), kSumBytes) != 0) {
    return DataLoss("the checksum of the stored prefixes is wrong: the file is damaged or cut off");
  }
  ByteReader reader(content.subspan(kMagic.size()));
  QUORUM_ASSIGN(const std::string fingerprint, ReadText(reader, "the fingerprint"));
  QUORUM_ASSIGN(const auto page_bytes, reader.Read<std::uint64_t>("the page size"));
  QUORUM_ASSIGN(const auto page_tokens, reader.Read<std::uint32_t>("the page length"));
  if (fingerprint != kind.fingerprint || page_bytes != static_cast<std::uint64_t>(kind.page_bytes) || page_bytes == 0 ||
      page_tokens != static_cast<std::uint32_t>(kPageTokens)) {
    return InvalidArgument("the stored prefixes are another model's (" + fingerprint + ", this is " + kind.fingerprint +
                           ")");
  }
  QUORUM_ASSIGN(const auto count, reader.Read<std::uint32_t>("the number of prefixes"));
  std::vector<StoredPrefix> prefixes;
  for (std::uint32_t i = 0; i < count; ++i) {
    QUORUM_ASSIGN(StoredPrefix prefix, ReadPrefix(reader, kind.page_bytes));
    prefixes.push_back(std::move(prefix));
  }
  if (reader.remaining() != 0) return DataLoss("there is more behind the stored prefixes");
  return prefixes;
}

Status SavePrefixFile(const std::string& path, const PrefixKind& kind, std::span<const StoredPrefix> prefixes) {
  QUORUM_ASSIGN(NewFile file, NewFile::Create(path, true));
  QUORUM_TRY(file.Write(WritePrefixes(kind, prefixes)));
  return file.Publish();
}

Result<std::vector<StoredPrefix>> LoadPrefixFile(const std::string& path, const PrefixKind& kind) {
  std::error_code error;
  if (!std::filesystem::exists(path, error) && !error) return std::vector<StoredPrefix>();
  QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(path));
  auto prefixes = ReadPrefixes(kind, file.bytes());
  if (!prefixes.ok()) return Error{prefixes.error().code, path + ": " + prefixes.error().message, {}, {}};
  return prefixes;
}

Status CheckPrefixFile(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return {};
  if (std::filesystem::is_regular_file(path, error) && std::filesystem::file_size(path, error) == 0) return {};
  QUORUM_ASSIGN(const MappedFile file, MappedFile::Open(path));
  const std::string_view any_version = kMagic.substr(0, kMagic.size() - 1);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  if (text.starts_with(any_version)) return {};
  return InvalidArgument(path + " is no file of stored prefixes, and would be written over");
}

}  // namespace quorum::engine
