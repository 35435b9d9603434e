#!/usr/bin/env python3
"""Granite: granite.gguf (dense), granitemoe.gguf and granitemoe_shared.gguf (with a shared expert)."""
from transformers import (GraniteConfig, GraniteForCausalLM, GraniteMoeConfig, GraniteMoeForCausalLM,
                          GraniteMoeSharedConfig, GraniteMoeSharedForCausalLM)

import oracle

SIZE = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, vocab_size=64,
            max_position_embeddings=128, attn_implementation="eager", embedding_multiplier=6.0,
            residual_multiplier=0.35, attention_multiplier=0.1, logits_scaling=2.0,
            rope_parameters=dict(rope_type="default", rope_theta=1000.0))
MOE = dict(intermediate_size=24, num_local_experts=6, num_experts_per_tok=3)
MODELS = {
    "granite": (GraniteConfig, GraniteForCausalLM, dict(intermediate_size=72, tie_word_embeddings=True)),
    "granitemoe": (GraniteMoeConfig, GraniteMoeForCausalLM, dict(**MOE, tie_word_embeddings=False)),
    "granitemoe_shared": (GraniteMoeSharedConfig, GraniteMoeSharedForCausalLM,
                          dict(**MOE, shared_intermediate_size=40, tie_word_embeddings=True)),
}


def build(generator, name):
    config_class, model_class, settings = MODELS[name]
    model = model_class(config_class(**SIZE, **settings)).eval().float()
    oracle.randomize(model, generator)
    model.tie_weights()
    return model


def make(name, out=oracle.OUT):
    experts = name != "granite"
    model, answers = oracle.made(lambda g: build(g, name), top_k=3 if experts else 0,
                                 router="block_sparse_moe.router" if experts else None)
    config = model.config
    writer = oracle.Writer(name, "granitemoe" if experts else "granite", out)
    writer.add_sizes(config, config.intermediate_size)
    writer.add_vocab_size(config.vocab_size)
    writer.add_attention_scale(config.attention_multiplier)
    writer.add_embedding_scale(config.embedding_multiplier)
    writer.add_residual_scale(config.residual_multiplier)
    writer.add_logit_scale(config.logits_scaling)
    if experts:
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    if name == "granitemoe_shared":
        writer.add_expert_shared_feed_forward_length(config.shared_intermediate_size)

    def add_halves(block, suffix, tensor):
        half = tensor.shape[-2] // 2
        writer.add(f"{block}ffn_gate_{suffix}.weight", tensor[..., :half, :])
        writer.add(f"{block}ffn_up_{suffix}.weight", tensor[..., half:, :])

    def own(writer, block, part, tensor):
        if part == "block_sparse_moe.router.weight":
            writer.add(block + "ffn_gate_inp.weight", tensor)
        elif part == "block_sparse_moe.experts.gate_up_proj":
            add_halves(block, "exps", tensor)
        elif part == "block_sparse_moe.experts.down_proj":
            writer.add(block + "ffn_down_exps.weight", tensor)
        elif part == "shared_mlp.input_linear.weight":
            add_halves(block, "shexp", tensor)
        elif part == "shared_mlp.output_linear.weight":
            writer.add(block + "ffn_down_shexp.weight", tensor)
        else:
            return False
        return True

    oracle.add_common(writer, model, own, permuted=True)
    writer.finish(answers)


if __name__ == "__main__":
    for name in MODELS:
        make(name)
