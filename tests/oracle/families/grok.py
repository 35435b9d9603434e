"""Grok-1, and with the soft-caps of router and logits that later files of the family have.

transformers has no Grok-1, so the reference is written here from the published architecture (https://github.com/xai-org/grok-1,
model.py): RMS norms with epsilon 1e-5 before and after attention and experts, rotary halves, attention logits 30 tanh(x / 30),
softmax over all experts before the choice and no renormalisation after it, gelu(linear) * linear_v with the tanh form of
GELU, multipliers on embeddings and logits, tied embeddings. Names are those of its PyTorch conversions (hpcai-tech/grok-1).
"""
import torch
import torch.nn.functional as F
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from common import SIZE, Case
from gguf_decoder import add, write_keys
import gguf


class GrokConfig(PreTrainedConfig):
    model_type = "grok-1"


class Norm(nn.Module):
    def __init__(self, width, eps):
        super().__init__()
        self.scale, self.eps = nn.Parameter(torch.ones(width)), eps

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.scale


def rotate(x):  # (tokens, heads, head_dim)
    dim = x.shape[-1]
    frequencies = 1.0 / 10000.0 ** (torch.arange(0, dim, 2).float() / dim)
    phase = torch.arange(x.shape[0]).float()[:, None] * frequencies
    phase = torch.cat((phase, phase), dim=-1)[:, None]
    first, second = x.chunk(2, dim=-1)
    return x * phase.cos() + torch.cat((-second, first), dim=-1) * phase.sin()


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.q_proj = nn.Linear(c.hidden_size, c.num_attention_heads * c.head_dim, bias=False)
        self.k_proj = nn.Linear(c.hidden_size, c.num_key_value_heads * c.head_dim, bias=False)
        self.v_proj = nn.Linear(c.hidden_size, c.num_key_value_heads * c.head_dim, bias=False)
        self.o_proj = nn.Linear(c.num_attention_heads * c.head_dim, c.hidden_size, bias=False)

    def forward(self, x):
        c, n = self.c, x.shape[0]
        q = rotate(self.q_proj(x).view(n, c.num_attention_heads, c.head_dim))
        k = rotate(self.k_proj(x).view(n, c.num_key_value_heads, c.head_dim))
        v = self.v_proj(x).view(n, c.num_key_value_heads, c.head_dim)
        k, v = (t.repeat_interleave(c.num_attention_heads // c.num_key_value_heads, dim=1) for t in (k, v))
        logits = torch.einsum("thd,Thd->htT", q, k) * c.attn_output_multiplier
        logits = c.max_attn_value * torch.tanh(logits / c.max_attn_value)
        logits = logits.masked_fill(torch.ones(n, n).tril() == 0, -1e30)
        return self.o_proj(torch.einsum("htT,Thd->thd", logits.softmax(-1), v).reshape(n, -1))


class Expert(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.linear = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.linear_v = nn.Linear(c.hidden_size, c.intermediate_size, bias=False)
        self.linear_1 = nn.Linear(c.intermediate_size, c.hidden_size, bias=False)

    def forward(self, x):
        return self.linear_1(F.gelu(self.linear(x), approximate="tanh") * self.linear_v(x))


class GrokRouter(nn.Linear):
    def __init__(self, c):
        super().__init__(c.hidden_size, c.num_experts, bias=False)
        self.cap, self.top_k = c.router_logit_softcapping, c.num_experts_per_tok

    def forward(self, x):
        logits = super().forward(x)
        if self.cap:
            logits = self.cap * torch.tanh(logits / self.cap)
        return (logits, *logits.softmax(-1).topk(self.top_k, dim=-1))


class Experts(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate = GrokRouter(c)
        self.experts = nn.ModuleList(Expert(c) for _ in range(c.num_experts))

    def forward(self, x):
        _, weights, index = self.gate(x)
        return torch.stack([sum(w * self.experts[e](row) for w, e in zip(weights[t], index[t])) for t, row in enumerate(x)])


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.attn, self.moe_block = Attention(c), Experts(c)
        for name in ("pre_attn_norm", "post_attn_norm", "pre_moe_norm", "post_moe_norm"):
            setattr(self, name, Norm(c.hidden_size, c.rms_norm_eps))

    def forward(self, h):
        h = h + self.post_attn_norm(self.attn(self.pre_attn_norm(h)))
        return h + self.post_moe_norm(self.moe_block(self.pre_moe_norm(h)))


class Stack(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden_size)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.num_hidden_layers))
        self.norm = Norm(c.hidden_size, c.rms_norm_eps)


class Grok(PreTrainedModel):
    config_class = GrokConfig
    _supports_attention_backend = True

    def __init__(self, config):
        super().__init__(config)
        self.model = Stack(config)

    def set_attn_implementation(self, _):
        pass

    def tie_weights(self, *_, **__):
        pass

    def forward(self, ids):
        c = self.config
        h = self.model.embed_tokens(ids[0]) * c.embedding_multiplier_scale
        for layer in self.model.layers:
            h = layer(h)
        logits = self.model.norm(h) @ self.model.embed_tokens.weight.T * c.output_multiplier_scale
        if c.final_logit_softcapping:
            logits = c.final_logit_softcapping * torch.tanh(logits / c.final_logit_softcapping)
        return CausalLMOutput(logits=logits[None])


def randomize(name, parameter, noise):
    if name.endswith("norm.scale"):
        return 1.0 + 0.3 * noise
    if name.endswith("embed_tokens.weight"):
        return 0.05 * noise
    if name.endswith("gate.weight"):
        return 0.4 * noise
    return None


NAMES = {"pre_attn_norm.scale": "attn_norm", "post_attn_norm.scale": "attn_output_norm", "pre_moe_norm.scale": "ffn_norm",
         "post_moe_norm.scale": "layer_output_norm", "attn.q_proj.weight": "attn_q", "attn.k_proj.weight": "attn_k",
         "attn.v_proj.weight": "attn_v", "attn.o_proj.weight": "attn_output", "moe_block.gate.weight": "ffn_gate_inp"}


def write(case, model, path, _oracle):
    c = case.config
    out = gguf.GGUFWriter(path, "grok")
    out.add_name(f"tiny random {case.name}")
    write_keys(out, "grok", c)
    out.add_attn_logit_softcapping(c.max_attn_value)
    if c.router_logit_softcapping:
        out.add_router_logit_softcapping(c.router_logit_softcapping)
    if c.final_logit_softcapping:
        out.add_final_logit_softcapping(c.final_logit_softcapping)
    out.add_attn_output_scale(c.attn_output_multiplier)
    out.add_embedding_scale(c.embedding_multiplier_scale)
    out.add_logit_scale(c.output_multiplier_scale)
    state = model.state_dict()
    add(out, "token_embd.weight", state["model.embed_tokens.weight"], case.dtype)
    add(out, "output_norm.weight", state["model.norm.scale"])
    for i in range(c.num_hidden_layers):
        for name, ours in NAMES.items():
            add(out, f"blk.{i}.{ours}.weight", state[f"model.layers.{i}.{name}"], case.dtype)
        for name, ours in (("linear", "gate"), ("linear_v", "up"), ("linear_1", "down")):
            experts = [state[f"model.layers.{i}.moe_block.experts.{e}.{name}.weight"] for e in range(c.num_experts)]
            add(out, f"blk.{i}.ffn_{ours}_exps.weight", torch.stack(experts), case.dtype)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def config(**caps):
    # The published config has no head_dim. Caps low enough to show in logits of this size.
    return GrokConfig(**{**SIZE, "intermediate_size": 24, "num_key_value_heads": 2}, head_dim=8, num_experts=6,
                      num_experts_per_tok=2, rms_norm_eps=1e-5, max_attn_value=2.0, attn_output_multiplier=0.4,
                      embedding_multiplier_scale=1.5, output_multiplier_scale=0.5773502691896257, tie_word_embeddings=True,
                      rope_parameters=dict(rope_type="default", rope_theta=10000.0),
                      **{"router_logit_softcapping": None, "final_logit_softcapping": None, **caps})


def published_spelling(config):
    for key in ("head_dim", "rope_parameters", "router_logit_softcapping", "final_logit_softcapping"):
        del config[key]


CASES = [
    Case("grok", config(), Grok, gguf=write, randomize=randomize, edit=published_spelling),
    Case("grok_caps", config(router_logit_softcapping=1.5, final_logit_softcapping=3.0), Grok, gguf=write,
         randomize=randomize),
]
