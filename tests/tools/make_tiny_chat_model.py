#!/usr/bin/env python3
"""Makes tests/fixtures/model/tiny_chat_moe.gguf: a small random Mixture-of-Experts model that can be chatted with.

Mixtral's shape (GGUF architecture "llama" with experts), Q8_0 matrices, a byte-level BPE vocabulary of the 256 bytes, a
few merges and ChatML's control tokens, and a ChatML template. It says random printable ASCII: embeddings share one
direction, and the output layer prefers printable tokens along it. Run with a Python that has numpy and gguf; the result
is committed, so tests need neither.
"""
import argparse
import pathlib

import gguf
import numpy as np

from gpt2_bytes import byte_spellings

LAYERS, D, HEADS, KV_HEADS, HEAD_DIM, FF, EXPERTS, TOP_K, CONTEXT = 2, 64, 4, 2, 16, 64, 4, 2, 2048
MERGES = ["H e", "l l", "He ll", "Hell o", "t h", "th e", "Ġ the", "a n", "i n", "Ġ a"]
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEMPLATE = (
    "{%- if tools %}{{ '<|im_start|>system\\nTools: ' + (tools | tojson) + '<|im_end|>\\n' }}{%- endif %}"
    "{%- for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{%- endif %}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path,
                        default=pathlib.Path(__file__).resolve().parent.parent / "fixtures/model/tiny_chat_moe.gguf")
    out = parser.parse_args().out
    rng = np.random.default_rng(20261122)
    tokens = byte_spellings() + [m.replace(" ", "") for m in MERGES]
    printable = [len(t) > 1 or 33 <= ord(t) < 127 or t == "Ġ" for t in tokens] + [False] * len(CONTROL)
    types = [gguf.TokenType.NORMAL] * len(tokens) + [gguf.TokenType.CONTROL] * len(CONTROL)
    tokens += CONTROL
    vocab = len(tokens)

    writer = gguf.GGUFWriter(out, "llama")
    writer.add_name("tiny random chat MoE")
    writer.add_string("quorum.test.made_with", f"numpy {np.__version__}, tests/tools/make_tiny_chat_model.py")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(D)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FF)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(vocab)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(TOP_K)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(tokens.index("<|endoftext|>"))
    writer.add_eos_token_id(tokens.index("<|im_end|>"))
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)

    def f32(name, array):
        writer.add_tensor(name, np.ascontiguousarray(array, dtype=np.float32))

    def q8(name, *shape, scale=1.0, edit=None):
        array = rng.standard_normal(shape).astype(np.float32) * np.float32(scale / shape[-1] ** 0.5)
        if edit is not None:
            edit(array)
        quantized = gguf.quants.quantize(array, gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(name, quantized, raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    def share_direction(embeddings):
        embeddings *= np.float32(D ** 0.5)
        embeddings[:, 0] = 4.0

    def prefer_printable(output):
        output *= np.float32(4.0)
        output[:, 0] = np.where(printable, 5.0, -5.0)
        output[tokens.index("<|im_end|>"), 0] = 4.2  # an answer may end

    q8("token_embd.weight", vocab, D, edit=share_direction)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        f32(block + "attn_norm.weight", 1 + 0.1 * rng.standard_normal(D))
        q8(block + "attn_q.weight", HEADS * HEAD_DIM, D, scale=2)
        q8(block + "attn_k.weight", KV_HEADS * HEAD_DIM, D, scale=2)
        q8(block + "attn_v.weight", KV_HEADS * HEAD_DIM, D)
        q8(block + "attn_output.weight", D, HEADS * HEAD_DIM)
        f32(block + "ffn_norm.weight", 1 + 0.1 * rng.standard_normal(D))
        f32(block + "ffn_gate_inp.weight", rng.standard_normal((EXPERTS, D)))
        q8(block + "ffn_gate_exps.weight", EXPERTS, FF, D, scale=2)
        q8(block + "ffn_up_exps.weight", EXPERTS, FF, D, scale=2)
        q8(block + "ffn_down_exps.weight", EXPERTS, D, FF, scale=0.4)
    f32("output_norm.weight", np.ones(D))
    q8("output.weight", vocab, D, edit=prefer_printable)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"{out}: {out.stat().st_size} bytes, {vocab} tokens")


if __name__ == "__main__":
    main()
