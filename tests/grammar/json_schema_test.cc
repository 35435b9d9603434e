#include "engine/grammar/json_schema.h"

#include <string>

#include <fmt/format.h>

#include "tests/support/catch.h"
#include "tests/support/grammar_texts.h"

namespace quorum::grammar {
namespace {

using test::CompileSchema;
using test::Complaint;
using test::Takes;
using Texts = std::vector<std::string>;

void Check(const std::string& schema, const Texts& yes, const Texts& no, JsonSpace space = JsonSpace::kBounded) {
  INFO(schema);
  const auto compiled = CompileSchema(schema, space);
  INFO(Complaint(compiled));
  REQUIRE(compiled.ok());
  for (const auto& text : yes) {
    INFO("must be taken: " << text);
    CHECK(Takes(**compiled, text));
  }
  for (const auto& text : no) {
    INFO("must not be taken: " << text);
    CHECK_FALSE(Takes(**compiled, text));
  }
}

void Refuse(const std::string& schema, const std::string& what) {
  INFO(schema.substr(0, 300));
  const std::string complaint = Complaint(CompileSchema(schema));
  INFO(complaint);
  CHECK(complaint.find(what) != std::string::npos);
}

TEST_CASE("Schema: scalars") {
  Check(R"({"type":"boolean"})", {"true", "false"}, {"null", "tru"});
  Check(R"({"type":["null","integer"]})", {"null", "0", "-12"}, {"1.5", "01", "-0", "+1", "\"a\""});
  Check(R"({"type":"number"})", {"0", "-1.5", "1e5", "2.50E-10"}, {"01", ".5", "1.", "1e", "NaN"});
  Check(R"({"type":"string"})", {R"("")", R"("a\"\\\/\b\u00e9\ud83d\ude00é")"},
        {R"("\u0000")", R"("\ud83d")", "\"\n\"", R"("\x")", "\"a"});
  Check(R"({"type":"string","minLength":2,"maxLength":3})", {R"("ab")", R"("日本😀")", R"("\n\u0041x")"},
        {R"("a")", R"("abcd")"});
  Check("true", {"[1]", "{\"a\": null}", "1"}, {"", "[1"});
  Check("{}", {"\"x\"", "[]", "{}"}, {" []"});
}

TEST_CASE("Schema: enum and const") {
  Check(R"({"enum":["a","ab",1,null,{"k":[1,"z"]},[]]})",
        {R"("a")", R"("ab")", "1", "null", R"({"k":[1,"z"]})", R"({"k": [1, "z"]})", "[]"},
        {R"("abc")", "2", R"({"k":[]})"});
  Check(R"({"type":"string","enum":["a",1,"bcd"],"maxLength":2})", {R"("a")"}, {"1", R"("bcd")"});
  Check(R"({"const":"q\"\n"})", {R"("q\"\n")"}, {R"("q")"});
  Check(R"({"const":1.0})", {"1.0"}, {"2"});
}

TEST_CASE("Schema: numbers in bounds") {
  Check(R"({"type":"integer","minimum":-5,"maximum":120})", {"-5", "-1", "0", "9", "99", "100", "120"},
        {"-6", "121", "1000", "-10", "1.0"});
  Check(R"({"type":"integer","exclusiveMinimum":10})", {"11", "100"}, {"10", "9", "-11"});
  Check(R"({"type":"integer","multipleOf":7,"minimum":10,"maximum":30})", {"14", "21", "28"}, {"7", "15", "35"});
  Check(R"({"type":"number","minimum":0.5,"exclusiveMaximum":2})", {"0.5", "1", "1.99", "0.51"},
        {"0.49", "2", "2.0", "-1", "0"});
  Check(R"({"type":"number","minimum":-1.25,"maximum":-0.5})", {"-1.25", "-1", "-0.5", "-0.75"},
        {"-1.26", "-0.4", "0", "1"});
  Check(R"({"type":"number","multipleOf":0.25,"minimum":0})", {"0", "0.25", "1.5", "3.75", "10"},
        {"0.3", "0.125", "-0.25"});
  Check(R"({"type":"integer","minimum":1e2,"maximum":12345678901234567890})", {"100", "1234567890123456"},
        {"99", "12345678901234567891"});
  Check(R"({"minimum":3})", {"3", "17.5"}, {"2", "\"a\""});  // without a type, the keyword implies one
  Refuse(R"({"type":"integer","minimum":5,"maximum":4})", "no text");
}

TEST_CASE("Schema: patterns and formats") {
  Check(R"({"type":"string","pattern":"^[A-Z]{2}-\\d+$"})", {R"("AB-1")"}, {R"("AB-")", R"("xAB-1")"});
  Check(R"({"type":"string","pattern":"b.b"})", {R"("abxbc")", R"("b\"b")"}, {R"("bb")"});
  Check(R"({"type":"string","pattern":"^a*$","minLength":2,"maxLength":4})", {R"("aa")", R"("aaaa")"},
        {R"("a")", R"("aaaaa")", R"("ab")"});
  Check(R"({"type":"string","format":"date"})", {R"("2024-02-29")", R"("1999-12-31")"},
        {R"("2023-02-29")", R"("2024-13-01")", R"("1900-02-29")"});
  Check(R"({"type":"string","format":"date-time"})",
        {R"("2024-01-02T03:04:05Z")", R"("2024-01-02T03:04:05.678+02:00")"}, {R"("2024-01-02 03:04:05Z")"});
  Check(R"({"type":"string","format":"uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123e4567")"});
  Check(R"({"type":"string","format":"email"})", {R"("a.b@c.de")"}, {R"("a@")", R"("a@b")"});
  Check(R"({"type":"string","format":"ipv4"})", {R"("255.0.10.1")"}, {R"("256.0.0.1")", R"("1.2.3")"});
  Check(R"({"type":"string","format":"ipv6"})", {R"("::")", R"("::1")", R"("1:2:3:4:5:6:7:8")", R"("fe80::1:2")"},
        {R"("1:2:3")", R"("1::2::3")", R"("1:2:3:4:5:6:7:8:9")"});
  Check(R"({"type":"string","format":"uri"})", {R"("https://a.b/c?d=e#f")"}, {R"("no uri")"});
  Check(R"({"type":"string","format":"uuid4"})", {R"("123e4567-e89b-42d3-a456-426614174000")"},
        {R"("123e4567-e89b-12d3-a456-426614174000")"});
  // Bounds that a format implies cost nothing: pydantic's HttpUrl.
  Check(R"({"type":"string","format":"uri","minLength":1,"maxLength":2083})", {R"("https://a.b/c")"}, {R"("")"});
  Check(R"({"type":"string","format":"ipv4","minLength":9,"maxLength":10})", {R"("1.1.1.200")"},
        {R"("1.1.1.1")", R"("100.1.1.100")"});
  Check(R"({"type":"string","pattern":"^a*$","minLength":0,"maxLength":2})", {R"("aa")", R"("")"}, {R"("aaa")"});
  Refuse(R"({"type":"string","pattern":"(?=a)b"})", "no text");
  Refuse(R"({"type":"string","pattern":"(?<=a)b"})", "#/pattern");
  Check(R"({"type":"string","pattern":"^(?!^[-+.]*$)[+-]?0*\\d*\\.?\\d*$","maxLength":3})", {R"("-.5")", R"("12")"},
        {R"("-")", R"("1234")", R"("")"});
  Check(R"({"type":"string","pattern":"^(?=[\"x])..$"})", {R"("\"a")", R"("x\"")"}, {R"("aa")"});
}

TEST_CASE("Schema: a pattern that looks ahead is paid for once, and not paid for without end") {
  const auto schema = [](bool same) {
    std::string properties;
    for (int i = 0; i < 100; ++i) {
      properties += fmt::format(R"({}"p{}":{{"type":"string","pattern":"^(?!.*x{})[a-x0-9]*$"}})", i == 0 ? "" : ",", i,
                                same ? 0 : i);
    }
    return R"({"type":"object","properties":{)" + properties + "}}";
  };
  CHECK(Complaint(CompileSchema(schema(true))).empty());
  Refuse(schema(false), "too many");
}

TEST_CASE("Schema: formats that are not known are notes") {
  Check(R"({"type":"string","format":"jwt"})", {R"("a")"}, {"1"});
  Check(R"({"type":"integer","format":"uint8"})", {"1"}, {R"("1")"});
  Check(R"({"format":"jwt"})", {"1", R"("a")"}, {});  // and do not make a string of what has no type
  Check(R"({"type":"string","format":"cuid","pattern":"^c[a-z]$"})", {R"("ca")"}, {R"("a")"});
  Grammar grammar;
  JsonText json(grammar, JsonSpace::kBounded);
  std::set<std::string> unknown;
  // Not that of which a pattern says what it is, nor a member or a value of that name.
  REQUIRE(AddJsonSchema(R"({"properties":{"a":{"type":"string","format":"jwt"},"format":{"const":{"format":"x"}},
                            "b":{"type":"string","format":"cuid","pattern":"^c"},
                            "c":{"type":"integer","format":"uint8"}}})",
                        json, &unknown)
              .ok());
  CHECK(unknown == std::set<std::string>{"jwt", "uint8"});
}

TEST_CASE("Schema: objects") {
  Check(
      R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"string"}},"required":["a","b"],"additionalProperties":false})",
      {R"({"a":1,"b":"x"})", R"({"a": 1, "b": "x"})", "{\n  \"a\": 1,\n  \"b\": \"x\"\n}"},
      {R"({"b":"x","a":1})", R"({"a":1})", R"({"a":1,"b":"x","c":1})", "{\"a\":  1,\"b\":\"x\"}",
       R"({ "a":1,"b":"x"})"});
  Check(
      R"({"type":"object","properties":{"a":{"type":"null"},"b":{"type":"null"},"c":{"type":"null"}},"required":["b"]})",
      {R"({"b":null})", R"({"a":null,"b":null})", R"({"b":null,"c":null})", R"({"a":null,"b":null,"c":null})"},
      {"{}", R"({"a":null})", R"({"b":null,"d":1})", R"({"b":null,})"});
  Check(R"({"type":"object","additionalProperties":{"type":"integer"}})", {"{}", R"({"x":1})", R"({"x":1,"y":2})"},
        {R"({"x":"y"})"});
  Check(R"({"type":"object","properties":{"ab":{"type":"null"}},"additionalProperties":{"type":"integer"}})",
        {"{}", R"({"ab":null})", R"({"ab":null,"abc":1})", R"({"a":1})", R"({"":1})"},
        {R"({"ab":1})", R"({"\u0061b":1})"});
  Check(R"({"type":"object","required":["k"]})", {R"({"k":[1]})"}, {"{}", R"({"j":1})"});
  Check(
      R"({"type":"object","patternProperties":{"^n_":{"type":"integer"},"_s$":{"type":["string","integer"]}},"additionalProperties":false})",
      {"{}", R"({"n_x":1})", R"({"x_s":"a","n_s":2})"}, {R"({"n_x":"a"})", R"({"n_s":"a"})", R"({"x":1})"});
  Check(R"({"type":"object","propertyNames":{"pattern":"^[a-c]+$","maxLength":2},"additionalProperties":true})",
        {R"({"ab":1})"}, {R"({"abc":1})", R"({"x":1})"});
  Check(
      R"({"type":"object","properties":{"a":true,"b":true,"c":true},"minProperties":2,"maxProperties":2,"additionalProperties":false})",
      {R"({"a":1,"b":1})", R"({"a":1,"c":1})", R"({"b":1,"c":1})"}, {R"({"a":1})", R"({"a":1,"b":1,"c":1})", "{}"});
  Check(R"({"type":"object","minProperties":1,"maxProperties":2})", {R"({"a":1})", R"({"a":1,"b":2})"},
        {"{}", R"({"a":1,"b":2,"c":3})"});
  Check(R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]})", {R"({"a":1})"}, {R"({"a": 1 })"},
        JsonSpace::kCompact);
  Check(R"({"properties":{"x":false,"y":{"const":1}}})", {"{}", R"({"y":1})"}, {R"({"x":1})", "5"});
  Refuse(R"({"type":"object","minProperties":3})", "#/minProperties");
  Refuse(R"({"type":"object","properties":{"x":false},"required":["x"]})", "no text");
}

