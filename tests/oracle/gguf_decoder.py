"""Writes Llama-like decoders as GGUF, converted by hand with the gguf package: keys, tensor names, and the order of rows."""
import gguf
import numpy as np
import torch

NAMES = {
    "input_layernorm.weight": "attn_norm.weight",
    "post_attention_layernorm.weight": "ffn_norm.weight",
    "input_layernorm.bias": "attn_norm.bias",
    "post_attention_layernorm.bias": "ffn_norm.bias",
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


def permute(weight, heads):
    """Rows of Q or K in the order that GGUF's llama has: pairs (i, i + dim/2) of a head side by side."""
    out = weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2)
    return out.reshape(weight.shape)


def head_dim_of(config):
    return getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads


def experts_of(config):
    return getattr(config, "num_experts", None) or getattr(config, "num_local_experts", None)


def write_keys(writer, arch, config):
    head_dim = head_dim_of(config)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    write_rope(writer, config.rope_parameters, head_dim)
    if getattr(config, "clip_qkv", None):
        writer.add_clamp_kqv(config.clip_qkv)
    if getattr(config, "sliding_window", None) and arch in ("llama", "gpt-oss", "phi3", "phimoe"):
        writer.add_sliding_window(config.sliding_window)
    if experts_of(config):
        writer.add_expert_count(experts_of(config))
        writer.add_expert_used_count(config.num_experts_per_tok)
        if hasattr(config, "moe_intermediate_size"):
            writer.add_expert_feed_forward_length(config.moe_intermediate_size)
        if hasattr(config, "shared_expert_intermediate_size"):
            writer.add_expert_shared_feed_forward_length(config.shared_expert_intermediate_size)


def write_rope(writer, rope, head_dim):
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])


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


def add(writer, name, values, dtype=torch.float32):
    """Matrices in `dtype`, vectors and routers in F32 as converters do it."""
    values = np.ascontiguousarray(values, dtype=np.float32)
    if values.ndim < 2 or "_inp" in name or name.endswith("bias") or dtype == torch.float32:
        writer.add_tensor(name, values)
    elif dtype == torch.float16:
        writer.add_tensor(name, values.astype(np.float16))
    else:
        bits = (values.view(np.uint32) >> 16).astype(np.uint16)  # exact: the weights are bfloat16
        writer.add_tensor(name, bits.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)


# Architectures whose converters permute Q and K.
PERMUTED = ("llama", "granite", "granitemoe", "smollm3")


def write_tensors(writer, arch, case, state, own):
    config = case.config
    for name, tensor in state.items():
        w = tensor.numpy().astype(np.float32)
        if name == "model.embed_tokens.weight":
            add(writer, "token_embd.weight", w, case.dtype)
        elif name == "model.norm.weight":
            add(writer, "output_norm.weight", w)
        elif name == "lm_head.weight":
            if not config.tie_word_embeddings:
                add(writer, "output.weight", w, case.dtype)
        elif not name.startswith("model.layers."):
            add(writer, {"model.norm.bias": "output_norm.bias", "lm_head.bias": "output.bias"}[name], w)
        else:
            layer, part = name.removeprefix("model.layers.").split(".", 1)
            block = f"blk.{layer}."
            mine = own(part, w)
            if mine is not None:
                for of, values in mine.items():
                    if isinstance(values, tuple):  # bytes of a block format, and which
                        writer.add_tensor(block + of, values[0], raw_dtype=values[1])
                    else:
                        add(writer, block + of, values, case.dtype)
            elif part.startswith(("self_attn.q_proj", "self_attn.k_proj")):
                letter = part[len("self_attn.")]
                heads = config.num_attention_heads if letter == "q" else config.num_key_value_heads
                if arch in PERMUTED:
                    w = permute(w, heads)
                add(writer, f"{block}attn_{letter}.{part.rsplit('.', 1)[1]}", w, case.dtype)
            elif part == "mlp.experts.gate_up_proj":
                half = w.shape[1] // 2
                add(writer, block + "ffn_gate_exps.weight", w[:, :half], case.dtype)
                add(writer, block + "ffn_up_exps.weight", w[:, half:], case.dtype)
            elif part == "mlp.shared_expert_gate.weight":
                add(writer, block + "ffn_gate_inp_shexp.weight", w[0])
            else:
                add(writer, block + NAMES[part], w, case.dtype)


def halves(stem, w):
    """Gate and up from a tensor that holds the one after the other."""
    half = w.shape[-2] // 2
    return {f"ffn_gate{stem}.weight": w[..., :half, :], f"ffn_up{stem}.weight": w[..., half:, :]}


def writer(arch, keys=lambda out, config: None, own=lambda part, w: None):
    """A Case.gguf for a decoder that GGUF calls `arch`. `keys` adds what write_keys does not know; `own` gives the tensors
    that become of the tensor `part` of a layer, by name below "blk.N.", or None for the usual."""

    def write(case, model, path, _oracle):
        out = gguf.GGUFWriter(path, arch)
        out.add_name(f"tiny random {case.name}")
        write_keys(out, arch, case.config)
        keys(out, case.config)
        write_tensors(out, arch, case, model.state_dict(), own)
        rope = case.config.rope_parameters
        if rope["rope_type"] == "llama3":
            add(out, "rope_freqs.weight", llama3_factors(rope, head_dim_of(case.config)))
        out.write_header_to_file()
        out.write_kv_data_to_file()
        out.write_tensors_to_file()
        out.close()

    return write
