// GGUF files whose matrices are fused, as newer converters write them.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/model_config.h"
#include "engine/reference.h"
#include "quant/gguf.h"
#include "quant/gguf_writer.h"
#include "tests/support/catch.h"
#include "tests/support/model_runner.h"
#include "tests/support/tiny_model.h"

namespace quorum::engine {
namespace {

using testing::RandomTokens;
using testing::TinyShape;

/// The same model with attn_qkv and, with experts, ffn_gate_up_exps in place of their parts.
std::vector<std::byte> Fused(const testing::TinyModel& tiny) {
  quant::GgufWriter writer;
  for (const quant::GgufEntry& entry : tiny.file.entries()) writer.SetRaw(entry.key, entry.type, entry.value);
  std::vector<std::vector<std::byte>> kept;
  kept.reserve(tiny.file.tensors().size());
  for (const quant::GgufTensor& tensor : tiny.file.tensors()) {
    const auto part = [&](std::string_view from, std::string_view to) {
      std::string name = tensor.name;
      return tiny.file.FindTensor(name.replace(name.find(from), from.size(), to));
    };
    std::vector<std::int64_t> dims = tensor.dims;
    std::vector<std::byte> bytes;
    std::string name = tensor.name;
    const auto append = [&](std::span<const std::byte> more) { bytes.insert(bytes.end(), more.begin(), more.end()); };
    if (name.ends_with("attn_q.weight")) {
      for (const char* of : {"attn_q", "attn_k", "attn_v"}) append(part("attn_q", of)->data);
      dims[1] += 2 * part("attn_q", "attn_k")->dims[1];
      name.replace(name.find("attn_q"), 6, "attn_qkv");
    } else if (name.ends_with("ffn_gate_exps.weight")) {
      const quant::GgufTensor* up = part("ffn_gate", "ffn_up");
      const std::size_t each = tensor.data.size() / static_cast<std::size_t>(dims[2]);
      for (std::size_t at = 0; at < tensor.data.size(); at += each) {
        append(tensor.data.subspan(at, each));
        append(up->data.subspan(at, each));
      }
      dims[1] *= 2;
      name.replace(name.find("ffn_gate"), 8, "ffn_gate_up");
    } else if (name.ends_with("attn_k.weight") || name.ends_with("attn_v.weight") ||
               name.ends_with("ffn_up_exps.weight")) {
      continue;
    } else {
      append(tensor.data);
    }
    writer.AddTensor(name, tensor.type, dims, kept.emplace_back(std::move(bytes)));
  }
  return writer.ToBytes().value();
}

TEST_CASE("Fused matrices of GGUF files are the parts that they were made of") {
  for (const std::int32_t experts : {0, 3}) {
    TinyShape shape;
    shape.experts = experts;
    shape.biases = true;  // stay single beside the fused matrix
    const auto tiny = testing::MakeTinyModel(shape);
    const std::vector<std::byte> bytes = Fused(*tiny);
    const auto file = quant::GgufFile::Parse(bytes, "fused.gguf");
    REQUIRE(file.ok());
    const auto spec = SpecFromGguf(*file);
    REQUIRE(spec.ok());
    const auto tensors = TensorsFromGguf(*file, *spec);
    REQUIRE(tensors.ok());
    const Reference fused(*spec, *tensors);
    const Reference single(tiny->spec, tiny->tensors);
    const std::vector<tok::TokenId> tokens = RandomTokens(9, spec->vocab_size, 3);
    CHECK(testing::SameBits(fused.Logits(tokens), single.Logits(tokens)));
  }
}

}  // namespace
}  // namespace quorum::engine
