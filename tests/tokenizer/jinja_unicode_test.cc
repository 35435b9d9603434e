#include "tokenizer/jinja/unicode.h"

#include "tests/support/catch.h"
#include "tokenizer/jinja/number.h"
#include "tokenizer/jinja/sort.h"

namespace quorum::tok::jinja {
namespace {

TEST_CASE("UTF-8 is checked strictly") {
  CHECK(IsValidUtf8(""));
  CHECK(IsValidUtf8("a\xC3\xA9\xE6\x97\xA5\xF0\x9F\x98\x80\xF4\x8F\xBF\xBF"));
  for (const char* broken : {"\x80", "\xC3", "\xC0\x80", "\xC1\xBF", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xF0\x8F\xBF\xBF",
                             "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF", "\xE6\x97", "a\xC3("}) {
    INFO(broken);
    CHECK(!IsValidUtf8(broken));
  }
}

TEST_CASE("Code points are counted, found and written") {
  const std::string text = "a\xC3\xA9\xE6\x97\xA5\xF0\x9F\x98\x80z";
  CHECK(CodepointCount(text) == 5);
  CHECK(ByteOffset(text, 0) == 0);
  CHECK(ByteOffset(text, 3) == 6);
  CHECK(ByteOffset(text, 9) == text.size());
  std::size_t pos = 0;
  std::string copy;
  while (pos < text.size()) AppendUtf8(&copy, DecodeAt(text, &pos));
  CHECK(copy == text);
}

TEST_CASE("Case mappings are full ones") {
  CHECK(ToUpper("Stra\xC3\x9F"
                "e \xEF\xAC\x81") == "STRASSE FI");
  CHECK(ToLower("\xCE\x91\xCE\xA3 \xCE\xA3\xCE\x91") == "\xCE\xB1\xCF\x82 \xCF\x83\xCE\xB1");  // a sigma ends a word
  CHECK(ToLower("\xC4\xB0") == "i\xCC\x87");
  CHECK(ToTitle("they're 3rd \xC7\x86") == "They'Re 3Rd \xC7\x85");
  CHECK(ToCapitalized("\xC3\x9F"
                      "AB") == "Ssab");
  CHECK(SwapCase("aB\xC3\x9F") == "AbSS");
  CHECK(CaseFold("Stra\xC3\x9F"
                 "E") == "strasse");
}

TEST_CASE("Classes are Python's") {
  CHECK(IsSpace(0x1F));
  CHECK(IsSpace(0x3000));
  CHECK(!IsSpace(0x200B));
  CHECK(IsLineBreak(0x2028));
  CHECK(!IsLineBreak(0x1F));
  CHECK(IsDigit(0xB2));
  CHECK(!IsDecimal(0xB2));
  CHECK(IsNumeric(0x4E00));
  CHECK(!IsDigit(0xBD));
  CHECK(IsUpper(0x2167));
  CHECK(IsLower(0xAA));
  CHECK(!IsPrintable(0xA0));
  CHECK(IsPrintable(0x1F600));
  CHECK(DecimalValue(0x663) == 3);
  CHECK(DecimalValue(0x1D7FF) == 9);
}

TEST_CASE("Floats print as their shortest form") {
  CHECK(FloatRepr(0.1) == "0.1");
  CHECK(FloatRepr(100.0) == "100.0");
  CHECK(FloatRepr(1e16) == "1e+16");
  CHECK(FloatRepr(9999999999999998.0) == "9999999999999998.0");
  CHECK(FloatRepr(0.0001) == "0.0001");
  CHECK(FloatRepr(0.00001) == "1e-05");
  CHECK(FloatRepr(-0.0) == "-0.0");
  CHECK(FloatRepr(5e-324) == "5e-324");
  CHECK(FloatRepr(1.7976931348623157e308) == "1.7976931348623157e+308");
}

TEST_CASE("Rounding is exact and half to even") {
  CHECK(RoundFloat(2.675, 2) == 2.67);
  CHECK(RoundFloat(2.5, 0) == 2.0);
  CHECK(RoundFloat(1250.0, -2) == 1200.0);
  CHECK(RoundFloat(50.0, -2) == 0.0);
  CHECK(RoundFloat(50.1, -2) == 100.0);
  CHECK(RoundFloat(1e300, 400) == 1e300);
  CHECK(RoundInt(1350, -2).value() == 1400);
  CHECK(RoundInt(-1250, -2).value() == -1200);
  CHECK(RoundInt(5, -19).value() == 0);
  CHECK(!RoundInt(INT64_MAX, -19));
}

TEST_CASE("Numbers are read as Python reads them") {
  bool large = false;
  CHECK(ParseInt(" -1_000\n", 10, &large).value() == -1000);
  CHECK(ParseInt("0x1F", 0, &large).value() == 31);
  CHECK(ParseInt("\xD9\xA3", 10, &large).value() == 3);
  CHECK(!ParseInt("1__0", 10, &large));
  CHECK(!ParseInt("010", 0, &large));
  CHECK(!large);
  CHECK(ParseInt("-9223372036854775808", 10, &large).value() == INT64_MIN);
  CHECK(!ParseInt("9223372036854775808", 10, &large));
  CHECK(large);
  CHECK(ParseFloat("1_0.5e-1").value() == 1.05);
  CHECK(ParseFloat("1e999").value() > 1e308);
  CHECK(ParseFloat("1e-999").value() == 0.0);
  CHECK(!ParseFloat("0x10"));
  CHECK(!ParseFloat("infinit"));
}

TEST_CASE("Sorting is stable and survives a comparison that makes no sense") {
  std::vector<int> items = {31, 12, 30, 11, 22, 10};
  StableSort(items, [](int a, int b) { return a / 10 < b / 10; });
  CHECK(items == std::vector<int>{12, 11, 10, 22, 31, 30});
  StableSort(items, [](int, int) { return true; });
  CHECK(items.size() == 6);
}

}  // namespace
}  // namespace quorum::tok::jinja
