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

/// How trained positions are stretched: position interpolation (Chen et al. 2023), YaRN (Peng et al. 2023), LongRoPE
/// (Ding et al. 2024).
enum class RopeScaling : std::uint8_t { kNone, kLinear, kYarn, kLongRope };

/// Rotary positions (Su et al. 2021).
struct RopeSpec {
  RopePairs pairs = RopePairs::kInterleaved;
  std::int32_t dims = 0;  // rotated dimensions of each head, even; the rest stay. 0: no rotation
  double base = 10000.0;
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;                // kLinear, kYarn: how many times longer the context became
  std::int32_t original_context = 0;  // kYarn, kLongRope: the context of the first training
  double attention_factor = 1.0;      // kYarn: times YaRN's own 0.1 ln(factor) + 1
  double beta_fast = 32.0;            // kYarn: turns over the original context above which a pair is not stretched
  double beta_slow = 1.0;             // kYarn: turns below which it is stretched fully
  bool whole_pairs = true;            // kYarn: the ramp begins and ends at whole pairs; gpt-oss was trained without
  std::vector<float> factors;         // empty, or (dims / 2): each frequency is divided by its factor (Llama 3)

  // kLongRope has a second set for contexts longer than original_context. Which of them a model uses is settled when it
  // is loaded, by the context that it is loaded for, as llama.cpp and vLLM do. Choosing by a sequence's length, as
  // transformers does, would give a token's key other bits once the sequence has grown, so that cached keys were wrong.
  std::vector<float> long_factors;  // (dims / 2)
  double magnitude = 1.0;           // kLongRope: cosines and sines are multiplied by this,
  double long_magnitude = 1.0;      // or by this
  bool long_context = false;        // kLongRope: use the second set
};

/// Relative position bias on attention scores, the same in all layers of a stack (Raffel et al. 2020, T5).
struct RelativeBiasSpec {
  std::int32_t buckets = 0;       // 0: none
  std::int32_t max_distance = 0;  // from here on, all distances share a bucket
};

/// How rows are normalised: by their root mean square (Zhang and Sennrich 2019), or by mean and variance with a bias
/// (Ba et al. 2016). Norms of queries and keys are always RMS.
enum class NormKind : std::uint8_t { kRms, kLayer };

/// Root-mean-square norm of queries and keys before the rotation.
enum class QkNorm : std::uint8_t {
  kNone,
  kPerHead,  // each head alone, one weight of (head_dim) for all: Qwen3
  kPerRow,   // all heads of a token together: OLMoE
};

/// Multi-head latent attention (DeepSeek-AI 2024, arXiv:2405.04434). A token's keys and values are made of one latent
/// vector, which is what the cache keeps beside a rotated key that all heads share. All heads read the same cached
/// "head": queries are brought to the latent space by W_UK, and what comes out of it by W_UV (the absorbed form).
struct LatentSpec {
  std::int32_t kv_rank = 0;    // of the latent vector; 0: no latent attention
  std::int32_t q_rank = 0;     // of the vector that queries are made of; 0: they are made of the input
  std::int32_t nope_dim = 0;   // dimensions of a query or key head that are not rotated
  std::int32_t rope_dim = 0;   // and that are, behind them
  std::int32_t value_dim = 0;  // of a value head
  float norm_eps = 1e-6F;  // of the two latents' norms; fixed in DeepSeek's code, whatever the model's other norms have
};

/// Grouped-query attention (Ainslie et al. 2023) or, where latent.kv_rank is set, multi-head latent attention; the same
/// in all layers except for LayerSpec::window.
struct AttentionSpec {
  std::int32_t heads = 0;     // query heads, a multiple of kv_heads
  std::int32_t kv_heads = 0;  // 1 with latent attention
  std::int32_t head_dim = 0;  // of queries, keys and values. Latent: nope_dim + rope_dim
  LatentSpec latent;
  float scale = 0;  // of the scores, usually 1 / sqrt(head_dim)
  bool qkv_bias = false;
  bool output_bias = false;
  QkNorm qk_norm = QkNorm::kNone;
  float qkv_clamp = 0;  // 0: none; else queries, keys and values are cut to +-this, after norms (OLMoE's clip_qkv)
  float softcap = 0;   // 0: none; else s = softcap * tanh(s / softcap)
  bool sinks = false;  // an extra logit a head in the softmax sum (gpt-oss)

  bool is_latent() const { return latent.kv_rank > 0; }
  /// Dimensions of a key and of a value in the cache.
  std::int32_t cached_key_dim() const { return is_latent() ? latent.kv_rank + latent.rope_dim : head_dim; }
  std::int32_t cached_value_dim() const { return is_latent() ? latent.kv_rank : head_dim; }
  /// Width of what all heads give to the output matrix.
  std::int64_t output_width() const { return std::int64_t{heads} * (is_latent() ? latent.value_dim : head_dim); }
};

