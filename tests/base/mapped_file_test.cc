#include "engine/base/mapped_file.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <utility>

#include "engine/base/aligned_buffer.h"
#include "engine/base/units.h"
#include "tests/support/catch.h"

namespace quorum {
namespace {

/// A file that is removed at the end of the scope.
class TempFile {
 public:
  explicit TempFile(const std::string& text) {
    const int fd = ::mkstemp(path_.data());
    REQUIRE(fd >= 0);
    REQUIRE(::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    ::close(fd);
  }
  ~TempFile() { std::remove(path_.c_str()); }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = "/tmp/quorum_mapped_XXXXXX";
};

TEST_CASE("MappedFile shows a file's bytes and survives a move") {
  const TempFile temp("experts");
  auto opened = MappedFile::Open(temp.path());
  REQUIRE(opened.ok());
  const MappedFile file = std::move(opened).value();
  const auto bytes = file.bytes();
  CHECK(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()) == "experts");
  file.Advise(bytes, true);
  file.Advise(bytes, false);
  CHECK(static_cast<char>(bytes[0]) == 'e');  // still readable after its pages were dropped
}

TEST_CASE("A pipe is refused, not waited for") {
  const TempFile temp("");
  std::remove(temp.path().c_str());
  REQUIRE(::mkfifo(temp.path().c_str(), 0600) == 0);
  const auto opened = MappedFile::Open(temp.path());
  REQUIRE_FALSE(opened.ok());
  CHECK(opened.error().message == temp.path() + " is not a regular file");
}

TEST_CASE("A file opens by the name that it was given, and is told of by that") {
  const TempFile temp("experts");
  MappedFile::Name("a name", temp.path());
  const auto opened = MappedFile::Open("a name");
  REQUIRE(opened.ok());
  CHECK(opened->bytes().size() == 7);
  CHECK(opened->path() == "a name");
  MappedFile::Name("another name", "/tmp/quorum-no-such-file");
  const auto missing = MappedFile::Open("another name");
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().message.find("cannot open another name") == 0);
}

TEST_CASE("Sizes are told in powers of 1000") {
  CHECK(FormatBytes(std::uint64_t{0}) == "0.0 kB");
  CHECK(FormatBytes(std::uint64_t{97700}) == "97.7 kB");
  CHECK(FormatBytes(std::uint64_t{300'000'000}) == "300.0 MB");
  CHECK(FormatBytes(std::int64_t{1'250'000'000}) == "1.25 GB");
}

TEST_CASE("MappedFile refuses what is not a readable file, and says why") {
  const auto missing = MappedFile::Open("/tmp/quorum-no-such-file");
  REQUIRE_FALSE(missing.ok());
  CHECK(missing.error().code == ErrorCode::kNotFound);
  CHECK(missing.error().message.find("/tmp/quorum-no-such-file") != std::string::npos);

  const auto folder = MappedFile::Open("/tmp");
  REQUIRE_FALSE(folder.ok());
  CHECK(folder.error().message == "/tmp is not a regular file");

  const TempFile empty("");
  const auto nothing = MappedFile::Open(empty.path());
  REQUIRE_FALSE(nothing.ok());
  CHECK(nothing.error().message == empty.path() + " is empty");
}

TEST_CASE("AlignedBuffer is zeroed, aligned and movable; an impossible size is an error") {
  auto made = AlignedBuffer::Allocate(1000);
  REQUIRE(made.ok());
  AlignedBuffer a = std::move(made).value();
  CHECK(reinterpret_cast<std::uintptr_t>(a.data()) % 64 == 0);
  CHECK(a.As<std::uint32_t>(996)[0] == 0);
  a.As<std::uint32_t>()[3] = 7;
  const AlignedBuffer b = std::move(a);
  CHECK(b.size() == 1000);
  CHECK(b.As<std::uint32_t>()[3] == 7);

  const auto impossible = AlignedBuffer::Allocate(std::size_t{1} << 60);
  REQUIRE_FALSE(impossible.ok());
  CHECK(impossible.error().message.find("1152921504606846976 bytes") != std::string::npos);
  CHECK(AlignedBuffer::Allocate(0).value().data() == nullptr);
}

}  // namespace
}  // namespace quorum
