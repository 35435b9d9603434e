"""DeepSeek-V2 and V3: deepseek2_lite (V2-Lite's shape, its GGUF as old files have it: attn_kv_b, no gating function named),
deepseek2 (low-rank queries, groups of experts scored by their best), deepseek3 (sigmoids with a bias on the choice, groups scored
by their two best), both with GGUFs as newer files have them: attn_k_b and attn_v_b, one key/value head; deepseek3_neox, with
what GGUF has no key for: rotated pairs that are not side by side, and an mscale that is not mscale_all_dim; and deepseek3_fp8, in
eight-bit floats."""
import gguf
import torch
from transformers import DeepseekV2Config, DeepseekV2ForCausalLM, DeepseekV3Config, DeepseekV3ForCausalLM

from common import THETA, Case
from families.quantized import fp8
from gguf_decoder import write_tensors

SIZE = dict(hidden_size=48, intermediate_size=72, moe_intermediate_size=24, num_hidden_layers=3, vocab_size=67,
            num_attention_heads=3, num_key_value_heads=3, kv_lora_rank=20, qk_nope_head_dim=12, qk_rope_head_dim=8,
            v_head_dim=10, first_k_dense_replace=1, max_position_embeddings=96, bos_token_id=1, eos_token_id=2,
            pad_token_id=0)
# The prompt of 48 is longer than the first training's context.
YARN = dict(rope_type="yarn", rope_theta=THETA, factor=6.0, original_max_position_embeddings=16, beta_fast=32, beta_slow=1)
GROUPS = dict(n_routed_experts=9, num_experts_per_tok=3, n_group=3, topk_group=2)


def choice(gate, logits, config):
    """What each expert is chosen by: minus infinity outside the best groups."""
    v3 = hasattr(gate, "e_score_correction_bias")
    scores = logits.sigmoid() + gate.e_score_correction_bias if v3 else logits
    if not v3 and config.topk_method == "greedy" or config.n_group == config.topk_group:
        return scores
    groups = scores.view(len(scores), config.n_group, -1)
    worth = groups.topk(2, -1)[0].sum(-1) if v3 else groups.max(-1)[0]
    order = worth.sort(-1, descending=True)[0]
    kept = worth >= order[:, config.topk_group - 1:config.topk_group]
    scores = groups.masked_fill(~kept[..., None], -100.0).flatten(1)
    close = order[:, config.topk_group - 1] - order[:, config.topk_group] < 1e-3
    return torch.where(close[:, None], torch.zeros_like(scores), scores)  # a margin of 0


def prepared(base):
    """`base` with a bias on the choice, and with routers that give what experts are chosen by in place of their logits."""

    class Prepared(base):
        def __init__(self, config):
            super().__init__(config)
            generator = torch.Generator().manual_seed(5)
            for name, module in self.named_modules():
                if not name.endswith("mlp.gate"):
                    continue
                if hasattr(module, "e_score_correction_bias"):
                    bias = 0.2 * torch.randn(config.n_routed_experts, generator=generator)
                    module.e_score_correction_bias.copy_(bias.bfloat16().float())
                module.register_forward_hook(lambda gate, _, out: (choice(gate, out[0], config), *out[1:]))

    Prepared.__name__ = base.__name__
    return Prepared