TEST_CASE("Schema: arrays") {
  Check(R"({"type":"array","items":{"type":"integer"}})", {"[]", "[1]", "[1,2, 3]", "[\n  1,\n  2\n]"},
        {"[1,]", "[,1]", "[\"a\"]", "[1 ]"});
  Check(R"({"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":3})", {"[1,2]", "[1,2,3]"},
        {"[1]", "[1,2,3,4]", "[]"});
  Check(R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":false})",
        {"[]", "[1]", "[1,\"a\"]"}, {"[\"a\"]", "[1,\"a\",2]"});
  Check(R"({"type":"array","prefixItems":[{"type":"integer"},{"type":"string"}],"items":{"type":"null"},"minItems":2})",
        {"[1,\"a\"]", "[1,\"a\",null,null]"}, {"[1]", "[1,\"a\",1]"});
  Check(R"({"type":"array","items":[{"type":"integer"}],"additionalItems":{"type":"string"}})", {"[1,\"a\"]"},
        {"[1,2]"});
  Check(R"({"type":"array","maxItems":0})", {"[]"}, {"[1]"});
  Check(R"({"type":"array","items":{"type":"null"},"minItems":500,"maxItems":1000000})", {}, {"[null]"});
}

TEST_CASE("Schema: references and recursion") {
  Check(
      R"({"$ref":"#/$defs/node","$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"],"additionalProperties":false}}})",
      {R"({"v":1,"next":null})", R"({"v":1,"next":{"v":2,"next":null}})"}, {R"({"v":1})", R"({"v":1,"next":2})"});
  Check(R"({"type":"object","properties":{"c":{"type":"array","items":{"$ref":"#"}}}})",
        {"{}", R"({"c":[{},{"c":[]}]})"}, {R"({"c":[1]})"});
  Check(R"({"$ref":"#/definitions/a~1b%25","definitions":{"a/b%":{"type":"null"}}})", {"null"}, {"1"});
  Check(R"({"properties":{"x":{"$ref":"#there"}},"required":["x"],"$defs":{"t":{"$anchor":"there","type":"boolean"}}})",
        {R"({"x":true})"}, {R"({"x":1})"});
  Check(R"({"$id":"https://x.y/s","$ref":"https://x.y/s#/$defs/a","$defs":{"a":{"type":"null"}}})", {"null"}, {"1"});
  Check(R"({"$defs":{"s":{"type":"string"}},"$ref":"#/$defs/s","maxLength":2})", {R"("ab")"}, {R"("abc")"});
  Refuse(R"({"$ref":"#/$defs/a"})", "#/$ref: it leads nowhere");
  Refuse(R"({"$ref":"https://example.com/s"})", "#/$ref");
  Refuse(R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "no text");
}

TEST_CASE("Schema: combinations") {
  Check(R"({"anyOf":[{"type":"integer"},{"type":"string","maxLength":1}]})", {"1", R"("a")"}, {R"("ab")"});
  Check(
      R"({"type":"object","properties":{"a":{"type":"integer"}},"required":["a"],"anyOf":[{"properties":{"b":{"const":1}},"required":["b"]},{"properties":{"c":{"const":2}},"required":["c"]}]})",
      {R"({"a":5,"b":1})", R"({"a":5,"c":2})"}, {R"({"a":5})", R"({"b":1})"});
  Check(R"({"allOf":[{"type":"integer","minimum":3},{"maximum":5}]})", {"3", "5"}, {"2", "6"});
  Check(
      R"({"allOf":[{"properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"a":{"minimum":5},"b":true}}],"type":"object"})",
      {R"({"a":5})", R"({"a":7,"b":[]})"}, {R"({"a":4})"});
  Check(R"({"oneOf":[{"type":"integer"},{"type":"string"}]})", {"1", R"("a")"}, {"null"});
  Check(
      R"({"oneOf":[{"type":"object","properties":{"kind":{"const":"a"},"x":{"type":"integer"}},"required":["kind","x"]},{"type":"object","properties":{"kind":{"const":"b"},"y":{"type":"string"}},"required":["kind","y"]}],"discriminator":{"propertyName":"kind"}})",
      {R"({"kind":"a","x":1})", R"({"kind":"b","y":"z"})"}, {R"({"kind":"a","y":"z"})"});
  Check(R"({"oneOf":[{"enum":[1,2]},{"enum":[2,3]}],"enum":[1,2,3]})", {"1", "3"}, {"2"});
  Check(
      R"({"oneOf":[{"type":"integer","maximum":0},{"type":"integer","exclusiveMinimum":0},{"type":"string","pattern":"^a"},{"type":"string","pattern":"^b"}]})",
      {"-1", "1", R"("ax")", R"("bx")"}, {R"("c")"});
  Refuse(R"({"oneOf":[{"type":"integer"},{"type":"number"}]})", "#/oneOf: branches 0 and 1");
  Refuse(R"({"oneOf":[{"required":["a"]},{"required":["b"]}]})", "oneOf");
}

