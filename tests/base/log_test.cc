#include "engine/base/log.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>

#include "tests/support/catch.h"

namespace quorum {
namespace {

/// What `write` says on standard error.
std::string Logged(const std::function<void()>& write) {
  std::string path = "/tmp/quorum_log_XXXXXX";
  const int file = ::mkstemp(path.data());
  const int kept = ::dup(STDERR_FILENO);
  REQUIRE(file >= 0);
  REQUIRE(::dup2(file, STDERR_FILENO) >= 0);
  write();
  std::fflush(stderr);
  ::dup2(kept, STDERR_FILENO);
  ::close(kept);
  ::close(file);
  std::ifstream in(path);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  std::remove(path.c_str());
  return text;
}

TEST_CASE("What is logged stays on its line and moves no terminal") {
  const std::string hostile = "\x1b[2J\r\n";
  const auto write = [&] {
    Log(LogLevel::kWarn, "the file says {}!", hostile);
    LogFields(LogLevel::kWarn, "answered", {{"body", hostile}, {"number", "5\n"}, {"seconds", "0.5"}});
  };
  const std::string text = Logged(write);
  INFO(text);
  CHECK(text.find("the file says  [2J  !\n") != std::string::npos);
  CHECK(text.find(R"(body="\u001b[2J\r\n" number="5\n" seconds=0.5)") != std::string::npos);
  SetLogJson(true);
  const std::string json = Logged(write);
  SetLogJson(false);
  INFO(json);
  CHECK(json.find(R"("number":"5\n","seconds":0.5)") != std::string::npos);
  for (const std::string* lines : {&text, &json}) CHECK(std::count(lines->begin(), lines->end(), '\n') == 2);
}

}  // namespace
}  // namespace quorum
