// Multi-head latent attention as GGUF describes it (architecture `deepseek2`): older files have one matrix that makes
// keys and values of the latent (`attn_kv_b`) and count every head, newer ones have it split and K transposed
// (`attn_k_b`, `attn_v_b`) and speak of one key/value head.
#pragma once

#include "engine/base/result.h"
#include "engine/gguf_keys.h"
#include "engine/model_spec.h"
#include "quant/gguf.h"

namespace quorum::engine {

/// Fills in spec.attention and the kind and number of rotated dimensions of spec.rope.
/// Errors: kInvalidArgument (a key is missing, out of range or does not fit the others).
Status ReadLatentAttention(KeyReader& keys, const quant::GgufFile& file, ModelSpec& spec);

}  // namespace quorum::engine