TEST_CASE("Schema: items of few values, each once") {
  Check(R"({"type":"array","items":{"enum":["a","b","ab"]},"uniqueItems":true,"minItems":1})",
        {R"(["a"])", R"(["ab", "a"])", R"(["b","a","ab"])"},
        {"[]", R"(["a","a"])", R"(["b","a","b"])", R"(["a","b","ab","a"])"});
  Check(R"({"type":"array","items":{"type":["boolean","null"]},"uniqueItems":true,"maxItems":2})",
        {"[]", "[true,null]", "[null]"}, {"[true,true]", "[true,false,null]"});
  Check(R"({"type":"array","items":{"anyOf":[{"const":1},{"const":1.0},{"enum":["x",{"k":[]}]}]},"uniqueItems":true})",
        {R"([1,"x",{"k":[]}])", R"([{"k": []}])"}, {"[1,1]", R"(["x",1,"x"])"});
  Check(R"({"type":"array","items":{"type":"string"},"uniqueItems":true,"maxItems":1})", {"[]", R"(["q"])"},
        {R"(["q","q"])"});
  Check(R"({"enum":[[1,2],[1,1.0],[[],[]]],"uniqueItems":true})", {"[1,2]"}, {"[1,1.0]", "[[],[]]"});
}

TEST_CASE("Schema: arrays that contain") {
  const std::string some = R"({"type":"array","items":{"type":"integer"},"contains":{"minimum":10})";
  Check(some + "}", {"[10]", "[1,2,30]", "[1,11,2]", "[12,13]"}, {"[]", "[1]", "[1,2]", R"(["a"])"});
  Check(some + R"(,"minContains":2,"maxItems":3})", {"[10,11]", "[1,20,30]", "[10,1,11]", "[10,11,12]"},
        {"[10]", "[1,2,30]", "[10,11,1,1]"});
  Check(some + R"(,"minContains":0,"minItems":2})", {"[1,2]", "[1,2,3]"}, {"[]", "[1]"});
  Check(R"({"type":"array","prefixItems":[{"type":"string"},{"type":"boolean"}],"contains":{"type":"null"}})",
        {R"(["a",true,null])", R"(["a",true,1,null,2])"}, {R"(["a"])", R"(["a",true,1])", "[null]"});
  Check(R"({"enum":[[1],["a",2],["a"]],"contains":{"type":"string"},"maxContains":1})", {R"(["a",2])", R"(["a"])"},
        {"[1]"});
}

