// Whole files: types by the plan, experts apart, resuming, checksum, importance.
#include "quant/quantize_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "quant/int8_exact.h"
#include "quant/resumable_file.h"
#include "tests/quant/scratch.h"
#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

constexpr std::int64_t kExperts = 4;

struct Source {
  std::map<std::string, std::vector<float>> values;
  std::vector<std::byte> bytes;
};

/// A file with what a MoE layer has. `fill` makes each value from its tensor's generator.
Source MakeSource() {
  Source source;
  GgufWriter writer;
  writer.SetString("general.architecture", "test");
  writer.SetString("general.name", "small");
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0F, 0.05F);
  const auto add = [&](const std::string& name, std::vector<std::int64_t> dims) {
    std::int64_t n = 1;
    for (const std::int64_t dim : dims) n *= dim;
    std::vector<float>& x = source.values[name];
    x.resize(static_cast<std::size_t>(n));
    for (float& v : x) v = normal(random);
    writer.AddTensor(name, DType::kF32, std::move(dims), std::as_bytes(std::span(x)));
  };
  add("token_embd.weight", {256, 40});
  add("output.weight", {256, 40});
  add("output_norm.weight", {256});
  add("blk.0.attn_q.weight", {256, 64});
  add("blk.0.attn_output.weight", {96, 256});
  add("blk.0.ffn_gate_inp.weight", {256, kExperts});
  for (const char* role : {"gate", "up"}) add("blk.0.ffn_" + std::string(role) + "_exps.weight", {256, 512, kExperts});
  add("blk.0.ffn_down_exps.weight", {512, 256, kExperts});
  add("blk.0.ffn_down_exps.bias", {256, kExperts});
  auto bytes = writer.ToBytes();
  REQUIRE(bytes.ok());
  source.bytes = *std::move(bytes);
  return source;
}

QuantizeOptions Options(const char* type, const std::string& plan = "") {
  QuantizeOptions options;
  options.plan.base = *FindEncoding(type);
  auto rules = ParsePlan(plan);
  REQUIRE(rules.ok());
  options.plan.rules = *rules;
  options.threads = 2;
  options.measure = true;
  return options;
}

Result<QuantizeReport> Run(const Source& source, const QuantizeOptions& options, const std::string& dst,
                           const GgufWriter::Progress& progress = {}) {
  const auto file = GgufFile::Parse(source.bytes, "source");
  REQUIRE(file.ok());
  GgufWriter writer;
  CopyMetadata(*file, writer);
  const auto sources = SourcesOf(*file);
  return QuantizeTensors(writer, sources, options, dst, progress);
}

double RelativeError(const std::vector<float>& x, const GgufTensor& tensor, std::size_t first = 0) {
  std::vector<float> y(static_cast<std::size_t>(tensor.elements()));
  REQUIRE(Dequantize(tensor.type, tensor.data.data(), y.data(), tensor.elements()));
  double error = 0;
  double squares = 0;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double e = static_cast<double>(x[first + i] - y[i]);
    error += e * e;
    squares += static_cast<double>(x[first + i]) * static_cast<double>(x[first + i]);
  }
  return std::sqrt(error / squares);
}

DType TypeOf(const GgufFile& file, const std::string& name) {
  const GgufTensor* tensor = file.FindTensor(name);
  REQUIRE(tensor != nullptr);
  return tensor->type;
}

