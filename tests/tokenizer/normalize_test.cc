#include "tokenizer/normalize.h"

#include "tests/support/catch.h"
#include "tests/tokenizer/fixture.h"

namespace quorum::tok {
namespace {

using Kind = NormalizeStep::Kind;

NormalizeStep Step(Kind kind) {
  NormalizeStep step;
  step.kind = kind;
  return step;
}

std::string Apply(const std::vector<NormalizeStep>& steps, std::string_view text) {
  Regex::Scratch scratch;
  std::string storage;
  const Result<std::string_view> out = Normalizer(steps).Apply(text, true, storage, scratch);
  REQUIRE(out.ok());
  return std::string(*out);
}

TEST_CASE("Normal forms are Python's, lower case is Hugging Face's") {
  const auto fixture = Fixture("normal_forms.json");
  const std::vector<std::pair<std::string, Kind>> kinds = {{"NFC", Kind::kNfc},
                                                           {"NFD", Kind::kNfd},
                                                           {"NFKC", Kind::kNfkc},
                                                           {"NFKD", Kind::kNfkd},
                                                           {"Lowercase", Kind::kLowercase}};
  const auto& texts = fixture["texts"];
  REQUIRE(texts.size() >= 200);
  for (const auto& [name, kind] : kinds) {
    int changed = 0;
    for (std::size_t i = 0; i < texts.size(); ++i) {
      const std::string text = texts[i];
      const std::string expected = fixture[name][i];
      CAPTURE(name, text);
      CHECK(Apply({Step(kind)}, text) == expected);
      changed += text != expected;
    }
    CHECK(changed > 50);
  }
}

TEST_CASE("A hundred thousand marks in the worst order take no quadratic time") {
  // 220 sorts before 230: every one of the second half moves over the whole first half.
  std::string text = "a";
  for (int i = 0; i < 100'000; ++i) text += "\xCC\x80";  // U+0300, class 230
  for (int i = 0; i < 100'000; ++i) text += "\xCC\xA3";  // U+0323, class 220
  const std::string composed = Apply({Step(Kind::kNfc)}, text);
  CHECK(composed.starts_with("\xE1\xBA\xA1\xCC\xA3"));  // a with dot below, then the other dots
  CHECK(composed.ends_with("\xCC\x80"));
}

TEST_CASE("Normal forms know the marks of Unicode 9, as Hugging Face's do, and leave later ones where they are") {
  const std::string ypogegrammeni = "\xCD\x85";  // class 240: sorts behind every other mark
  CHECK(Apply({Step(Kind::kNfc)}, "x" + ypogegrammeni + "\xCC\x80") == "x\xCC\x80" + ypogegrammeni);
  for (const std::string later : {"\xE1\xAB\x81", "\xE1\xB7\xB6", "\xF0\x9E\x93\xAC"}) {  // U+1AC1, U+1DF6, U+1E4EC
    CHECK(Apply({Step(Kind::kNfc)}, "x" + ypogegrammeni + later) == "x" + ypogegrammeni + later);
    // And a mark behind it joins no letter before it.
    CHECK(Apply({Step(Kind::kNfc)}, "a" + later + "\xCC\x80" + "a\xCC\x80") == "a" + later + "\xCC\x80" + "\xC3\xA0");
  }
  CHECK(Apply({Step(Kind::kNfd)}, "\xF0\x91\xA4\xB8") == "\xF0\x91\xA4\xB8");  // U+11938, composed since Unicode 13
  CHECK(Apply({Step(Kind::kNfc)}, "\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0") == "\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0");
  CHECK(Apply({Step(Kind::kNfkc)}, "\xE3\x8B\xBF\xE3\x8B\xBE") == "\xE3\x8B\xBF\xE3\x83\xB2");  // U+32FF is of 2019
}

TEST_CASE("Strip, accents, prepend and replace") {
  NormalizeStep strip = Step(Kind::kStrip);
  strip.left = true;
  CHECK(Apply({strip}, " \t\xE3\x80\x80x \n") == "x \n");
  strip.right = true;
  CHECK(Apply({strip}, " x\xC2\xA0\n") == "x");
  CHECK(Apply({strip}, " \n").empty());
  CHECK(Apply({Step(Kind::kNfd), Step(Kind::kStripAccents)}, "\xC3\xA9t\xC3\xA9") == "ete");
  NormalizeStep prepend = Step(Kind::kPrepend);
  prepend.content = "_";
  CHECK(Apply({prepend}, "a") == "_a");
  CHECK(Apply({prepend}, "").empty());
  NormalizeStep replace = Step(Kind::kReplace);
  replace.pattern = "aa";
  replace.content = "b";
  CHECK(Apply({replace}, "aaaaa") == "bba");
  replace.regex = *Regex::Compile("\\s+");
  CHECK(Apply({replace}, " x  y") == "bxby");
}

TEST_CASE("Text that needs no change is not copied") {
  Regex::Scratch scratch;
  std::string storage;
  const std::string text = "plain ASCII \xC3\xA9";
  const Result<std::string_view> out = Normalizer({Step(Kind::kNfc)}).Apply(text, true, storage, scratch);
  REQUIRE(out.ok());
  CHECK(out->data() == text.data());
}

}  // namespace
}  // namespace quorum::tok
