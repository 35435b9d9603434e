#include "engine/base/byte_reader.h"

#include <array>
#include <cstdint>

#include "tests/support/catch.h"

namespace quorum {
namespace {

TEST_CASE("ByteReader reads little-endian numbers and says where the bytes ran out") {
  const std::array<std::byte, 5> bytes{std::byte{0x78}, std::byte{0x56}, std::byte{0x34}, std::byte{0x12}, std::byte{9}};
  ByteReader reader(bytes);
  const auto first = reader.Read<std::uint32_t>("magic");
  REQUIRE(first.ok());
  CHECK(*first == 0x12345678U);

  const auto second = reader.Read<std::uint16_t>("version");
  REQUIRE_FALSE(second.ok());
  CHECK(second.error().code == ErrorCode::kDataLoss);
  CHECK(second.error().message == "file ends inside version at offset 4: needs 2 bytes, has 1");
  CHECK(reader.offset() == 4);  // a failed read does not move

  CHECK_FALSE(reader.ReadBytes(~std::uint64_t{0}, "tensor").ok());
  const auto rest = reader.ReadBytes(1, "tail");
  REQUIRE(rest.ok());
  CHECK(rest->front() == std::byte{9});
  CHECK(reader.remaining() == 0);
}

}  // namespace
}  // namespace quorum
