// GPTQ, AWQ, F8 and MXFP4 matrices against what torch makes of them (tests/oracle/make_quantized.py), and views of
// matrices.
#include "engine/hf_quantized.h"

#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include "engine/base/log.h"
#include "engine/base/mapped_file.h"
#include "engine/hf_tensors.h"
#include "engine/tensor_views.h"
#include "engine/weight_choice.h"
#include "quant/quantize.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"
#include "tests/support/safe_writer.h"

namespace quorum::engine {
namespace {

using quant::DType;
using Method = HfQuantization::Method;

struct Fixture {
  MappedFile bytes = MappedFile::Open(QUORUM_FIXTURES "/quant/hf_quantized.safetensors").value();
  quant::SafetensorsModel file = quant::SafetensorsModel::Parse(bytes.bytes(), "fixture").value();

  std::vector<float> Expected(const std::string& name) const {
    const quant::SafeTensor* tensor = file.Find(name + ".expected");
    REQUIRE(tensor != nullptr);
    std::vector<float> values(static_cast<std::size_t>(tensor->elements()));
    std::memcpy(values.data(), tensor->data.data(), tensor->data.size());
    return values;
  }
};

HfQuantization Ints(Method method, std::int32_t group, std::int32_t bits = 4, bool zero_plus_one = true) {
  HfQuantization how;
  how.method = method;
  how.bits = bits;
  how.group = group;
  how.zero_plus_one = zero_plus_one;
  return how;
}

TEST_CASE("GPTQ and AWQ matrices are exact in the smallest type that holds them") {
  SetLogLevel(LogLevel::kOff);
  const Fixture fixture;
  struct Case {
    std::string name;
    HfQuantization how;
    DType type;
  };
  for (const Case& c : {Case{"gptq_sym", Ints(Method::kGptq, 32), DType::kQ4_0},
                        Case{"gptq_asym", Ints(Method::kGptq, 64), DType::kQ5_0},
                        Case{"gptq_v2", Ints(Method::kGptq, 64, 4, false), DType::kQ5_0},
                        Case{"gptq_act_order", Ints(Method::kGptq, 32), DType::kF32},
                        Case{"gptq_whole", Ints(Method::kGptq, -1), DType::kQ4_0},
                        Case{"gptq8_sym", Ints(Method::kGptq, 32, 8), DType::kQ8_0},
                        Case{"gptq8_asym", Ints(Method::kGptq, 32, 8), DType::kF32},
                        Case{"gptq_bf16", Ints(Method::kGptq, 32), DType::kQ4_0},
                        Case{"awq", Ints(Method::kAwq, 32, 4, false), DType::kQ5_0}}) {
    CAPTURE(c.name);
    HfTensors from(fixture.file, c.how);
    const auto matrix = from.Linear(c.name);
    if (!matrix.ok()) FAIL(matrix.error().message);
    CHECK(matrix->type == c.type);
    CHECK(testing::SameBits(matrix->Floats(), fixture.Expected(c.name)));
    CHECK((matrix->source->Smaller() == DType::kQ8_0) == (c.type == DType::kF32));
    std::vector<float> row(static_cast<std::size_t>(matrix->cols));
    matrix->Row(5, row.data());
    CHECK(std::equal(row.begin(), row.end(), fixture.Expected(c.name).begin() + 5 * matrix->cols));
  }
}

TEST_CASE("Eight-bit floats are multiplied by their scales") {
  const Fixture fixture;
  HfQuantization how;
  how.method = Method::kFp8;
  how.block_rows = how.block_cols = 16;
  HfTensors from(fixture.file, how);
  for (const std::string name : {"fp8_block", "fp8_row", "fp8_all"}) {
    CAPTURE(name);
    const auto matrix = from.Linear(name);
    if (!matrix.ok()) FAIL(matrix.error().message);
    CHECK(matrix->type == DType::kF32);
    CHECK(matrix->source->Smaller() == DType::kQ8_0);
    CHECK(testing::SameBits(matrix->Floats(), fixture.Expected(name)));
  }
}

TEST_CASE("gpt-oss' MXFP4 becomes GGUF's, bit for bit") {
  const Fixture fixture;
  HfTensors from(fixture.file, HfQuantization());
  const std::vector<float> expected = fixture.Expected("mxfp4");
  for (std::int64_t e = 0; e < 3; ++e) {
    const auto matrix = from.Mxfp4("mxfp4", e, 3);
    if (!matrix.ok()) FAIL(matrix.error().message);
    CHECK((matrix->type == DType::kMXFP4 && matrix->rows == 6 && matrix->cols == 64));
    const auto floats = matrix->Floats();
    CHECK(std::equal(floats.begin(), floats.end(), expected.begin() + e * 6 * 64));
    const TensorRef odd = RowsOf(*matrix, "odd", 1, 3, 2);
    CHECK(std::equal(floats.begin() + 3 * 64, floats.begin() + 4 * 64, odd.Floats().begin() + 64));
  }
  CHECK_FALSE(from.Mxfp4("mxfp4", 0, 4).ok());
  CHECK_FALSE(from.Mxfp4("none", 0, 3).ok());
}

TEST_CASE("Parts of a quantized matrix that do not fit are refused by name") {
  testing::SafeWriter writer;
  const std::string zeros(4096, '\0');
  const auto add = [&](const std::string& name, std::string_view type, const std::vector<std::int64_t>& shape) {
    std::int64_t bytes = type == "F16" ? 2 : 4;
    for (const std::int64_t axis : shape) bytes *= axis;
    writer.Add(name, type, shape, std::string_view(zeros).substr(0, static_cast<std::size_t>(bytes)));
  };
  const auto layer = [&](const std::string& name) {
    add(name + ".qweight", "I32", {8, 16});
    add(name + ".scales", "F16", {2, 16});
  };
  layer("no_zeros");
  layer("wrong_zeros");
  add("wrong_zeros.qzeros", "I32", {2, 3});
  layer("wrong_group");
  add("wrong_group.qzeros", "I32", {2, 2});
  add("wrong_group.g_idx", "I32", {63});
  add("wrong_scales.qweight", "I32", {8, 16});
  add("wrong_scales.scales", "F16", {1, 16});
  writer.Add("far_group.g_idx", "I32", {64}, std::vector<std::int32_t>(64, 2));
  layer("far_group");
  add("far_group.qzeros", "I32", {2, 2});
  const std::string bytes = writer.Bytes();
  const auto file = quant::SafetensorsModel::Parse(std::as_bytes(std::span(bytes)), "some.safetensors");
  REQUIRE(file.ok());
  HfTensors from(*file, Ints(Method::kGptq, 32));
  const auto error = [&](const std::string& name) {
    const auto matrix = from.Linear(name);
    return matrix.ok() ? std::string() : matrix.error().message;
  };
  CHECK(error("no_zeros") == "some.safetensors: tensor 'no_zeros.qzeros' is missing, expected I32 [2, 2]");
  CHECK(error("wrong_zeros") == "some.safetensors: tensor 'wrong_zeros.qzeros' is I32 [2, 3], expected I32 [2, 2]");
  CHECK(error("wrong_group") == "some.safetensors: tensor 'wrong_group.g_idx' is I32 [63], expected I32 [64]");
  CHECK(error("wrong_scales") == "some.safetensors: tensor 'wrong_scales.scales' is F16 [1, 16], expected F16 [2, 16]");
  CHECK(error("far_group") == "some.safetensors: tensor 'far_group.g_idx' puts column 0 in group 2, expected 0 to 1");
  CHECK(error("none") == "some.safetensors: tensor 'none.weight' is missing");
  HfTensors plain(*file, HfQuantization());
  CHECK(plain.Linear("no_zeros").error().message.find("needs a 'quantization_config'") != std::string::npos);
}

TEST_CASE("Views of a matrix give its values in another order") {
  std::vector<float> values(5 * 64);
  std::iota(values.begin(), values.end(), -100.0F);
  const TensorRef matrix{"m", DType::kF32, 5, 64, std::as_bytes(std::span(values))};
  const auto transposed = Transposed(matrix);
  CHECK((transposed.rows == 64 && transposed.cols == 5));
  const auto floats = transposed.Floats();
  CHECK(floats[3 * 5 + 4] == values[4 * 64 + 3]);
  std::vector<float> row(5);
  transposed.Row(63, row.data());
  CHECK(row[1] == values[64 + 63]);
  CHECK(testing::SameBits(Transposed(transposed).Floats(), values));
  const TensorRef range = RowsOf(matrix, "range", 2, 2);
  CHECK((range.source == nullptr && range.Floats()[0] == values[128]));
  const TensorRef strided = RowsOf(matrix, "strided", 0, 3, 2);
  CHECK((strided.Floats()[64] == values[128] && strided.Floats()[128] == values[256]));
  const TensorRef small = ConvertedTo(matrix, DType::kQ8_0);
  std::vector<std::byte> blocks(static_cast<std::size_t>(quant::BytesOf(DType::kQ8_0, 320)));
  REQUIRE(quant::Quantize(DType::kQ8_0, values.data(), blocks.data(), 320));
  std::vector<std::byte> room;
  CHECK(std::memcmp(small.Rows(0, 5, room), blocks.data(), blocks.size()) == 0);
  CHECK(std::memcmp(small.Rows(3, 1, room), blocks.data() + 3 * 68, 68) == 0);
}

}  // namespace
}  // namespace quorum::engine
