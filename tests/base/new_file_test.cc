#include "engine/base/new_file.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/catch.h"
#include "tests/support/scratch.h"

namespace quorum {
namespace {

using test::Folder;
using test::ReadFile;

TEST_CASE("A new file has its name when it is whole, and nothing is left of another") {
  Folder folder;
  const std::string path = folder / "f";
  const std::string large(200'000, 'x');
  {
    auto file = NewFile::Create(path, false);
    REQUIRE(file.ok());
    REQUIRE(file->Write("small,").ok());
    REQUIRE(file->Write(large).ok());
    REQUIRE(file->Write(",end").ok());
    CHECK_FALSE(std::filesystem::exists(path));
    REQUIRE(file->Publish().ok());
  }
  CHECK(ReadFile(path) == "small," + large + ",end");
  {
    auto file = NewFile::Create(path, true);
    REQUIRE(file.ok());
    REQUIRE(file->Write("left alone").ok());
  }
  CHECK(ReadFile(path).size() == large.size() + 10);  // what stood there stays
  CHECK(folder.Count() == 1);
}

TEST_CASE("A new file replaces only what it may") {
  Folder folder;
  const std::string path = folder / "f";
  auto late = NewFile::Create(path, false);
  REQUIRE(late.ok());
  std::ofstream(path) << "theirs";
  CHECK(NewFile::Create(path, false).error().message == path + " exists already");
  CHECK(late->Publish().error().message == path + " exists already");
  CHECK(ReadFile(path) == "theirs");

  auto file = NewFile::Create(path, true);
  REQUIRE(file.ok());
  REQUIRE(file->Write("ours").ok());
  REQUIRE(file->Publish().ok());
  CHECK(ReadFile(path) == "ours");

  std::filesystem::create_symlink(folder / "nowhere", folder / "link");
  CHECK(NewFile::Create(folder / "link", false).error().message == folder / "link" + " exists already");
  CHECK(NewFile::Create("/tmp", true).error().message == "/tmp is a folder");
  CHECK(NewFile::Create(folder / "no/such", true).error().message.find("No such file") != std::string::npos);
}

TEST_CASE("A device is written as it is") {
  auto file = NewFile::Create("/dev/null", false);
  REQUIRE(file.ok());
  REQUIRE(file->Write("away").ok());
  REQUIRE(file->Publish().ok());
  CHECK(std::filesystem::is_character_file("/dev/null"));
  auto full = NewFile::Create("/dev/full", false);
  REQUIRE(full.ok());
  REQUIRE(full->Write("no room").ok());  // gathered
  CHECK(full->Publish().error().message == "cannot write /dev/full: No space left on device");
}

}  // namespace
}  // namespace quorum
