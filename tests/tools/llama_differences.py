#!/usr/bin/env python3
"""Where llama.cpp computes something else than the published model: who is right, and is that all?

    tests/tools/llama_differences.py --llama-perplexity PATH [--quorum build/release/quorum] [--ctx 128]

tests/tools/surgery_llama.py --float finds the families whose perplexity differs in float32. This runs each of them four ways on the
same positions: transformers (Grok: the oracle's own code) as published and Quorum, which must agree; the first with the one change
named below and llama.cpp, which must agree too. Ends with an error if a pair is further apart than 0.01 %. Needs gguf, torch, transformers.
"""
import argparse
import math
import pathlib
import random
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file

import surgery_llama
from surgery_llama import MODELS, Pair, with_letters

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "oracle"))
from families import grok, phi  # noqa: E402

MOST = 1e-4


def softmax_and_rms(model):
    """A softmax over all experts, the best renormalised, in place of SparseMixer; RMS norms in place of layer norms."""
    def forward(router, x):
        logits = torch.nn.functional.linear(x, router.weight)
        weights, ids = logits.softmax(-1).topk(router.top_k, dim=-1)
        return logits, weights / weights.sum(-1, keepdim=True), ids

    def rms(norm, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + norm.eps) * norm.weight + norm.bias

    for module in model.modules():
        if type(module).__name__ == "PhimoeTopKRouter":
            module.forward = forward.__get__(module)
        if isinstance(module, torch.nn.LayerNorm):
            module.forward = rms.__get__(module)


def groups_by_two(model):
    """Groups scored by the sum of their two best experts, as in V3, in place of their best."""
    def forward(router, x):
        x = x.view(-1, router.hidden_dim)
        logits = torch.nn.functional.linear(x, router.weight)
        scores = logits.softmax(-1)
        groups = scores.view(len(scores), router.num_group, -1)
        kept = groups.topk(2, dim=-1)[0].sum(-1).topk(router.topk_group, dim=-1)[1]
        mask = torch.zeros(groups.shape[:2]).scatter_(1, kept, 1).bool()
        weights, ids = groups.masked_fill(~mask[..., None], -math.inf).flatten(1).topk(router.top_k, dim=-1)
        return logits, weights * router.routed_scaling_factor, ids

    for module in model.modules():
        if type(module).__name__ == "DeepseekV2TopkRouter":
            module.forward = forward.__get__(module)


def whole_pairs(model):
    """YaRN's borders rounded to whole pairs of dimensions (config: truncate false)."""
    for module in model.modules():
        if type(module).__name__ == "GptOssRotaryEmbedding":
            module.config.rope_parameters["truncate"] = True
            module.__init__(module.config)


def no_router_cap(model):
    """The router's logits not capped."""
    for module in model.modules():
        if type(module).__name__ == "GrokRouter":
            module.cap = None


FAMILIES = {
    "phimoe": softmax_and_rms,
    "deepseek2": groups_by_two,
    "gpt_oss": whole_pairs,
    "gpt_oss_mxfp4": whole_pairs,
    "grok_caps": no_router_cap,
}


def load(family):
    if not family.startswith("grok"):
        model = transformers.AutoModelForCausalLM.from_pretrained(MODELS / family, dtype=torch.float32, attn_implementation="eager")
        if family == "phimoe":
            model.model.rotary_emb = phi.Rotary(True)
        return model
    case = next(case for case in grok.CASES if case.name == family)
    model = grok.Grok(case.config).eval()
    model.load_state_dict(load_file(MODELS / family / "model.safetensors"))
    return model


def perplexity(model, ids, window):
    losses = []
    with torch.no_grad():
        for start in range(0, len(ids) - window + 1, window):
            row = torch.tensor(ids[start:start + window])
            logits = model(row[None]).logits[0].float()
            half = window // 2
            losses.append(torch.nn.functional.cross_entropy(logits[half:-1], row[half + 1:], reduction="none"))
    return torch.cat(losses).double().mean().exp().item()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quorum", default="build/release/quorum")
    parser.add_argument("--llama-perplexity", type=pathlib.Path, required=True)
    parser.add_argument("--ctx", default="128")
    parser.add_argument("--threads", default="1", help="of llama-perplexity")
    parser.add_argument("--only", nargs="*", default=list(FAMILIES))
    flags = parser.parse_args()
    pair = Pair(flags)
    apart = []
    print("| family | as published | Quorum | changed | llama.cpp | change |\n|---|---:|---:|---:|---:|---|")
    with tempfile.TemporaryDirectory() as folder:
        file, text = pathlib.Path(folder) / "model.gguf", pathlib.Path(folder) / "text"
        for family in flags.only:
            tokens = with_letters(MODELS / f"{family}.gguf", file, in_floats=True)
            draw = random.Random(1)
            letters = [token for token in tokens if len(token) == 1]
            drawn = "".join(draw.choice(letters) for _ in range(1500))
            text.write_text(drawn)
            ids = [tokens.index(piece) for piece in surgery_llama.pieces(drawn)]
            model = load(family)
            published = perplexity(model, ids, int(flags.ctx))
            FAMILIES[family](model)
            changed = perplexity(model, ids, int(flags.ctx))
            ours, theirs = pair.ours(file, text), pair.theirs(file, text)
            print(f"| {family} | {published:.4f} | {ours:.4f} | {changed:.4f} | {theirs:.4f} | {FAMILIES[family].__doc__} |", flush=True)
            if abs(ours / published - 1) > MOST or abs(theirs / changed - 1) > MOST:
                apart.append(family)
    if apart:
        sys.exit(f"not explained: {', '.join(apart)}")


if __name__ == "__main__":
    main()
