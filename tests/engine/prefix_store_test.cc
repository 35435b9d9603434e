#include "engine/prefix_store.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <unistd.h>

#include "engine/step_model.h"
#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

const PrefixKind kKind{"fp_1", 24};

std::vector<StoredPrefix> Some() {
  std::vector<StoredPrefix> prefixes;
  for (std::int32_t pages = 1; pages <= 3; ++pages) {
    StoredPrefix prefix;
    prefix.lineage = pages == 2 ? std::string("a\0b", 3) : "";
    for (std::int32_t i = 0; i < pages * kPageTokens; ++i) prefix.tokens.push_back(i * pages);
    for (std::int32_t i = 0; i < pages * 24; ++i) prefix.pages.push_back(static_cast<std::byte>(i + pages));
    prefixes.push_back(std::move(prefix));
  }
  return prefixes;
}

bool Same(const std::vector<StoredPrefix>& a, const std::vector<StoredPrefix>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const StoredPrefix& x, const StoredPrefix& y) {
    return x.lineage == y.lineage && x.tokens == y.tokens && x.pages == y.pages;
  });
}

TEST_CASE("Stored prefixes come back as they were") {
  const auto read = ReadPrefixes(kKind, WritePrefixes(kKind, Some()));
  REQUIRE(read.ok());
  CHECK(Same(*read, Some()));
  CHECK(ReadPrefixes(kKind, WritePrefixes(kKind, {}))->empty());
}

TEST_CASE("Another model's prefixes, damage anywhere and files that are cut off are refused") {
  const std::vector<std::byte> bytes = WritePrefixes(kKind, Some());
  CHECK(ReadPrefixes({"fp_2", 24}, bytes).error().code == ErrorCode::kInvalidArgument);
  CHECK(ReadPrefixes({"fp_1", 25}, bytes).error().code == ErrorCode::kInvalidArgument);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    std::vector<std::byte> damaged = bytes;
    damaged[i] ^= std::byte{4};
    REQUIRE_FALSE(ReadPrefixes(kKind, damaged).ok());
    REQUIRE_FALSE(ReadPrefixes(kKind, std::span(bytes).first(i)).ok());
  }
}

TEST_CASE("A file of prefixes is written whole, and one that is not there holds nothing") {
  const std::string path = "/tmp/quorum_prefix_test_" + std::to_string(::getpid());
  std::remove(path.c_str());
  CHECK(LoadPrefixFile(path, kKind)->empty());
  REQUIRE(SavePrefixFile(path, kKind, Some()).ok());
  REQUIRE(SavePrefixFile(path, kKind, Some()).ok());  // again, over it
  const auto loaded = LoadPrefixFile(path, kKind);
  REQUIRE(loaded.ok());
  CHECK(Same(*loaded, Some()));
  CHECK(CheckPrefixFile(path).ok());
  std::remove(path.c_str());
  CHECK(CheckPrefixFile(path).ok());
  CHECK_FALSE(SavePrefixFile("/nowhere/at/all", kKind, Some()).ok());
}

TEST_CASE("What is no file of prefixes is not written over") {
  const std::string path = "/tmp/quorum_prefix_test_" + std::to_string(::getpid());
  const auto holding = [&path](std::string_view text) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
    return CheckPrefixFile(path);
  };
  CHECK(holding("").ok());
  CHECK(holding("QPREFIX7 of a later version").ok());
  const Status model = holding("GGUF, a model");
  REQUIRE_FALSE(model.ok());
  CHECK(model.error().message == path + " is no file of stored prefixes, and would be written over");
  std::remove(path.c_str());
  CHECK_FALSE(CheckPrefixFile("/dev/zero").ok());
}

}  // namespace
}  // namespace quorum::engine
