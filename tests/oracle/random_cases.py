#!/usr/bin/env python3
"""Random models of every family against transformers, a longer check than the fixtures of make_fixtures.py.

    random_cases.py OUT [--count 100] [--seed 1] [FAMILY...]
    QUORUM_ORACLE_FIXTURES=OUT build/release/tests/test_engine "*compute what transformers computes"

Case i of a family depends on (seed, family, i) alone. Configurations are drawn from what transformers offers: sizes that divide badly,
numbers of experts, biases, windows, positions of every kind, spellings of older files, keys left out where their value is the
default. The reference is what transformers computes with the folder as it was saved, read again. Where GGUF can say the same,
there is OUT/NAME.gguf too.
"""
import argparse
import dataclasses
import json
import pathlib
import random
import shutil
import sys
import typing
import warnings
import zlib

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers as hf  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import common  # noqa: E402
import gguf_decoder  # noqa: E402
from families import deepseek, gpt_oss, granite, grok, phi, t5  # noqa: E402

CLOSE = 5e-4  # a choice of experts or of a token that is closer than this may fall either way


@dataclasses.dataclass
class Drawn:
    config: hf.PreTrainedConfig
    model: typing.Callable
    randomize: typing.Callable = lambda name, parameter, noise: None
    gguf: typing.Callable | None = None
    edit: typing.Callable = lambda config: None  # of config.json
    patch: typing.Callable = lambda model: None  # of the model that computes the reference
    reload: bool = True  # compute with what transformers reads back
    prepare: typing.Callable = lambda model: None  # of the model before it is saved
    seq2seq: bool = False