TEST_CASE("A model is quantized tensor by tensor and the file holds it") {
  const Source source = MakeSource();
  const Folder folder;
  const auto report = Run(source, Options("q4x"), folder / "out.gguf");
  REQUIRE(report.ok());
  const auto file = GgufFile::Open(folder / "out.gguf");
  REQUIRE(file.ok());
  CHECK(TypeOf(*file, "blk.0.attn_q.weight") == DType::kQ4_K);
  CHECK(IsInt8Exact(file->FindTensor("blk.0.attn_q.weight")->data.data(), 256 * 64));
  CHECK(TypeOf(*file, "blk.0.attn_output.weight") == DType::kQ5_0);  // rows of 96
  CHECK(TypeOf(*file, "output.weight") == DType::kQ6_K);
  CHECK(TypeOf(*file, "output_norm.weight") == DType::kF32);
  CHECK(TypeOf(*file, "blk.0.ffn_gate_inp.weight") == DType::kF32);
  CHECK(TypeOf(*file, "blk.0.ffn_down_exps.weight") == DType::kQ4_K);
  for (const GgufTensor& tensor : file->tensors()) {
    CHECK(RelativeError(source.values.at(tensor.name), tensor) < 0.1);
  }
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < file->tensors().size(); ++i) {
    CHECK(report->tensors[i].bytes == file->tensors()[i].data.size());
    bytes += report->tensors[i].bytes;
    if (!report->tensors[i].copied) {
      const double measured = std::sqrt(report->tensors[i].error_squares / report->tensors[i].squares);
      CHECK(std::fabs(measured - RelativeError(source.values.at(file->tensors()[i].name), file->tensors()[i])) < 1e-6);
    }
  }
  CHECK(report->file_bytes == std::filesystem::file_size(folder / "out.gguf"));
  CHECK(bytes < report->file_bytes);
  CHECK(*file->GetString("quorum.quantize.sha256") == report->sha256);
  CHECK(*file->GetString("general.name") == "small");
  // The checksum is that of everything behind the metadata.
  const std::string raw = ReadFile(folder / "out.gguf");
  Sha256 hash;
  std::uint64_t data = 0;
  for (const GgufTensor& tensor : file->tensors()) data += (tensor.data.size() + 31) / 32 * 32;
  hash.Add(std::as_bytes(std::span(raw)).last(data));
  CHECK(hash.Finish() == report->sha256);
}

TEST_CASE("Threads do not change a byte") {
  const Source source = MakeSource();
  const Folder folder;
  for (const int threads : {1, 3}) {
    QuantizeOptions options = Options("q4_k");
    options.threads = threads;
    REQUIRE(Run(source, options, folder / std::to_string(threads)).ok());
  }
  CHECK(ReadFile(folder / "1") == ReadFile(folder / "3"));
}

TEST_CASE("Experts of a layer may have types of their own") {
  const Source source = MakeSource();
  const Folder folder;
  const auto report =
      Run(source, Options("q4_0", "blk.0.ffn_*_exps.weight[1,3] q8_0\nblk.0.ffn_down_exps.weight[2] q6_k\n"),
          folder / "out.gguf");
  REQUIRE(report.ok());
  const auto file = GgufFile::Open(folder / "out.gguf");
  REQUIRE(file.ok());
  CHECK(file->FindTensor("blk.0.ffn_gate_exps.weight") == nullptr);
  CHECK(TypeOf(*file, "blk.0.ffn_gate.0.weight") == DType::kQ4_0);
  CHECK(TypeOf(*file, "blk.0.ffn_gate.1.weight") == DType::kQ8_0);
  CHECK(TypeOf(*file, "blk.0.ffn_down.2.weight") == DType::kQ6_K);
  CHECK(TypeOf(*file, "blk.0.ffn_up.3.weight") == DType::kQ8_0);
  for (std::int64_t e = 0; e < kExperts; ++e) {
    const GgufTensor* down = file->FindTensor("blk.0.ffn_down." + std::to_string(e) + ".weight");
    REQUIRE(down != nullptr);
    CHECK(down->dims == std::vector<std::int64_t>{512, 256});
    CHECK(RelativeError(source.values.at("blk.0.ffn_down_exps.weight"), *down,
                        static_cast<std::size_t>(e) * 512 * 256) < 0.12);
    const GgufTensor* bias = file->FindTensor("blk.0.ffn_down." + std::to_string(e) + ".bias");
    REQUIRE(bias != nullptr);
    CHECK(RelativeError(source.values.at("blk.0.ffn_down_exps.bias"), *bias, static_cast<std::size_t>(e) * 256) == 0);
  }
  // A rule that names all experts leaves the stack whole.
  REQUIRE(Run(source, Options("q4_0", "blk.0.ffn_*_exps.weight[0-3] q8_0"), folder / "same.gguf").ok());
  const auto same = GgufFile::Open(folder / "same.gguf");
  REQUIRE(same.ok());
  CHECK(TypeOf(*same, "blk.0.ffn_gate_exps.weight") == DType::kQ8_0);
}

