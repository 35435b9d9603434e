// Identifiers that cannot be guessed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace quorum::server {

/// `prefix` and 24 random hex digits, e.g. "chatcmpl-6f1c…".
std::string RandomId(std::string_view prefix);

/// 64 random bits, e.g. for a seed that a request does not give.
std::uint64_t RandomBits();

}  // namespace quorum::server
