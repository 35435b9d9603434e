#!/usr/bin/env python3
"""Makes tests/fixtures/model/*.gguf: small random models with the logits that Hugging Face transformers gives for them.

Each file is a complete float GGUF model, converted here by hand, plus keys of its own: `quorum.test.tokens`,
`quorum.test.logits` (tokens x vocabulary, row by row) and `quorum.test.made_with`. Run with a Python that has torch,
transformers and gguf; the result is committed, so tests need none of them.
"""
import argparse
import pathlib

import gguf
import numpy as np
import torch
import transformers
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, MixtralConfig,
                          MixtralForCausalLM, OlmoeConfig, OlmoeForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen2MoeConfig, Qwen2MoeForCausalLM, Qwen3Config, Qwen3ForCausalLM, Qwen3MoeConfig,
                          Qwen3MoeForCausalLM)

SIZE = dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            vocab_size=64, max_position_embeddings=256, attn_implementation="eager", bos_token_id=1, eos_token_id=2,
            pad_token_id=0)
EXPERTS = dict(num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24)
THETA = 1000.0
LLAMA3 = dict(rope_type="llama3", rope_theta=THETA, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
YARN = dict(rope_type="yarn", rope_theta=THETA, factor=4.0, original_max_position_embeddings=64)
LINEAR = dict(rope_type="linear", rope_theta=THETA, factor=2.0)
PLAIN = dict(rope_type="default", rope_theta=THETA)

# name, GGUF architecture, config class, model class, settings
MODELS = [
    ("llama", "llama", LlamaConfig, LlamaForCausalLM, dict(tie_word_embeddings=True, rope_parameters=PLAIN)),
    ("llama3", "llama", LlamaConfig, LlamaForCausalLM, dict(head_dim=16, rope_parameters=LLAMA3)),
    ("llama_bias", "llama", LlamaConfig, LlamaForCausalLM, dict(attention_bias=True, rope_parameters=LINEAR)),
    ("mistral", "llama", MistralConfig, MistralForCausalLM, dict(sliding_window=12, head_dim=8, rope_parameters=PLAIN)),
    ("mixtral", "llama", MixtralConfig, MixtralForCausalLM,
     dict(num_local_experts=4, num_experts_per_tok=2, intermediate_size=24, rope_parameters=PLAIN)),
    ("qwen2", "qwen2", Qwen2Config, Qwen2ForCausalLM, dict(tie_word_embeddings=True, rope_parameters=YARN)),
    ("qwen3", "qwen3", Qwen3Config, Qwen3ForCausalLM, dict(head_dim=16, tie_word_embeddings=True, rope_parameters=PLAIN)),
    ("qwen2moe", "qwen2moe", Qwen2MoeConfig, Qwen2MoeForCausalLM,
     dict(**EXPERTS, shared_expert_intermediate_size=40, rope_parameters=PLAIN)),
    ("qwen3moe", "qwen3moe", Qwen3MoeConfig, Qwen3MoeForCausalLM,
     dict(**EXPERTS, head_dim=16, norm_topk_prob=True, rope_parameters=PLAIN)),
    ("olmoe", "olmoe", OlmoeConfig, OlmoeForCausalLM,
     dict(num_experts=4, num_experts_per_tok=2, intermediate_size=24, rope_parameters=PLAIN)),
]


def randomize(model, generator):
    """Values large enough that attention, norms, biases and routing all matter."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in name:
                p.copy_(1.0 + 0.3 * noise)
            elif name.endswith("bias"):
                p.copy_(0.3 * noise)
            elif "embed_tokens" in name:
                p.copy_(0.5 * noise)
            elif name.endswith("mlp.gate.weight") or "shared_expert_gate" in name:
                p.copy_(0.5 * noise)
            else:
                p.copy_(noise / p.shape[-1] ** 0.5)


def permute(weight, heads):
    """Rows of Q or K in the order that GGUF's llama has: pairs (i, i + dim/2) of a head side by side."""
    out = weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2)
    return out.reshape(weight.shape)


def write_keys(writer, arch, config):
    heads = config.num_attention_heads
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    experts = getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(head_dim)
    rope = config.rope_parameters
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if getattr(config, "sliding_window", None) and arch == "llama":
        writer.add_sliding_window(config.sliding_window)
    if experts:
        writer.add_expert_count(experts)
        writer.add_expert_used_count(config.num_experts_per_tok)
        if hasattr(config, "moe_intermediate_size"):
            writer.add_expert_feed_forward_length(config.moe_intermediate_size)
        if hasattr(config, "shared_expert_intermediate_size"):
            writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)


