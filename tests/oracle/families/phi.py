"""Phi-3.5-MoE and Phi-3, both with LongRoPE, in sequences longer than the original context.

The first `short_logits` rows of the prompt are also answered as a model does that is loaded for the original context.
"""
import math

import torch
from transformers import Phi3Config, Phi3ForCausalLM, PhimoeConfig, PhimoeForCausalLM

from common import SIZE, THETA, Case
from gguf_decoder import add, halves, writer

ORIGINAL, CONTEXT, HEAD_DIM = 40, 160, 16
MAGNITUDE = math.sqrt(1 + math.log(CONTEXT / ORIGINAL) / math.log(ORIGINAL))
LONG = [1.0, 1.1, 1.3, 2.0, 2.9, 3.7, 4.0, 4.2]
SHORT = [1.0, 1.0, 1.05, 1.1, 1.2, 1.4, 1.5, 1.6]
PHI = dict(**{**SIZE, "num_attention_heads": 3, "num_key_value_heads": 1, "max_position_embeddings": CONTEXT})
ROPE = dict(rope_type="longrope", rope_theta=THETA, long_factor=LONG, short_factor=SHORT,
            original_max_position_embeddings=ORIGINAL)


class Rotary(torch.nn.Module):
    """LongRoPE as Microsoft's modeling_phimoe.py has it. That of transformers 5 keeps the short factors in long sequences
    (Phimoe), and chooses by the length of each forward pass; here the choice is made once."""

    def __init__(self, long):
        super().__init__()
        self.factors = torch.tensor(LONG if long else SHORT, dtype=torch.float32)

    def forward(self, x, position_ids=None, **_):
        exponent = torch.arange(0, HEAD_DIM, 2, dtype=torch.int64).float() / HEAD_DIM
        angles = position_ids[..., None].float() * (1.0 / (self.factors * THETA**exponent))
        both = torch.cat((angles, angles), dim=-1)
        return both.cos() * MAGNITUDE, both.sin() * MAGNITUDE


def build(model_class):
    def with_rotary(config):
        model = model_class(config)
        model.model.rotary_emb = Rotary(True)
        return model

    return with_rotary


def short_logits(model, tokens):
    model.model.rotary_emb = Rotary(False)
    with torch.no_grad():
        return {"short_logits": model(tokens[None, :ORIGINAL]).logits[0].float().contiguous()}


def randomize(name, parameter, noise):
    if "layernorm.bias" in name or "norm.bias" in name:
        return 0.3 * noise
    if name.endswith("mlp.router.weight"):
        # Several experts within the jitter of the best, so that SparseMixer's masks matter.
        noise[1::2] = noise[::2] * 1.02
        return 0.5 * noise
    return None


def keys(out, config):
    out.add_rope_scaling_orig_ctx_len(ORIGINAL)
    out.add_rope_scaling_attn_factors(MAGNITUDE)
    add(out, "rope_factors_long.weight", LONG)
    add(out, "rope_factors_short.weight", SHORT)


def own(part, w):
    return {
        "mlp.router.weight": lambda: {"ffn_gate_inp.weight": w},
        "mlp.experts.gate_up_proj": lambda: halves("_exps", w),
        "self_attn.qkv_proj.weight": lambda: {"attn_qkv.weight": w},
        "mlp.gate_up_proj.weight": lambda: {"ffn_up.weight": w},
    }.get(part, lambda: None)()


CASES = [
    Case("phimoe", PhimoeConfig(**{**PHI, "intermediate_size": 24}, num_local_experts=6, num_experts_per_tok=2,
                                attention_bias=True, lm_head_bias=True, router_jitter_noise=0.01,
                                rope_parameters=dict(ROPE, short_mscale=MAGNITUDE, long_mscale=MAGNITUDE)),
         build(PhimoeForCausalLM), randomize=randomize, more=short_logits, gguf=writer("phimoe", keys, own)),
    Case("phi3", Phi3Config(**PHI, sliding_window=30, original_max_position_embeddings=ORIGINAL, rope_parameters=ROPE),
         build(Phi3ForCausalLM), more=short_logits, gguf=writer("phi3", keys, own)),
]
