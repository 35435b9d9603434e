#include "quant/gguf_writer.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <string>

#include "quant/gguf.h"
#include "quant/quantize.h"
#include "tests/quant/scratch.h"
#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

std::span<const std::byte> Bytes(const std::vector<float>& values) { return std::as_bytes(std::span(values)); }

TEST_CASE("GgufWriter copies a file of the gguf package byte for byte") {
  for (const char* name : {"kinds.gguf", "dense.gguf", "moe.gguf"}) {
    const std::string path = Fixture(name);
    const auto src = GgufFile::Open(path).value();
    GgufWriter writer;
    for (const GgufEntry& entry : src.entries()) writer.SetRaw(entry.key, entry.type, entry.value);
    for (const GgufTensor& t : src.tensors()) writer.AddTensor(t.name, t.type, t.dims, t.data);
    const auto bytes = writer.ToBytes();
    REQUIRE(bytes.ok());
    const std::string expected = ReadFile(path);
    CHECK(writer.FileBytes() == expected.size());
    REQUIRE(bytes->size() == expected.size());
    CHECK(std::memcmp(bytes->data(), expected.data(), expected.size()) == 0);

    Folder folder;
    REQUIRE(writer.Write(folder / name, false).ok());
    CHECK(ReadFile(folder / name) == expected);
    CHECK(folder.Count() == 1);
  }
}

TEST_CASE("GgufWriter: what it writes reads back") {
  GgufWriter writer;
  writer.SetString("general.architecture", "llama");
  writer.SetUint32("n", 7);
  writer.SetUint64("big", ~std::uint64_t{0});
  writer.SetFloat32("f", 0.25F);
  writer.SetBool("yes", true);
  writer.SetStrings("words", {"a", "", "c"});
  writer.SetInt32s("ints", {-1, 2});
  writer.SetFloat32s("floats", {1.5F});
  writer.SetString("gone", "x");
  writer.SetUint32("n", 8);  // keeps its place
  writer.Erase("gone");
  const std::vector<float> values(64, 2.0F);
  std::vector<std::byte> blocks(2 * 34);
  REQUIRE(Quantize(DType::kQ8_0, values.data(), blocks.data(), 64));
  writer.AddTensor("q", DType::kQ8_0, {32, 2}, blocks);
  writer.AddTensor("made", DType::kF32, {3}, [](const GgufWriter::Sink& sink) -> Status {
    for (const float v : {1.0F, 2.0F, 3.0F}) QUORUM_TRY(sink(Bytes({v})));
    return {};
  });
  const auto bytes = writer.ToBytes().value();
  const auto file = GgufFile::Parse(bytes, "made").value();
  CHECK(file.metadata().size() == 8);
  CHECK(file.entries()[1].key == "n");
  CHECK(*file.GetInt("n").value() == 8);
  CHECK(std::get<std::uint64_t>(file.metadata().at("big")) == ~std::uint64_t{0});
  CHECK(*file.GetFloat("f").value() == 0.25);
  CHECK(*file.GetBool("yes").value());
  CHECK(*file.GetStrings("words").value() == std::vector<std::string>{"a", "", "c"});
  CHECK(file.GetInts("ints").value() == std::vector<std::int64_t>{-1, 2});
  CHECK(file.GetFloats("floats").value() == std::vector<double>{1.5});
  CHECK(file.FindTensor("q")->dims == std::vector<std::int64_t>{32, 2});
  float third;
  std::memcpy(&third, file.FindTensor("made")->data.data() + 8, sizeof third);
  CHECK(third == 3.0F);
}

