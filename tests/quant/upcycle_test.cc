#include "quant/upcycle.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>

#include "quant/counter_random.h"
#include "quant/gguf.h"
#include "quant/quantize.h"
#include "tests/quant/scratch.h"
#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

namespace fs = std::filesystem;

const std::string kDense = Fixture("dense.gguf");

std::vector<float> Values(const GgufTensor& tensor) {
  std::vector<float> out(static_cast<std::size_t>(tensor.elements()));
  REQUIRE(Dequantize(tensor.type, tensor.data.data(), out.data(), tensor.elements()));
  return out;
}

// Writes dense.gguf again with something changed, and says what Upcycle makes of it.
using Change = std::function<void(GgufWriter&)>;
using Skip = std::function<bool(const GgufTensor&)>;
Error ErrorOf(const UpcycleOptions& options, const Change& change, const Skip& skip = {}) {
  Folder folder;
  const auto src = GgufFile::Open(kDense).value();
  GgufWriter writer;
  for (const GgufEntry& entry : src.entries()) writer.SetRaw(entry.key, entry.type, entry.value);
  for (const GgufTensor& t : src.tensors()) {
    if (!skip || !skip(t)) writer.AddTensor(t.name, t.type, t.dims, t.data);
  }
  change(writer);
  REQUIRE(writer.Write(folder / "src.gguf", false).ok());
  const auto made = Upcycle(folder / "src.gguf", folder / "dst.gguf", options);
  CHECK_FALSE(fs::exists(folder / "dst.gguf"));
  REQUIRE_FALSE(made.ok());
  INFO(made.error().message);
  return made.error();
}

bool Has(const Error& error, ErrorCode code, const std::string& part) {
  INFO(error.message);
  return error.code == code && error.message.find(part) != std::string::npos;
}

TEST_CASE("Upcycle makes the bytes that an independent program makes") {
  Folder folder;
  UpcycleOptions options;
  options.experts = 4;
  options.seed = 42;
  const auto made = Upcycle(kDense, folder / "moe.gguf", options);
  REQUIRE(made.ok());
  const std::string got = ReadFile(folder / "moe.gguf");
  const std::string expected = ReadFile(Fixture("moe.gguf"));
  CHECK(got.size() == expected.size());
  CHECK((got == expected));
  CHECK(made->bytes == expected.size());
  CHECK(made->name == "Tiny MoE 4x top-2");
  CHECK(made->architecture == "llama");
  CHECK(made->layers == 2);
  constexpr std::int64_t kFfn = 2 * 3 * 64 * 96;
  constexpr std::int64_t kRouters = 2 * 4 * 64;
  CHECK(made->parameters == made->dense_parameters + 3 * kFfn + kRouters);
  CHECK(made->active_parameters == made->dense_parameters + kFfn + kRouters);
}

TEST_CASE("Upcycle: another seed is another router and nothing else") {
  Folder folder;
  UpcycleOptions options;
  options.experts = 4;
  REQUIRE(Upcycle(kDense, folder / "a", options).ok());
  REQUIRE(Upcycle(kDense, folder / "b", options).ok());
  CHECK((ReadFile(folder / "a") == ReadFile(folder / "b")));
  options.seed = 1;
  REQUIRE(Upcycle(kDense, folder / "c", options).ok());
  const auto a = GgufFile::Open(folder / "a").value();
  const auto c = GgufFile::Open(folder / "c").value();
  REQUIRE(a.tensors().size() == c.tensors().size());
  int different = 0;
  for (std::size_t i = 0; i < a.tensors().size(); ++i) {
    const GgufTensor& x = a.tensors()[i];
    const GgufTensor& y = c.tensors()[i];
    const bool router = x.name.find("ffn_gate_inp") != std::string::npos;
    const bool same = std::memcmp(x.data.data(), y.data.data(), x.data.size()) == 0;
    CHECK(same == !router);
    different += router ? 1 : 0;
  }
  CHECK(different == 2);
}

