#!/usr/bin/env python3
"""Grok-1: grok.gguf, and grok_caps.gguf with the soft-caps of router and logits that later files of the family have.

transformers has no Grok-1, so the reference is written here in PyTorch from the published architecture
(https://github.com/xai-org/grok-1, model.py): RMS norms with epsilon 1e-5 before and after attention and experts, rotary
halves, attention logits 30 tanh(x / 30), softmax over all experts before the choice and no renormalisation after it,
gelu(linear) * linear_v with the tanh form, embeddings and logits with multipliers, tied embeddings.
"""
import types

import torch
import torch.nn.functional as F

import oracle

D, LAYERS, HEADS, KV_HEADS, HEAD_DIM, FF, EXPERTS, TOP_K, VOCAB, CONTEXT, EPS = 48, 2, 6, 2, 16, 40, 6, 2, 64, 128, 1e-5


class Grok1(torch.nn.Module):
    def __init__(self, generator, attention_cap, router_cap, logit_cap):
        super().__init__()
        self.attention_cap, self.router_cap, self.logit_cap = attention_cap, router_cap, logit_cap
        self.embedding_multiplier, self.output_multiplier = 5.5, 0.5773502691896257
        self.attention_multiplier = 0.3
        self.config = types.SimpleNamespace(vocab_size=VOCAB)
        self.router_logits = []
        w = {"token_embd": 0.2 * torch.randn(VOCAB, D, generator=generator)}
        for i in range(LAYERS):
            shapes = {"attn_q": (HEADS * HEAD_DIM, D), "attn_k": (KV_HEADS * HEAD_DIM, D),
                      "attn_v": (KV_HEADS * HEAD_DIM, D), "attn_output": (D, HEADS * HEAD_DIM),
                      "ffn_gate_exps": (EXPERTS, FF, D), "ffn_up_exps": (EXPERTS, FF, D),
                      "ffn_down_exps": (EXPERTS, D, FF)}
            for name, shape in shapes.items():
                w[f"blk.{i}.{name}"] = torch.randn(shape, generator=generator) / shape[-1]**0.5
            w[f"blk.{i}.ffn_gate_inp"] = 0.4 * torch.randn(EXPERTS, D, generator=generator)
        w = {name: (t if name.endswith("inp") else t.half().float()) for name, t in w.items()}
        norms = ["output_norm"] + [f"blk.{i}.{n}" for i in range(LAYERS)
                                   for n in ("attn_norm", "attn_output_norm", "ffn_norm", "layer_output_norm")]
        for name in norms:
            w[name] = 1.0 + 0.3 * torch.randn(D, generator=generator)
        self.w = w

    def norm(self, name, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + EPS) * self.w[name]

    @staticmethod
    def rotate(x):  # (tokens, heads, head_dim)
        frequencies = 1.0 / 10000.0**(torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
        phase = torch.arange(x.shape[0]).float()[:, None] * frequencies
        phase = torch.cat((phase, phase), dim=-1)[:, None]
        first, second = x.chunk(2, dim=-1)
        return x * phase.cos() + torch.cat((-second, first), dim=-1) * phase.sin()

    def attention(self, block, x):
        n = x.shape[0]
        q = self.rotate((x @ self.w[block + "attn_q"].T).view(n, HEADS, HEAD_DIM))
        k = self.rotate((x @ self.w[block + "attn_k"].T).view(n, KV_HEADS, HEAD_DIM))
        v = (x @ self.w[block + "attn_v"].T).view(n, KV_HEADS, HEAD_DIM)
        k, v = (t.repeat_interleave(HEADS // KV_HEADS, dim=1) for t in (k, v))
        logits = torch.einsum("thd,Thd->htT", q, k) * self.attention_multiplier
        logits = self.attention_cap * torch.tanh(logits / self.attention_cap)
        logits = logits.masked_fill(torch.ones(n, n).tril() == 0, -1e30)
        mixed = torch.einsum("htT,Thd->thd", logits.softmax(-1), v)
        return mixed.reshape(n, -1) @ self.w[block + "attn_output"].T

    def experts(self, block, x):
        logits = x @ self.w[block + "ffn_gate_inp"].T
        if self.router_cap:
            logits = self.router_cap * torch.tanh(logits / self.router_cap)
        self.router_logits.append(logits.numpy())
        gate, index = logits.softmax(-1).topk(TOP_K, dim=-1)
        out = torch.zeros_like(x)
        for t in range(x.shape[0]):
            for weight, e in zip(gate[t], index[t]):
                hidden = F.gelu(self.w[block + "ffn_gate_exps"][e] @ x[t], approximate="tanh")
                hidden = hidden * (self.w[block + "ffn_up_exps"][e] @ x[t])
                out[t] += weight * (self.w[block + "ffn_down_exps"][e] @ hidden)
        return out

    def logits_of(self, tokens):
        self.router_logits.clear()
        with torch.no_grad():
            h = self.w["token_embd"][torch.tensor(tokens)] * self.embedding_multiplier
            for i in range(LAYERS):
                block = f"blk.{i}."
                attended = self.attention(block, self.norm(block + "attn_norm", h))
                h = h + self.norm(block + "attn_output_norm", attended)
                mixed = self.experts(block, self.norm(block + "ffn_norm", h))
                h = h + self.norm(block + "layer_output_norm", mixed)
            logits = self.norm("output_norm", h) @ self.w["token_embd"].T * self.output_multiplier
            if self.logit_cap:
                logits = self.logit_cap * torch.tanh(logits / self.logit_cap)
            return logits.numpy()


def made(**caps):
    for seed in range(1, 400):
        generator = torch.Generator().manual_seed(seed)
        model = Grok1(generator, **caps)
        tokens = torch.randint(3, VOCAB, (oracle.PROMPT,), generator=generator).tolist()
        if oracle.Answers(model.logits_of, tokens, TOP_K, model.router_logits, greedy=0).margin < oracle.LEAST_MARGIN:
            continue
        answers = oracle.Answers(model.logits_of, tokens, TOP_K, model.router_logits)
        if answers.margin >= oracle.LEAST_MARGIN:
            return model, answers
    raise RuntimeError("no seed gives clear answers")


def make(name, out=oracle.OUT, **caps):
    model, answers = made(**caps)
    writer = oracle.Writer(name, "grok", out)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(D)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FF)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_layer_norm_rms_eps(EPS)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(TOP_K)
    writer.add_attn_logit_softcapping(model.attention_cap)
    if model.router_cap:
        writer.add_router_logit_softcapping(model.router_cap)
    if model.logit_cap:
        writer.add_final_logit_softcapping(model.logit_cap)
    writer.add_attn_output_scale(model.attention_multiplier)
    writer.add_embedding_scale(model.embedding_multiplier)
    writer.add_logit_scale(model.output_multiplier)
    for tensor, value in model.w.items():
        writer.add(tensor + ".weight", value)
    writer.finish(answers)


if __name__ == "__main__":
    # Caps low enough to show in logits of this size.
    make("grok", attention_cap=2.0, router_cap=0, logit_cap=0)
    make("grok_caps", attention_cap=2.0, router_cap=1.5, logit_cap=3.0)
