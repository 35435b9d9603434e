#include "quant/gguf_summary.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

namespace quorum::quant {
namespace {

// Reads keys and turns errors into complaints, because a summary should show what it can.
class Reader {
 public:
  Reader(const GgufFile& file, std::vector<std::string>& complaints) : file_(file), complaints_(complaints) {}

  std::optional<std::int64_t> Int(const std::string& key) { return Take(file_.GetInt(key)); }
  std::optional<std::uint64_t> Uint64(const std::string& key) {
    const auto found = file_.metadata().find(key);
    const auto* value = found == file_.metadata().end() ? nullptr : std::get_if<std::uint64_t>(&found->second);
    return value == nullptr ? std::nullopt : std::optional(*value);
  }
  std::optional<double> Float(const std::string& key) { return Take(file_.GetFloat(key)); }
  std::string String(const std::string& key) { return Take(file_.GetString(key)).value_or(""); }
  std::vector<std::int64_t> Ints(const std::string& key) { return Take(file_.GetInts(key)); }
  std::optional<std::int64_t> StringCount(const std::string& key) {
    const auto* strings = Take(file_.GetStrings(key));
    if (strings == nullptr) return std::nullopt;
    return static_cast<std::int64_t>(strings->size());
  }

 private:
  template <typename T>
  T Take(const Result<T>& result) {
    if (result.ok()) return *result;
    complaints_.push_back(result.error().message);
    return T{};
  }

  const GgufFile& file_;
  std::vector<std::string>& complaints_;
};

// Equal values say no more than one.
std::vector<std::int64_t> Collapse(std::vector<std::int64_t> values) {
  const bool same = std::all_of(values.begin(), values.end(), [&](std::int64_t v) { return v == values.front(); });
  if (same && values.size() > 1) return {values.front()};
  return values;
}

void ReadModel(Reader& reader, GgufSummary& out) {
  out.name = reader.String("general.name");
  out.architecture = reader.String("general.architecture");
  out.size_label = reader.String("general.size_label");
  if (const auto type = reader.Int("general.file_type")) out.file_type = FileTypeName(*type);

  const std::string arch = out.architecture + ".";
  out.layers = reader.Int(arch + "block_count");
  if (arch == "t5.") {  // llama.cpp's keys: the decoder has as many layers as the encoder where nothing else is said
    out.encoder_layers = out.layers;
    if (const auto decoder = reader.Int(arch + "decoder_block_count")) out.layers = decoder;
  }
  out.context = reader.Int(arch + "context_length");
  out.embedding = reader.Int(arch + "embedding_length");
  out.feed_forward = Collapse(reader.Ints(arch + "feed_forward_length"));
  out.heads = Collapse(reader.Ints(arch + "attention.head_count"));
  out.kv_heads = Collapse(reader.Ints(arch + "attention.head_count_kv"));
  out.kv_rank = reader.Int(arch + "attention.kv_lora_rank");
  out.query_rank = reader.Int(arch + "attention.q_lora_rank");
  out.head_dim = reader.Int(arch + "attention.key_length_mla");  // where the plain length is that of the cache
  if (!out.head_dim) out.head_dim = reader.Int(arch + "attention.key_length");
  if (!out.head_dim && out.embedding && out.heads.size() == 1 && out.heads[0] > 0) {
    out.head_dim = *out.embedding / out.heads[0];
  }
  out.sliding_window = reader.Int(arch + "attention.sliding_window");
  out.rope_base = reader.Float(arch + "rope.freq_base");
  out.rope_dims = reader.Int(arch + "rope.dimension_count");
  out.rope_scaling = reader.String(arch + "rope.scaling.type");
  out.rope_factor = reader.Float(arch + "rope.scaling.factor");
  out.rope_original_context = reader.Int(arch + "rope.scaling.original_context_length");
  out.experts = reader.Int(arch + "expert_count");
  out.experts_used = reader.Int(arch + "expert_used_count");
  out.expert_groups = reader.Int(arch + "expert_group_count");
  out.expert_groups_used = reader.Int(arch + "expert_group_used_count");
  out.experts_shared = reader.Int(arch + "expert_shared_count");
  out.expert_feed_forward = reader.Int(arch + "expert_feed_forward_length");
  out.upcycled_from = reader.String("quorum.upcycle.source");
  out.upcycle_seed = reader.Uint64("quorum.upcycle.seed");
  out.upcycle_noise = reader.Float("quorum.upcycle.noise");
}

void ReadTokenizer(Reader& reader, const GgufFile& file, GgufSummary& out) {
  out.tokenizer = reader.String("tokenizer.ggml.model");
  out.pretokenizer = reader.String("tokenizer.ggml.pre");
  out.vocabulary = reader.StringCount("tokenizer.ggml.tokens");
  if (!out.vocabulary) out.vocabulary = reader.Int(out.architecture + ".vocab_size");
  const GgufTensor* embedding = file.FindTensor("token_embd.weight");
  if (!out.vocabulary && embedding != nullptr) out.vocabulary = embedding->dim(1);
  out.bos = reader.Int("tokenizer.ggml.bos_token_id");
  out.eos = reader.Int("tokenizer.ggml.eos_token_id");
  out.chat_template = reader.String("tokenizer.chat_template");
}

void CountTensors(const GgufFile& file, GgufSummary& out) {
  std::map<DType, GgufSummary::TypeUse> uses;
  std::int64_t routed = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    GgufSummary::TypeUse& use = uses[tensor.type];
    use.type = tensor.type;
    use.tensors += 1;
    use.elements += tensor.elements();
    use.bytes += static_cast<std::int64_t>(tensor.data.size());
    out.parameters += tensor.elements();
    out.tensor_bytes += static_cast<std::int64_t>(tensor.data.size());
    if (IsRoutedExpert(tensor.name)) routed += tensor.elements();
  }
  for (const auto& [type, use] : uses) out.types.push_back(use);
  std::sort(out.types.begin(), out.types.end(),
            [](const auto& a, const auto& b) { return a.bytes != b.bytes ? a.bytes > b.bytes : a.type < b.type; });

