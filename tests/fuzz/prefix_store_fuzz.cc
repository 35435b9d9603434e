// libFuzzer target: ReadPrefixes, on the input as it is and with the right checksum behind it; what was read is written
// back as the same bytes.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "engine/prefix_store.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const quorum::engine::PrefixKind kind{"fp", 16};
  const auto* begin = reinterpret_cast<const std::byte*>(data);
  std::vector<std::byte> bytes(begin, begin + size);
  for (const bool summed : {false, true}) {
    if (summed) {
      XXH128_canonical_t sum;
      XXH128_canonicalFromHash(&sum, XXH3_128bits(data, size));
      const auto* digest = reinterpret_cast<const std::byte*>(sum.digest);
      bytes.insert(bytes.end(), digest, digest + sizeof sum.digest);
    }
    const auto read = quorum::engine::ReadPrefixes(kind, bytes);
    if (!read.ok()) {
      if (read.error().message.empty()) std::abort();
      continue;
    }
    if (quorum::engine::WritePrefixes(kind, *read) != bytes) std::abort();
  }
  return 0;
}
