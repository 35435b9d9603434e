#!/usr/bin/env python3
"""gpt-oss: gpt_oss.gguf, and gpt_oss_mxfp4.gguf with the experts in MXFP4 as OpenAI publishes them."""
import gguf
import numpy as np
import torch
from transformers import GptOssConfig, GptOssForCausalLM

import oracle

MXFP4 = gguf.GGMLQuantizationType.MXFP4


def build(generator, quantized):
    config = GptOssConfig(
        hidden_size=64, intermediate_size=32, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=2,
        head_dim=16, vocab_size=64, num_local_experts=6, num_experts_per_tok=3, sliding_window=20,
        max_position_embeddings=128, attn_implementation="eager",
        rope_parameters=dict(rope_type="yarn", rope_theta=1000.0, factor=8.0, beta_fast=32.0, beta_slow=1.0,
                             truncate=False, original_max_position_embeddings=16))
    model = GptOssForCausalLM(config).eval().float()
    model.transposed_experts = True
    oracle.randomize(model, generator)
    with torch.no_grad():
        for layer in model.model.layers:
            # Large enough that the clamps at 7 act.
            layer.mlp.experts.gate_up_proj.mul_(4.0)
            if quantized:
                for p in (layer.mlp.experts.gate_up_proj, layer.mlp.experts.down_proj):
                    rows = p.transpose(1, 2).contiguous().numpy()  # (experts, out, in)
                    exact = gguf.quants.dequantize(gguf.quants.quantize(rows, MXFP4), MXFP4)
                    p.copy_(torch.from_numpy(exact).reshape(rows.shape).transpose(1, 2))
    return model


def make(quantized, out=oracle.OUT):
    model, answers = oracle.made(lambda g: build(g, quantized), top_k=3, router="mlp.router")
    config = model.config
    writer = oracle.Writer("gpt_oss_mxfp4" if quantized else "gpt_oss", "gpt-oss", out)
    head_dim = writer.add_sizes(config, config.intermediate_size)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_sliding_window(config.sliding_window)
    writer.add_expert_count(config.num_local_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_expert_feed_forward_length(config.intermediate_size)
    writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
    writer.add_rope_scaling_factor(config.rope_parameters["factor"])
    writer.add_rope_scaling_orig_ctx_len(config.rope_parameters["original_max_position_embeddings"])

    def add_expert(writer, name, tensor):
        rows = np.ascontiguousarray(tensor.transpose(1, 2).numpy())
        if quantized:
            writer.add_tensor(name, gguf.quants.quantize(rows, MXFP4), raw_dtype=MXFP4)
        else:
            writer.add(name, rows)

    def own(writer, block, part, tensor):
        if part == "self_attn.sinks":
            writer.add(block + "attn_sinks.weight", tensor)
        elif part == "post_attention_layernorm.weight":
            writer.add(block + "post_attention_norm.weight", tensor)
        elif part.startswith("mlp.router."):
            writer.add(f"{block}ffn_gate_inp.{part.rpartition('.')[2]}", tensor)
        elif part == "mlp.experts.gate_up_proj":
            add_expert(writer, block + "ffn_gate_exps.weight", tensor[:, :, ::2])
            add_expert(writer, block + "ffn_up_exps.weight", tensor[:, :, 1::2])
        elif part == "mlp.experts.gate_up_proj_bias":
            writer.add(block + "ffn_gate_exps.bias", tensor[:, ::2])
            writer.add(block + "ffn_up_exps.bias", tensor[:, 1::2])
        elif part == "mlp.experts.down_proj":
            add_expert(writer, block + "ffn_down_exps.weight", tensor)
        elif part == "mlp.experts.down_proj_bias":
            writer.add(block + "ffn_down_exps.bias", tensor)
        else:
            return False
        return True

    oracle.add_common(writer, model, own)
    writer.finish(answers)


if __name__ == "__main__":
    make(False)
    make(True)
