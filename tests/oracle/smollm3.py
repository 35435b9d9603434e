#!/usr/bin/env python3
"""SmolLM3: smollm3.gguf. Every fourth layer does without rotary positions."""
from transformers import SmolLM3Config, SmolLM3ForCausalLM

import oracle


def build(generator):
    config = SmolLM3Config(
        hidden_size=40, intermediate_size=56, num_hidden_layers=5, num_attention_heads=5, num_key_value_heads=1,
        vocab_size=64, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        attn_implementation="eager", rope_parameters=dict(rope_type="default", rope_theta=1000.0))
    model = SmolLM3ForCausalLM(config).eval().float()
    oracle.randomize(model, generator)
    model.tie_weights()
    return model


def make(out=oracle.OUT):
    model, answers = oracle.made(build)
    config = model.config
    assert config.no_rope_layers == [1, 1, 1, 0, 1]
    writer = oracle.Writer("smollm3", "smollm3", out)
    writer.add_sizes(config, config.intermediate_size)
    writer.add_vocab_size(config.vocab_size)
    oracle.add_common(writer, model, lambda *_: False, permuted=True)
    writer.finish(answers)


if __name__ == "__main__":
    make()
