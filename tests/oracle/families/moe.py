"""Mixtral, OLMoE, Qwen2-MoE and Qwen3-MoE."""
from transformers import (MixtralConfig, MixtralForCausalLM, OlmoeConfig, OlmoeForCausalLM, Qwen2MoeConfig,
                          Qwen2MoeForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM)

from common import PLAIN, SIZE, Case
from gguf_decoder import writer

CASES = [
    Case("mixtral", MixtralConfig(**{**SIZE, "intermediate_size": 24}, num_local_experts=6, num_experts_per_tok=2,
                                  rope_parameters=PLAIN), MixtralForCausalLM, gguf=writer("llama")),
    Case("olmoe", OlmoeConfig(**{**SIZE, "intermediate_size": 24}, num_experts=6, num_experts_per_tok=3,
                              rope_parameters=PLAIN), OlmoeForCausalLM, gguf=writer("olmoe")),
    # Heads of 6 dimensions, and queries, keys and values that are cut.
    Case("olmoe_clip", OlmoeConfig(**{**SIZE, "intermediate_size": 20, "hidden_size": 36}, num_experts=5,
                                   num_experts_per_tok=2, clip_qkv=1.0, rope_parameters=PLAIN), OlmoeForCausalLM,
         gguf=writer("olmoe")),
    # 60 experts in the second layer only. No GGUF: its qwen2moe has experts in every layer.
    Case("qwen2_moe_sparse", Qwen2MoeConfig(**SIZE, num_experts=60, num_experts_per_tok=4, moe_intermediate_size=8,
                                            shared_expert_intermediate_size=40, decoder_sparse_step=2,
                                            rope_parameters=PLAIN), Qwen2MoeForCausalLM),
    Case("qwen2_moe", Qwen2MoeConfig(**SIZE, num_experts=6, num_experts_per_tok=4, moe_intermediate_size=24,
                                     shared_expert_intermediate_size=40, rope_parameters=PLAIN), Qwen2MoeForCausalLM,
         gguf=writer("qwen2moe")),
    Case("qwen3_moe", Qwen3MoeConfig(**SIZE, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, head_dim=16,
                                     norm_topk_prob=True, rope_parameters=PLAIN), Qwen3MoeForCausalLM,
         gguf=writer("qwen3moe")),
]