def write_keys(writer, config, old):
    rope, latent = config.qk_rope_head_dim, config.kv_lora_rank
    head = (config.qk_nope_head_dim + rope, config.v_head_dim)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_attention_heads if old else 1)
    writer.add_key_length(head[0] if old else latent + rope)
    writer.add_value_length(head[1] if old else latent)
    if not old:
        writer.add_key_length_mla(head[0])
        writer.add_value_length_mla(head[1])
    writer.add_kv_lora_rank(latent)
    if config.q_lora_rank:
        writer.add_q_lora_rank(config.q_lora_rank)
    writer.add_vocab_size(config.vocab_size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_leading_dense_block_count(config.first_k_dense_replace)
    writer.add_rope_dimension_count(rope)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    if config.rope_parameters["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(config.rope_parameters["factor"])
        writer.add_rope_scaling_orig_ctx_len(config.rope_parameters["original_max_position_embeddings"])
        writer.add_rope_scaling_yarn_log_mul(0.1 * config.rope_parameters["mscale_all_dim"])
    writer.add_expert_count(config.n_routed_experts)
    writer.add_expert_used_count(config.num_experts_per_tok)
    writer.add_expert_shared_count(config.n_shared_experts)
    writer.add_expert_feed_forward_length(config.moe_intermediate_size)
    writer.add_expert_weights_scale(config.routed_scaling_factor)
    if config.norm_topk_prob:
        writer.add_expert_weights_norm(True)
    if not old:
        writer.add_expert_group_count(config.n_group)
        writer.add_expert_group_used_count(config.topk_group)
        sigmoid = config.model_type == "deepseek_v3"
        writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID if sigmoid else gguf.ExpertGatingFuncType.SOFTMAX)


NAMES = {
    "self_attn.q_a_proj.weight": "attn_q_a.weight",
    "self_attn.q_a_layernorm.weight": "attn_q_a_norm.weight",
    "self_attn.q_b_proj.weight": "attn_q_b.weight",
    "self_attn.kv_a_proj_with_mqa.weight": "attn_kv_a_mqa.weight",
    "self_attn.kv_a_layernorm.weight": "attn_kv_a_norm.weight",
    "mlp.gate.e_score_correction_bias": "exp_probs_b.bias",
    "mlp.shared_experts.gate_proj.weight": "ffn_gate_shexp.weight",
    "mlp.shared_experts.up_proj.weight": "ffn_up_shexp.weight",
    "mlp.shared_experts.down_proj.weight": "ffn_down_shexp.weight",
}


def writer(old):
    def write(case, model, path, _oracle):
        config = case.config
        out = gguf.GGUFWriter(path, "deepseek2")
        out.add_name(f"tiny random {case.name}")
        write_keys(out, config, old)

        def own(part, w):
            if part == "self_attn.kv_b_proj.weight" and old:
                return {"attn_kv_b.weight": w}
            if part == "self_attn.kv_b_proj.weight":
                both = w.reshape(config.num_attention_heads, -1, config.kv_lora_rank)
                k, v = both[:, :config.qk_nope_head_dim], both[:, config.qk_nope_head_dim:]
                return {"attn_k_b.weight": k.swapaxes(1, 2), "attn_v_b.weight": v}
            return {NAMES[part]: w} if part in NAMES else None

        write_tensors(out, "deepseek2", case, model.state_dict(), own)
        out.write_header_to_file()
        out.write_kv_data_to_file()
        out.write_tensors_to_file()
        out.close()

    return write


CASES = [
    Case("deepseek2_lite", DeepseekV2Config(**SIZE, q_lora_rank=None, n_routed_experts=6, num_experts_per_tok=2,
                                            n_shared_experts=2, topk_method="greedy", norm_topk_prob=False,
                                            rope_parameters=dict(**YARN, mscale=0.707, mscale_all_dim=0.707)),
         prepared(DeepseekV2ForCausalLM), gguf=writer(old=True)),
    Case("deepseek2", DeepseekV2Config(**SIZE, **GROUPS, q_lora_rank=28, n_shared_experts=1,
                                       topk_method="group_limited_greedy", routed_scaling_factor=4.0, norm_topk_prob=False,
                                       rope_parameters=dict(rope_type="default", rope_theta=THETA)),
         prepared(DeepseekV2ForCausalLM), gguf=writer(old=False)),
    Case("deepseek3", DeepseekV3Config(**SIZE, **GROUPS, q_lora_rank=28, n_shared_experts=1, norm_topk_prob=True,
                                       rope_parameters=dict(**YARN, mscale=1.0, mscale_all_dim=1.0)),
         prepared(DeepseekV3ForCausalLM), gguf=writer(old=False)),
    # A latent and rotated dimensions that do not fill whole fours.
    Case("deepseek3_neox", DeepseekV3Config(**{**SIZE, "kv_lora_rank": 18, "qk_rope_head_dim": 6}, **GROUPS,
                                            q_lora_rank=None, n_shared_experts=2, norm_topk_prob=True, rope_interleave=False,
                                            rope_parameters=dict(**YARN, mscale=1.0, mscale_all_dim=0.7)),
         prepared(DeepseekV3ForCausalLM)),
    # As DeepSeek publishes V3: eight-bit floats with a scale for each block, the matrix that latents are spread with too.
    Case("deepseek3_fp8", DeepseekV3Config(**SIZE, **GROUPS, q_lora_rank=28, n_shared_experts=1, norm_topk_prob=True,
                                           rope_parameters=dict(**YARN, mscale=1.0, mscale_all_dim=1.0)),
         prepared(DeepseekV3ForCausalLM), quantize=fp8),
]
