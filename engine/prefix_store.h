// Chosen prefixes on disk: their tokens with keys and values, bound to the model and checked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/base/result.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

/// Whole pages of one prefix.
struct StoredPrefix {
  std::string lineage;               // as in Sequence; empty: none
  std::vector<tok::TokenId> tokens;  // a multiple of kPageTokens, at least one page
  std::vector<std::byte> pages;      // page after page, each of page_bytes
};

/// What the numbers of a page depend on. Files of another kind are refused.
struct PrefixKind {
  std::string fingerprint;      // of the model and how it is computed
  std::int64_t page_bytes = 0;  // of one page in all layers
};

/// The file: "QPREFIX1", u32 length and text of the fingerprint, u64 page bytes, u32 tokens a page, u32 prefixes; of
/// each u32 length and text of its lineage, u32 tokens, the tokens (i32), the pages; at the end XXH3-128 of all that.
/// Numbers are little-endian.
std::vector<std::byte> WritePrefixes(const PrefixKind& kind, std::span<const StoredPrefix> prefixes);

/// Errors: kDataLoss (cut off, or the checksum is wrong), kInvalidArgument (no such file, another version, or another
/// model's).
Result<std::vector<StoredPrefix>> ReadPrefixes(const PrefixKind& kind, std::span<const std::byte> bytes);

/// The same with files. A file is replaced only by a whole new one. A file that does not exist holds nothing.
Status SavePrefixFile(const std::string& path, const PrefixKind& kind, std::span<const StoredPrefix> prefixes);
Result<std::vector<StoredPrefix>> LoadPrefixFile(const std::string& path, const PrefixKind& kind);

/// Whether prefixes may be saved at `path`: there is nothing yet, or what was such a file, of whatever model and
/// version. Errors: kInvalidArgument.
Status CheckPrefixFile(const std::string& path);

}  // namespace quorum::engine
