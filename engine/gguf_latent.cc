#include "engine/gguf_latent.h"

#include <cmath>
#include <optional>
#include <string_view>

#include <fmt/format.h>

namespace quorum::engine {

Status ReadLatentAttention(KeyReader& keys, const quant::GgufFile& file, ModelSpec& spec) {
  AttentionSpec& attention = spec.attention;
  LatentSpec& latent = attention.latent;
  QUORUM_ASSIGN(const std::optional<std::int32_t> heads, keys.SameInAllLayers("attention.head_count"));
  if (!heads) return keys.Fault("attention.head_count", "is missing");
  attention.heads = *heads;
  attention.kv_heads = 1;
  QUORUM_ASSIGN(const std::optional<std::int32_t> kv_heads, keys.SameInAllLayers("attention.head_count_kv"));
  if (kv_heads && *kv_heads != 1 && *kv_heads != *heads) {
    return keys.Fault("attention.head_count_kv", fmt::format("is {}, expected 1 or {}", *kv_heads, *heads));
  }
  QUORUM_ASSIGN(latent.kv_rank, keys.RequiredInt("attention.kv_lora_rank", 4, 8192));
  QUORUM_ASSIGN(latent.q_rank, keys.IntOr("attention.q_lora_rank", 0));
  if (file.FindTensor("blk.0.attn_q_a.weight") == nullptr) latent.q_rank = 0;  // some files without it have the key
  QUORUM_ASSIGN(latent.rope_dim, keys.RequiredInt("rope.dimension_count", 2, 1024));

  // With the lengths of a head's own keys and values under keys of their own, the plain ones are those of the cache.
  const bool own = keys.Has("attention.key_length_mla");
  const std::string_view key_length = own ? "attention.key_length_mla" : "attention.key_length";
  QUORUM_ASSIGN(attention.head_dim, keys.RequiredInt(key_length, 1, 2048));
  QUORUM_ASSIGN(latent.value_dim,
                keys.RequiredInt(own ? "attention.value_length_mla" : "attention.value_length", 1, 1024));
  if (own) {
    for (const auto& [key, expected] : {std::pair{"attention.key_length", latent.kv_rank + latent.rope_dim},
                                        std::pair{"attention.value_length", latent.kv_rank}}) {
      QUORUM_ASSIGN(const std::int32_t length, keys.IntOr(key, expected));
      if (length != expected) return keys.Fault(key, fmt::format("is {}, expected {}", length, expected));
    }
  }
  latent.nope_dim = attention.head_dim - latent.rope_dim;
  if (latent.nope_dim < 1) {
    return keys.Fault(key_length, fmt::format("is {}, expected more than the {} rotated dimensions", attention.head_dim,
                                              latent.rope_dim));
  }
  attention.scale = 1.0F / std::sqrt(static_cast<float>(attention.head_dim));
  return {};
}

}  // namespace quorum::engine