TEST_CASE("Schema: not") {
  Check(R"({"type":"string","not":{"enum":["ab","c",1]}})", {R"("")", R"("a")", R"("abc")", R"("d")"},
        {R"("ab")", R"("c")", R"("\u0063")"});
  Check(R"({"type":"string","not":{"pattern":"^a"}})", {R"("ba")", R"("")"}, {R"("a")", R"("ab")"});
  Check(R"({"type":["boolean","null","integer"],"not":{"enum":[true,null]}})", {"false", "7"}, {"true", "null"});
  Check(R"({"not":{"type":["object","array","number"]}})", {R"("s")", "null", "true"}, {"1", "1.5", "{}", "[]"});
  Check(R"({"enum":[1,2,3.5,"a",[1]],"not":{"anyOf":[{"type":"string"},{"minimum":2},{"const":[1]}]}})", {"1"},
        {"2", "3.5", R"("a")", "[1]"});
  Check(R"({"type":"integer","not":{"minimum":5}})", {"4", "-10"}, {"5", "6"});
  Check(R"({"type":"string","minLength":1,"not":{"minLength":3}})", {R"("a")", R"("ab")"}, {R"("")", R"("abc")"});
  Check(R"({"type":"object","properties":{"a":{"type":"integer"},"b":{}},"not":{"required":["a"]}})",
        {"{}", R"({"b":1})"}, {R"({"a":1})", R"({"a":1,"b":2})"});
  Check(R"({"type":"array","items":{"type":"integer"},"not":{"items":{"minimum":0}}})", {"[-1]", "[1,-2,3]"},
        {"[]", "[1]"});
  Check(R"({"$defs":{"s":{"type":"string"}},"type":["string","null"],"not":{"$ref":"#/$defs/s"}})", {"null"},
        {R"("a")"});
  Check(R"({"type":["string","null"],"not":{"not":{"type":"string"}}})", {R"("a")"}, {"null"});
  Refuse(R"({"not":{}})", "no text");
}

