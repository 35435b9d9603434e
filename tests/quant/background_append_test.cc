// Bytes that a thread of their own writes and hashes are those that were added, and its failures are told.
#include "quant/background_append.h"

#include <sys/resource.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "tests/quant/scratch.h"
#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

std::vector<std::byte> Bytes(std::size_t n, unsigned seed) {
  std::vector<std::byte> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<std::byte>((i * 2654435761U + seed) >> 13);
  return out;
}

TEST_CASE("Pieces of any size come to the file and the hash in their order") {
  const Folder folder;
  std::vector<std::byte> all;
  Sha256 hash;
  {
    auto file = ResumableFile::Open(folder / "f", false);
    REQUIRE(file.ok());
    BackgroundAppend background(*file, hash);
    unsigned seed = 0;
    for (const std::size_t n : {std::size_t{3}, std::size_t{0}, BackgroundAppend::kPiece - 3, BackgroundAppend::kPiece,
                                2 * BackgroundAppend::kPiece + 17, std::size_t{1000}, std::size_t{5}}) {
      const std::vector<std::byte> part = Bytes(n, ++seed);
      REQUIRE(background.Add(part).ok());
      all.insert(all.end(), part.begin(), part.end());
    }
    REQUIRE(background.Finish().ok());
    CHECK(file->size() == all.size());
    REQUIRE(file->Publish().ok());
  }
  std::ifstream stream(folder / "f", std::ios::binary);
  const std::string found{std::istreambuf_iterator<char>(stream), {}};
  CHECK(std::ranges::equal(std::as_bytes(std::span(found)), all));
  Sha256 whole;
  whole.Add(all);
  CHECK(hash.Finish() == whole.Finish());
}

TEST_CASE("A disk that is full is told by what comes after") {
  const Folder folder;
  auto file = ResumableFile::Open(folder / "f", false);
  REQUIRE(file.ok());
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto old = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{BackgroundAppend::kPiece + 100, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  Status added, finished;
  {
    Sha256 hash;
    BackgroundAppend background(*file, hash);
    const std::vector<std::byte> part = Bytes(BackgroundAppend::kPiece, 1);
    for (int i = 0; i < 6 && added.ok(); ++i) added = background.Add(part);
    finished = background.Finish();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old);
  CHECK_FALSE(added.ok());
  CHECK_FALSE(finished.ok());
  CHECK(finished.error().message.find("cannot write") != std::string::npos);
}

}  // namespace
}  // namespace quorum::quant
