#include "quant/safetensors.h"

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "quant/json_value.h"
#include "tests/quant/scratch.h"
#include "tests/support/catch.h"
#include "tests/support/safe_writer.h"

namespace quorum::quant {
namespace {

using testing::SafeFile;
using testing::SafeWriter;

Result<SafetensorsModel> Parse(const std::string& text) {
  return SafetensorsModel::Parse(std::as_bytes(std::span(text)), "some.safetensors");
}

/// The error of a file with this header and 8 bytes of data.
std::string ErrorOf(const std::string& header, const std::string& data = "01234567") {
  const std::string text = SafeFile(header, data);
  const auto file = Parse(text);
  if (file.ok()) return "";
  REQUIRE(file.error().message.starts_with("some.safetensors: "));
  return file.error().message.substr(18);
}

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

void Write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

TEST_CASE("A safetensors file gives its tensors") {
  SafeWriter writer;
  writer.Add("a.weight", "F32", {2, 3}, std::vector<float>{1, 2, 3, 4, 5, 6});
  writer.Add("b", "BF16", {2}, std::vector<std::uint16_t>{0x3f80, 0x4000});
  writer.Add("scalar", "F8_E4M3", {}, std::string("x"));
  writer.Add("none", "I64", {0, 7}, std::string());
  const std::string text = writer.Bytes();
  const auto file = Parse(text);
  REQUIRE(file.ok());
  CHECK(file->tensors().size() == 4);
  const SafeTensor* a = file->Find("a.weight");
  REQUIRE(a != nullptr);
  CHECK(a->type == SafeType::kF32);
  CHECK(a->shape == std::vector<std::int64_t>{2, 3});
  CHECK(a->elements() == 6);
  CHECK(a->Describe() == "F32 [2, 3]");
  CHECK(a->data.size() == 24);
  CHECK(file->Find("scalar")->elements() == 1);
  CHECK(file->Find("none")->elements() == 0);
  CHECK(file->Find("b")->data[1] == std::byte{0x3f});
  CHECK(file->Find("c") == nullptr);
  CHECK(file->file_bytes() == text.size());
}

TEST_CASE("Metadata and padding of a header are read over") {
  CHECK(
      ErrorOf(R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}     )").empty());
  CHECK(Has(ErrorOf(R"({"__metadata__":3,"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})"),
            "'__metadata__' is 3"));
}

TEST_CASE("What is wrong with a safetensors file is named") {
  const auto entry = [](const std::string& type, const std::string& shape, const std::string& offsets) {
    return R"({"some.weight":{"dtype":)" + type + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const auto error = [&](const std::string& type, const std::string& shape, const std::string& offsets) {
    const std::string text = ErrorOf(entry(type, shape, offsets));
    if (!text.empty()) CHECK(text.starts_with("tensor 'some.weight'"));
    return text;
  };
  CHECK(error(R"("F32")", "[2]", "[0,8]").empty());
  CHECK(Has(error(R"("F4")", "[2]", "[0,8]"), "type 'F4' is not read; known are BOOL"));
  CHECK(Has(error("7", "[2]", "[0,8]"), "'dtype' is 7, expected a string"));
  CHECK(Has(error(R"("F32")", "[3]", "[0,8]"), "F32 [3] takes 12 bytes, 'data_offsets' give it 8"));
  CHECK(Has(error(R"("F32")", "[2]", "[0,9]"), "lies at bytes 0 to 9 of the data, but the file holds 8"));
  CHECK(Has(error(R"("F32")", "[2]", "[8,0]"), "lies at bytes 8 to 0"));
  CHECK(Has(error(R"("F32")", "[2]", "[-8,0]"), "lies at bytes -8 to 0"));
  CHECK(Has(error(R"("F32")", "[2]", "[0]"), "'data_offsets' is a list, expected a list of two whole numbers"));
  CHECK(Has(error(R"("F32")", "[2]", "[0,8.5]"), "two whole numbers"));
  CHECK(Has(error(R"("F32")", "[-2]", "[0,8]"), "an axis of -2"));
  CHECK(Has(error(R"("F32")", "[1.5]", "[0,8]"), "an axis of 1.5"));
  CHECK(Has(error(R"("F32")", "[4294967296,4294967296]", "[0,8]"), "more elements than any file can hold"));
  CHECK(Has(error(R"("F32")", "[9223372036854775807]", "[0,8]"), "more elements"));
  CHECK(Has(error(R"("F32")", "[1,1,1,1,1,1,1,1,2]", "[0,8]"), "9 axes"));
  CHECK(Has(error(R"("F32")", "2", "[0,8]"), "'shape' is 2, expected a list"));
  CHECK(Has(error(R"("F32")", "[1]", "[4,8]"), "leaves a hole after the header"));
  CHECK(Has(ErrorOf(entry(R"("F32")", "[1]", "[0,4]")), "has 4 bytes after its last tensor"));
  const std::string a = R"("a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]})";
  CHECK(Has(ErrorOf("{" + a + R"(,"b":{"dtype":"U8","shape":[6],"data_offsets":[2,8]}})"),
            "tensor 'b': overlaps tensor 'a'"));
  CHECK(Has(ErrorOf("{" + a + R"(,"b":{"dtype":"U8","shape":[2],"data_offsets":[6,8]}})"),
            "tensor 'b': leaves a hole after tensor 'a'"));
  CHECK(Has(ErrorOf("{" + a + "," + a + "}"), "key 'a' is there twice"));
  CHECK(Has(ErrorOf(R"({"a":3})"), "tensor 'a': its entry is 3, expected an object"));
  CHECK(Has(ErrorOf(R"({"":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}})"), "empty name"));
  CHECK(Has(ErrorOf("[1]"), "the header is a list, expected an object"));
  CHECK(Has(ErrorOf("{"), "not valid JSON at byte"));
  CHECK(Has(ErrorOf(std::string(100, '[')), "nested deeper than 64"));
}