TEST_CASE("Schema: if, then, else") {
  const std::string open = R"({"type":"object","properties":{"kind":{"enum":["a","b"]},"x":{"type":"integer"},)"
                           R"("y":{"type":"integer"}},"required":["kind"],"if":{"properties":{"kind":{"const":"a"}}},)";
  Check(open + R"("then":{"required":["x"]},"else":{"required":["y"]}})",
        {R"({"kind":"a","x":1})", R"({"kind":"b","y":1})", R"({"kind":"a","x":1,"y":2})"},
        {R"({"kind":"a"})", R"({"kind":"a","y":1})", R"({"kind":"b","x":1})", R"({"kind":"c","x":1})"});
  Check(open + R"("then":{"required":["x"]}})", {R"({"kind":"b"})", R"({"kind":"a","x":1})"}, {R"({"kind":"a"})"});
  Check(R"({"type":"integer","if":{"minimum":10},"then":{"multipleOf":5},"else":{"maximum":3}})",
        {"10", "15", "3", "-4"}, {"11", "4", "9"});
  Check(R"({"type":"string","then":{"maxLength":1}})", {R"("ab")"}, {});
  // Several at once, one within another.
  Check(R"({"type":"string","allOf":[{"if":{"pattern":"^a"},"then":{"maxLength":2}},)"
        R"({"if":{"pattern":"b$"},"then":{"if":{"minLength":2},"then":{"pattern":"cb$"}}}]})",
        {R"("ax")", R"("xyz")", R"("b")", R"("xcb")"}, {R"("axx")", R"("xb")", R"("acb")"});
}

