#!/usr/bin/env python3
"""Trains the committee: a small Mixture-of-Experts model whose experts each learn a task (tasks.py), and writes it as
GGUF in Mixtral's names (architecture "llama") with a byte-level vocabulary.

    OMP_NUM_THREADS=1 python3 tests/committee/train.py          # twelve minutes of one core; needs torch and gguf

Besides predicting answers, training pays for routing that is balanced over all (the load-balancing loss of Fedus et al.
2021, arXiv:2101.03961) and that tells tasks apart (the mutual information of task and expert, Chen et al. 2022,
arXiv:2212.08066): a task is to have few experts, all experts together to have all tasks. Nothing assigns an expert to a task.
"""
import argparse
import math
import pathlib
import random
import sys
import time

import gguf
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import tasks

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tools"))
from gpt2_bytes import byte_spellings  # noqa: E402

LAYERS, D, HEADS, KV_HEADS, HEAD_DIM, FF, EXPERTS, TOP_K, CONTEXT = 4, 128, 4, 2, 32, 64, 16, 2, 256
EPS, ROPE_BASE = 1e-5, 10000.0
EXPERTS_PER_TASK = EXPERTS // len(tasks.TASKS)
TEMPLATE = ("{%- for message in messages %}{%- if message['role'] == 'assistant' %}{{ message['content'] | trim + '\\n' }}"
            "{%- elif message['role'] == 'user' %}{{ message['content'] | trim + '=' }}{%- endif %}{%- endfor %}")


# ---- text ----
def vocabulary():
    """Tokens and merges: the bytes, and each task's word with its beginnings."""
    tokens, merges = byte_spellings(), []
    for name in tasks.TASKS:
        for i in range(1, len(name)):
            merge = f"{name[:i]} {name[i]}"
            if merge not in merges:
                merges.append(merge)
                tokens.append(name[:i + 1])
    return tokens, merges


TOKENS, MERGES = vocabulary()
WORDS = {name: TOKENS.index(name) for name in tasks.TASKS}
NEWLINE = ord("\n")


def encode(question, answer):
    name, rest = question.split(" ", 1)
    return [WORDS[name], *f" {rest}".encode()], [*answer.encode(), NEWLINE]


class Batches:
    """Rows of whole lines, one after the other: tokens, weight of predicting each, task and line of each.

    What is not yet known is practised most: a task's share follows the loss of its answers. Early lines are easy ones: the
    shortest of `1 + easy` drawn.
    """

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.names = list(tasks.TASKS)
        self.loss = [1.0] * len(self.names)
        self.easy = 0.0
        self.values_alone = False  # of Recall

    def told(self, by_task):
        """Takes the mean loss of an answer's token, by task (nan: none seen)."""
        self.loss = [old if math.isnan(new) else 0.98 * old + 0.02 * new for old, new in zip(self.loss, by_task)]

    def line(self, name):
        drawn = [tasks.example(name, self.rng) for _ in range(1 + int(self.easy + self.rng.random()))]
        question, answer = min(drawn, key=lambda pair: len(pair[0]))
        return question, "".join(filter(str.isdigit, answer)) if name == "Recall" and self.values_alone else answer

    def row(self, length, weights):
        ids, weight, task, line = [], [], [], []
        while len(ids) < length + 1:
            name = self.rng.choices(self.names, weights)[0]
            asked, answer = encode(*self.line(name))
            if len(ids) + len(asked) + len(answer) > length + 1:  # never half a line
                rest = length + 1 - len(ids)
                asked, answer = [NEWLINE] * rest, []
                weight += [0.0] * rest
            else:
                weight += [0.02] * len(asked) + [1.0] * len(answer)
            ids += asked + answer
            task += [self.names.index(name)] * (len(asked) + len(answer))
            line += [line[-1] + 1 if line else 0] * (len(asked) + len(answer))
        return ids, weight, task, line

    def batch(self, rows, length):
        mean = sum(self.loss) / len(self.loss)
        weights = [0.15 + loss / mean for loss in self.loss]
        ids, weight, task, line = (torch.tensor(part)
                                   for part in zip(*(self.row(length, weights) for _ in range(rows))))
        return ids[:, :-1], ids[:, 1:], weight[:, 1:], task[:, :-1], line[:, :-1]


# ---- model ----
class Norm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return F.rms_norm(x, (x.shape[-1],), self.weight, EPS)


