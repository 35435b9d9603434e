#!/usr/bin/env python3
"""Make tests/fixtures/quant/ and the seeds of tests/fuzz/corpus/gguf/ with the `gguf` Python package.

{dequantize,quantize}.bin: what the package makes of random blocks.
kinds.gguf: every type of metadata. split-0000N-of-00002.gguf: a model in two files.
dense.gguf, moe.gguf: a tiny Llama and what upcycling must make of it, byte for byte (its router is computed here again).

The .bin files: u32 length + text (the versions used), then records until the end of the file, little-endian:
  u32 ggml type, u32 elements, u32 bytes, the bytes of the blocks, the elements as float32.
In dequantize.bin the floats were computed from the blocks, in quantize.bin the blocks from the floats.

  pip install gguf numpy; tests/tools/make_quant_fixtures.py
"""
import importlib.metadata
import pathlib
import struct

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


def make_blocks(folder):
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


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_kinds(path):
    w = gguf.GGUFWriter(path, "kinds")
    w.add_uint8("k.u8", 255); w.add_int8("k.i8", -128); w.add_uint16("k.u16", 65535); w.add_int16("k.i16", -32768)
    w.add_uint32("k.u32", 4294967295); w.add_int32("k.i32", -2147483648)
    w.add_uint64("k.u64", 18446744073709551615); w.add_int64("k.i64", -9223372036854775808)
    w.add_float32("k.f32", 0.1); w.add_float64("k.f64", 0.1); w.add_bool("k.yes", True); w.add_bool("k.no", False)
    w.add_string("k.string", "na\u00efve\n\0end")
    w.add_array("k.strings", ["a", "b c", "\u65e5\u672c"])
    w.add_key_value("k.ints", [1, -2, 3], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.INT32)
    w.add_key_value("k.bytes", [0, 128, 255], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT8)
    w.add_key_value("k.floats", [0.5, -1.25], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.FLOAT32)
    w.add_key_value("k.bools", [True, False, True], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.BOOL)
    w.add_uint32("general.alignment", 64)
    w.data_alignment = 64
    w.add_tensor("a", np.arange(6, dtype=np.float32).reshape(2, 3))
    w.add_tensor("b", np.arange(5, dtype=np.float16))
    finish(w)


def make_split(folder):
    for old in folder.glob("split-*.gguf"):
        old.unlink()
    w = gguf.GGUFWriter(folder / "split.gguf", "llama", split_max_tensors=2)
    w.add_block_count(1)
    for i, name in enumerate(("a", "b", "c")):
        w.add_tensor(name, np.full((2, 4), i + 1, dtype=np.float32))
    finish(w)


# The tiny Llama of dense.gguf and moe.gguf.
LAYERS, EMBEDDING, FEED_FORWARD, HEADS, KV_HEADS, VOCABULARY = 2, 64, 96, 4, 2, 40
EXPERTS, TOP_K, SEED = 4, 2, 42
MASK, GAMMA = (1 << 64) - 1, 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def normal(seed, stream, index):
    """quant/counter_random.h once more."""
    key = mix((mix((seed + GAMMA) & MASK) + stream * GAMMA) & MASK)
    total = 0
    for i in range(6):
        bits = mix((key + (6 * index + i + 1) * GAMMA) & MASK)
        total += (bits >> 32) + (bits & 0xFFFFFFFF)
    return (total + 6) * 2.0**-32 - 6


def router(layer, norm):
    scale = 1 / np.sqrt(sum(float(g) * float(g) for g in norm))
    values = [np.float32(normal(SEED, 4 * layer, i) * scale) for i in range(EXPERTS * EMBEDDING)]
    return np.array(values, np.float32).reshape(EXPERTS, EMBEDDING)


