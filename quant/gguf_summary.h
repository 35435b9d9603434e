// What a GGUF file says about its model, read from metadata and tensor names alone, so that any architecture will do.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "quant/gguf.h"

namespace quorum::quant {

/// Everything is as the file gives it; what it does not say is empty.
struct GgufSummary {
  std::string name;
  std::string architecture;
  std::string size_label;
  std::string file_type;  // "mostly Q4_1"

  std::optional<std::int64_t> layers;
  std::optional<std::int64_t> encoder_layers;  // of an encoder with a decoder; `layers` are then the decoder's
  std::optional<std::int64_t> context;
  std::optional<std::int64_t> embedding;
  // One value, or one a layer where layers differ.
  std::vector<std::int64_t> feed_forward;
  std::vector<std::int64_t> heads;
  std::vector<std::int64_t> kv_heads;
  std::optional<std::int64_t> head_dim;  // from the keys' length, or embedding / heads
  // Multi-head latent attention: what the cache keeps is a latent of this rank and rope_dims rotated dimensions.
  std::optional<std::int64_t> kv_rank;
  std::optional<std::int64_t> query_rank;
  std::optional<std::int64_t> sliding_window;

  std::optional<double> rope_base;
  std::optional<std::int64_t> rope_dims;
  std::string rope_scaling;  // "yarn" ...
  std::optional<double> rope_factor;
  std::optional<std::int64_t> rope_original_context;

  std::optional<std::int64_t> experts;
  std::optional<std::int64_t> experts_used;
  std::optional<std::int64_t> experts_shared;
  std::optional<std::int64_t> expert_groups;
  std::optional<std::int64_t> expert_groups_used;
  std::optional<std::int64_t> expert_feed_forward;

  std::string tokenizer;     // "gpt2", "llama" ...
  std::string pretokenizer;  // "smollm" ...
  std::optional<std::int64_t> vocabulary;
  std::optional<std::int64_t> bos;
  std::optional<std::int64_t> eos;
  std::string chat_template;  // whole

  std::string upcycled_from;  // quorum.upcycle.source
  std::optional<std::uint64_t> upcycle_seed;
  std::optional<double> upcycle_noise;

  struct TypeUse {
    DType type;
    std::int64_t tensors = 0;
    std::int64_t elements = 0;
    std::int64_t bytes = 0;
  };
  std::vector<TypeUse> types;  // most bytes first
  std::int64_t parameters = 0;
  std::int64_t active_parameters = 0;  // all but the routed experts that a token does not use
  std::int64_t tensor_bytes = 0;

  /// Metadata that is there but of a type or size that it should not have: whole sentences.
  std::vector<std::string> complaints;
};

GgufSummary Summarize(const GgufFile& file);

/// llama.cpp's name of `general.file_type`: "mostly Q4_K_M"; "type 77" for a number that is not known.
std::string FileTypeName(std::int64_t number);

/// Whether a tensor holds routed experts (stacked, or one of many as in old Mixtral files).
bool IsRoutedExpert(std::string_view tensor_name);

}  // namespace quorum::quant