/// What the hidden units of a feed-forward network are, of the products g = gate x and u = up x. Without a gate, of
/// g = up x and u = 1.
enum class Activation : std::uint8_t {
  kSilu,           // silu(g) * u: SwiGLU (Shazeer 2020)
  kGelu,           // gelu(g) * u with the tanh form of GELU (Hendrycks and Gimpel 2016): Grok-1
  kRelu,           // max(g, 0) * u: T5, Switch Transformers
  kClampedSwiGlu,  // g <= limit, |u| <= limit: g * sigmoid(alpha * g) * (u + 1): gpt-oss
};

/// How router logits become weights of the chosen experts. Experts are chosen by the highest logits, ties to the
/// lower id.
enum class RouterScore : std::uint8_t {
  kSoftmax,      // softmax over all experts, then choose: Mixtral (with renormalise), Qwen, OLMoE
  kTopKSoftmax,  // choose, then softmax over the chosen
  kSigmoid,      // each expert alone
  kSparseMixer,  // one after the other: softmax over those left that are near the highest (Liu et al. 2024)
};

/// The most experts that a layer may have.
inline constexpr std::int32_t kMaxExperts = 4096;

/// How a group of experts is scored, where only the best groups may be chosen from.
enum class GroupScore : std::uint8_t {
  kMax,     // by its best expert: DeepSeek-V2
  kTopTwo,  // by the sum of its two best: DeepSeek-V3
};

struct RouterSpec {
  RouterScore score = RouterScore::kSoftmax;
  std::int32_t top_k = 0;
  bool renormalize = false;  // the chosen weights are divided by their sum
  float scale = 1.0F;        // then multiplied by this
  bool bias = false;         // a learned vector is added to the logits
  float softcap = 0;         // 0: none; else logits = softcap * tanh(logits / softcap)
  float jitter = 0;          // kSparseMixer: near is (highest - logit) / max(|logit|, highest) <= 2 * jitter
  // Hierarchical routing: experts stand in `groups` groups of equal size, and are chosen from the `top_groups` best.
  std::int32_t groups = 1;
  std::int32_t top_groups = 1;
  GroupScore group_score = GroupScore::kMax;
  bool choice_bias = false;  // each expert's score has a bias while experts are chosen, but not in their weights
};

/// What differs from layer to layer.
struct LayerSpec {
  std::int32_t window = 0;     // attention: 0 full, else a token sees itself and the window - 1 before it
  std::int32_t ff = 0;         // width of the feed-forward network, or of each expert
  std::int32_t experts = 0;    // 0: dense
  std::int32_t shared_ff = 0;  // width of an expert that every token visits; 0: none
  bool rope = true;            // false: queries and keys are not rotated (NoPE, Kazemnejad et al. 2023)
};

/// A pre-norm decoder: x += attention(norm(x)); x += ffn(norm(x)). Or an encoder of such layers, which reads a source
/// as a whole, and a decoder that also attends to what comes out of it: x += attention(norm(x), encoded), between the
/// two.
struct ModelSpec {
  std::string architecture;  // as the file names it
  std::string name;          // for people; may be empty
  std::int32_t vocab_size = 0;
  std::int32_t d_model = 0;
  std::int32_t context_length = 0;  // positions that the model was made for
  NormKind norm = NormKind::kRms;   // of blocks' inputs and of the last row
  float norm_eps = 0;
  bool post_norms = false;  // x += norm(attention(norm(x))), and so for the networks
  AttentionSpec attention;
  RopeSpec rope;
  RelativeBiasSpec relative_bias;
  RouterSpec router;         // of the layers that have experts
  bool shared_gate = false;  // the shared expert is weighted by sigmoid(w . x), else by 1
  Activation activation = Activation::kSilu;
  bool gated = true;            // networks have a gate beside up
  float swiglu_alpha = 1.702F;  // kClampedSwiGlu
  float swiglu_limit = 7.0F;    // kClampedSwiGlu
  bool ffn_bias = false;        // gate, up and down of every network have a bias
  std::vector<LayerSpec> layers;
  std::vector<LayerSpec> encoder;  // its layers; empty: a decoder alone
  std::int32_t decoder_start = 0;  // the token before every reply, where there is an encoder
  bool tied_embeddings = false;    // logits use the embedding matrix
  float embedding_scale = 1.0F;    // embeddings are multiplied by this,
  float residual_scale = 1.0F;     // what each block adds to x by this,
  float logit_scale = 1.0F;        // and logits by this
  float logit_softcap = 0;         // 0: none; else logits = softcap * tanh(logits / softcap), after the scale
  bool logit_bias = false;         // a learned vector is added to the products of the output matrix

  bool has_experts() const;
  std::int32_t max_experts() const;     // over the layers; 0: dense
  std::int32_t max_ff() const;          // over the layers, shared experts included
  std::int64_t active_weights() const;  // weights of the matrices that one token passes through, here or in the encoder
  std::int32_t all_layers() const { return static_cast<std::int32_t>(layers.size() + encoder.size()); }
};

/// Checks that the parts fit each other and the limits that the forward pass relies on.
/// Errors: kInvalidArgument or kUnsupported, naming the part, what was expected and what was found.
Status CheckSpec(const ModelSpec& spec);

/// One paragraph for logs and `inspect`.
std::string DescribeSpec(const ModelSpec& spec);

}  // namespace quorum::engine