def llama3_factors(rope, head_dim):
    """What Hugging Face divides each frequency by (modeling_rope_utils._compute_llama3_parameters)."""
    frequencies = 1.0 / rope["rope_theta"] ** (np.arange(0, head_dim, 2) / head_dim)
    factors = []
    old = rope["original_max_position_embeddings"]
    for wavelength in 2 * np.pi / frequencies:
        if wavelength < old / rope["high_freq_factor"]:
            factors.append(1.0)
        elif wavelength > old / rope["low_freq_factor"]:
            factors.append(rope["factor"])
        else:
            smooth = (old / wavelength - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "self_attn.o_proj.weight": "attn_output.weight",
    "self_attn.o_proj.bias": "attn_output.bias",
    "self_attn.v_proj.weight": "attn_v.weight",
    "self_attn.v_proj.bias": "attn_v.bias",
    "self_attn.q_norm.weight": "attn_q_norm.weight",
    "self_attn.k_norm.weight": "attn_k_norm.weight",
    "mlp.gate_proj.weight": "ffn_gate.weight",
    "mlp.up_proj.weight": "ffn_up.weight",
    "mlp.down_proj.weight": "ffn_down.weight",
    "mlp.gate.weight": "ffn_gate_inp.weight",
    "mlp.experts.down_proj": "ffn_down_exps.weight",
    "mlp.shared_expert.gate_proj.weight": "ffn_gate_shexp.weight",
    "mlp.shared_expert.up_proj.weight": "ffn_up_shexp.weight",
    "mlp.shared_expert.down_proj.weight": "ffn_down_shexp.weight",
}


def write_tensors(writer, arch, config, state):
    tied = config.tie_word_embeddings
    for name, tensor in state.items():
        w = tensor.numpy().astype(np.float32)
        if name == "model.embed_tokens.weight":
            writer.add_tensor("token_embd.weight", w)
        elif name == "model.norm.weight":
            writer.add_tensor("output_norm.weight", w)
        elif name == "lm_head.weight":
            if not tied:
                writer.add_tensor("output.weight", w)
        else:
            layer, part = name.removeprefix("model.layers.").split(".", 1)
            block = f"blk.{layer}."
            if part.startswith(("self_attn.q_proj", "self_attn.k_proj")):
                letter = part[len("self_attn.")]
                heads = config.num_attention_heads if letter == "q" else config.num_key_value_heads
                if arch == "llama":
                    w = permute(w, heads)
                writer.add_tensor(f"{block}attn_{letter}.{part.rsplit('.', 1)[1]}", w)
            elif part == "mlp.experts.gate_up_proj":
                half = w.shape[1] // 2
                writer.add_tensor(block + "ffn_gate_exps.weight", np.ascontiguousarray(w[:, :half]))
                writer.add_tensor(block + "ffn_up_exps.weight", np.ascontiguousarray(w[:, half:]))
            elif part == "mlp.shared_expert_gate.weight":
                writer.add_tensor(block + "ffn_gate_inp_shexp.weight", w[0])
            else:
                writer.add_tensor(block + NAMES[part], w)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "model")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    versions = (f"torch {torch.__version__}, transformers {transformers.__version__}, "
                f"gguf {getattr(gguf, '__version__', '0.19')}, tests/tools/make_model_fixtures.py")
    for seed, (name, arch, config_class, model_class, settings) in enumerate(MODELS):
        config = config_class(**{**SIZE, **settings})
        model = model_class(config).eval().float()
        generator = torch.Generator().manual_seed(100 + seed)
        randomize(model, generator)
        model.tie_weights()
        tokens = torch.randint(0, config.vocab_size, (48,), generator=generator)
        with torch.no_grad():
            logits = model(tokens[None]).logits[0].float().numpy()
        path = out / f"{name}.gguf"
        writer = gguf.GGUFWriter(path, arch)
        writer.add_name(f"tiny random {name}")
        write_keys(writer, arch, config)
        writer.add_string("quorum.test.made_with", versions)
        writer.add_array("quorum.test.tokens", tokens.tolist())
        writer.add_array("quorum.test.logits", [float(v) for v in logits.reshape(-1)])
        write_tensors(writer, arch, config, model.state_dict())
        if config.rope_parameters["rope_type"] == "llama3":
            writer.add_tensor("rope_freqs.weight", llama3_factors(config.rope_parameters, config.head_dim))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        print(f"{path.name}: {path.stat().st_size} bytes, logits {logits.min():.3f} .. {logits.max():.3f}")


if __name__ == "__main__":
    main()