TEST_CASE("An interrupted run goes on, and the result is the same") {
  const Source source = MakeSource();
  const Folder folder;
  const QuantizeOptions options = Options("q5_k");
  REQUIRE(Run(source, options, folder / "whole.gguf").ok());
  const auto stopped = Run(source, options, folder / "out.gguf", [](std::uint64_t, std::uint64_t) { return false; });
  REQUIRE_FALSE(stopped.ok());
  CHECK(stopped.error().code == ErrorCode::kCancelled);
  CHECK_FALSE(std::filesystem::exists(folder / "out.gguf"));
  // As if the program had been killed within some tensor: whatever is behind the last whole one is made anew.
  const std::string partial = folder / "out.gguf.partial";
  REQUIRE(std::filesystem::exists(partial));
  const std::string cut_off = ReadFile(partial);
  for (const std::size_t size : {cut_off.size(), cut_off.size() * 2 / 3, std::size_t{100}}) {
    std::ofstream(partial, std::ios::binary) << cut_off.substr(0, size);
    std::string told;
    QuantizeOptions telling = options;
    telling.note = [&](const std::string& line) { told += line; };
    REQUIRE(Run(source, telling, folder / "out.gguf").ok());
    CHECK((told.find("going on behind them") != std::string::npos) == (size > 100));
    CHECK(ReadFile(folder / "out.gguf") == ReadFile(folder / "whole.gguf"));
    CHECK_FALSE(std::filesystem::exists(partial));
    std::filesystem::remove(folder / "out.gguf");
  }
  // One of other arguments is not gone on with.
  std::ofstream(partial, std::ios::binary) << cut_off;
  std::string told;
  QuantizeOptions others = Options("q8_0");
  others.note = [&](const std::string& line) { told += line; };
  REQUIRE(Run(source, others, folder / "out.gguf").ok());
  CHECK(told.find("its quorum.quantize.type is 'q5_k', now it is 'q8_0'") != std::string::npos);
  const auto file = GgufFile::Open(folder / "out.gguf");
  REQUIRE(file.ok());
  CHECK(TypeOf(*file, "blk.0.attn_q.weight") == DType::kQ8_0);
}

TEST_CASE("What cannot be quantized is refused with its name") {
  const Source source = MakeSource();
  const Folder folder;
  REQUIRE(Run(source, Options("q8_0"), folder / "q8.gguf").ok());
  const std::string bytes = ReadFile(folder / "q8.gguf");
  Source quantized;
  quantized.bytes.assign(reinterpret_cast<const std::byte*>(bytes.data()),
                         reinterpret_cast<const std::byte*>(bytes.data()) + bytes.size());
  QuantizeOptions options = Options("q4_0");
  const auto refused = Run(quantized, options, folder / "q4.gguf");
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().message.find("quantized already") != std::string::npos);
  CHECK(refused.error().message.find(" q8_0\" keeps it") != std::string::npos);
  options.requantize = true;
  const auto made = Run(quantized, options, folder / "q4.gguf");
  REQUIRE(made.ok());
  CHECK(made->tensors[0].requantized);
  CHECK_FALSE(Run(source, options, folder / "q4.gguf").ok());  // exists
  const auto nothing = Run(source, Options("q4_0", "blk.9.* q8_0"), folder / "x.gguf");
  REQUIRE_FALSE(nothing.ok());
  CHECK(nothing.error().message.find("line 1") != std::string::npos);

  std::vector<float> values(256 * 4, 1.0F);
  values[700] = std::nanf("");
  GgufWriter writer;
  writer.SetString("general.architecture", "test");
  writer.AddTensor("blk.0.attn_q.weight", DType::kF32, {256, 4}, std::as_bytes(std::span(values)));
  Source odd;
  odd.bytes = *writer.ToBytes();
  const auto bad = Run(odd, Options("q4_0"), folder / "nan.gguf");
  REQUIRE_FALSE(bad.ok());
  CHECK(bad.error().message.find("row 2") != std::string::npos);
}

