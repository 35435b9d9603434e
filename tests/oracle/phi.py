#!/usr/bin/env python3
"""Phi: phimoe.gguf (Phi-3.5-MoE) and phi3.gguf (dense, fused tensors), both with LongRoPE.

The prompt is longer than the original context, so `quorum.test.logits` come from the long factors. Its first
`quorum.test.short_context` tokens are also answered with the short ones: `quorum.test.short_logits`.
"""
import math

import numpy as np
import torch
from transformers import Phi3Config, Phi3ForCausalLM, PhimoeConfig, PhimoeForCausalLM

import oracle

ORIGINAL, CONTEXT, HEAD_DIM = 40, 160, 16
MAGNITUDE = math.sqrt(1 + math.log(CONTEXT / ORIGINAL) / math.log(ORIGINAL))
LONG = [1.0, 1.1, 1.3, 2.0, 2.9, 3.7, 4.0, 4.2]
SHORT = [1.0, 1.0, 1.05, 1.1, 1.2, 1.4, 1.5, 1.6]
SIZE = dict(hidden_size=48, num_hidden_layers=2, num_attention_heads=3, num_key_value_heads=1, vocab_size=64,
            max_position_embeddings=CONTEXT, attn_implementation="eager", pad_token_id=0, bos_token_id=1,
            eos_token_id=2)
ROPE = dict(rope_type="longrope", rope_theta=1000.0, long_factor=LONG, short_factor=SHORT,
            original_max_position_embeddings=ORIGINAL)


class Rotary(torch.nn.Module):
    """LongRoPE as Microsoft's modeling_phimoe.py has it. That of transformers 5 keeps the short factors in long
    sequences (Phimoe), and chooses by the length of each forward pass; here the choice is made once."""

    def __init__(self, long):
        super().__init__()
        self.factors = torch.tensor(LONG if long else SHORT, dtype=torch.float32)

    def forward(self, x, position_ids=None, **_):
        exponent = torch.arange(0, HEAD_DIM, 2, dtype=torch.int64).float() / HEAD_DIM
        angles = position_ids[..., None].float() * (1.0 / (self.factors * ROPE["rope_theta"]**exponent))
        both = torch.cat((angles, angles), dim=-1)
        return both.cos() * MAGNITUDE, both.sin() * MAGNITUDE


def build_phimoe(generator):
    config = PhimoeConfig(**SIZE, intermediate_size=24, num_local_experts=6, num_experts_per_tok=2,
                          attention_bias=True, lm_head_bias=True, tie_word_embeddings=False, router_jitter_noise=0.01,
                          rope_parameters=dict(ROPE, short_mscale=MAGNITUDE, long_mscale=MAGNITUDE))
    model = PhimoeForCausalLM(config).eval().float()
    oracle.randomize(model, generator)
    with torch.no_grad():
        for layer in model.model.layers:
            # Several experts within the jitter of the best, so that SparseMixer's masks matter.
            weight = layer.mlp.router.weight
            weight[1::2].copy_(weight[::2] * 1.01)
    model.model.rotary_emb = Rotary(True)
    return model


def build_phi3(generator):
    config = Phi3Config(**SIZE, intermediate_size=40, tie_word_embeddings=False, sliding_window=30,
                        rope_parameters=ROPE)
    model = Phi3ForCausalLM(config).eval().float()
    oracle.randomize(model, generator)
    model.model.rotary_emb = Rotary(True)
    return model


def make(name, out=oracle.OUT):
    moe = name == "phimoe"
    model, answers = oracle.made(build_phimoe if moe else build_phi3, top_k=2 if moe else 0,
                                 router="mlp.router" if moe else None)
    config = model.config
    writer = oracle.Writer(name, name, out)
    writer.add_sizes(config, config.intermediate_size)
    writer.add_rope_scaling_orig_ctx_len(ORIGINAL)
    writer.add_rope_scaling_attn_factors(MAGNITUDE)
    writer.add_sliding_window(config.sliding_window or 0)
    if moe:
        writer.add_expert_count(config.num_local_experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add("rope_factors_long.weight", np.array(LONG))
    writer.add("rope_factors_short.weight", np.array(SHORT))
    model.model.rotary_emb = Rotary(False)
    logits_of, _ = oracle.transformers_logits(model)
    writer.add_uint32("quorum.test.short_context", ORIGINAL)
    short = logits_of(answers.tokens[:ORIGINAL])
    writer.add_array("quorum.test.short_logits", [float(v) for v in short.reshape(-1)])

    def own(writer, block, part, tensor):
        half = tensor.shape[-2] // 2 if tensor.dim() > 1 else 0
        if part == "mlp.router.weight":
            writer.add(block + "ffn_gate_inp.weight", tensor)
        elif part == "mlp.experts.gate_up_proj":
            writer.add(block + "ffn_gate_exps.weight", tensor[:, :half])
            writer.add(block + "ffn_up_exps.weight", tensor[:, half:])
        elif part == "mlp.experts.down_proj":
            writer.add(block + "ffn_down_exps.weight", tensor)
        elif part == "self_attn.qkv_proj.weight":
            writer.add(block + "attn_qkv.weight", tensor)
        elif part == "mlp.gate_up_proj.weight":
            writer.add(block + "ffn_up.weight", tensor)
        else:
            return False
        return True

    oracle.add_common(writer, model, own)
    writer.finish(answers)


if __name__ == "__main__":
    make("phimoe")
    make("phi3")