TEST_CASE("Lengths of the header are not believed") {
  const auto error = [](const std::string& text) {
    const auto file = Parse(text);
    return file.ok() ? std::string() : file.error().message;
  };
  CHECK(Has(error(""), "file ends inside the length of the header"));
  CHECK(Has(error(SafeFile("{}", "").substr(0, 9)), "file ends inside the header"));
  CHECK(Has(error(std::string(8, '\xff') + "{}"), "claim a header of 18446744073709551615 bytes"));
  CHECK(Has(error("version https://git-lfs.github.com/spec/v1\noid"), "Git LFS pointer"));
  CHECK(error(SafeFile("{}", "")).empty());
}

TEST_CASE("Every truncation of a safetensors file is refused, and damage never crashes") {
  SafeWriter writer;
  writer.Add("a", "F32", {4}, std::vector<float>{1, 2, 3, 4});
  writer.Add("b", "I8", {3}, std::string("xyz"));
  const std::string whole = writer.Bytes();
  for (std::size_t n = 0; n < whole.size(); ++n) CHECK_FALSE(Parse(whole.substr(0, n)).ok());
  std::mt19937_64 random(1);
  int read = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string damaged = whole;
    for (std::uint64_t f = 0; f <= random() % 3; ++f) damaged[random() % damaged.size()] = static_cast<char>(random());
    const auto file = Parse(damaged);
    if (!file.ok()) continue;
    ++read;
    for (const auto& [name, tensor] : file->tensors()) {
      CHECK(tensor.elements() * BytesOf(tensor.type) == std::ssize(tensor.data));
    }
  }
  CHECK(read > 100);
  CHECK(read < 2000);
}