def tiny_tensors(rng):
    """Name, type and float values of every tensor, in the file's order."""
    def matrix(rows, columns):
        return (rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    head = EMBEDDING // HEADS
    yield "token_embd.weight", Q.Q8_0, matrix(VOCABULARY, EMBEDDING)
    for i in range(LAYERS):
        b = f"blk.{i}."
        ffn = (Q.Q4_1, Q.Q8_0)[i % 2]
        yield b + "attn_norm.weight", Q.F32, 1 + rng.standard_normal(EMBEDDING).astype(np.float32) / 8
        yield b + "ffn_down.weight", ffn, matrix(EMBEDDING, FEED_FORWARD)
        yield b + "ffn_gate.weight", ffn, matrix(FEED_FORWARD, EMBEDDING)
        yield b + "ffn_up.weight", ffn, matrix(FEED_FORWARD, EMBEDDING)
        yield b + "ffn_norm.weight", Q.F32, 1 + rng.standard_normal(EMBEDDING).astype(np.float32) / 8
        yield b + "attn_k.weight", Q.Q4_0, matrix(KV_HEADS * head, EMBEDDING)
        yield b + "attn_output.weight", Q.Q4_0, matrix(EMBEDDING, EMBEDDING)
        yield b + "attn_q.weight", Q.BF16, matrix(EMBEDDING, EMBEDDING)
        yield b + "attn_v.weight", Q.F16, matrix(KV_HEADS * head, EMBEDDING)
    yield "output_norm.weight", Q.F32, np.ones(EMBEDDING, np.float32)


def add_tiny_metadata(w, moe):
    w.add_name("Tiny" + (f" MoE {EXPERTS}x top-{TOP_K}" if moe else ""))
    w.add_size_label(f"{EXPERTS}x90K" if moe else "90K")
    w.add_block_count(LAYERS); w.add_context_length(128); w.add_embedding_length(EMBEDDING)
    w.add_feed_forward_length(FEED_FORWARD); w.add_head_count(HEADS); w.add_head_count_kv(KV_HEADS)
    w.add_layer_norm_rms_eps(1e-5); w.add_rope_freq_base(10000.0); w.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    w.add_tokenizer_model("gpt2"); w.add_tokenizer_pre("smollm")
    w.add_token_list([f"t{i}" for i in range(VOCABULARY)])
    w.add_token_types([1] * VOCABULARY)
    w.add_bos_token_id(1); w.add_eos_token_id(2)
    w.add_chat_template("\n{% for m in messages %}\n{{ m.content }}{% endfor %}")
    if moe:
        w.add_expert_count(EXPERTS); w.add_expert_used_count(TOP_K)
        w.add_string("quorum.upcycle.method", "sparse upcycling (Komatsuzaki et al. 2022)")
        w.add_string("quorum.upcycle.source", "Tiny"); w.add_string("quorum.upcycle.source_architecture", "llama")
        w.add_uint64("quorum.upcycle.seed", SEED); w.add_float32("quorum.upcycle.noise", 0.0)


def make_tiny(path, moe):
    tensors = list(tiny_tensors(np.random.default_rng(7)))
    norms = {name: values for name, _, values in tensors if "ffn_norm" in name}
    w = gguf.GGUFWriter(path, "llama")
    add_tiny_metadata(w, moe)
    for name, qtype, values in tensors:
        data = quantize(values, qtype)
        raw = None if qtype in (Q.F32, Q.F16) else qtype
        if not moe or "ffn_" not in name or "norm" in name:
            w.add_tensor(name, data, raw_dtype=raw)
            continue
        if "ffn_down" in name:  # the first of the three in a layer: the router goes before it
            layer = int(name.split(".")[1])
            w.add_tensor(f"blk.{layer}.ffn_gate_inp.weight", router(layer, norms[f"blk.{layer}.ffn_norm.weight"]))
        w.add_tensor(name.replace(".weight", "_exps.weight"), np.stack([data] * EXPERTS), raw_dtype=raw)
    finish(w)


def make_corpus(folder, fixtures):
    """Small files, so that a fuzzer reaches everything soon."""
    folder.mkdir(parents=True, exist_ok=True)
    kinds = (fixtures / "kinds.gguf").read_bytes()
    (folder / "kinds").write_bytes(kinds)
    (folder / "version2").write_bytes(kinds[:4] + struct.pack("<I", 2) + kinds[8:])
    (folder / "big_endian").write_bytes(kinds[:4] + struct.pack(">I", 3) + kinds[8:])
    (folder / "cut").write_bytes(kinds[:-7])
    (folder / "split").write_bytes((fixtures / "split-00001-of-00002.gguf").read_bytes())
    (folder / "empty").write_bytes(struct.pack("<IIQQ", 0x46554747, 3, 0, 0))
    (folder / "counts").write_bytes(struct.pack("<IIQQ", 0x46554747, 3, 1 << 60, 1 << 60))
    w = gguf.GGUFWriter(folder / "moe", "llama")
    w.add_block_count(1); w.add_expert_count(2); w.add_expert_used_count(1); w.add_head_count(1)
    w.add_chat_template("{{ x }}"); w.add_tokenizer_model("gpt2"); w.add_token_list(["a", "b"])
    rng = np.random.default_rng(1)
    for qtype in DEQUANTIZED:  # one block of every type
        block, size = gguf.GGML_QUANT_SIZES[qtype]
        raw = random_blocks(rng, qtype, DEQUANTIZED[qtype]).reshape(-1)[:2 * size]
        w.add_tensor(f"blk.0.{qtype.name}_exps.weight", raw.reshape(2, 1, -1), raw_dtype=qtype)
    finish(w)


def main():
    tests = pathlib.Path(__file__).parents[1]
    folder = tests / "fixtures/quant"
    folder.mkdir(parents=True, exist_ok=True)
    make_blocks(folder)
    make_kinds(folder / "kinds.gguf")
    make_split(folder)
    make_tiny(folder / "dense.gguf", moe=False)
    make_tiny(folder / "moe.gguf", moe=True)
    make_corpus(tests / "fuzz/corpus/gguf", folder)
    for path in sorted(folder.iterdir()):
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