TEST_CASE("Upcycle: the router's scale follows the norm weights") {
  Folder folder;
  UpcycleOptions options;
  options.experts = 64;
  options.top_k = 64;
  REQUIRE(Upcycle(kDense, folder / "moe", options).ok());
  const auto moe = GgufFile::Open(folder / "moe").value();
  CHECK(*moe.GetInt("llama.expert_used_count").value() == 64);
  for (const std::string layer : {"blk.0.", "blk.1."}) {
    double norm = 0;
    for (const float g : Values(*moe.FindTensor(layer + "ffn_norm.weight"))) norm += static_cast<double>(g * g);
    const auto router = Values(*moe.FindTensor(layer + "ffn_gate_inp.weight"));
    REQUIRE(router.size() == 64 * 64);
    double sum = 0, squares = 0;
    for (const float w : router) {
      sum += static_cast<double>(w);
      squares += static_cast<double>(w) * static_cast<double>(w);
    }
    CHECK(std::fabs(squares / 4096 * norm - 1) < 0.1);
    CHECK(std::fabs(sum / 4096 * std::sqrt(norm)) < 0.05);
  }
}

TEST_CASE("Upcycle: noise makes experts differ by what was asked for") {
  Folder folder;
  UpcycleOptions options;
  options.experts = 3;
  options.noise = 0.5;
  REQUIRE(Upcycle(kDense, folder / "a", options).ok());
  REQUIRE(Upcycle(kDense, folder / "b", options).ok());
  CHECK((ReadFile(folder / "a") == ReadFile(folder / "b")));
  const auto dense = GgufFile::Open(kDense).value();
  const auto moe = GgufFile::Open(folder / "a").value();
  for (const std::string part : {"ffn_gate", "ffn_up", "ffn_down"}) {
    for (const std::string layer : {"blk.0.", "blk.1."}) {  // Q4_1 and Q8_0
      const auto from = Values(*dense.FindTensor(layer + part + ".weight"));
      const auto to = Values(*moe.FindTensor(layer + part + "_exps.weight"));
      REQUIRE(to.size() == 3 * from.size());
      double power = 0;
      for (const float v : from) power += static_cast<double>(v) * static_cast<double>(v);
      std::vector<double> noise(3, 0.0);
      double shared = 0.0;
      for (std::size_t i = 0; i < to.size(); ++i) {
        const double d = static_cast<double>(to[i]) - static_cast<double>(from[i % from.size()]);
        noise[i / from.size()] += d * d;
        if (i < from.size()) {
          shared += d * (static_cast<double>(to[i + from.size()]) - static_cast<double>(from[i]));
        }
      }
      for (const double n : noise) CHECK(std::fabs(std::sqrt(n / power) - 0.5) < 0.03);
      CHECK(std::fabs(shared / noise[0]) < 0.06);  // independent
    }
  }
  CHECK(*moe.GetFloat("quorum.upcycle.noise").value() == 0.5);
}

TEST_CASE("Upcycle: qwen3 becomes qwen3moe") {
  Folder folder;
  const auto src = GgufFile::Open(kDense).value();
  GgufWriter writer;
  for (const GgufEntry& entry : src.entries()) {
    const bool own = entry.key.starts_with("llama.");
    writer.SetRaw(own ? "qwen3." + entry.key.substr(6) : entry.key, entry.type, entry.value);
  }
  writer.SetString("general.architecture", "qwen3");
  writer.SetUint32("general.alignment", 128);
  writer.SetUint64("general.parameter_count", 1);
  writer.Erase("general.name");
  for (const GgufTensor& t : src.tensors()) writer.AddTensor(t.name, t.type, t.dims, t.data);
  REQUIRE(writer.Write(folder / "src", false).ok());
  const auto made = Upcycle(folder / "src", folder / "dst", {});
  REQUIRE(made.ok());
  CHECK(made->architecture == "qwen3moe");
  CHECK(made->name.empty());
  const auto moe = GgufFile::Open(folder / "dst").value();
  CHECK(*moe.GetString("general.architecture").value() == "qwen3moe");
  CHECK(*moe.GetInt("qwen3moe.block_count").value() == 2);
  CHECK(*moe.GetInt("qwen3moe.expert_count").value() == 8);
  CHECK(*moe.GetInt("qwen3moe.expert_used_count").value() == 2);
  CHECK(*moe.GetInt("qwen3moe.expert_feed_forward_length").value() == 96);
  CHECK(*moe.GetInt("general.parameter_count").value() == made->parameters);
  CHECK(*moe.GetString("quorum.upcycle.source_architecture").value() == "qwen3");
  for (const auto& [key, value] : moe.metadata()) {
    CHECK_FALSE(key.starts_with("qwen3."));
    CHECK_FALSE(key.starts_with("general.alignment"));
    CHECK(key != "general.name");
    CHECK(value.index() < std::variant_size_v<GgufValue>);
  }
}

