"""Folders whose matrices are quantized: GPTQ, AWQ, and F8 with block scales."""
import torch
from transformers import (LlamaConfig, LlamaForCausalLM, MixtralConfig, MixtralForCausalLM, Qwen3MoeConfig,
                          Qwen3MoeForCausalLM)

from common import PLAIN, SIZE, Case

WIDE = {**SIZE, "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96}
GROUP = 32
AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]  # the rows that the nibbles of a word hold, lowest first


def is_linear(name):
    return name.endswith(".weight") and any(part in name for part in ("_proj.", "_proj_with_mqa.", ".w1.", ".w2.", ".w3."))


def pack(codes, axis):
    """Eight 4-bit codes along `axis` in one int32, lowest bits first."""
    codes = codes.long().movedim(axis, -1)
    words = (codes.reshape(*codes.shape[:-1], -1, 8) << torch.arange(0, 32, 4)).sum(-1)
    words = torch.where(words >= 2**31, words - 2**32, words).to(torch.int32)
    return words.movedim(-1, axis).contiguous()


def round_groups(w, symmetric):
    """codes (rows, cols), zeros and half scales (rows, groups), the values that they stand for."""
    groups = w.reshape(w.shape[0], -1, GROUP)
    if symmetric:
        scales = (groups.abs().amax(2) / 7).half()
        zeros = torch.full_like(scales, 8).int()
    else:
        low = groups.amin(2).clamp(max=0)
        scales = ((groups.amax(2).clamp(min=0) - low) / 15).half()
        zeros = (-low / scales.float()).round().clamp(0, 15).int()
    codes = ((groups / scales.float()[:, :, None]).round() + zeros[:, :, None]).clamp(0, 15).int()
    values = scales.float()[:, :, None] * (codes - zeros[:, :, None]).float()
    return codes.reshape(w.shape), zeros, scales, values.reshape(w.shape)


def gptq(symmetric):
    def quantize(tensors):
        rounded, packed = {}, {}
        for name, w in tensors.items():
            rounded[name] = packed[name] = w
            if not is_linear(name):
                continue
            codes, zeros, scales, rounded[name] = round_groups(w, symmetric)
            del packed[name]
            prefix = name.removesuffix(".weight")
            packed[prefix + ".qweight"] = pack(codes.T, 0)
            packed[prefix + ".qzeros"] = pack((zeros.T - 1) & 15, 1)  # the format's quirk
            packed[prefix + ".scales"] = scales.T.contiguous()
            packed[prefix + ".g_idx"] = (torch.arange(w.shape[1]) // GROUP).int()
        return rounded, packed, dict(quant_method="gptq", bits=4, group_size=GROUP, desc_act=False, sym=symmetric)

    return quantize


def awq(tensors):
    rounded, packed = {}, {}
    for name, w in tensors.items():
        rounded[name] = packed[name] = w
        if not is_linear(name):
            continue
        codes, zeros, scales, rounded[name] = round_groups(w, False)
        order = torch.arange(w.shape[0]).reshape(-1, 8)[:, AWQ_ORDER].reshape(-1)
        del packed[name]
        prefix = name.removesuffix(".weight")
        packed[prefix + ".qweight"] = pack(codes.T[:, order], 1)
        packed[prefix + ".qzeros"] = pack(zeros.T[:, order], 1)
        packed[prefix + ".scales"] = scales.T.contiguous()
    return rounded, packed, dict(quant_method="awq", bits=4, group_size=GROUP, zero_point=True, version="gemm")


def fp8(tensors, block=24):
    """Blocks that do not divide the matrices."""
    rounded, packed = {}, {}
    for name, w in tensors.items():
        rounded[name] = packed[name] = w
        if not is_linear(name):
            continue
        rows, cols = w.shape
        whole = torch.zeros(-(-rows // block) * block, -(-cols // block) * block)
        whole[:rows, :cols] = w
        tops = whole.reshape(-1, block, whole.shape[1] // block, block).abs().amax((1, 3))
        scale = tops / 448
        spread = scale.repeat_interleave(block, 0)[:rows].repeat_interleave(block, 1)[:, :cols]
        packed[name] = (w / spread).to(torch.float8_e4m3fn)
        packed[name.removesuffix(".weight") + ".weight_scale_inv"] = scale
        rounded[name] = packed[name].float() * spread
    return rounded, packed, dict(quant_method="fp8", weight_block_size=[block, block], activation_scheme="dynamic")


CASES = [
    Case("llama_gptq", LlamaConfig(**WIDE, rope_parameters=PLAIN), LlamaForCausalLM, quantize=gptq(True)),
    Case("llama_gptq_asym", LlamaConfig(**WIDE, rope_parameters=PLAIN), LlamaForCausalLM, quantize=gptq(False)),
    Case("mixtral_awq", MixtralConfig(**{**WIDE, "intermediate_size": 32}, num_local_experts=5, num_experts_per_tok=2,
                                      rope_parameters=PLAIN), MixtralForCausalLM, quantize=awq),
    Case("qwen3_moe_fp8", Qwen3MoeConfig(**WIDE, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=32,
                                         head_dim=16, norm_topk_prob=True, rope_parameters=PLAIN), Qwen3MoeForCausalLM,
         quantize=fp8),
]
