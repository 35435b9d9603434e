#include "quant/gguf.h"

#include <cstring>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "tests/quant/scratch.h"
#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

const std::string kFolder = Fixture("");

// Bytes of a GGUF file, piece by piece and unchecked: what a writer would refuse to make.
class Raw {
 public:
  explicit Raw(std::uint64_t tensors = 0, std::uint64_t entries = 0, std::uint32_t version = 3) {
    bytes_ = "GGUF";
    Number(version).Number(tensors).Number(entries);
  }
  template <typename T>
  Raw& Number(T value) {
    char raw[sizeof(T)];
    std::memcpy(raw, &value, sizeof(T));
    bytes_.append(raw, sizeof(T));
    return *this;
  }
  Raw& String(std::string_view text) {
    Number<std::uint64_t>(text.size());
    bytes_ += text;
    return *this;
  }
  Raw& Key(std::string_view key, std::uint32_t type) { return String(key).Number(type); }
  Raw& Tensor(std::string_view name, std::vector<std::int64_t> dims, std::uint32_t type, std::uint64_t offset) {
    String(name).Number(static_cast<std::uint32_t>(dims.size()));
    for (const std::int64_t dim : dims) Number(dim);
    return Number(type).Number(offset);
  }
  Raw& Data(std::size_t n, std::size_t alignment = 32) {
    bytes_.append((alignment - bytes_.size() % alignment) % alignment, '\0');
    bytes_.append(n, '\x11');
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

Result<GgufFile> Parse(std::string_view bytes) { return GgufFile::Parse(std::as_bytes(std::span(bytes)), "t.gguf"); }

// `bytes` must be refused with `code` and a message that starts with the file's name and contains `part`.
void CheckRefused(std::string_view bytes, ErrorCode code, const std::string& part) {
  const auto file = Parse(bytes);
  INFO("expected: " << part);
  REQUIRE_FALSE(file.ok());
  INFO("message: " << file.error().message);
  CHECK(file.error().code == code);
  CHECK(file.error().message.starts_with("t.gguf: "));
  CHECK(file.error().message.find(part) != std::string::npos);
}

TEST_CASE("GGUF: every kind of metadata, as the gguf package wrote it") {
  const auto file = GgufFile::Open(kFolder + "kinds.gguf");
  REQUIRE(file.ok());
  CHECK(file->version() == 3);
  CHECK(file->paths() == std::vector<std::string>{kFolder + "kinds.gguf"});
  CHECK(file->file_bytes() == ReadFile(kFolder + "kinds.gguf").size());
  CHECK(file->metadata().size() == 20);
  CHECK(*file->GetInt("k.u8").value() == 255);
  CHECK(*file->GetInt("k.i8").value() == -128);
  CHECK(*file->GetInt("k.u16").value() == 65535);
  CHECK(*file->GetInt("k.i16").value() == -32768);
  CHECK(*file->GetInt("k.u32").value() == 4294967295);
  CHECK(*file->GetInt("k.i32").value() == std::numeric_limits<std::int32_t>::min());
  CHECK(*file->GetInt("k.i64").value() == std::numeric_limits<std::int64_t>::min());
  CHECK(std::get<std::uint64_t>(file->metadata().at("k.u64")) == ~std::uint64_t{0});
  CHECK(*file->GetFloat("k.f32").value() == static_cast<double>(0.1F));
  CHECK(*file->GetFloat("k.f64").value() == 0.1);
  CHECK(*file->GetFloat("k.i16").value() == -32768.0);
  CHECK(*file->GetBool("k.yes").value());
  CHECK_FALSE(*file->GetBool("k.no").value());
  CHECK(*file->GetString("k.string").value() == std::string("na\u00efve\n\0end", 11));
  CHECK(*file->GetStrings("k.strings").value() == std::vector<std::string>{"a", "b c", "\u65e5\u672c"});
  CHECK(file->GetInts("k.ints").value() == std::vector<std::int64_t>{1, -2, 3});
  CHECK(file->GetInts("k.bytes").value() == std::vector<std::int64_t>{0, 128, 255});
  CHECK(file->GetInts("k.bools").value() == std::vector<std::int64_t>{1, 0, 1});
  CHECK(file->GetInts("k.u8").value() == std::vector<std::int64_t>{255});
  CHECK(file->GetFloats("k.floats").value() == std::vector<double>{0.5, -1.25});
  CHECK(file->GetFloats("k.ints").value() == std::vector<double>{1, -2, 3});
  CHECK(file->GetFloats("k.f64").value() == std::vector<double>{0.1});

  REQUIRE(file->entries().size() == 20);
  CHECK(file->entries()[0].key == "general.architecture");
  CHECK(file->entries()[1].key == "k.u8");
  CHECK(file->entries()[1].type == GgufType::kUint8);
  CHECK(file->entries()[1].value.size() == 1);
  CHECK(file->entries()[1].value[0] == std::byte{255});

  REQUIRE(file->tensors().size() == 2);
  const GgufTensor& a = *file->FindTensor("a");
  CHECK(a.dims == std::vector<std::int64_t>{3, 2});
  CHECK(a.elements() == 6);
  CHECK(a.dim(0) == 3);
  CHECK(a.dim(2) == 1);
  float values[6];
  std::memcpy(values, a.data.data(), sizeof values);
  CHECK(values[5] == 5.0F);
  const GgufTensor& b = *file->FindTensor("b");
  CHECK(b.type == DType::kF16);
  CHECK(b.data.data() - a.data.data() == 64);  // general.alignment
  CHECK(static_cast<std::uint8_t>(b.data[2]) + 256 * static_cast<int>(b.data[3]) == FloatToHalf(1.0F));
  CHECK(file->FindTensor("c") == nullptr);
  file->Release(a);
  CHECK(std::memcmp(values, a.data.data(), sizeof values) == 0);  // comes back from the file
}

TEST_CASE("GGUF: look-ups say which key has which wrong type") {
  const auto file = GgufFile::Open(kFolder + "kinds.gguf").value();
  const auto check = [&](const auto& result, const std::string& part) {
    REQUIRE_FALSE(result.ok());
    CHECK(result.error().code == ErrorCode::kInvalidArgument);
    CHECK(result.error().message == kFolder + "kinds.gguf: key " + part);
  };
  check(file.GetInt("k.f32"), "'k.f32' is a float, not an integer");
  check(file.GetInt("k.u64"), "'k.u64' is out of range: 18446744073709551615");
  check(file.GetInts("k.u64"), "'k.u64' is out of range: 18446744073709551615");
  check(file.GetInts("k.string"), "'k.string' is a string, not an array of integers");
  check(file.GetInts("k.floats"), "'k.floats' is an array of floats, not an array of integers");
  check(file.GetFloat("k.yes"), "'k.yes' is a boolean, not a number");
  check(file.GetFloats("k.strings"), "'k.strings' is an array of strings, not an array of numbers");
  check(file.GetBool("k.u8"), "'k.u8' is an integer, not a boolean");
  check(file.GetString("k.strings"), "'k.strings' is an array of strings, not a string");
  check(file.GetStrings("k.string"), "'k.string' is a string, not an array of strings");
  CHECK_FALSE(file.GetInt("x").value().has_value());
  CHECK_FALSE(file.GetFloat("x").value().has_value());
  CHECK_FALSE(file.GetBool("x").value().has_value());
  CHECK_FALSE(file.GetString("x").value().has_value());
  CHECK(file.GetStrings("x").value() == nullptr);
  CHECK(file.GetInts("x").value().empty());
  CHECK(file.GetFloats("x").value().empty());
}

TEST_CASE("GGUF: version 2, and bytes at any address") {
  std::string bytes = ReadFile(kFolder + "kinds.gguf");
  bytes[4] = 2;
  const std::string moved = "x" + bytes;
  const auto file = Parse(std::string_view(moved).substr(1));
  REQUIRE(file.ok());
  CHECK(file->version() == 2);
  CHECK(*file->GetInt("k.i32").value() == std::numeric_limits<std::int32_t>::min());
  CHECK(file->tensors().size() == 2);
}

TEST_CASE("GGUF: not this kind of file") {
  CheckRefused("", ErrorCode::kDataLoss, "the magic number");
  CheckRefused("GGU", ErrorCode::kDataLoss, "the magic number");
  CheckRefused("ggjt....", ErrorCode::kInvalidArgument, "it starts with 67 67 6a 74, not \"GGUF\"");
  CheckRefused("version https://git-lfs.github.com/spec/v1\noid", ErrorCode::kInvalidArgument, "Git LFS pointer");
  CheckRefused(Raw(0, 0, 1).bytes(), ErrorCode::kUnsupported, "GGUF version 1");
  CheckRefused(Raw(0, 0, 4).bytes(), ErrorCode::kUnsupported, "GGUF version 4");
  CheckRefused(Raw(0, 0, 0).bytes(), ErrorCode::kUnsupported, "GGUF version 0");
  CheckRefused(Raw(0, 0, 0x03000000).bytes(), ErrorCode::kUnsupported, "big-endian");
  CheckRefused("GGUF\3\0\0", ErrorCode::kDataLoss, "the version");
  CHECK(Parse(Raw().bytes()).ok());

  const auto absent = GgufFile::Open(kFolder + "absent.gguf");
  REQUIRE_FALSE(absent.ok());
  CHECK(absent.error().code == ErrorCode::kNotFound);
  CHECK(absent.error().message.find("absent.gguf") != std::string::npos);
  CHECK(GgufFile::Open(kFolder).error().code == ErrorCode::kInvalidArgument);
  CHECK(GgufFile::Open(kFolder).error().message.find("is a folder, expected a GGUF file") != std::string::npos);
}

TEST_CASE("GGUF: counts and lengths are not believed") {
  constexpr std::uint64_t kHuge = std::uint64_t{1} << 60;
  CheckRefused(Raw(kHuge, 0).bytes(), ErrorCode::kDataLoss, "1152921504606846976 tensors");
  CheckRefused(Raw(0, kHuge).bytes(), ErrorCode::kDataLoss, "1152921504606846976 metadata entries");
  CheckRefused(Raw(0, ~std::uint64_t{0}).bytes(), ErrorCode::kDataLoss, "metadata entries");
  CheckRefused(Raw(0, 1).Number(kHuge).Data(64).bytes(), ErrorCode::kDataLoss,
               "metadata entry 0 at offset 24 claims a string of 1152921504606846976 bytes");
  CheckRefused(Raw(0, 1).Key("k", 8).Number(~std::uint64_t{0}).Data(64).bytes(), ErrorCode::kDataLoss,
               "key 'k' at offset 37 claims a string of 18446744073709551615");
  for (const std::uint32_t type : {0U, 4U, 7U, 10U, 12U}) {
    CheckRefused(Raw(0, 1).Key("k", 9).Number(type).Number(kHuge).Data(64).bytes(), ErrorCode::kDataLoss,
                 "key 'k' at offset 49 claims 1152921504606846976 array elements");
  }
  CheckRefused(Raw(0, 1).Key("k", 9).Number(8U).Number(kHuge).Data(64).bytes(), ErrorCode::kDataLoss,
               "claims 1152921504606846976 strings");
  CheckRefused(Raw(0, 1).Key("k", 9).Number(8U).Number(std::uint64_t{2}).String("a").Number(kHuge).Data(9).bytes(),
               ErrorCode::kDataLoss, "key 'k' at offset 58 claims a string");
  CheckRefused(Raw(0, 1).String(std::string(65536, 'k')).Data(64).bytes(), ErrorCode::kDataLoss, "65536 bytes long");
  CheckRefused(Raw(0, 70000).Data(2000000).bytes(), ErrorCode::kUnsupported, "70000 metadata entries");
}

TEST_CASE("GGUF: bad metadata names its key and place") {
  CheckRefused(Raw(0, 1).Key("k", 13).Data(9).bytes(), ErrorCode::kDataLoss, "key 'k' at offset 37 has the unknown");
  CheckRefused(Raw(0, 1).Key("k", 9).Number(9U).Number(std::uint64_t{1}).Data(64).bytes(), ErrorCode::kUnsupported,
               "key 'k' at offset 37 is an array of arrays");
  CheckRefused(Raw(0, 1).Key("k", 9).Number(77U).Number(std::uint64_t{1}).Data(64).bytes(), ErrorCode::kDataLoss,
               "array of the unknown value type 77");
  CheckRefused(Raw(0, 1).Key("k", 7).Number(std::uint8_t{2}).bytes(), ErrorCode::kDataLoss,
               "key 'k' at offset 37: 2 is not a boolean");
  CheckRefused(Raw(0, 1).Key("", 7).Number(std::uint8_t{1}).Data(9).bytes(), ErrorCode::kDataLoss, "empty name");
  CheckRefused(Raw(0, 2).Key("k", 0).Number('a').Key("k", 0).Number('b').bytes(), ErrorCode::kDataLoss,
               "key 'k' occurs twice, the second time at offset 38");
  CheckRefused(Raw(0, 1).Key("k", 10).Number(std::uint32_t{1}).bytes(), ErrorCode::kDataLoss,
               "file ends inside key 'k' at offset 37: needs 8 bytes, has 4");
  CheckRefused(Raw(0, 1).Key("a\x1b[2J\n'b", 13).Data(9).bytes(), ErrorCode::kDataLoss,
               "key 'a\\x1b[2J\\x0a\\x27b' at");
  CheckRefused(Raw(0, 1)
                   .Key("k", 9)
                   .Number(10U)
                   .Number(std::uint64_t{2})
                   .Number(std::uint64_t{1})
                   .Number(~std::uint64_t{0})
                   .bytes(),
               ErrorCode::kUnsupported, "key 'k' at offset 57: 18446744073709551615");
  for (const std::uint32_t alignment : {0U, 4U, 24U, 0x80000000U}) {
    CheckRefused(Raw(0, 1).Key("general.alignment", 4).Number(alignment).bytes(), ErrorCode::kDataLoss,
                 "'general.alignment' is not");
  }
  CheckRefused(Raw(0, 1).Key("general.alignment", 8).String("32").bytes(), ErrorCode::kDataLoss, "'general.alignment'");
}

TEST_CASE("GGUF: bad tensors name themselves and their place") {
  CHECK(Parse(Raw(2).Tensor("a", {32, 2}, 8, 0).Tensor("b", {8}, 0, 96).Data(128).bytes()).ok());
  CheckRefused(Raw(1).Tensor("t", {1, 1, 1, 1, 1}, 0, 0).Data(64).bytes(), ErrorCode::kDataLoss,
               "tensor 't' at offset 24 has 5 dimensions");
  CheckRefused(Raw(1).Tensor("t", {4, 0}, 0, 0).Data(64).bytes(), ErrorCode::kDataLoss, "dimension 1 of 0");
  CheckRefused(Raw(1).Tensor("t", {-4}, 0, 0).Data(64).bytes(), ErrorCode::kDataLoss, "dimension 0 of -4");
  CheckRefused(Raw(1).Tensor("t", {1LL << 32, 1LL << 32}, 0, 0).Data(64).bytes(), ErrorCode::kDataLoss,
               "dimension 1 of 4294967296");
  CheckRefused(Raw(1).Tensor("t", {1LL << 62}, 0, 0).Data(64).bytes(), ErrorCode::kDataLoss, "impossible size");
  CheckRefused(Raw(1).Tensor("t", {1LL << 40}, 0, 0).Data(64).bytes(), ErrorCode::kDataLoss,
               "tensor 't' needs 4398046511104 bytes at data offset 0");
  CheckRefused(Raw(1).Tensor("t", {33}, 8, 0).Data(64).bytes(), ErrorCode::kDataLoss, "no whole number of Q8_0 blocks");
  CheckRefused(Raw(1).Tensor("t", {256}, 16, 0).Data(64).bytes(), ErrorCode::kUnsupported, "type 16 (IQ2_XXS)");
  CheckRefused(Raw(1).Tensor("t", {256}, 99, 0).Data(64).bytes(), ErrorCode::kUnsupported, "type 99 (unknown)");
  CheckRefused(Raw(1).Tensor("", {4}, 0, 0).Data(64).bytes(), ErrorCode::kDataLoss,
               "tensor 0 at offset 24 has an empty");
  CheckRefused(Raw(1).Tensor("t", {4}, 0, 8).Data(64).bytes(), ErrorCode::kDataLoss,
               "offset 8 is not a multiple of 32");
  CheckRefused(Raw(1).Tensor("t", {4}, 0, 64).Data(64).bytes(), ErrorCode::kDataLoss, "the file ends at 128");
  CheckRefused(Raw(1).Tensor("t", {4}, 0, ~std::uint64_t{31}).Data(64).bytes(), ErrorCode::kDataLoss, "the file ends");
  CheckRefused(Raw(1).Tensor("t", {4}, 0, 0).bytes(), ErrorCode::kDataLoss, "is it cut off?");
  CheckRefused(Raw(2).Tensor("t", {4}, 0, 0).Tensor("t", {4}, 0, 32).Data(64).bytes(), ErrorCode::kDataLoss,
               "tensor 't' occurs twice");
  CheckRefused(Raw(2).Tensor("a", {4}, 0, 32).Tensor("b", {9}, 0, 0).Data(64).bytes(), ErrorCode::kDataLoss,
               "tensors 'b' and 'a' overlap at file offset 128");
}

TEST_CASE("GGUF: a split model is one model") {
  const auto file = GgufFile::Open(kFolder + "split-00001-of-00002.gguf");
  REQUIRE(file.ok());
  CHECK(file->paths().size() == 2);
  CHECK(file->paths()[1] == kFolder + "split-00002-of-00002.gguf");
  REQUIRE(file->tensors().size() == 3);
  CHECK(*file->GetInt("llama.block_count").value() == 1);
  for (const auto& [name, value] : {std::pair("a", 1.0F), std::pair("b", 2.0F), std::pair("c", 3.0F)}) {
    float first;
    std::memcpy(&first, file->FindTensor(name)->data.data(), sizeof first);
    CHECK(first == value);
    file->Release(*file->FindTensor(name));
  }
  CHECK(file->file_bytes() == 352 + 192);
}

TEST_CASE("GGUF: broken sets of parts") {
  Folder folder;
  const std::string first = ReadFile(kFolder + "split-00001-of-00002.gguf");
  const std::string second = ReadFile(kFolder + "split-00002-of-00002.gguf");
  const auto save = [&](const std::string& name, const std::string& bytes) {
    std::ofstream(folder / name, std::ios::binary) << bytes;
  };
  const auto refused = [&](const std::string& name, ErrorCode code, const std::string& part) {
    const auto file = GgufFile::Open(folder / name);
    REQUIRE_FALSE(file.ok());
    INFO(file.error().message);
    CHECK(file.error().code == code);
    CHECK(file.error().message.find(part) != std::string::npos);
  };
  save("m-00001-of-00002.gguf", first);
  refused("m-00001-of-00002.gguf", ErrorCode::kNotFound, "m-00002-of-00002.gguf");
  save("m-00002-of-00002.gguf", second);
  refused("m-00002-of-00002.gguf", ErrorCode::kInvalidArgument, "open the first, *-00001-of-00002.gguf");
  save("other.gguf", first);
  refused("other.gguf", ErrorCode::kInvalidArgument, "must end in -00001-of-00002.gguf");
  save("m-00002-of-00002.gguf", first);
  refused("m-00001-of-00002.gguf", ErrorCode::kDataLoss, "part 0 of 2");
  save("m-00002-of-00002.gguf", second.substr(0, second.size() - 40));
  refused("m-00001-of-00002.gguf", ErrorCode::kDataLoss, "m-00002-of-00002.gguf: tensor 'c' needs");
  std::string twice = second;
  twice[twice.rfind('c')] = 'a';
  save("m-00002-of-00002.gguf", twice);
  refused("m-00001-of-00002.gguf", ErrorCode::kDataLoss, "tensor 'a' is in another part");
  std::string fewer = first;
  const std::size_t count = fewer.find("split.tensors.count") + std::strlen("split.tensors.count") + 4;
  fewer[count] = 4;
  save("m-00001-of-00002.gguf", fewer);
  save("m-00002-of-00002.gguf", second);
  refused("m-00001-of-00002.gguf", ErrorCode::kDataLoss, "hold 3 tensors, key 'split.tensors.count' says 4");
  CheckRefused(first, ErrorCode::kInvalidArgument, "one of 2 parts");
}

}  // namespace
}  // namespace quorum::quant