TEST_CASE("Importance is taken by expert, and experts without it are named") {
  const Source source = MakeSource();
  const Folder folder;
  ImportanceMatrix matrix;
  ImportanceEntry& entry = matrix.entries["blk.0.ffn_gate_exps.weight"];
  entry.counts = {8, 0, 4, 2};
  entry.sums.assign(256 * kExperts, 1.0F);
  for (std::size_t i = 0; i < 256; i += 4) entry.sums[i] = 1000.0F;  // of expert 0
  QuantizeOptions options = Options("q4_0");
  options.importance = &matrix;
  const auto report = Run(source, options, folder / "out.gguf");
  REQUIRE(report.ok());
  CHECK(std::ranges::find(report->no_importance, "blk.0.ffn_gate_exps.weight[1]") != report->no_importance.end());
  CHECK(std::ranges::find(report->no_importance, "blk.0.ffn_gate_exps.weight[0]") == report->no_importance.end());
  CHECK(std::ranges::find(report->no_importance, "blk.0.attn_q.weight") != report->no_importance.end());
  REQUIRE(Run(source, Options("q4_0"), folder / "plain.gguf").ok());
  const auto weighed = GgufFile::Open(folder / "out.gguf");
  const auto plain = GgufFile::Open(folder / "plain.gguf");
  const auto& a = weighed->FindTensor("blk.0.ffn_gate_exps.weight")->data;
  const auto& b = plain->FindTensor("blk.0.ffn_gate_exps.weight")->data;
  const std::size_t expert = a.size() / kExperts;
  CHECK(std::memcmp(a.data(), b.data(), expert) != 0);
  CHECK(std::memcmp(a.data() + expert, b.data() + expert, expert) == 0);
}

TEST_CASE("An importance matrix of another model is known by its names and sizes") {
  const Source source = MakeSource();
  const auto file = GgufFile::Parse(source.bytes, "source");
  REQUIRE(file.ok());
  const auto sources = SourcesOf(*file);
  const auto entry = [](std::size_t matrices, std::size_t sums) {
    return ImportanceEntry{std::vector<float>(sums, 1.0F), std::vector<float>(matrices, 1.0F)};
  };
  ImportanceMatrix matrix;
  matrix.entries["blk.0.attn_q.weight"] = entry(1, 256);
  matrix.entries["blk.0.ffn_down_exps.weight"] = entry(kExperts, 512 * kExperts);
  matrix.entries["blk.0.ffn_up_exps.weight"] = entry(1, 256 * kExperts);  // the older format: one count
  matrix.entries["blk.0.ffn_fused.weight"] = entry(1, 99);                // of another conversion
  const auto fits = CheckImportance(matrix, sources);
  REQUIRE(fits.ok());
  CHECK(*fits == std::vector<std::string>{"blk.0.ffn_fused.weight"});
  const auto refused = [&](const std::string& name, const ImportanceEntry& odd) {
    ImportanceMatrix other = matrix;
    other.entries[name] = odd;
    const auto status = CheckImportance(other, sources);
    REQUIRE_FALSE(status.ok());
    return status.error().message;
  };
  CHECK(refused("blk.0.attn_q.weight", entry(1, 128)).find("'blk.0.attn_q.weight'") != std::string::npos);
  CHECK(refused("blk.0.ffn_gate_exps.weight", entry(8, 256 * 8)).find("another model") != std::string::npos);
  CHECK(refused("blk.7.attn_q.weight", entry(1, 256)).find("'blk.7.attn_q.weight'") != std::string::npos);
  ImportanceMatrix strange;
  strange.entries["model.q_proj"] = entry(1, 256);
  CHECK_FALSE(CheckImportance(strange, sources).ok());
}

