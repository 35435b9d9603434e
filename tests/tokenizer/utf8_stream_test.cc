#include "tokenizer/utf8_stream.h"

#include <random>

#include "tests/support/catch.h"
#include "tests/tokenizer/fixture.h"

namespace quorum::tok {
namespace {

std::string FromHex(const std::string& hex) {
  std::string bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

TEST_CASE("Any cut of any bytes gives what Python's errors=\"replace\" gives") {
  const auto fixture = Fixture("utf8_cases.json");
  REQUIRE(fixture["cases"].size() >= 400);
  std::mt19937 random(1);
  for (const auto& example : fixture["cases"]) {
    const std::string bytes = FromHex(example["hex"]);
    const std::string expected = example["text"];
    CAPTURE(example["hex"].get<std::string>());
    CHECK(SanitizeUtf8(bytes) == expected);
    CHECK(IsValidUtf8(bytes) == (bytes == expected));
    for (int round = 0; round < 8; ++round) {
      Utf8Stream stream;
      std::string text;
      for (std::size_t pos = 0; pos < bytes.size();) {
        // Round 0: byte by byte.
        const std::size_t n = round == 0 ? 1 : std::uniform_int_distribution<std::size_t>(0, 7)(random);
        const std::string part = stream.Push(std::string_view(bytes).substr(pos, n));
        REQUIRE(IsValidUtf8(part));
        text += part;
        pos += n;
      }
      text += stream.Finish();
      CHECK(text == expected);
    }
  }
}

TEST_CASE("A character comes out with its last byte, not before") {
  Utf8Stream stream;
  CHECK(stream.Push("\xF0\x9F").empty());
  CHECK(stream.Push("\x98").empty());
  CHECK(stream.Push("\x80!") == "\xF0\x9F\x98\x80!");
  CHECK(stream.Finish().empty());
}

TEST_CASE("What cannot become a character is replaced at once, an unfinished one at the end") {
  Utf8Stream stream;
  CHECK(stream.Push("a\xFF") == "a\xEF\xBF\xBD");
  CHECK(stream.Push("\xE2\x82").empty());
  CHECK(stream.Push("b") ==
        "\xEF\xBF\xBD"
        "b");
  CHECK(stream.Push("\xE2\x82").empty());
  CHECK(stream.Finish() == "\xEF\xBF\xBD");
  CHECK(stream.Finish().empty());
  CHECK(stream.Push("\x82") == "\xEF\xBF\xBD");
}

}  // namespace
}  // namespace quorum::tok