TEST_CASE("A folder's weights may be split by an index") {
  SetLogLevel(LogLevel::kOff);
  const Folder folder;
  const auto error = [&] {
    const auto model = SafetensorsModel::Open(folder / ".");
    return model.ok() ? std::string() : model.error().message;
  };
  CHECK(Has(error(), "neither model.safetensors nor model.safetensors.index.json"));
  Write(folder / "pytorch_model.bin", "x");
  CHECK(Has(error(), "pytorch_model.bin is not read"));
  SafeWriter one, two;
  one.Add("a", "U8", {1}, std::string("1"));
  two.Add("b", "U8", {2}, std::string("23"));
  two.Add("extra", "U8", {1}, std::string("4"));
  const std::string index = folder / "model.safetensors.index.json";
  Write(index, R"({"metadata":{},"weight_map":{"a":"one.safetensors","b":"two.safetensors"}})");
  CHECK(Has(error(), "one.safetensors"));
  CHECK(SafetensorsModel::Open(folder / ".").error().code == ErrorCode::kNotFound);
  Write(folder / "one.safetensors", one.Bytes());
  Write(folder / "two.safetensors", two.Bytes());
  {
    const auto model = SafetensorsModel::Open(folder / ".");
    REQUIRE(model.ok());
    CHECK(model->tensors().size() == 2);  // "extra" is not in the index
    CHECK(model->paths().size() == 2);
    CHECK(model->Find("b")->data.size() == 2);
    CHECK(model->paths()[model->Find("b")->file].ends_with("two.safetensors"));
  }
  Write(index, R"({"weight_map":{"a":"one.safetensors","c":"two.safetensors"}})");
  CHECK(Has(error(), "tensor 'c' should be in two.safetensors, which does not hold it"));
  Write(index, R"({"weight_map":{"a":"../one.safetensors"}})");
  CHECK(Has(error(), "expected the name of a file of the same folder"));
  Write(index, R"({"weight_map":{"a":"two.safetensors"}})");
  CHECK(Has(error(), "tensor 'a' should be in two.safetensors"));
  Write(index, R"({"weight_map":[]})");
  CHECK(Has(error(), "key 'weight_map' is a list"));
  Write(index, R"({})");
  CHECK(Has(error(), "key 'weight_map' is missing"));
  Write(folder / "two.safetensors", two.Bytes().substr(0, 20));
  Write(index, R"({"weight_map":{"b":"two.safetensors"}})");
  CHECK(Has(error(), "two.safetensors: file ends inside the header"));
  std::filesystem::remove(index);
  std::filesystem::create_symlink("model.safetensors", folder / "model.safetensors");  // a cycle
  CHECK(Has(error(), "cannot open"));
}

TEST_CASE("JSON becomes plain data") {
  const auto value = ParseJson(
      R"({"a":[1,-2,3.5,true,null,"x"],"b":{"c":18446744073709551615}, "n": NaN, "m": [-Infinity, "NaN \" NaN"]})");
  REQUIRE(value.ok());
  const auto& list = *value->Find("a")->As<JsonValue::Array>();
  CHECK(*list[0].As<std::int64_t>() == 1);
  CHECK(*list[1].As<std::int64_t>() == -2);
  CHECK(*list[2].As<double>() == 3.5);
  CHECK(*list[3].As<bool>());
  CHECK(list[4].is_null());
  CHECK(list[5].Describe() == "'x'");
  CHECK(value->Find("b")->Find("c")->As<double>() != nullptr);
  CHECK(*value->Find("n")->As<std::string>() == "NaN");
  CHECK(*(*value->Find("m")->As<JsonValue::Array>())[0].As<std::string>() == "-Infinity");
  CHECK(*(*value->Find("m")->As<JsonValue::Array>())[1].As<std::string>() == "NaN \" NaN");
  CHECK(value->Find("z") == nullptr);
  CHECK_FALSE(ParseJson("").ok());
  CHECK_FALSE(ParseJson("{} {}").ok());
  CHECK_FALSE(ParseJson("{\"a\":\"\xff\"}").ok());
  CHECK_FALSE(ParseJson("1e999").ok());
  CHECK_FALSE(ParseJson(std::string(1 << 20, '[')).ok());
}

}  // namespace
}  // namespace quorum::quant
