"""Llama, Mistral, Qwen2 and Qwen3 without experts."""
import torch
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM)

from common import PLAIN, SIZE, THETA, Case
from gguf_decoder import writer

LLAMA3 = dict(rope_type="llama3", rope_theta=THETA, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", rope_theta=THETA, factor=4.0, original_max_position_embeddings=32)
LINEAR = dict(rope_type="linear", rope_theta=THETA, factor=2.0)


def old_spelling(config):
    """As transformers 4 wrote it."""
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope if rope["rope_type"] != "default" else None
    config["torch_dtype"] = config.pop("dtype")


def older_spelling(config):
    old_spelling(config)
    config["rope_scaling"]["type"] = config["rope_scaling"].pop("rope_type")


CASES = [
    # Widths of whole 32s, so that it can be quantized on loading.
    Case("llama", LlamaConfig(**{**SIZE, "hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4,
                                 "num_key_value_heads": 2}, tie_word_embeddings=True, rope_parameters=PLAIN),
         LlamaForCausalLM, torch.float32, writer("llama"), edit=old_spelling),
    Case("llama3", LlamaConfig(**SIZE, head_dim=16, rope_parameters=LLAMA3), LlamaForCausalLM, torch.float16,
         writer("llama"), max_shard_size="40KB"),
    Case("llama_bias", LlamaConfig(**SIZE, attention_bias=True, rope_parameters=LINEAR), LlamaForCausalLM,
         gguf=writer("llama"), edit=older_spelling),
    Case("mistral", MistralConfig(**{**SIZE, "num_attention_heads": 3, "num_key_value_heads": 1}, sliding_window=12,
                                  head_dim=8, rope_parameters=PLAIN), MistralForCausalLM, gguf=writer("llama")),
    Case("qwen2", Qwen2Config(**SIZE, tie_word_embeddings=True, rope_parameters=YARN), Qwen2ForCausalLM,
         gguf=writer("qwen2"), edit=older_spelling),
    # No GGUF: its qwen2 has no windows in some layers only.
    Case("qwen2_window", Qwen2Config(**SIZE, use_sliding_window=True, sliding_window=7, max_window_layers=1,
                                     rope_parameters=PLAIN), Qwen2ForCausalLM),
    Case("qwen3", Qwen3Config(**SIZE, head_dim=16, tie_word_embeddings=True, rope_parameters=PLAIN), Qwen3ForCausalLM,
         gguf=writer("qwen3")),
]
