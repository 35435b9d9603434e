// Float products on oneDNN: close to the own kernels in every shape, and refused elsewhere.
#include "engine/dnnl_gemm.h"
#include "engine/dnnl_int8.h"

#include <array>
#include <numeric>
#include <string>
#include <vector>

#include "engine/base/aligned_buffer.h"
#include "engine/base/log.h"
#include "engine/kernels/dispatch.h"
#include "engine/kernels/packed_matrix.h"
#include "quant/quantize.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"

namespace quorum::engine {
namespace {

std::vector<float> Random(std::int64_t n, std::uint64_t seed) {
  std::vector<float> values;
  for (const tok::TokenId v : testing::RandomTokens(n, 2001, seed))
    values.push_back(static_cast<float>(v - 1000) * 1e-3F);
  return values;
}

TEST_CASE("oneDNN gives the own kernels' products but for rounding") {
  SetLogLevel(LogLevel::kError);
  const KernelTable& own = KernelsFor(DetectIsa());
  const auto with = WithOneDnn(own);
  if (!with.ok()) {  // a CPU for which oneDNN has only its reference: the error must say so
    CHECK(with.error().message.find("reference implementation") != std::string::npos);
    return;
  }
  CHECK(std::string((*with)->name) == std::string(own.name) + "+onednn");
  CHECK(*WithOneDnn(own) == *with);
  for (const quant::DType type : {quant::DType::kF32, quant::DType::kF16, quant::DType::kBF16}) {
    using Sizes = std::array<std::int64_t, 3>;
    for (const auto& [m, n, k] : {Sizes{16, 16, 8}, Sizes{40, 67, 51}, Sizes{17, 200, 300}}) {
      CAPTURE(m, n, k);
      const auto w = Random(n * k, 1);
      std::vector<std::byte> file(static_cast<std::size_t>(quant::BytesOf(type, n * k)));
      REQUIRE(quant::Quantize(type, w.data(), file.data(), n * k));
      const PackFormat format = *PackFormatOf(type);
      auto memory = AlignedBuffer::Allocate(static_cast<std::size_t>(PackedBytes(format, n, k)));
      REQUIRE(memory.ok());
      REQUIRE(PackMatrix(type, file.data(), n, k, memory->As<std::uint8_t>()).ok());
      const PackedView view{format, n, k, PanelBytes(format, k), memory->As<std::uint8_t>()};
      const std::int64_t ld_x = k + 5;
      const auto x = Random((m + 3) * ld_x, 2);
      ActView act{};
      act.x = x.data();
      act.ld_x = ld_x;
      std::vector<std::int32_t> rows(static_cast<std::size_t>(m));
      std::iota(rows.rbegin(), rows.rend(), 3);
      const std::int64_t panels = (n + 15) / 16;
      const std::int64_t ld = panels * 16 + 16;
      for (const std::int32_t* which :
           {static_cast<const std::int32_t*>(nullptr), static_cast<const std::int32_t*>(rows.data())}) {
        std::vector<float> a(static_cast<std::size_t>(m * ld), 7.0F), b = a;
        own.matmul(view, act, which, m, panels / 2, panels, a.data(), ld, nullptr);
        (*with)->matmul(view, act, which, m, panels / 2, panels, b.data(), ld, nullptr);
        CHECK(testing::LargestDifference(a, b) < 1e-4);
      }
    }
  }
}

TEST_CASE("The yardstick multiplies int8") {
  auto made = DnnlInt8Product::Create(3, 40, 96, 2);
  if (!made.ok()) {
    CHECK(made.error().message.find("reference implementation") != std::string::npos);
    return;
  }
  for (const std::int64_t copy : {0, 1}) {
    REQUIRE(made->Run(copy).ok());
    CHECK(made->first() == 96);  // ones times ones
  }
  CHECK_FALSE(made->implementation().empty());
}

}  // namespace
}  // namespace quorum::engine
