#include "quant/gguf_summary.h"

#include <string>
#include <vector>

#include "quant/gguf_writer.h"
#include "tests/quant/scratch.h"
#include "tests/support/catch.h"

namespace quorum::quant {
namespace {

GgufSummary SummaryOf(const GgufWriter& writer) {
  const auto bytes = writer.ToBytes().value();
  const auto file = GgufFile::Parse(bytes, "t.gguf").value();
  return Summarize(file);
}

TEST_CASE("Summary of a tiny MoE") {
  const auto file = GgufFile::Open(Fixture("moe.gguf")).value();
  const GgufSummary s = Summarize(file);
  CHECK(s.name == "Tiny MoE 4x top-2");
  CHECK(s.architecture == "llama");
  CHECK(s.size_label == "4x90K");
  CHECK(s.file_type == "mostly Q4_1");
  CHECK(s.layers == 2);
  CHECK(s.context == 128);
  CHECK(s.embedding == 64);
  CHECK(s.feed_forward == std::vector<std::int64_t>{96});
  CHECK(s.heads == std::vector<std::int64_t>{4});
  CHECK(s.kv_heads == std::vector<std::int64_t>{2});
  CHECK(s.head_dim == 16);
  CHECK(s.rope_base == 10000.0);
  CHECK_FALSE(s.rope_dims.has_value());
  CHECK(s.experts == 4);
  CHECK(s.experts_used == 2);
  CHECK_FALSE(s.experts_shared.has_value());
  CHECK(s.tokenizer == "gpt2");
  CHECK(s.pretokenizer == "smollm");
  CHECK(s.vocabulary == 40);
  CHECK(s.bos == 1);
  CHECK(s.eos == 2);
  CHECK(s.chat_template == "\n{% for m in messages %}\n{{ m.content }}{% endfor %}");
  CHECK(s.upcycled_from == "Tiny");
  CHECK(s.upcycle_seed == 42U);
  CHECK(s.upcycle_noise == 0.0);
  CHECK(s.complaints.empty());

  const std::int64_t ffn = 2 * 3 * 64 * 96;  // of one expert in both layers
  CHECK(s.parameters == 40 * 64 + 64 + 2 * (2 * 64 + 2 * 64 * 64 + 2 * 32 * 64 + 4 * 64) + 4 * ffn);
  CHECK(s.active_parameters == s.parameters - 2 * ffn);
  std::int64_t bytes = 0, tensors = 0;
  for (const auto& use : s.types) {
    bytes += use.bytes;
    tensors += use.tensors;
  }
  CHECK(bytes == s.tensor_bytes);
  CHECK(tensors == 22);
  REQUIRE(s.types.size() == 6);
  CHECK(s.types[0].type == DType::kQ8_0);  // most bytes first
  CHECK(s.types[0].tensors == 4);
  CHECK(s.types[0].elements == 40 * 64 + 4 * ffn / 2);
  CHECK(s.types[0].bytes == s.types[0].elements / 32 * 34);
}

TEST_CASE("Summary of an unknown architecture, with layers that differ") {
  GgufWriter writer;
  writer.SetString("general.architecture", "martian");
  writer.SetInt32s("martian.feed_forward_length", {100, 200, 100});
  writer.SetInt32s("martian.attention.head_count", {8, 8, 8});
  writer.SetUint32("martian.embedding_length", 64);
  writer.SetUint32("martian.attention.sliding_window", 512);
  writer.SetString("martian.rope.scaling.type", "yarn");
  writer.SetFloat32("martian.rope.scaling.factor", 4.0F);
  writer.SetUint32("martian.rope.scaling.original_context_length", 4096);
  writer.SetUint32("martian.vocab_size", 77);
  writer.SetUint32("general.file_type", 15);
  const GgufSummary s = SummaryOf(writer);
  CHECK(s.feed_forward == std::vector<std::int64_t>{100, 200, 100});
  CHECK(s.heads == std::vector<std::int64_t>{8});
  CHECK(s.head_dim == 8);
  CHECK(s.sliding_window == 512);
  CHECK(s.rope_scaling == "yarn");
  CHECK(s.rope_factor == 4.0);
  CHECK(s.rope_original_context == 4096);
  CHECK(s.vocabulary == 77);
  CHECK(s.file_type == "mostly Q4_K_M");
  CHECK(s.parameters == 0);
  CHECK(s.types.empty());
  CHECK(s.complaints.empty());
  CHECK(SummaryOf(GgufWriter()).architecture.empty());
}

TEST_CASE("Summary counts the experts that a token uses") {
  GgufWriter writer;
  writer.SetString("general.architecture", "llama");
  writer.SetUint32("llama.expert_count", 5);
  writer.SetUint32("llama.expert_used_count", 2);
  writer.SetUint32("llama.expert_shared_count", 1);
  const std::vector<float> values(60);
  const auto add = [&](const char* name, std::vector<std::int64_t> dims, std::size_t n) {
    writer.AddTensor(name, DType::kF32, std::move(dims), std::as_bytes(std::span(values).first(n)));
  };
  add("blk.0.ffn_up_exps.weight", {4, 3, 5}, 60);
  add("blk.0.ffn_up_shexp.weight", {4, 2}, 8);
  add("blk.0.ffn_gate_inp.weight", {4, 5}, 20);
  const GgufSummary s = SummaryOf(writer);
  CHECK(s.parameters == 88);
  CHECK(s.active_parameters == 24 + 8 + 20);
  CHECK(s.experts_shared == 1);
}

TEST_CASE("Summary complains of what does not make sense, and goes on") {
  GgufWriter writer;
  writer.SetString("general.architecture", "llama");
  writer.SetString("llama.block_count", "two");
  writer.SetUint32("llama.embedding_length", 64);
  writer.SetUint32("llama.attention.head_count", 0);
  writer.SetUint32("llama.expert_count", 2);
  writer.SetUint32("llama.expert_used_count", 3);
  const GgufSummary s = SummaryOf(writer);
  CHECK_FALSE(s.layers.has_value());
  CHECK(s.embedding == 64);
  CHECK_FALSE(s.head_dim.has_value());
  REQUIRE(s.complaints.size() == 2);
  CHECK(s.complaints[0] == "t.gguf: key 'llama.block_count' is a string, not an integer");
  CHECK(s.complaints[1] == "t.gguf: the counts of experts do not make sense: 2, of which 3 are used");
}

TEST_CASE("Names of file types and of experts") {
  CHECK(FileTypeName(0) == "all F32");
  CHECK(FileTypeName(1) == "mostly F16");
  CHECK(FileTypeName(7) == "mostly Q8_0");
  CHECK(FileTypeName(18) == "mostly Q6_K");
  CHECK(FileTypeName(25) == "mostly IQ4_NL");
  CHECK(FileTypeName(30) == "mostly IQ4_XS");
  CHECK(FileTypeName(32) == "mostly BF16");
  CHECK(FileTypeName(38) == "mostly MXFP4 experts");
  CHECK(FileTypeName(1024 + 15) == "mostly Q4_K_M");
  CHECK(FileTypeName(4) == "type 4");
  CHECK(FileTypeName(-1) == "type -1");
  CHECK(FileTypeName(1000) == "type 1000");
  CHECK(IsRoutedExpert("blk.3.ffn_gate_exps.weight"));
  CHECK(IsRoutedExpert("blk.3.ffn_down_exps.bias"));
  CHECK(IsRoutedExpert("blk.3.ffn_up.7.weight"));
  CHECK_FALSE(IsRoutedExpert("blk.3.ffn_up.weight"));
  CHECK_FALSE(IsRoutedExpert("blk.3.ffn_gate_inp.weight"));
  CHECK_FALSE(IsRoutedExpert("blk.3.ffn_up_shexp.weight"));
  CHECK_FALSE(IsRoutedExpert("blk.3.ffn_up."));
}

}  // namespace
}  // namespace quorum::quant