def rotate(x, turn):
    """Pairs (2i, 2i + 1), as GGUF's llama has them. x: (batch, heads, time, dim)."""
    return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turn).flatten(-2)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = nn.Linear(D, HEADS * HEAD_DIM, bias=False)
        self.k = nn.Linear(D, KV_HEADS * HEAD_DIM, bias=False)
        self.v = nn.Linear(D, KV_HEADS * HEAD_DIM, bias=False)
        self.o = nn.Linear(HEADS * HEAD_DIM, D, bias=False)

    def forward(self, x, turn, mask):
        b, t, _ = x.shape
        q = rotate(self.q(x).view(b, t, HEADS, HEAD_DIM).transpose(1, 2), turn)
        k = rotate(self.k(x).view(b, t, KV_HEADS, HEAD_DIM).transpose(1, 2), turn)
        v = self.v(x).view(b, t, KV_HEADS, HEAD_DIM).transpose(1, 2)
        k, v = (part.repeat_interleave(HEADS // KV_HEADS, 1) for part in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.o(y.transpose(1, 2).reshape(b, t, HEADS * HEAD_DIM))


class Experts(nn.Module):
    def __init__(self):
        super().__init__()
        self.router = nn.Linear(D, EXPERTS, bias=False)
        self.gate_up = nn.Parameter(torch.randn(EXPERTS, 2 * FF, D) / math.sqrt(D))
        self.down = nn.Parameter(torch.randn(EXPERTS, D, FF) / math.sqrt(FF * 2 * LAYERS))

    def forward(self, x):
        """x: (tokens, D). Gives y and the router's probabilities and choices."""
        probs = F.softmax(self.router(x), -1)
        weights, chosen = probs.topk(TOP_K, -1)
        weights = weights / weights.sum(-1, keepdim=True)
        flat = chosen.flatten()
        order = flat.argsort(stable=True)
        counts = torch.bincount(flat, minlength=EXPERTS).tolist()
        rows = order // TOP_K
        parts = []
        for e, part in enumerate(x[rows].split(counts)):
            gate, up = F.linear(part, self.gate_up[e]).chunk(2, -1)
            parts.append(F.linear(F.silu(gate) * up, self.down[e]))
        out = torch.cat(parts) * weights.flatten()[order, None]
        return torch.zeros_like(x).index_add(0, rows, out), probs, chosen


class Committee(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(len(TOKENS), D)
        nn.init.normal_(self.embed.weight, std=0.7)
        self.layers = nn.ModuleList(
            nn.ModuleDict({"norm1": Norm(D), "attention": Attention(), "norm2": Norm(D), "experts": Experts()})
            for _ in range(LAYERS))
        self.norm = Norm(D)
        self.head = nn.Linear(D, len(TOKENS), bias=False)
        for layer in self.layers:
            layer["attention"].o.weight.data /= math.sqrt(2 * LAYERS)
        angles = torch.outer(torch.arange(CONTEXT), ROPE_BASE ** (-torch.arange(0, HEAD_DIM, 2) / HEAD_DIM))
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles), persistent=False)

    def forward(self, ids, line=None):
        """Logits of each position and the routing of each layer. With `line`, the line of each token, lines do not see
        each other."""
        mask = None if line is None else ((line[:, :, None] == line[:, None, :]).tril())[:, None]
        x = self.embed(ids)
        routing = []
        for layer in self.layers:
            x = x + layer["attention"](layer["norm1"](x), self.turns[:ids.shape[1]], mask)
            y, probs, chosen = layer["experts"](layer["norm2"](x).flatten(0, 1))
            x = x + y.view_as(x)
            routing.append((probs, chosen))
        return self.head(self.norm(x)), routing


def entropy(p):
    return -(p * (p + 1e-9).log()).sum(-1)


def routing_losses(routing, task):
    """(balance, specialisation), each 0 at best, summed over the layers."""
    balance = special = 0.0
    member = F.one_hot(task.flatten(), len(tasks.TASKS)).float()
    member = member / member.sum(0).clamp(min=1)
    for probs, chosen in routing:
        share = F.one_hot(chosen, EXPERTS).float().mean((0, 1))
        balance = balance + EXPERTS * (share * probs.mean(0)).sum() - 1
        by_task = member.T @ probs
        by_task = by_task / by_task.sum(-1, keepdim=True).clamp(min=1e-9)
        few = F.relu(entropy(by_task) - math.log(EXPERTS_PER_TASK)).mean()
        special = special + few + (math.log(EXPERTS) - entropy(by_task.mean(0)))
    return balance, special


def accuracy(model, asked):
    """Exact answers by task, each answer given all that stands before it."""
    right = dict.fromkeys(tasks.TASKS, 0)
    total = dict.fromkeys(tasks.TASKS, 0)
    model.eval()
    with torch.no_grad():
        for at in range(0, len(asked), 100):
            part = [(name, *encode(question, answer)) for name, question, answer in asked[at:at + 100]]
            longest = max(len(q) + len(a) for _, q, a in part)
            ids = torch.tensor([q + a + [0] * (longest - len(q) - len(a)) for _, q, a in part])
            best = model(ids)[0].argmax(-1)
            for i, (name, q, a) in enumerate(part):
                total[name] += 1
                right[name] += best[i, len(q) - 1:len(q) + len(a) - 1].tolist() == a
    model.train()
    return {name: right[name] / max(1, total[name]) for name in tasks.TASKS}


def show(title, by_task):
    mean = sum(by_task.values()) / len(by_task)
    print(f"{title:8} " + " ".join(f"{name} {value:.2f}" for name, value in by_task.items()) + f"  mean {mean:.3f}", flush=True)


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal by five Newton-Schulz steps (Jordan et al. 2024, "Muon: an optimizer for
    hidden layers in neural networks"): learns what these tasks need in a third of AdamW's steps. Parameters of three
    dimensions are matrices one after the other."""

    def __init__(self, parameters, momentum=0.95, weight_decay=0.02):
        super().__init__(parameters, {"lr": 1.0, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if not state:
                    state["average"] = torch.zeros_like(p)
                average = state["average"].lerp_(p.grad, 1 - group["momentum"])
                x = p.grad.lerp(average, group["momentum"])
                tall = x.shape[-2] > x.shape[-1]
                x = x.mT if tall else x
                x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
                for _ in range(5):
                    square = x @ x.mT
                    x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(x.mT if tall else x, alpha=-group["lr"] * max(1, p.shape[-2] / p.shape[-1]) ** 0.5)


def optimizers(model):
    """(optimizer, its highest rate)."""
    hidden = [p for p in model.layers.parameters() if p.dim() > 1]
    routers = [layer["experts"].router.weight for layer in model.layers]
    hidden = [p for p in hidden if all(p is not router for router in routers)]
    ends = [model.embed.weight, model.head.weight, *routers]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    adam = torch.optim.AdamW([{"params": ends, "weight_decay": 0.02}, {"params": vectors, "weight_decay": 0.0}],
                             lr=1.0, betas=(0.9, 0.98))
    return [(Muon(hidden), 0.012), (adam, 3e-3)]


def train(model, steps, cool, seed, checkpoint):
    """Rates rise for 100 steps, stay, and sink to nothing over the last `cool` ones. With a checkpoint, which is written
    every 100 steps, it goes on from there, as if it had never stopped."""
    batches, pairs, first, before = Batches(seed), optimizers(model), 0, 0.0
    if checkpoint and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=False)
        batches, first, before = saved["batches"], saved["step"], saved["seconds"]
        model.load_state_dict(saved["model"])
        for (optimizer, _), state in zip(pairs, saved["optimizers"]):
            optimizer.load_state_dict(state)
    asked = tasks.questions(40, seed=11)
    start = time.process_time() - before
    for step in range(first, steps):
        for optimizer, highest in pairs:
            for group in optimizer.param_groups:
                group["lr"] = highest * min(1, (step + 1) / 100, (steps - step) / cool)
        batches.easy = max(0.0, 2.0 * (1 - step / 400))
        # Recall was first to answer with values alone, which it had not learned by then: a value follows its key in a pair,
        # and what copies pairs (an induction head) is learned in a few hundred steps.
        batches.values_alone = step < 1100
        # Mostly lines by themselves, which teaches most; in every eighth step what stands before is seen, as in a chat.
        alone = step % 8 != 7
        rows, length = (48, 64) if alone else (12, 255)
        ids, targets, weight, task, line = batches.batch(rows, length)
        logits, routing = model(ids, line if alone else None)
        losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        answers = weight.flatten() == 1
        batches.told([losses[answers & (task.flatten() == t)].detach().mean().item() for t in range(len(tasks.TASKS))])
        predict = (losses * weight.flatten()).sum() / weight.sum()
        balance, special = routing_losses(routing, task)
        loss = predict + 0.02 * balance + 0.1 * special
        model.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, _ in pairs:
            optimizer.step()
        if (step + 1) % 100 == 0:
            print(f"{time.process_time() - start:5.0f} s  step {step + 1}  loss {predict.item():.4f}  "
                  f"balance {balance.item():.3f}  special {special.item():.3f}  answers "
                  + " ".join(f"{name} {loss:.2f}" for name, loss in zip(tasks.TASKS, batches.loss)), flush=True)
            if checkpoint:
                torch.save({"batches": batches, "step": step + 1, "seconds": time.process_time() - start,
                            "model": model.state_dict(), "optimizers": [optimizer.state_dict() for optimizer, _ in pairs]},
                           checkpoint)
        if (step + 1) % 300 == 0:
            show("", accuracy(model, asked))


# ---- file ----
def matrices_of(model):
    """GGUF's names of what is quantized, and its tensors."""
    out = {"token_embd.weight": model.embed.weight, "output.weight": model.head.weight}
    for i, layer in enumerate(model.layers):
        attention, experts = layer["attention"], layer["experts"]
        out |= {f"blk.{i}.attn_{name}.weight": getattr(attention, short).weight
                for name, short in (("q", "q"), ("k", "k"), ("v", "v"), ("output", "o"))}
        out |= {f"blk.{i}.ffn_gate_exps.weight": experts.gate_up[:, :FF], f"blk.{i}.ffn_up_exps.weight": experts.gate_up[:, FF:],
                f"blk.{i}.ffn_down_exps.weight": experts.down}
    return {name: tensor.detach().numpy() for name, tensor in out.items()}


def vectors_of(model):
    out = {"output_norm.weight": model.norm.weight}
    for i, layer in enumerate(model.layers):
        out |= {f"blk.{i}.attn_norm.weight": layer["norm1"].weight, f"blk.{i}.ffn_norm.weight": layer["norm2"].weight,
                f"blk.{i}.ffn_gate_inp.weight": layer["experts"].router.weight}
    return {name: tensor.detach().numpy() for name, tensor in out.items()}


def write(model, path, scores):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Quorum committee")
    writer.add_description("Trained by tests/committee/train.py on generated tasks: " + ", ".join(tasks.TASKS))
    writer.add_license("Apache-2.0")
    writer.add_string("quorum.committee.accuracy", ", ".join(f"{name} {value:.2f}" for name, value in scores.items()))
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(D)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FF)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(HEAD_DIM)
    writer.add_value_length(HEAD_DIM)
    writer.add_layer_norm_rms_eps(EPS)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(ROPE_BASE)
    writer.add_vocab_size(len(TOKENS))
    writer.add_expert_count(EXPERTS)
    writer.add_expert_used_count(TOP_K)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.NORMAL] * len(TOKENS))
    writer.add_token_merges(MERGES)
    writer.add_eos_token_id(NEWLINE)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    for name, array in vectors_of(model).items():
        writer.add_tensor(name, np.ascontiguousarray(array, dtype=np.float32))
    for name, array in matrices_of(model).items():
        blocks = gguf.quants.quantize(np.ascontiguousarray(array), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor(name, blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def round_weights(model, kind):
    """The model's matrices as a quantized file would have them."""
    with torch.no_grad():
        for name, array in matrices_of(model).items():  # views of the parameters
            array[:] = gguf.quants.dequantize(gguf.quants.quantize(np.ascontiguousarray(array), kind), kind)


def show_routing(model):
    """The busiest expert of each task in each layer, and its share."""
    batches = Batches(99)
    with torch.no_grad():
        ids, _, _, task, _ = batches.batch(40, 200)
        _, routing = model(ids)
    for i, (_, chosen) in enumerate(routing):
        line = []
        for t, name in enumerate(tasks.TASKS):
            counts = torch.bincount(chosen[task.flatten() == t].flatten(), minlength=EXPERTS).float()
            top = counts.topk(3)
            line.append(f"{name} " + "+".join(f"{e}:{c / counts.sum():.2f}" for e, c in zip(top.indices.tolist(), top.values.tolist())))
        used = torch.bincount(chosen.flatten(), minlength=EXPERTS).float()
        print(f"layer {i}: busiest/mean {used.max() / used.mean():.2f}, idlest/mean {used.min() / used.mean():.2f}; " + ", ".join(line))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent.parent / "cli/demo/committee.gguf")
    parser.add_argument("--questions", type=pathlib.Path, default=HERE / "questions.txt", help="held-out questions for tests")
    parser.add_argument("--steps", type=int, default=1600, help="of about 3,000 tokens")
    parser.add_argument("--cool", type=int, default=200, help="steps over which the rates sink at the end")
    parser.add_argument("--checkpoint", type=pathlib.Path, help="write it here every 100 steps, and go on from it")
    parser.add_argument("--seed", type=int, default=1)
    flags = parser.parse_args()
    torch.manual_seed(flags.seed)
    torch.set_num_threads(1)
    model = Committee()
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters, {len(TOKENS)} tokens")
    train(model, flags.steps, flags.cool, flags.seed, flags.checkpoint)
    asked = tasks.questions(100)
    show("float32", accuracy(model, asked))
    round_weights(model, gguf.GGMLQuantizationType.Q8_0)
    scores = accuracy(model, asked)
    show("q8_0", scores)
    show_routing(model)
    write(model, flags.out, scores)
    flags.questions.write_text("".join(f"{question}{answer}\n" for _, question, answer in asked))
    round_weights(model, gguf.GGMLQuantizationType.Q4_0)
    show("q4_0", accuracy(model, asked))
    print(f"{flags.out}: {flags.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
