#!/usr/bin/env python3
"""Makes tests/fixtures/quant/hf_quantized.safetensors: matrices as GPTQ, AWQ, F8 with scales and MXFP4 store them, each with the
floats that they stand for (`NAME.expected`, or for MXFP4 (experts, rows, cols)).

GPTQ and AWQ are unpacked here as AutoGPTQ's and AutoAWQ's torch code does it; F8 by torch; MXFP4 by transformers."""
import argparse
import pathlib

import torch
from safetensors.torch import save_file
from transformers.integrations.mxfp4 import convert_moe_packed_tensors

AWQ_REVERSE_ORDER = [0, 4, 1, 5, 2, 6, 3, 7]


def words(generator, *shape):
    return torch.randint(-2**31, 2**31 - 1, shape, generator=generator, dtype=torch.int64).to(torch.int32)


def unpack(packed, bits, axis):
    """Codes of int32 words along `axis`, lowest bits first."""
    shifts = torch.arange(0, 32, bits, dtype=torch.int32)
    parts = (packed.unsqueeze(axis + 1) >> shifts.reshape([-1 if i == axis + 1 else 1 for i in range(3)])) & (2**bits - 1)
    shape = list(packed.shape)
    shape[axis] *= len(shifts)
    return parts.reshape(shape)


def gptq(out, name, generator, *, cols, rows, group, bits=4, v2=False, sym=False, act_order=False, dtype=torch.float16):
    groups = -(-cols // group)
    qweight = words(generator, cols * bits // 32, rows)
    qzeros = words(generator, groups, rows * bits // 32)
    if sym:
        stored = 2**(bits - 1) - (0 if v2 else 1)
        word = sum(stored << shift for shift in range(0, 32, bits))
        qzeros.fill_(word - 2**32 if word >= 2**31 else word)
    scales = (torch.rand(groups, rows, generator=generator) * 0.02 + 0.001).to(dtype)
    g_idx = torch.arange(cols, dtype=torch.int32) // group
    if act_order:
        g_idx = g_idx[torch.randperm(cols, generator=generator)]
    zeros = unpack(qzeros, bits, 1)
    if not v2:
        zeros = (zeros + 1) & (2**bits - 1)
    weight = unpack(qweight, bits, 0)
    g = g_idx.long()
    expected = scales[g].float() * (weight - zeros[g]).float()
    out |= {f"{name}.qweight": qweight, f"{name}.qzeros": qzeros, f"{name}.scales": scales, f"{name}.g_idx": g_idx,
            f"{name}.expected": expected.T.contiguous()}


def awq(out, name, generator, *, cols, rows, group):
    qweight = words(generator, cols, rows // 8)
    qzeros = words(generator, cols // group, rows // 8)
    scales = (torch.rand(cols // group, rows, generator=generator) * 0.02 + 0.001).half()

    def rows_of(packed):
        order = torch.arange(rows).reshape(-1, 8)[:, AWQ_REVERSE_ORDER].reshape(-1)
        return unpack(packed, 4, 1)[:, order]

    g = torch.arange(cols) // group
    expected = scales[g].float() * (rows_of(qweight) - rows_of(qzeros)[g]).float()
    out |= {f"{name}.qweight": qweight, f"{name}.qzeros": qzeros, f"{name}.scales": scales,
            f"{name}.expected": expected.T.contiguous()}


def fp8(out, name, generator, weight_type, scale_name, scale_shape, spread):
    """spread(scale): the scale of each weight."""
    bits = torch.randint(0, 256, (40, 64), generator=generator, dtype=torch.uint8)
    weight = bits.view(weight_type)
    weight = torch.where(weight.float().isfinite(), weight.float(), torch.zeros(())).to(weight_type)
    scale = torch.rand(scale_shape, generator=generator) + 0.01
    out |= {f"{name}.weight": weight, f"{name}.{scale_name}": scale, f"{name}.expected": weight.float() * spread(scale)}


def mxfp4(out, name, generator):
    blocks = torch.randint(0, 256, (3, 6, 2, 16), generator=generator, dtype=torch.uint8)
    scales = torch.randint(118, 130, (3, 6, 2), generator=generator, dtype=torch.uint8)
    expected = convert_moe_packed_tensors(blocks, scales, dtype=torch.float32).transpose(1, 2)
    out |= {f"{name}_blocks": blocks, f"{name}_scales": scales, f"{name}.expected": expected.contiguous()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "quant")
    path = parser.parse_args().out / "hf_quantized.safetensors"
    g = torch.Generator().manual_seed(7)
    out = {}
    gptq(out, "gptq_sym", g, cols=64, rows=24, group=32, sym=True)
    gptq(out, "gptq_asym", g, cols=128, rows=24, group=64)
    gptq(out, "gptq_v2", g, cols=64, rows=24, group=64, v2=True)
    gptq(out, "gptq_act_order", g, cols=64, rows=24, group=32, act_order=True)
    gptq(out, "gptq_whole", g, cols=64, rows=8, group=64, sym=True)
    gptq(out, "gptq8_sym", g, cols=64, rows=12, group=32, bits=8, sym=True)
    gptq(out, "gptq8_asym", g, cols=64, rows=12, group=32, bits=8)
    gptq(out, "gptq_bf16", g, cols=64, rows=8, group=32, sym=True, dtype=torch.bfloat16)
    awq(out, "awq", g, cols=64, rows=24, group=32)
    fp8(out, "fp8_block", g, torch.float8_e4m3fn, "weight_scale_inv", (3, 4),
        lambda s: s.repeat_interleave(16, 0)[:40].repeat_interleave(16, 1))
    fp8(out, "fp8_row", g, torch.float8_e4m3fn, "weight_scale", (40, 1), lambda s: s)
    fp8(out, "fp8_all", g, torch.float8_e5m2, "weight_scale", (1,), lambda s: s)
    mxfp4(out, "mxfp4", g)
    save_file(out, path, metadata={"made_with": f"torch {torch.__version__}, tests/oracle/make_quantized.py"})
    path.chmod(0o644)
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