class Draw(random.Random):
    def pick(self, *values):
        return self.choice(values)

    def chance(self, p):
        return self.random() < p

    def maybe(self, p, **values):
        return values if self.chance(p) else {}

    def sizes(self, head_dim=True, layers=4):
        """Sizes that transformers' decoders share; `head_dim`: whether the config has one of its own."""
        kv = self.pick(1, 1, 2, 3, 5)
        heads = kv * self.pick(1, 1, 2, 3, 4, 7)
        width = self.pick(2, 6, 8, 10, 16, 18, 24, 32, 36, 40)
        out = dict(num_attention_heads=heads, num_key_value_heads=kv, hidden_size=heads * width)
        if head_dim and self.chance(0.6):
            out["head_dim"] = width
            out["hidden_size"] = heads * self.randint(max(1, 16 // heads), max(3, 96 // heads))
        return dict(**out, intermediate_size=self.randint(9, 100), num_hidden_layers=self.randint(1, layers),
                    vocab_size=self.randint(33, 140), max_position_embeddings=self.pick(128, 200, 256),
                    rms_norm_eps=self.pick(1e-6, 1e-5, 1e-3), tie_word_embeddings=self.chance(0.3), bos_token_id=1,
                    eos_token_id=2, pad_token_id=0)

    def experts(self, most=64, top=8):
        count = self.pick(1, 2, 3, 6, 8, 17, 60, 64)
        count = min(count, most)
        return count, self.pick(1, count if count <= top else 2, self.randint(1, min(count, top)))

    def rope(self, pairs, context, kinds=("default", "default", "linear", "dynamic", "yarn", "yarn", "longrope", "llama3")):
        kind = self.choice(kinds)
        rope = dict(rope_type=kind, rope_theta=self.pick(100.0, 1000.0, 10000.0, 500000.0))
        original = self.pick(16, 24, 40)
        if kind in ("linear", "dynamic"):
            rope["factor"] = self.pick(1.0, 1.7, 4.0)
        elif kind == "llama3":
            rope.update(factor=self.pick(2.0, 8.0), low_freq_factor=1.0, high_freq_factor=self.pick(2.0, 4.0),
                        original_max_position_embeddings=original)
        elif kind == "yarn":
            rope.update(factor=self.pick(1.0, 2.5, context / original), original_max_position_embeddings=original)
            rope.update(self.maybe(0.3, beta_fast=self.pick(8, 32.0), beta_slow=self.pick(1, 2.0)))
            rope.update(self.maybe(0.3, attention_factor=1.3))
            rope.update(self.maybe(0.4, mscale=self.pick(0.7, 1.0), mscale_all_dim=self.pick(0.5, 1.0)))
            rope.update(self.maybe(0.3, truncate=self.chance(0.5)))
        elif kind == "longrope":
            rope.update(short_factor=[1.0 + self.random() for _ in range(pairs)],
                        long_factor=[1.0 + 4 * self.random() for _ in range(pairs)],
                        original_max_position_embeddings=original)
            rope.update(self.maybe(0.3, factor=self.pick(1.0, 3.0)))
            rope.update(self.maybe(0.3, attention_factor=1.2))
        return rope

    def windows(self, layers):
        return dict(sliding_window=self.pick(1, 7, 20, 4096),
                    layer_types=[self.pick("sliding_attention", "full_attention") for _ in range(layers)])


def head_dim_of(config):
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def with_rope(d, config, **kinds):
    config["rope_parameters"] = d.rope(head_dim_of(config) // 2, config["max_position_embeddings"], **kinds)
    return config


def old_names(d):
    """Spellings of transformers 4: `rope_theta` and `rope_scaling`, with "rope_type" or "type"."""
    older, torch_dtype = d.chance(0.5), d.chance(0.5)

    def edit(config):
        rope = config.pop("rope_parameters", None)
        if rope is None:
            return
        config["rope_theta"] = rope.pop("rope_theta")
        if "partial_rotary_factor" in rope:
            config["partial_rotary_factor"] = rope.pop("partial_rotary_factor")
        config["rope_scaling"] = None if rope["rope_type"] == "default" else rope
        if config["rope_scaling"] and older:
            rope["type"] = rope.pop("rope_type")
        if torch_dtype:
            config["torch_dtype"] = config.pop("dtype")

    return edit


def without_defaults(d, config_class):
    """Leaves keys out whose value is the class' default."""
    seed = d.random()

    def edit(config):
        rng, defaults = random.Random(seed), config_class().to_dict()
        for key in sorted(config):
            same = key in defaults and defaults[key] == config[key] and type(defaults[key]) is type(config[key])
            required = key in ("model_type", "architectures") or key.startswith("d_") or "num_" in key and "layers" in key
            if same and not required and key != "num_heads" and rng.random() < 0.4:
                del config[key]

    return edit


def edits(d, config_class, rope=True):
    chosen = []
    if rope and d.chance(0.4):
        chosen.append(old_names(d))
    if d.chance(0.6):
        chosen.append(without_defaults(d, config_class))

    def edit(config):
        for one in chosen:
            one(config)

    return edit


def decoder(d, config_class, model_class, config, arch=None, gguf_if=True, keys=lambda out, config: None, own=None, **more):
    made = config_class(**config)
    rope = config["rope_parameters"]
    expressible = gguf_if and (rope["rope_type"] in ("default", "linear", "llama3") or rope["rope_type"] == "yarn" and not
                               ({"attention_factor", "mscale"} & set(rope) or rope.get("truncate") is False))
    def all_keys(out, config):
        keys(out, config)
        for ours, theirs in (("beta_fast", "yarn_beta_fast"), ("beta_slow", "yarn_beta_slow")):
            if ours in rope:
                out.add_float32(f"{arch}.rope.scaling.{theirs}", float(rope[ours]))
    writer = gguf_decoder.writer(arch, all_keys, own or (lambda part, w: None)) if arch and expressible else None
    return Drawn(made, model_class, gguf=writer, **{"edit": edits(d, config_class), **more})


def llama(d):
    config = with_rope(d, {**d.sizes(), "attention_bias": d.chance(0.4), "mlp_bias": d.chance(0.3)})
    return decoder(d, hf.LlamaConfig, hf.LlamaForCausalLM, config, "llama",
                   own=lambda part, w: {f"ffn_{part[4:-10]}.bias": w} if part.startswith("mlp.") and "bias" in part else None)


def mistral(d):
    config = with_rope(d, {**d.sizes(), "sliding_window": d.pick(None, 1, 7, 30, 4096)})
    return decoder(d, hf.MistralConfig, hf.MistralForCausalLM, config, "llama")


def mixtral(d):
    count, top = d.experts()
    config = with_rope(d, {**d.sizes(), "num_local_experts": count, "num_experts_per_tok": top,
                           "sliding_window": d.pick(None, None, 9)})
    return decoder(d, hf.MixtralConfig, hf.MixtralForCausalLM, config, "llama")


def qwen2(d):
    config = with_rope(d, d.sizes(head_dim=False))
    windowed = d.chance(0.4)
    if windowed:
        config.update(use_sliding_window=True, sliding_window=d.pick(1, 7, 30), max_window_layers=d.randint(0, 3))
        config.update(d.maybe(0.5, **d.windows(config["num_hidden_layers"])))
    return decoder(d, hf.Qwen2Config, hf.Qwen2ForCausalLM, config, "qwen2", not windowed)


def qwen3(d):
    config = with_rope(d, {"head_dim": 128, **d.sizes(), "attention_bias": d.chance(0.3)})
    windowed = d.chance(0.4)
    if windowed:
        config.update(use_sliding_window=True, sliding_window=d.pick(1, 7, 30), max_window_layers=d.randint(0, 3))
        config.update(d.maybe(0.5, **d.windows(config["num_hidden_layers"])))
    return decoder(d, hf.Qwen3Config, hf.Qwen3ForCausalLM, config, "qwen3", not windowed and not config["attention_bias"])


def qwen_experts(d, config):
    count, top = d.experts()
    config.update(num_experts=count, num_experts_per_tok=top, moe_intermediate_size=d.randint(5, 40),
                  norm_topk_prob=d.chance(0.5), decoder_sparse_step=d.pick(1, 1, 2, 3))
    if d.chance(0.3):
        config["mlp_only_layers"] = d.sample(range(config["num_hidden_layers"]), d.randint(0, config["num_hidden_layers"]))
    return config["decoder_sparse_step"] == 1 and not config.get("mlp_only_layers")


def norm_key(out, config):
    out.add_expert_weights_norm(config.norm_topk_prob)


def qwen2_moe(d):
    config = with_rope(d, {**d.sizes(head_dim=False), "shared_expert_intermediate_size": d.randint(5, 60),
                           "qkv_bias": d.chance(0.7)})
    everywhere = qwen_experts(d, config)
    windowed = d.chance(0.3)
    if windowed:
        config.update(use_sliding_window=True, sliding_window=d.pick(1, 7, 30), max_window_layers=d.randint(0, 3))
        config.update(d.maybe(0.5, **d.windows(config["num_hidden_layers"])))
    return decoder(d, hf.Qwen2MoeConfig, hf.Qwen2MoeForCausalLM, config, "qwen2moe",
                   everywhere and not windowed and config["qkv_bias"], norm_key)


def qwen3_moe(d):
    config = with_rope(d, {**d.sizes(), "attention_bias": d.chance(0.3)})
    everywhere = qwen_experts(d, config)
    windowed = d.chance(0.3)
    if windowed:
        config.update(use_sliding_window=True, sliding_window=d.pick(1, 7, 30))
    return decoder(d, hf.Qwen3MoeConfig, hf.Qwen3MoeForCausalLM, config, "qwen3moe",
                   everywhere and not windowed and not config["attention_bias"], norm_key)


def olmoe(d):
    count, top = d.experts()
    config = with_rope(d, {**d.sizes(head_dim=False), "num_experts": count, "num_experts_per_tok": top,
                           "norm_topk_prob": d.chance(0.5), "attention_bias": d.chance(0.3),
                           **d.maybe(0.3, clip_qkv=d.pick(0.3, 1.0))})
    return decoder(d, hf.OlmoeConfig, hf.OlmoeForCausalLM, config, "olmoe", not config["attention_bias"], norm_key)


def quiet_embedding(name, parameter, noise):
    """Tied embeddings that outweigh the blocks would only ever repeat a token."""
    return 0.1 * noise if "embed_tokens" in name else None


def smollm3(d):
    config = with_rope(d, {**d.sizes(head_dim=False), "attention_bias": d.chance(0.3), "mlp_bias": d.chance(0.3)})
    layers = config["num_hidden_layers"]
    config.update(d.pick({}, {"no_rope_layer_interval": d.randint(1, 3)},
                         {"no_rope_layers": [d.randint(0, 1) for _ in range(layers)]}))
    config.update(d.maybe(0.3, use_sliding_window=True, sliding_window=d.pick(5, 30)))
    return decoder(d, hf.SmolLM3Config, hf.SmolLM3ForCausalLM, config, randomize=quiet_embedding)


def multipliers(d):
    return dict(embedding_multiplier=d.pick(1.0, 6.0), residual_multiplier=d.pick(1.0, 0.35),
                attention_multiplier=d.pick(1.0, 0.1), logits_scaling=d.pick(1.0, 2.0, 8))


def granite_dense(d):
    config = with_rope(d, {**d.sizes(head_dim=False), **multipliers(d), "attention_bias": d.chance(0.3),
                           "mlp_bias": d.chance(0.3)})
    return decoder(d, hf.GraniteConfig, hf.GraniteForCausalLM, config, "granite", not config["mlp_bias"], granite.keys,
                   granite.own, randomize=granite.randomize)


def granite_moe(d):
    count, top = d.experts()
    config = with_rope(d, {**d.sizes(head_dim=False), **multipliers(d), "attention_bias": d.chance(0.3),
                           "num_local_experts": count, "num_experts_per_tok": top})
    classes = (hf.GraniteMoeConfig, hf.GraniteMoeForCausalLM)
    if d.chance(0.5):
        classes = (hf.GraniteMoeSharedConfig, hf.GraniteMoeSharedForCausalLM)
        config["shared_intermediate_size"] = d.pick(0, d.randint(5, 60))
    return decoder(d, *classes, config, "granitemoe", config.get("shared_intermediate_size") != 0, granite.keys, granite.own,
                   randomize=granite.randomize)


def gptoss(d):
    count, top = d.experts()
    config = {**d.sizes(), "num_local_experts": count, "num_experts_per_tok": top, "attention_bias": d.chance(0.7)}
    config.setdefault("head_dim", head_dim_of(config))
    with_rope(d, config)
    config.update(d.pick({"sliding_window": d.pick(7, 30)}, d.windows(config["num_hidden_layers"])))
    config.update(d.maybe(0.4, swiglu_limit=3.0))
    usual = "layer_types" not in config and config["rope_parameters"]["rope_type"] != "yarn"
    return decoder(d, hf.GptOssConfig, hf.GptOssForCausalLM, config, "gpt-oss", usual and "swiglu_limit" not in config and
                   config["attention_bias"], gpt_oss.keys, gpt_oss.own, randomize=gpt_oss.randomize)


def phi3(d):
    config = {**d.sizes(head_dim=False), "sliding_window": d.pick(None, 9, 30)}
    partial = d.pick(1.0, 1.0, 0.75, 0.5)
    head = head_dim_of(config)
    if int(head * partial) % 2 == 1:
        partial = 1.0
    context = config["max_position_embeddings"]
    rope = d.rope(int(head * partial) // 2, context, ("default", "longrope", "longrope"))
    rope["partial_rotary_factor"] = partial
    config["original_max_position_embeddings"] = rope.get("original_max_position_embeddings", 24)
    config["rope_parameters"] = rope
    return decoder(d, hf.Phi3Config, hf.Phi3ForCausalLM, config)


class PhimoeRotary(torch.nn.Module):
    """LongRoPE as Microsoft's modeling_phimoe.py has it, see families/phi.py."""

    def __init__(self, rope, head):
        super().__init__()
        self.rope, self.head = rope, head

    def forward(self, x, position_ids=None, **_):
        exponent = torch.arange(0, self.head, 2, dtype=torch.int64).float() / self.head
        angles = position_ids[..., None].float() / (torch.tensor(self.rope["long_factor"]) * self.rope["rope_theta"]**exponent)
        both = torch.cat((angles, angles), dim=-1)
        return both.cos() * self.rope["long_mscale"], both.sin() * self.rope["long_mscale"]


def phimoe(d):
    count, top = max(2, d.experts()[0]), 2  # SparseMixer chooses two
    config = {**d.sizes(head_dim=False), "num_local_experts": count, "num_experts_per_tok": top,
              "attention_bias": d.chance(0.5), "lm_head_bias": d.chance(0.5), "sliding_window": d.pick(None, 9),
              "router_jitter_noise": d.pick(0.01, 0.1)}
    head = head_dim_of(config)
    rope = d.rope(head // 2, config["max_position_embeddings"], ("default", "longrope", "longrope"))
    patch = lambda model: None  # noqa: E731
    if rope["rope_type"] == "longrope":
        rope.pop("attention_factor", None)
        rope.update(short_mscale=1.1, long_mscale=1.25)
        patch = lambda model: setattr(model.model, "rotary_emb", PhimoeRotary(rope, head))  # noqa: E731
    config["rope_parameters"] = rope
    return decoder(d, hf.PhimoeConfig, hf.PhimoeForCausalLM, config, randomize=phi.randomize, patch=patch)


def latent(d):
    heads = d.randint(1, 5)
    return dict(hidden_size=heads * d.randint(8, 20), num_attention_heads=heads, num_key_value_heads=heads,
                intermediate_size=d.randint(9, 90), moe_intermediate_size=d.randint(5, 40),
                num_hidden_layers=d.randint(2, 4), first_k_dense_replace=d.randint(0, 2), vocab_size=d.randint(33, 140),
                kv_lora_rank=d.randint(3, 48), q_lora_rank=d.pick(None, d.randint(5, 40)),
                qk_nope_head_dim=d.randint(3, 20), qk_rope_head_dim=2 * d.randint(1, 8), v_head_dim=d.randint(3, 20),
                n_shared_experts=d.randint(1, 3), max_position_embeddings=d.pick(128, 200), bos_token_id=1, eos_token_id=2,
                pad_token_id=0, routed_scaling_factor=d.pick(1.0, 2.5), tie_word_embeddings=d.chance(0.3),
                rms_norm_eps=d.pick(1e-6, 1e-3))


def groups(d):
    count, size = d.pick((2, 3), (4, 2), (8, 4), (1, 7), (3, 5))
    top = d.randint(1, count)
    return dict(n_group=count, topk_group=top, n_routed_experts=count * size,
                num_experts_per_tok=d.randint(1, min(8, top * size)))


DEEPSEEK_ROPES = ("default", "linear", "yarn", "yarn", "yarn")


def plain_gguf(config):
    rope = config.rope_parameters
    if rope["rope_type"] == "linear":
        return False
    return rope["rope_type"] != "yarn" or (rope.get("mscale", 0) == rope.get("mscale_all_dim", 1) and not
                                           {"attention_factor", "truncate", "beta_fast"} & set(rope))


def deepseek_v2(d):
    config = latent(d)
    config["rope_parameters"] = d.rope(config["qk_rope_head_dim"] // 2, config["max_position_embeddings"], DEEPSEEK_ROPES)
    if d.chance(0.5):
        config.update(topk_method="group_limited_greedy", **groups(d))
    else:
        count, top = d.experts()
        config.update(topk_method="greedy", n_routed_experts=count, num_experts_per_tok=top)
    made = hf.DeepseekV2Config(**config)
    old = made.topk_method == "greedy" and d.chance(0.5)
    return Drawn(made, deepseek.prepared(hf.DeepseekV2ForCausalLM), edit=edits(d, hf.DeepseekV2Config),
                 gguf=deepseek.writer(old=old) if plain_gguf(made) and (old or made.n_group) else None)


def deepseek_v3(d):
    config = {**latent(d), **groups(d), "norm_topk_prob": d.chance(0.6), "rope_interleave": d.chance(0.7)}
    config["rope_parameters"] = d.rope(config["qk_rope_head_dim"] // 2, config["max_position_embeddings"], DEEPSEEK_ROPES)
    made = hf.DeepseekV3Config(**config)
    return Drawn(made, deepseek.prepared(hf.DeepseekV3ForCausalLM), edit=edits(d, hf.DeepseekV3Config),
                 gguf=deepseek.writer(old=False) if made.rope_interleave and plain_gguf(made) else None)


def grok1(d):
    count, top = d.experts(17)
    config = {**d.sizes(), "num_experts": count, "num_experts_per_tok": top, "rms_norm_eps": 1e-5, "max_attn_value": 2.0,
              "attn_output_multiplier": d.pick(0.1, 0.4), "embedding_multiplier_scale": d.pick(1.0, 3.0),
              "output_multiplier_scale": 0.6, "tie_word_embeddings": True,
              "rope_parameters": dict(rope_type="default", rope_theta=10000.0),
              "router_logit_softcapping": d.pick(None, 1.5), "final_logit_softcapping": d.pick(None, 3.0)}
    config.setdefault("head_dim", head_dim_of(config))
    return Drawn(grok.GrokConfig(**config), grok.Grok, randomize=grok.randomize, gguf=grok.write, reload=False)


def t5_sizes(d):
    return dict(vocab_size=d.randint(33, 140), d_model=d.randint(9, 70), d_kv=d.randint(1, 32), num_heads=d.randint(1, 6),
                d_ff=d.randint(9, 90), relative_attention_num_buckets=4 * d.randint(1, 9),
                relative_attention_max_distance=d.pick(20, 40, 128), layer_norm_epsilon=d.pick(1e-6, 1e-3), pad_token_id=0,
                eos_token_id=1, decoder_start_token_id=d.pick(0, 0, 5), num_layers=d.randint(1, 5),
                num_decoder_layers=d.randint(1, 5))


def untie(model, seed=7):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(model.lm_head.weight.shape, generator=generator) / model.config.d_model ** 0.5
    model.lm_head.weight = torch.nn.Parameter(noise.bfloat16().float())


def t5_family(config_class, model_class):
    def family(d):
        config = t5_sizes(d)
        config["feed_forward_proj"] = d.pick("relu", "gated-gelu", "gated-silu", "gated-relu", "gelu_new", "silu")
        untied = d.chance(0.5)
        if untied and config_class is hf.T5Config:
            config["tie_word_embeddings"] = False
        plain = (config["relative_attention_max_distance"] == 128 and config["feed_forward_proj"] in ("relu", "gated-gelu") and
                 config["layer_norm_epsilon"] == 1e-6 and config_class is hf.T5Config)
        return Drawn(config_class(**config), model_class, randomize=t5.values, prepare=untie if untied else lambda model: None,
                     gguf=t5.as_gguf if plain else None, edit=edits(d, config_class, rope=False), seq2seq=True)
    return family


def switch(d):
    config = {**t5_sizes(d), "num_experts": d.pick(2, 6, 17), "expert_capacity": 1000,
              "num_sparse_encoder_layers": d.randint(0, 3), "num_sparse_decoder_layers": d.randint(0, 3),
              "dense_act_fn": d.pick("relu", "silu", "gelu_new")}
    for stack, layers in (("encoder", "num_layers"), ("decoder", "num_decoder_layers")):
        key = f"num_sparse_{stack}_layers"
        config[key] = min(config[key], config[layers])
    return Drawn(hf.SwitchTransformersConfig(**config), hf.SwitchTransformersForConditionalGeneration, randomize=t5.values,
                 edit=edits(d, hf.SwitchTransformersConfig, rope=False), seq2seq=True)


FAMILIES = {"llama": llama, "mistral": mistral, "mixtral": mixtral, "qwen2": qwen2, "qwen3": qwen3, "qwen2_moe": qwen2_moe,
            "qwen3_moe": qwen3_moe, "olmoe": olmoe, "smollm3": smollm3, "granite": granite_dense, "granitemoe": granite_moe,
            "gpt_oss": gptoss, "phi3": phi3, "phimoe": phimoe, "deepseek_v2": deepseek_v2, "deepseek_v3": deepseek_v3,
            "grok": grok1, "t5": t5_family(hf.T5Config, hf.T5ForConditionalGeneration),
            "mt5": t5_family(hf.MT5Config, hf.MT5ForConditionalGeneration), "switch": switch}


def as_people_have_them(d, folder, tied):
    """Files of one shard with what other savers leave in them: types by turns, old buffers, the tied matrix twice."""
    path = folder / "model.safetensors"
    if not path.exists():
        return
    tensors = load_file(path)
    if d.chance(0.3):
        for name in tensors:
            if "norm" in name or d.chance(0.2):
                tensors[name] = tensors[name].float()
    if d.chance(0.3) and "model.layers.0.self_attn.o_proj.weight" in tensors:
        tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    if d.chance(0.4) and tied and "lm_head.weight" not in tensors and "model.embed_tokens.weight" in tensors:
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, path, metadata={"format": "pt"})
    if d.chance(0.1):  # an index of shards that were merged
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"x": "model-00001-of-00002.safetensors"}}')


def far_apart(result):
    """Whether every choice in the prompt is clear; cuts the greedy text where a token was nearly another."""
    clear = all(float(result[key].min()) > CLOSE for key in ("margin", "reply_margin") if key in result)
    gaps = result.pop("gaps", None)
    if gaps is not None:
        close = (gaps < CLOSE * float(result["logits"].abs().max())).nonzero()
        if len(close):
            result["greedy"] = result["greedy"][:int(close[0])].clone()
    return clear and len(result["greedy"]) > 0


def decoder_oracle(model, tokens):
    """As common.oracle, with how clear each greedy choice was."""
    probe = common.RouterProbe(model)
    with torch.no_grad():
        out = {"tokens": tokens.int(), "logits": model(tokens[None]).logits[0].float().contiguous()}
        routed = probe.experts(model.config.num_hidden_layers, len(tokens))
        if routed:
            out["experts"], out["margin"] = routed
        text, gaps = tokens, []
        for _ in range(common.GREEDY):
            best = model(text[None]).logits[0, -1].float().topk(2)
            # A near tie between experts in the reply could turn it, too.
            routed = probe.experts(model.config.num_hidden_layers, len(text))
            routing = float(routed[1].min()) if routed else 1.0
            gaps.append(float(best.values[0] - best.values[1]) if routing > CLOSE else 0.0)
            text = torch.cat([text, best.indices[:1]])
    out["greedy"], out["gaps"] = text[len(tokens):].int(), torch.tensor(gaps)
    return out


def make(name, family, seed, i, out):
    d = Draw(f"{seed}/{family}/{i}")
    drawn = FAMILIES[family](d)
    dtype = d.pick(torch.bfloat16, torch.bfloat16, torch.float32, torch.float16)
    if drawn.seq2seq and drawn.prepare is not Drawn.prepare:
        dtype = torch.bfloat16
    case = common.Case(name, drawn.config, drawn.model, dtype, randomize=drawn.randomize, gguf=drawn.gguf)
    model = case.model(case.config).eval().float()
    model.set_attn_implementation("eager")
    generator = torch.Generator().manual_seed(zlib.crc32(f"{seed}{name}".encode()))
    common.randomize(case, model, generator)
    model.tie_weights()
    with torch.no_grad():
        drawn.prepare(model)
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    model.to(dtype).save_pretrained(folder, max_shard_size=d.pick("5GB", "5GB", "30KB"))
    config = json.loads((folder / "config.json").read_text())
    drawn.edit(config)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    if not drawn.seq2seq:
        as_people_have_them(d, folder, case.config.tie_word_embeddings)
    if drawn.reload:
        model = case.model.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager",
                                           experts_implementation="eager")
    model = model.eval().float()
    drawn.patch(model)
    for attempt in range(20):
        if drawn.seq2seq:
            result = t5.oracle(case, model, generator)
        else:
            length = d.pick(48, 48, 90)
            result = decoder_oracle(model, torch.randint(3, case.config.vocab_size, (length,), generator=generator))
        if far_apart(result):
            break
    else:
        shutil.rmtree(folder)
        print(f"{name}: left out, its routers are never clear", flush=True)
        return
    file = "oracle_seq2seq.safetensors" if drawn.seq2seq else "oracle.safetensors"
    save_file(result, folder / file, metadata={"made_with": common.versions()})
    if drawn.gguf:
        usual = gguf_decoder.add
        if dtype == torch.float16 and d.chance(0.5):  # norms and routers too
            gguf_decoder.add = lambda out, name, values, dtype=None: out.add_tensor(
                name, np.ascontiguousarray(values, dtype=np.float32 if "rope" in name else np.float16))
        drawn.gguf(case, model, out / f"{name}.gguf", result)
        gguf_decoder.add = usual
    print(f"{name}: logits {result['logits'].abs().max():.3f}, {len(result['greedy'])} greedy", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=100, help="cases in all, spread over the families")
    parser.add_argument("--first", type=int, default=0, help="number of each family's first case")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("families", nargs="*", choices=[*FAMILIES, []], help="only these")
    args = parser.parse_args()
    warnings.filterwarnings("ignore")
    hf.logging.set_verbosity_error()
    hf.utils.logging.disable_progress_bar()
    args.out.mkdir(parents=True, exist_ok=True)
    families = args.families or list(FAMILIES)
    for n in range(args.count):
        family, i = families[n % len(families)], args.first + n // len(families)
        try:
            make(f"{family}_{args.seed}_{i}", family, args.seed, i, args.out)
        except Exception as error:  # transformers refuses some combinations
            print(f"{family}_{args.seed}_{i}: left out, {type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
