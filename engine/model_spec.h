// What a decoder is, no matter which file it came from: data that the forward pass reads (DESIGN 3).
//
// A family is a table entry (model_config_gguf.cc) that fills this in plus the names of its tensors; the forward pass
// and the reference have no family names in them. Every field here is honoured by both: a setting that is not in here
// must be refused by whoever reads the file, never dropped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/base/result.h"

namespace quorum::engine {

/// Which two dimensions of a head turn together: (2i, 2i + 1), or (i, i + dims / 2).
enum class RopePairs : std::uint8_t { kInterleaved, kNeox };

/// How trained positions are stretched: position interpolation (Chen et al. 2023), YaRN (Peng et al. 2023).
enum class RopeScaling : std::uint8_t { kNone, kLinear, kYarn };

/// Rotary positions (Su et al. 2021).
struct RopeSpec {
  RopePairs pairs = RopePairs::kInterleaved;
  std::int32_t dims = 0;  // rotated dimensions of each head, even; the rest stay. 0: no rotation
  double base = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;                // kLinear, kYarn: how many times longer the context became
  std::int32_t original_context = 0;  // kYarn: the context of the first training
  double attention_factor = 1.0;      // kYarn: times YaRN's own 0.1 ln(factor) + 1
  double beta_fast = 32.0;            // kYarn: turns over the original context above which a pair is not stretched
  double beta_slow = 1.0;             // kYarn: turns below which it is stretched fully
  std::vector<float> factors;         // empty, or (dims / 2): each frequency is divided by its factor (Llama 3)
};

/// Root-mean-square norm of queries and keys before the rotation.
enum class QkNorm : std::uint8_t {
  kNone,
  kPerHead,  // each head alone, one weight of (head_dim) for all: Qwen3
  kPerRow,   // all heads of a token together: OLMoE
};

/// Grouped-query attention (Ainslie et al. 2023); the same in all layers except for LayerSpec::window.
struct AttentionSpec {
  std::int32_t heads = 0;  // query heads, a multiple of kv_heads
  std::int32_t kv_heads = 0;
  std::int32_t head_dim = 0;  // of queries, keys and values; a multiple of 8
  float scale = 0;            // of the scores, usually 1 / sqrt(head_dim)
  bool qkv_bias = false;
  bool output_bias = false;
  QkNorm qk_norm = QkNorm::kNone;
  float softcap = 0;   // 0: none; else s = softcap * tanh(s / softcap)
  bool sinks = false;  // an extra logit a head in the softmax sum (gpt-oss)
};

/// How router logits become weights of the chosen experts. Experts are chosen by the highest logits, ties to the
/// lower id.
enum class RouterScore : std::uint8_t {
  kSoftmax,      // softmax over all experts, then choose: Mixtral (with renormalise), Qwen, OLMoE
  kTopKSoftmax,  // choose, then softmax over the chosen
  kSigmoid,      // each expert alone
};

struct RouterSpec {
  RouterScore score = RouterScore::kSoftmax;
  std::int32_t top_k = 0;
  bool renormalize = false;  // the chosen weights are divided by their sum
  float scale = 1.0F;        // then multiplied by this
};

/// What differs from layer to layer.
struct LayerSpec {
  std::int32_t window = 0;     // attention: 0 full, else a token sees itself and the window - 1 before it
  std::int32_t ff = 0;         // width of the feed-forward network, or of each expert
  std::int32_t experts = 0;    // 0: dense
  std::int32_t shared_ff = 0;  // width of an expert that every token visits; 0: none
};

/// A pre-norm decoder: x += attention(rms_norm(x)); x += ffn(rms_norm(x)), with SwiGLU networks (Shazeer 2020).
struct ModelSpec {
  std::string architecture;  // as the file names it
  std::string name;          // for people; may be empty
  std::int32_t vocab_size = 0;
  std::int32_t d_model = 0;
  std::int32_t context_length = 0;  // positions that the model was made for
  float norm_eps = 0;
  AttentionSpec attention;
  RopeSpec rope;
  RouterSpec router;         // of the layers that have experts
  bool shared_gate = false;  // the shared expert is weighted by sigmoid(w . x), else by 1
  std::vector<LayerSpec> layers;
  bool tied_embeddings = false;  // logits use the embedding matrix
  float embedding_scale = 1.0F;  // embeddings are multiplied by this,
  float residual_scale = 1.0F;   // what each block adds to x by this,
  float logit_scale = 1.0F;      // and logits by this

  bool has_experts() const;
  std::int32_t max_experts() const;  // over the layers; 0: dense
  std::int32_t max_ff() const;       // over the layers, shared experts included
  std::int64_t active_weights() const;  // weights of the matrices that one token passes through
};

/// Checks that the parts fit each other and the limits that the forward pass relies on.
/// Errors: kInvalidArgument or kUnsupported, naming the part, what was expected and what was found.
Status CheckSpec(const ModelSpec& spec);

/// One paragraph for logs and `inspect`.
std::string DescribeSpec(const ModelSpec& spec);

}  // namespace quorum::engine
