"""What the fixture makers of one family each share: tiny sizes, random weights, the reference's answers, GGUF writing.

A fixture is a complete GGUF model with tensor names and keys as llama.cpp's converter writes them, plus keys of its own:
`quorum.test.tokens`, `quorum.test.logits` (tokens x vocabulary), `quorum.test.greedy` (the tokens that follow),
`quorum.test.experts` (layers x tokens x top-k, ids ascending; only with experts) and `quorum.test.made_with`.
"""
import pathlib

import gguf
import numpy as np
import torch
import transformers

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "model"
PROMPT = 48
GREEDY = 32
# Answers that hang on less than this could differ by rounding alone; such seeds are not used.
LEAST_MARGIN = 1e-3


def randomize(model, generator):
    """Values large enough that attention, norms, biases and routing all matter; matrices exact in F16."""
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if name.endswith(("bias", "sinks")):
                p.copy_(0.3 * noise)
            elif "norm" in name:
                p.copy_(1.0 + 0.3 * noise)
            elif "embed" in name:
                p.copy_((0.5 * noise).half().float())
            elif "router" in name or name.endswith("gate.weight"):
                p.copy_(0.5 * noise)
            else:
                fan_in = p.shape[-2] if getattr(model, "transposed_experts", False) and p.dim() == 3 else p.shape[-1]
                p.copy_((noise / fan_in**0.5).half().float())


class Answers:
    """Logits of a prompt, its greedy continuation and the experts chosen, from `logits_of` (tokens -> logits) and
    `router_logits` (a list that logits_of fills with one (tokens, experts) array a layer)."""

    def __init__(self, logits_of, tokens, top_k=0, router_logits=None, greedy=GREEDY):
        self.tokens = list(tokens)
        self.logits = logits_of(self.tokens)
        self.margin = np.inf
        self.experts = []
        if top_k:
            for layer in router_logits:
                order = np.sort(layer, axis=-1)
                if top_k < layer.shape[-1]:
                    self.margin = min(self.margin, (order[:, -top_k] - order[:, -top_k - 1]).min())
                self.experts.append(np.sort(np.argsort(-layer, axis=-1, kind="stable")[:, :top_k], axis=-1))
        self.greedy = []
        for _ in range(greedy):
            last = logits_of(self.tokens + self.greedy)[-1]
            best = np.sort(last)
            self.margin = min(self.margin, best[-1] - best[-2])
            self.greedy.append(int(last.argmax()))

    def add_to(self, writer):
        writer.add_array("quorum.test.tokens", self.tokens)
        writer.add_array("quorum.test.logits", [float(v) for v in self.logits.reshape(-1)])
        if self.greedy:
            writer.add_array("quorum.test.greedy", self.greedy)
        if self.experts:
            writer.add_array("quorum.test.experts", [int(v) for v in np.stack(self.experts).reshape(-1)])


def transformers_logits(model, router=None):
    """A logits_of for a transformers model. `router`: which modules' first output, or output, are router logits."""
    seen = []
    if router:
        for name, module in model.named_modules():
            if name.endswith(router):
                module.register_forward_hook(
                    lambda _, __, out: seen.append((out[0] if isinstance(out, tuple) else out).detach().numpy()))

    def logits_of(tokens):
        seen.clear()
        with torch.no_grad():
            return model(torch.tensor([tokens]), use_cache=False).logits[0].float().numpy()

    return logits_of, seen


def made(build, top_k=0, router=None, first_seed=1):
    """(model, answers) of the first seed whose answers hang on nothing close. `build(generator)` makes the model."""
    for seed in range(first_seed, first_seed + 400):
        generator = torch.Generator().manual_seed(seed)
        model = build(generator)
        tokens = torch.randint(3, model.config.vocab_size, (PROMPT,), generator=generator).tolist()
        logits_of, seen = transformers_logits(model, router)
        first = Answers(logits_of, tokens, top_k, seen, greedy=0)
        if first.margin < LEAST_MARGIN:
            continue
        answers = Answers(logits_of, tokens, top_k, seen)
        if answers.margin >= LEAST_MARGIN:
            return model, answers
    raise RuntimeError("no seed gives clear answers")


def permute(weight, heads):
    """Rows of Q or K in the order that GGUF's llama has: pairs (i, i + dim/2) of a head side by side."""
    out = weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2)
    return out.reshape(weight.shape)


class Writer(gguf.GGUFWriter):
    """Writes fixtures: matrices in F16 where that is exact, everything else in F32."""

    def __init__(self, name, arch, out=OUT):
        self.file = out / f"{name}.gguf"
        out.mkdir(parents=True, exist_ok=True)
        super().__init__(self.file, arch)
        self.add_name(f"tiny random {name}")
        self.add_string("quorum.test.made_with",
                        f"torch {torch.__version__}, transformers {transformers.__version__}, tests/oracle")

    def add(self, name, tensor):
        w = tensor.numpy() if isinstance(tensor, torch.Tensor) else tensor
        w = np.ascontiguousarray(w.astype(np.float32))
        # Routers, norms and biases stay F32, as converters leave them.
        if w.ndim > 1 and "ffn_gate_inp" not in name and not name.endswith("bias"):
            half = w.astype(np.float16)
            assert (half.astype(np.float32) == w).all(), name
            w = half
        self.add_tensor(name, w)

    def add_sizes(self, config, feed_forward):
        heads = config.num_attention_heads
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // heads
        self.add_context_length(config.max_position_embeddings)
        self.add_embedding_length(config.hidden_size)
        self.add_block_count(config.num_hidden_layers)
        self.add_feed_forward_length(feed_forward)
        self.add_head_count(heads)
        self.add_head_count_kv(config.num_key_value_heads)
        self.add_layer_norm_rms_eps(config.rms_norm_eps)
        self.add_rope_freq_base(config.rope_parameters["rope_theta"])
        self.add_rope_dimension_count(head_dim)
        return head_dim

    def finish(self, answers=None):
        if answers is not None:
            answers.add_to(self)
        self.write_header_to_file()
        self.write_kv_data_to_file()
        self.write_tensors_to_file()
        self.close()
        print(f"{self.file.name}: {self.file.stat().st_size} bytes")


ATTENTION = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
MODEL = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}


def add_common(writer, model, own, permuted=False):
    """Writes every tensor of `model`. `own(writer, block, part, tensor)` returns whether it has written the tensor `part` of a
    layer; `permuted`: Q and K in GGUF's llama order."""
    config = model.config
    for name, tensor in model.state_dict().items():
        stem, _, kind = name.rpartition(".")
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if not name.startswith("model.layers."):
            writer.add(f"{MODEL[stem]}.{kind}", tensor)
            continue
        layer, part = name.removeprefix("model.layers.").split(".", 1)
        block = f"blk.{layer}."
        if own(writer, block, part, tensor):
            continue
        if permuted and part.startswith(("self_attn.q_proj", "self_attn.k_proj")):
            heads = config.num_attention_heads if "q_proj" in part else config.num_key_value_heads
            tensor = torch.from_numpy(permute(tensor.numpy(), heads))
        stem, _, kind = part.rpartition(".")
        writer.add(f"{block}{ATTENTION[stem]}.{kind}", tensor)