  out.active_parameters = out.parameters;
  const std::int64_t experts = out.experts.value_or(0);
  const std::int64_t used = out.experts_used.value_or(experts);
  if (experts > 0 && used >= 0 && used <= experts) {
    out.active_parameters -= routed - routed / experts * used;
  } else if (routed > 0 || used > experts) {
    out.complaints.push_back(file.path() + ": the counts of experts do not make sense: " + std::to_string(experts) +
                             ", of which " + std::to_string(used) + " are used");
  }
}

}  // namespace

std::string FileTypeName(std::int64_t number) {
  // `llama_ftype` in llama.h; the gaps are types that are gone.
  constexpr std::array<std::string_view, 41> kNames = {
      "F32",   "F16",     "Q4_0",          "Q4_1",   "",       "",        "",       "Q8_0",   "Q5_0",
      "Q5_1",  "Q2_K",    "Q3_K_S",        "Q3_K_M", "Q3_K_L", "Q4_K_S",  "Q4_K_M", "Q5_K_S", "Q5_K_M",
      "Q6_K",  "IQ2_XXS", "IQ2_XS",        "Q2_K_S", "IQ3_XS", "IQ3_XXS", "IQ1_S",  "IQ4_NL", "IQ3_S",
      "IQ3_M", "IQ2_S",   "IQ2_M",         "IQ4_XS", "IQ1_M",  "BF16",    "",       "",       "",
      "TQ1_0", "TQ2_0",   "MXFP4 experts", "NVFP4",  "Q1_0"};
  constexpr std::int64_t kGuessed = 1024;  // a flag: the type was not given but counted
  const std::int64_t plain = number >= kGuessed ? number - kGuessed : number;
  const bool known = plain >= 0 && plain < static_cast<std::int64_t>(kNames.size()) &&
                     !kNames[static_cast<std::size_t>(plain)].empty();
  if (!known) return "type " + std::to_string(number);
  return (plain == 0 ? "all " : "mostly ") + std::string(kNames[static_cast<std::size_t>(plain)]);
}

bool IsRoutedExpert(std::string_view name) {
  if (name.find("_exps.") != std::string_view::npos) return true;
  for (const std::string_view part : {".ffn_gate.", ".ffn_up.", ".ffn_down."}) {
    const std::size_t at = name.find(part);
    if (at == std::string_view::npos || at + part.size() >= name.size()) continue;
    const char next = name[at + part.size()];
    if (next >= '0' && next <= '9') return true;
  }
  return false;
}

GgufSummary Summarize(const GgufFile& file) {
  GgufSummary out;
  Reader reader(file, out.complaints);
  ReadModel(reader, out);
  ReadTokenizer(reader, file, out);
  CountTensors(file, out);
  return out;
}

}  // namespace quorum::quant
