#!/usr/bin/env python3
"""Make tests/fixtures/quant/{dequantize,quantize}.bin: what the `gguf` Python package makes of random blocks.

Both files: u32 length + text (the versions used), then records until the end of the file, little-endian:
  u32 ggml type, u32 elements, u32 bytes, the bytes of the blocks, the elements as float32.
In dequantize.bin the floats were computed from the blocks, in quantize.bin the blocks from the floats.

  pip install gguf numpy; tests/tools/make_quant_fixtures.py [OUTPUT_FOLDER]
"""
import importlib.metadata
import pathlib
import struct
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf.quants import dequantize, quantize

# type -> byte offsets of the half-precision scales of a block
DEQUANTIZED = {
    Q.F32: (), Q.F16: (), Q.BF16: (), Q.Q8_0: (0,), Q.Q4_0: (0,), Q.Q4_1: (0, 2), Q.Q5_0: (0,), Q.Q5_1: (0, 2),
    Q.Q2_K: (80, 82), Q.Q3_K: (108,), Q.Q4_K: (0, 2), Q.Q5_K: (0, 2), Q.Q6_K: (208,), Q.IQ4_NL: (0,), Q.IQ4_XS: (0,),
    Q.MXFP4: (),
}
QUANTIZED = (Q.F32, Q.F16, Q.BF16, Q.Q8_0, Q.Q4_0, Q.Q4_1)
# Scales worth meeting: zeros, the smallest and largest subnormal, the smallest normal, one, the largest.
EDGE_HALVES = (0x0000, 0x8000, 0x0001, 0x83FF, 0x0400, 0x3C00, 0xBC00, 0x7BFF, 0xFBFF)


def random_blocks(rng, qtype, offsets):
    block, size = gguf.GGML_QUANT_SIZES[qtype]
    if qtype == Q.MXFP4:  # every scale, the subnormal and the largest ones among them
        raw = rng.integers(0, 256, (256, size), dtype=np.uint8)
        raw[:, 0] = np.arange(256)
        return raw
    if not offsets:
        raw = rng.integers(0, 256, (512, size), dtype=np.uint8)
        if qtype == Q.F16:  # finite: what a NaN's bits become depends on the machine
            finite = raw.view(np.uint16)
            finite[(finite & 0x7C00) == 0x7C00] ^= 0x4000
        return raw
    raw = rng.integers(0, 256, (12, size), dtype=np.uint8)
    for offset in offsets:
        scales = rng.standard_normal(len(raw)).astype(np.float16).view(np.uint16)
        scales[:len(EDGE_HALVES)] = rng.permutation(EDGE_HALVES)
        raw[:, offset:offset + 2] = scales.view(np.uint8).reshape(-1, 2)
    return raw


def random_floats(rng):
    rows = [rng.standard_normal(64) * 10.0**e for e in (-3, -2, 0, 1, 3)]
    rows.append(np.zeros(64))
    rows.append(np.full(64, -0.75))
    rows.append(rng.integers(-8, 8, 64) / 8)  # ties of rounding
    rows.append(rng.integers(-254, 255, 64) / 2)
    rows.append(np.abs(rng.standard_normal(64)))
    rows.append(np.where(rng.random(64) < 0.9, 0, rng.standard_normal(64)))
    return np.concatenate(rows).astype(np.float32)


def record(qtype, raw, floats):
    floats = np.ascontiguousarray(floats, np.float32).reshape(-1)
    raw = np.ascontiguousarray(raw).view(np.uint8).reshape(-1)
    return struct.pack("<III", qtype, floats.size, raw.size) + raw.tobytes() + floats.tobytes()


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parents[1] / "fixtures/quant")
    folder.mkdir(parents=True, exist_ok=True)
    versions = f"gguf {importlib.metadata.version('gguf')}, numpy {np.__version__}".encode()
    header = struct.pack("<I", len(versions)) + versions
    rng = np.random.default_rng(20261122)
    with np.errstate(all="ignore"), open(folder / "dequantize.bin", "wb") as f:
        f.write(header)
        for qtype, offsets in DEQUANTIZED.items():
            raw = random_blocks(rng, qtype, offsets)
            f.write(record(qtype, raw, dequantize(raw, qtype)))
    with np.errstate(all="ignore"), open(folder / "quantize.bin", "wb") as f:
        f.write(header)
        floats = random_floats(rng)
        for qtype in QUANTIZED:
            f.write(record(qtype, quantize(floats.reshape(1, -1), qtype), floats))
    print(*(f"{p}: {p.stat().st_size} bytes" for p in sorted(folder.glob("*quantize.bin"))), sep="\n")


if __name__ == "__main__":
    main()
