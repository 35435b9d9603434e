#include "server/random_id.h"

#include <random>

#include <fmt/format.h>
#include <sys/random.h>

namespace quorum::server {

std::uint64_t RandomBits() {
  std::uint64_t bits = 0;
  if (::getrandom(&bits, sizeof bits, 0) == static_cast<ssize_t>(sizeof bits)) return bits;
  std::random_device device;  // only where the kernel has no getrandom
  return (std::uint64_t{device()} << 32) ^ device();
}

std::string RandomId(std::string_view prefix) {
  return fmt::format("{}{:016x}{:08x}", prefix, RandomBits(), RandomBits() & 0xFFFFFFFFU);
}

}  // namespace quorum::server
