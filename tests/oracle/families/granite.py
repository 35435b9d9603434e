"""Granite, dense and with experts, with and without a shared one."""
from transformers import (GraniteConfig, GraniteForCausalLM, GraniteMoeConfig, GraniteMoeForCausalLM,
                          GraniteMoeSharedConfig, GraniteMoeSharedForCausalLM)

from common import PLAIN, SIZE, Case
from gguf_decoder import halves, writer

MULTIPLIERS = dict(embedding_multiplier=6.0, residual_multiplier=0.35, attention_multiplier=0.1, logits_scaling=2.0)
MOE = dict(**{**SIZE, "intermediate_size": 24}, **MULTIPLIERS, num_local_experts=6, num_experts_per_tok=3,
           rope_parameters=PLAIN)


def keys(out, config):
    out.add_attention_scale(config.attention_multiplier)
    out.add_embedding_scale(config.embedding_multiplier)
    out.add_residual_scale(config.residual_multiplier)
    out.add_logit_scale(config.logits_scaling)
    if hasattr(config, "shared_intermediate_size"):
        out.add_expert_shared_feed_forward_length(config.shared_intermediate_size)


def own(part, w):
    return {
        "block_sparse_moe.router.weight": lambda: {"ffn_gate_inp.weight": w},
        "block_sparse_moe.experts.gate_up_proj": lambda: halves("_exps", w),
        "block_sparse_moe.experts.down_proj": lambda: {"ffn_down_exps.weight": w},
        "shared_mlp.input_linear.weight": lambda: halves("_shexp", w),
        "shared_mlp.output_linear.weight": lambda: {"ffn_down_shexp.weight": w},
    }.get(part, lambda: None)()


def randomize(name, parameter, noise):
    # Tied embeddings that outweigh the blocks would only ever repeat a token.
    return 0.06 * noise if "embed_tokens" in name else None


CASES = [
    Case("granite", GraniteConfig(**SIZE, **MULTIPLIERS, tie_word_embeddings=True, rope_parameters=PLAIN),
         GraniteForCausalLM, randomize=randomize, gguf=writer("granite", keys, own)),
    Case("granitemoe", GraniteMoeConfig(**MOE), GraniteMoeForCausalLM, randomize=randomize, gguf=writer("granitemoe", keys, own)),
    Case("granitemoe_shared", GraniteMoeSharedConfig(**MOE, shared_intermediate_size=40, tie_word_embeddings=True),
         GraniteMoeSharedForCausalLM, randomize=randomize, gguf=writer("granitemoe", keys, own)),
]