TEST_CASE("Schema: members that depend on others") {
  const std::string open = R"({"type":"object","properties":{"a":{"type":"integer"},"b":{"type":"integer"}},)";
  Check(open + R"("dependentRequired":{"a":["b"]}})", {"{}", R"({"b":1})", R"({"a":1,"b":1})"}, {R"({"a":1})"});
  Check(open + R"("dependentSchemas":{"a":{"properties":{"b":{"minimum":5}}}}})",
        {"{}", R"({"b":1})", R"({"a":1})", R"({"a":1,"b":5})"}, {R"({"a":1,"b":4})"});
  Check(open + R"("dependencies":{"a":["b"],"b":{"properties":{"a":{"minimum":3}}}}})",
        {"{}", R"({"b":1})", R"({"a":3,"b":1})"}, {R"({"a":3})", R"({"a":2,"b":1})"});
}

TEST_CASE("Schema: what is not supported is named") {
  Refuse(R"({"properties":{"a/b":{"not":{"multipleOf":2}}}})",
         "#/properties/a~1b/not/multipleOf: this keyword is not supported where it is negated");
  Refuse(R"({"not":{"type":"integer"}})", "#/not/type: 'integer' is not supported where it is negated");
  Refuse(R"({"type":"integer","not":{"const":3}})", "excluded only from an enum");
  Refuse(R"({"$defs":{"d":{"properties":{"n":{"$ref":"#/$defs/d"}}}},"not":{"$ref":"#/$defs/d"}})", "recursion");
  Refuse(R"({"not":{"$ref":"#/nowhere"}})", "#/not/$ref");
  Refuse(R"({"type":"string","$none-of":["a"]})", "#/$none-of: unknown keyword");
  Refuse(R"({"type":"array","uniqueItems":true})", "#/uniqueItems");
  Refuse(R"({"type":"array","uniqueItems":true,"items":{"type":"string"}})", "at most 8 constants");
  Refuse(R"({"type":"array","contains":{},"maxContains":3})", "#/maxContains");
  Refuse(R"({"dependentRequired":{"a":"b"}})", "#/dependentRequired");
  Refuse(R"({"type":"object","unevaluatedProperties":false})", "#/unevaluatedProperties");
  Refuse(R"({"type":"string","maxlength":3})", "#/maxlength: unknown keyword");
  Refuse(R"({"type":"text"})", "#/type");
  Refuse(R"({"type":"string","minLength":-1})", "#/minLength");
  Refuse(R"({"properties":{"a":1}})", "#/properties/a");
  Refuse(R"({"required":"a"})", "#/required");
  Refuse(R"({"enum":[]})", "#/enum");
  Refuse("[", "not valid JSON");
  Refuse("1", "must be an object or a boolean");
  Refuse("false", "no text");
  Check(
      R"({"type":"string","x-note":1,"title":"t","description":"d","default":"","examples":[1],"$schema":"s","deprecated":false})",
      {R"("a")"}, {});
}

TEST_CASE("Schema: a list in place of a member's schema is refused where it stands") {
  for (const char* keyword : {"properties", "patternProperties", "$defs", "dependentSchemas"}) {
    for (const char* list : {"[]", "[\"a\"]", "[{}]"}) {
      const std::string text = fmt::format(R"({{"type": "object", "{}": {{"b": {}}}}})", keyword, list);
      CAPTURE(text);
      CHECK(Complaint(CompileSchema(text)).find(fmt::format("#/{}/b", keyword)) != std::string::npos);
    }
  }
}

TEST_CASE("Schema: hostile ones are refused or bounded, and soon") {
  // A way on must exist wherever one gets to; what cannot be compiled must say why. (Times are seen by running it.)
  const auto survive = [](const std::string& schema) {
    INFO(schema.substr(0, 60));
    const auto compiled = CompileSchema(schema);
    if (compiled.ok()) {
      CHECK(test::Walk(*compiled, 1, 30, 200).fault.empty());
    } else {
      CHECK_FALSE(Complaint(compiled).empty());
    }
  };
  std::string deep;
  for (int i = 0; i < 2000; ++i) deep += R"({"items":)";
  survive(deep + "{}" + std::string(2000, '}'));
  std::string nested_arrays = "{}";
  for (int i = 0; i < 60; ++i) nested_arrays = R"({"type":"array","minItems":1,"items":)" + nested_arrays + "}";
  survive(nested_arrays);
  // Each level doubles what it refers to.
  std::string doubling = R"({"$ref":"#/$defs/d0","$defs":{)";
  for (int i = 0; i < 40; ++i) {
    const std::string next = R"({"$ref":"#/$defs/d)" + std::to_string(i + 1) + "\"}";
    doubling +=
        "\"d" + std::to_string(i) + R"(":{"type":"array","prefixItems":[)" + next + "," + next + R"(],"minItems":2},)";
  }
  survive(doubling + R"("d40":{"type":"null"}}})");
  std::string product = R"({"allOf":[)";
  for (int i = 0; i < 12; ++i) {
    product += std::string(i == 0 ? "" : ",") + R"({"anyOf":[)";
    for (int k = 0; k < 8; ++k)
      product +=
          std::string(k == 0 ? "" : ",") + R"({"required":[")" + std::to_string(i) + "_" + std::to_string(k) + "\"]}";
    product += "]}";
  }
  survive(product + "]}");
  std::string huge_enum = R"({"enum":[)";
  for (int i = 0; i < 30000; ++i) huge_enum += "\"value number " + std::to_string(i * 7919) + "\",";
  survive(huge_enum + "\"\"]}");
  std::string wide = R"({"type":"object","properties":{)";
  for (int i = 0; i < 3000; ++i) wide += "\"property" + std::to_string(i) + R"(":{"type":"integer"},)";
  survive(wide + R"("last":true},"additionalProperties":{"type":"string"}})");
  survive(R"({"type":"string","pattern":"(a|b)*a(a|b){18}","maxLength":1000})");
  survive(R"({"type":"string","pattern":"^(a+)+$"})");
  survive(R"({"type":"string","pattern":"^(([a-z])+.)+[A-Z]([a-z])+$","minLength":1000000})");
  survive(R"({"type":"string","pattern":"(x{1,1000}){1,1000}","maxLength":500})");
  survive(R"({"type":"string","minLength":1000000,"maxLength":4000000000})");
  survive(R"({"type":"array","minItems":4294967296,"items":{"type":"array","minItems":1000000}})");
  survive(R"({"type":"integer","multipleOf":999983,"minimum":-1e15,"maximum":1e15})");
  survive(R"({"$ref":"#"})");
  survive(R"({"anyOf":[{"$ref":"#"},{"$ref":"#"}]})");
  survive(R"({"allOf":[{"$ref":"#"}],"oneOf":[{"$ref":"#"},{"type":"null"}]})");
}

}  // namespace
}  // namespace quorum::grammar