TEST_CASE("Upcycle: options out of range") {
  const auto refused = [](int experts, int top_k, double noise, const std::string& part) {
    UpcycleOptions options;
    options.experts = experts;
    options.top_k = top_k;
    options.noise = noise;
    const auto made = Upcycle(kDense, "/nonexistent/x", options);
    REQUIRE_FALSE(made.ok());
    CHECK(Has(made.error(), ErrorCode::kInvalidArgument, part));
  };
  refused(1, 1, 0, "--experts must lie between 2 and 1024, not 1");
  refused(1025, 1, 0, "--experts must lie between 2 and 1024, not 1025");
  refused(8, 0, 0, "--top-k must lie between 1 and the number of experts, 8, not 0");
  refused(8, 9, 0, "--top-k must lie between 1 and the number of experts, 8, not 9");
  refused(8, 2, -0.1, "--noise");
  refused(8, 2, std::nan(""), "--noise");
  refused(8, 2, INFINITY, "--noise");
  refused(8, 8, 0, "cannot write /nonexistent/x");
}

TEST_CASE("Upcycle: what it must not write over") {
  Folder folder;
  fs::copy_file(kDense, folder / "src");
  fs::create_symlink(folder / "src", folder / "link");
  UpcycleOptions options;
  const auto refused = [&](const std::string& dst, const std::string& part) {
    const auto made = Upcycle(folder / "src", dst, options);
    REQUIRE_FALSE(made.ok());
    CHECK(Has(made.error(), ErrorCode::kInvalidArgument, part));
  };
  refused(folder / "src", "is the source model itself");
  refused(folder / "link", "is the source model itself");
  std::ofstream(folder / "dst") << "precious";
  refused(folder / "dst", "exists already; --force writes over it");
  CHECK(ReadFile(folder / "dst") == "precious");
  options.replace = true;
  refused(folder / "src", "is the source model itself");
  refused(folder / "link", "is the source model itself");
  CHECK((ReadFile(folder / "src") == ReadFile(kDense)));
  REQUIRE(Upcycle(folder / "src", folder / "dst", options).ok());
  CHECK(GgufFile::Open(folder / "dst").ok());
}

