// How much, for people.
#pragma once

#include <cstdint>
#include <string>

namespace quorum {

/// "97.7 kB", "300.0 MB", "1.25 GB": powers of 1000, as sizes of files are told and as --target-size reads them.
std::string FormatBytes(std::uint64_t bytes);
inline std::string FormatBytes(std::int64_t bytes) { return FormatBytes(static_cast<std::uint64_t>(bytes)); }

}  // namespace quorum
