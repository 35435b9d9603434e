"""gpt-oss: with the experts in bfloat16, and in MXFP4 as OpenAI publishes them."""
import gguf
import numpy as np
import torch
from transformers import GptOssConfig, GptOssForCausalLM

from common import SIZE, THETA, Case
from gguf_decoder import writer

MXFP4 = gguf.GGMLQuantizationType.MXFP4
CONFIG = dict(**{**SIZE, "hidden_size": 64, "intermediate_size": 32, "num_key_value_heads": 2}, head_dim=16,
              num_local_experts=6, num_experts_per_tok=3, sliding_window=20,
              rope_parameters=dict(rope_type="yarn", rope_theta=THETA, factor=8.0, beta_fast=32.0, beta_slow=1.0,
                                   truncate=False, original_max_position_embeddings=16))


def randomize(name, parameter, noise):
    if name.endswith("sinks"):
        return noise
    if name.endswith(("gate_up_proj", "down_proj")):  # (experts, in, out)
        # Large enough that the clamps at 7 act.
        return (4.0 if "gate" in name else 1.0) * noise / parameter.shape[1] ** 0.5
    return None


def mxfp4(rows):
    return gguf.quants.quantize(np.ascontiguousarray(rows, dtype=np.float32), MXFP4)


def quantize(tensors):
    """Experts as OpenAI's files have them: (experts, rows, blocks of 32, 16 bytes) with two neighbours in a byte, the first
    in the low half, and one scale 2^(s - 127) a block. GGUF's blocks have the scale first and pair element i with i + 16."""
    rounded = dict(tensors)
    packed = {name: tensor.bfloat16() for name, tensor in tensors.items()}
    for name in tensors:
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            continue
        rows = tensors[name].float().transpose(1, 2).numpy()  # (experts, out, in)
        blocks = mxfp4(rows).reshape(*rows.shape[:2], -1, 17)
        exact = gguf.quants.dequantize(blocks.reshape(*rows.shape[:2], -1), MXFP4).reshape(rows.shape)
        rounded[name] = torch.from_numpy(exact).transpose(1, 2).contiguous().to(tensors[name].dtype)
        codes = np.concatenate((blocks[..., 1:] & 15, blocks[..., 1:] >> 4), axis=-1)
        del packed[name]
        packed[name + "_blocks"] = torch.from_numpy(codes[..., ::2] | (codes[..., 1::2] << 4))
        packed[name + "_scales"] = torch.from_numpy(np.ascontiguousarray(blocks[..., 0]))
    return rounded, packed, {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn"]}


def keys(out, config):
    out.add_expert_feed_forward_length(config.intermediate_size)


def own(part, w):
    return {
        "self_attn.sinks": lambda: {"attn_sinks.weight": w},
        "post_attention_layernorm.weight": lambda: {"post_attention_norm.weight": w},
        "mlp.router.weight": lambda: {"ffn_gate_inp.weight": w},
        "mlp.router.bias": lambda: {"ffn_gate_inp.bias": w},
        "mlp.experts.gate_up_proj": lambda: {"ffn_gate_exps.weight": w[:, :, ::2].swapaxes(1, 2),
                                             "ffn_up_exps.weight": w[:, :, 1::2].swapaxes(1, 2)},
        "mlp.experts.gate_up_proj_bias": lambda: {"ffn_gate_exps.bias": w[:, ::2], "ffn_up_exps.bias": w[:, 1::2]},
        "mlp.experts.down_proj": lambda: {"ffn_down_exps.weight": w.swapaxes(1, 2)},
        "mlp.experts.down_proj_bias": lambda: {"ffn_down_exps.bias": w},
    }.get(part, lambda: None)()


def own_mxfp4(part, w):
    mine = own(part, w)
    if mine and part.endswith(("gate_up_proj", "down_proj")):
        return {name: (mxfp4(rows), MXFP4) for name, rows in mine.items()}
    return mine


CASES = [
    Case("gpt_oss", GptOssConfig(**CONFIG), GptOssForCausalLM, gguf=writer("gpt-oss", keys, own), randomize=randomize),
    Case("gpt_oss_mxfp4", GptOssConfig(**CONFIG), GptOssForCausalLM, gguf=writer("gpt-oss", keys, own_mxfp4),
         randomize=randomize, quantize=quantize),
]