TEST_CASE("Upcycle: models that it cannot take") {
  const auto nothing = [](GgufWriter&) {};
  const auto set_architecture = [](const char* name) {
    return [name](GgufWriter& w) { w.SetString("general.architecture", name); };
  };
  CHECK(Has(ErrorOf({}, set_architecture("qwen2")), ErrorCode::kUnsupported, "demands shared experts"));
  CHECK(Has(ErrorOf({}, set_architecture("gpt2")), ErrorCode::kUnsupported, "architecture 'gpt2' cannot be upcycled"));
  CHECK(Has(ErrorOf({}, [](GgufWriter& w) { w.Erase("general.architecture"); }), ErrorCode::kInvalidArgument,
            "'general.architecture' is missing"));
  CHECK(Has(ErrorOf({}, [](GgufWriter& w) { w.SetUint32("llama.expert_count", 8); }), ErrorCode::kInvalidArgument,
            "a Mixture-of-Experts model already (8 experts)"));
  const auto made = Upcycle(Fixture("moe.gguf"), "/nonexistent/x", {});
  CHECK(Has(made.error(), ErrorCode::kInvalidArgument, "a Mixture-of-Experts model already (4 experts)"));

  CHECK(Has(ErrorOf({}, [](GgufWriter& w) { w.Erase("llama.block_count"); }), ErrorCode::kInvalidArgument,
            "'llama.block_count' is missing"));
  CHECK(Has(ErrorOf({}, [](GgufWriter& w) { w.SetUint32("llama.block_count", 3); }), ErrorCode::kInvalidArgument,
            "tensor 'blk.2.ffn_gate.weight' is missing"));
  CHECK(Has(ErrorOf({}, [](GgufWriter& w) { w.SetUint32("llama.block_count", ~0U); }), ErrorCode::kInvalidArgument,
            "out of range"));
  CHECK(Has(ErrorOf({}, nothing, [](const GgufTensor& t) { return t.name == "blk.1.ffn_up.weight"; }),
            ErrorCode::kInvalidArgument, "tensor 'blk.1.ffn_up.weight' is missing"));
  static const std::vector<float> zeros(64 * 128);
  const auto add = [](const char* name, std::vector<std::int64_t> dims) {
    return [name, dims](GgufWriter& w) {
      std::size_t n = 1;
      for (const std::int64_t dim : dims) n *= static_cast<std::size_t>(dim);
      w.AddTensor(name, DType::kF32, dims, std::as_bytes(std::span(zeros).first(n)));
    };
  };
  CHECK(Has(ErrorOf({}, add("blk.0.ffn_up.bias", {96})), ErrorCode::kUnsupported,
            "tensor 'blk.0.ffn_up.bias' has no place"));
  const auto without_up = [](const GgufTensor& t) { return t.name == "blk.0.ffn_up.weight"; };
  CHECK(Has(ErrorOf({}, add("blk.0.ffn_up.weight", {64, 128}), without_up), ErrorCode::kInvalidArgument,
            "do not fit: gate 64 x 96, up 64 x 128, down 96 x 64"));
  CHECK(Has(ErrorOf({}, add("blk.0.ffn_up.weight", {64}), without_up), ErrorCode::kInvalidArgument,
            "'blk.0.ffn_up.weight' is no matrix: 64"));
  UpcycleOptions noisy;
  noisy.noise = 0.1;
  const auto iq4 = [](GgufWriter& w) {
    w.AddTensor("blk.0.ffn_up.weight", DType::kIQ4_NL, {64, 96},
                std::as_bytes(std::span(zeros)).first(64 * 96 / 32 * 18));
  };
  CHECK(Has(ErrorOf(noisy, iq4, without_up), ErrorCode::kUnsupported, "'blk.0.ffn_up.weight' is IQ4_NL"));
}

TEST_CASE("CounterRandom: fixed numbers, the right moments") {
  const CounterRandom random(42, 4);  // values of tests/tools/make_quant_fixtures.py
  CHECK(random.Normal(0) == 0.19420823059044778);
  CHECK(random.Normal(123456789) == -0.9549017862882465);
  double sum = 0, squares = 0, fourth = 0;
  constexpr int kCount = 200000;
  for (int i = 0; i < kCount; ++i) {
    const double z = random.Normal(static_cast<std::uint64_t>(i));
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
  }
  CHECK(std::fabs(sum / kCount) < 0.01);
  CHECK(std::fabs(squares / kCount - 1) < 0.015);
  CHECK(std::fabs(fourth / kCount - 2.9) < 0.1);  // 3 - 6 / (5 * 12) for twelve uniform numbers
  CHECK(CounterRandom(42, 5).Bits(0) != random.Bits(0));
  CHECK(CounterRandom(43, 4).Bits(0) != random.Bits(0));
}

}  // namespace
}  // namespace quorum::quant