TEST_CASE("Rows that do not fit a type's blocks are told with what was wanted") {
  const Source source = MakeSource();
  const Folder folder;
  const auto report = Run(source, Options("q2_k"), folder / "out.gguf");
  REQUIRE(report.ok());
  for (const TensorReport& tensor : report->tensors) {
    CAPTURE(tensor.name);
    CHECK((tensor.wanted != tensor.encoding) == (tensor.name == "blk.0.attn_output.weight"));
    if (tensor.name != "blk.0.attn_output.weight") continue;
    CHECK(NameOf(tensor.wanted) == "q2_k");
    CHECK(NameOf(tensor.encoding) == "q4_0");
    CHECK(tensor.columns == 96);
  }
}

TEST_CASE("Plans are read, and errors name the line") {
  const auto rules =
      ParsePlan("# all\n blk.*.ffn_down* Q5_K # more\n\r\nblk.3.ffn_*_exps.weight[0-3, 7]\tq8\noutput.weight bf16");
  REQUIRE(rules.ok());
  REQUIRE(rules->size() == 3);
  CHECK((*rules)[0].Covers("blk.12.ffn_down_exps.weight"));
  CHECK_FALSE((*rules)[0].Covers("blk.12.ffn_up.weight"));
  CHECK((*rules)[1].CoversExpert(2));
  CHECK((*rules)[1].CoversExpert(7));
  CHECK_FALSE((*rules)[1].CoversExpert(4));
  CHECK((*rules)[1].encoding.type == DType::kQ8_0);
  CHECK((*rules)[2].line == 5);
  const auto again = ParsePlan(PlanText(*rules));
  REQUIRE(again.ok());
  CHECK(PlanText(*again) == PlanText(*rules));
  for (const char* bad : {"\nblk", "\nblk q9", "\nblk[ q8", "\nblk] q8", "\nblk[] q8", "\nblk[3-1] q8", "\nblk[x] q8",
                          "\na b q8", "\n[1] q8", "\nblk[99999999999999999999] q8"}) {
    INFO(bad);
    const auto failed = ParsePlan(bad);
    REQUIRE_FALSE(failed.ok());
    CHECK(failed.error().message.starts_with("plan, line 2: "));
  }
  CHECK(MatchesGlob("a*b?d", "axxbcd"));
  CHECK_FALSE(MatchesGlob("a*b?d", "axxbd"));
  CHECK(MatchesGlob("***", ""));
  CHECK_FALSE(MatchesGlob(std::string(200, '*') + "x", std::string(10000, 'a')));
}

TEST_CASE("Importance matrices are read and written in both formats") {
  ImportanceMatrix matrix;
  matrix.entries["blk.0.attn_q.weight"] = {{2, 4, 6, 8}, {2}};
  matrix.entries["blk.0.ffn_up_exps.weight"] = {{3, 6, 0, 0}, {3, 0}};
  matrix.datasets = {"text"};
  matrix.chunks = 5;
  matrix.chunk_size = 512;
  const Folder folder;
  REQUIRE(matrix.Write(folder / "m.gguf", false).ok());
  REQUIRE(matrix.Write(folder / "m.dat", false).ok());
  CHECK_FALSE(matrix.Write(folder / "m.dat", false).ok());
  for (const char* name : {"m.gguf", "m.dat"}) {
    INFO(name);
    const auto read = ImportanceMatrix::Open(folder / name);
    REQUIRE(read.ok());
    CHECK(read->chunks == 5);
    CHECK(read->datasets == matrix.datasets);
    CHECK(read->Means("blk.0.attn_q.weight", 0, 4) == std::vector<float>{1, 2, 3, 4});
    CHECK(read->Means("blk.0.ffn_up_exps.weight", 0, 2) == std::vector<float>{1, 2});
    CHECK(read->Means("blk.0.attn_q.weight", 0, 3).empty());
    CHECK(read->Means("other", 0, 4).empty());
  }
  CHECK(ImportanceMatrix::Open(folder / "m.gguf")->Means("blk.0.ffn_up_exps.weight", 1, 2).empty());
  const std::string dat = ReadFile(folder / "m.dat");
  for (std::size_t cut = 0; cut < dat.size() - 12; ++cut) {
    CHECK_FALSE(ImportanceMatrix::Parse(std::as_bytes(std::span(dat)).first(cut), "cut").ok());
  }
}

}  // namespace
}  // namespace quorum::quant