TEST_CASE("GgufWriter: a failure leaves nothing behind and spares what was there") {
  Folder folder;
  const std::string path = folder / "m.gguf";
  std::ofstream(path) << "old";
  const auto source_of = [](std::size_t floats) {
    return [floats](const GgufWriter::Sink& sink) { return sink(Bytes(std::vector<float>(floats))); };
  };
  const auto failed = [&](const GgufWriter& writer, ErrorCode code, const std::string& part) {
    const Status status = writer.Write(path, true);
    REQUIRE_FALSE(status.ok());
    INFO(status.error().message);
    CHECK(status.error().code == code);
    CHECK(status.error().message.find(part) != std::string::npos);
    CHECK(folder.Count() == 1);
    CHECK(ReadFile(path) == "old");
    CHECK_FALSE(writer.ToBytes().ok());
  };
  GgufWriter few;
  few.AddTensor("t", DType::kF32, {4}, source_of(3));
  failed(few, ErrorCode::kInternal, "tensor 't' lacks 4 of its bytes");
  GgufWriter many;
  many.AddTensor("t", DType::kF32, {4}, source_of(5));
  failed(many, ErrorCode::kInternal, "tensor 't' got more bytes");
  GgufWriter broken;
  broken.AddTensor("t", DType::kF32, {4}, [](const GgufWriter::Sink&) -> Status { return DataLoss("source gone"); });
  failed(broken, ErrorCode::kDataLoss, "source gone");
  GgufWriter twins;
  twins.AddTensor("t", DType::kF32, {4}, source_of(4));
  twins.AddTensor("t", DType::kF32, {4}, source_of(4));
  failed(twins, ErrorCode::kInvalidArgument, "tensor 't'");
}

TEST_CASE("GgufWriter: where it may write") {
  Folder folder;
  GgufWriter writer;
  writer.SetUint32("n", 1);
  const std::string path = folder / "m.gguf";
  REQUIRE(writer.Write(path, false).ok());
  struct stat info{};
  REQUIRE(::stat(path.c_str(), &info) == 0);
  CHECK((info.st_mode & 0600U) == 0600U);
  writer.SetUint32("n", 2);
  const Status again = writer.Write(path, false);
  REQUIRE_FALSE(again.ok());
  CHECK(again.error().message == path + " exists already");
  CHECK(*GgufFile::Open(path)->GetInt("n").value() == 1);
  REQUIRE(writer.Write(path, true).ok());
  CHECK(*GgufFile::Open(path)->GetInt("n").value() == 2);
  CHECK(writer.Write("/dev/null", true).error().message == "/dev/null is not a regular file");
  CHECK(writer.Write("/tmp", true).error().message == "/tmp is a folder");
  CHECK(writer.Write(folder / "no/such/m.gguf", true).error().message.find("No such file") != std::string::npos);
  CHECK(folder.Count() == 1);
}

TEST_CASE("GgufWriter: progress is told and can cancel") {
  Folder folder;
  const std::vector<float> values((std::size_t{20} << 20) / sizeof(float));
  GgufWriter writer;
  writer.AddTensor("t", DType::kF32, {static_cast<std::int64_t>(values.size())}, Bytes(values));
  std::vector<std::uint64_t> told;
  REQUIRE(writer
              .Write(folder / "m", false,
                     [&](std::uint64_t done, std::uint64_t total) {
                       CHECK(total == writer.FileBytes());
                       told.push_back(done);
                       return true;
                     })
              .ok());
  REQUIRE(told.size() == 3);
  CHECK(told.back() == writer.FileBytes());
  const Status cancelled = writer.Write(folder / "n", false, [](std::uint64_t, std::uint64_t) { return false; });
  CHECK(cancelled.error().code == ErrorCode::kCancelled);
  CHECK(folder.Count() == 1);
}

TEST_CASE("GgufWriter: a disk that takes no more is an error") {
  Folder folder;
  const std::vector<float> values((std::size_t{1} << 20) / sizeof(float));
  GgufWriter writer;
  writer.AddTensor("t", DType::kF32, {static_cast<std::int64_t>(values.size())}, Bytes(values));
  struct rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  struct rlimit small = before;
  small.rlim_cur = 300000;  // the first write is short, the next one fails
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const Status status = writer.Write(folder / "m", false);
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().message.find("cannot write " + (folder / "m") + ": File too large") != std::string::npos);
  CHECK(folder.Count() == 0);
}

}  // namespace
}  // namespace quorum::quant
