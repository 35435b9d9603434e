"""Encoder-decoders: Switch Transformers, T5 and Flan-T5 (T5 1.1).

`oracle.safetensors` is not theirs: `oracle_seq2seq.safetensors` has the encoder's `tokens`, the decoder's `reply` (which begins with
the start token) with `logits` (reply, vocabulary), `experts` of the encoder's and `reply_experts` of the decoder's layers, -1 where a
layer has none, with their margins, and 32 tokens of `greedy` reply to the same source. `switch` also has a tokenizer.
"""
import gguf
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (SwitchTransformersConfig, SwitchTransformersForConditionalGeneration, T5Config,
                          T5ForConditionalGeneration)

import common
from common import Case
from gguf_decoder import add

SOURCE = 75  # more than a page, and further apart than the last bucket's distance
REPLY = 40
SIZE = dict(vocab_size=131, d_model=40, d_kv=8, num_heads=5, d_ff=56, relative_attention_num_buckets=8,
            relative_attention_max_distance=20, pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)


def values(name, parameter, noise):
    """Scores are not scaled, so queries are small; biases by position and routers matter."""
    if "relative_attention_bias" in name:
        return noise
    if name.startswith("shared"):
        return 0.3 * noise  # or every token would repeat itself, where the embedding is the output matrix
    if ".wo." in name:
        return 3.0 * (noise - noise.mean(-1, keepdim=True)) / parameter.shape[-1] ** 0.5  # ReLU has a mean of its own
    if "EncDecAttention.o" in name:
        return 0.3 * noise / parameter.shape[-1] ** 0.5
    if "layer_norm" in name:
        return 1.0 + 0.3 * noise
    if "Attention.q." in name:
        return noise / (parameter.shape[-1] * 8) ** 0.5
    if "classifier" in name:
        return 0.5 * noise
    return noise / parameter.shape[-1] ** 0.5


class Probe:
    """What each sparse layer's router chose: {module's name: (ids, margins)}."""

    def __init__(self, model):
        self.calls = {}
        for name, module in model.named_modules():
            if type(module).__name__.endswith("Top1Router"):
                module.register_forward_hook(lambda _m, _i, out, name=name: self.calls.__setitem__(name, out))

    def experts(self, stack, layers, tokens):
        ids = torch.full((layers, tokens, 1), -1, dtype=torch.int32)
        margin = torch.full((layers, tokens), torch.inf)
        for name, (one_hot, _, logits) in self.calls.items():
            parts = name.split(".")
            if parts[0] != stack:
                continue
            assert one_hot.sum() == tokens, "the capacity is too small: a token was dropped"
            ids[int(parts[2]), :, 0] = one_hot.reshape(tokens, -1).argmax(-1).int()
            best = logits.reshape(tokens, -1).topk(2, -1).values
            margin[int(parts[2])] = best[:, 0] - best[:, 1]
        return ids, margin


def oracle(case, model, generator):
    config = case.config
    if case.name == "flan_t5":  # a matrix of its own, as the published files have it
        with torch.no_grad():
            noise = torch.randn(model.lm_head.weight.shape, generator=generator) / config.d_model ** 0.5
            model.lm_head.weight = torch.nn.Parameter(noise.to(case.dtype).float())
    source = torch.randint(3, config.vocab_size, (SOURCE,), generator=generator)
    reply = torch.cat([torch.tensor([config.decoder_start_token_id]),
                       torch.randint(3, config.vocab_size, (REPLY - 1,), generator=generator)])
    probe = Probe(model)
    with torch.no_grad():
        logits = model(input_ids=source[None], decoder_input_ids=reply[None]).logits[0].float()
        out = {"tokens": source.int(), "reply": reply.int(), "logits": logits.contiguous()}
        if probe.calls:
            out["experts"], out["margin"] = probe.experts("encoder", config.num_layers, SOURCE)
            out["reply_experts"], out["reply_margin"] = probe.experts("decoder", config.num_decoder_layers, REPLY)
        text = reply[:1]
        for _ in range(common.GREEDY):
            step = model(input_ids=source[None], decoder_input_ids=text[None]).logits[0, -1]
            text = torch.cat([text, step.argmax()[None]])
        out["greedy"] = text[1:].int()
    return out


def tokenizer(folder):
    """Bytes with two merges behind T5's special tokens; like T5's own, encoding appends </s>."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<pad>", "</s>", "<unk>"] + letters + ["th", "the"]
    made = Tokenizer(models.BPE({name: i for i, name in enumerate(names)}, [("t", "h"), ("th", "e")]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>",
                                                        special_tokens=[("</s>", 1)])
    made.add_special_tokens(["<pad>", "</s>", "<unk>"])
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        '{"eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "tokenizer_class": "PreTrainedTokenizerFast"}\n')


def as_gguf(case, model, path, _oracle):
    """As llama.cpp's converter writes T5."""
    config = case.config
    writer = gguf.GGUFWriter(path, "t5")
    writer.add_name(f"tiny random {case.name}")
    writer.add_context_length(512)
    writer.add_embedding_length(config.d_model)
    writer.add_feed_forward_length(config.d_ff)
    writer.add_block_count(config.num_layers)
    if config.num_decoder_layers != config.num_layers:
        writer.add_decoder_block_count(config.num_decoder_layers)
    writer.add_head_count(config.num_heads)
    writer.add_key_length(config.d_kv)
    writer.add_value_length(config.d_kv)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    writer.add_layer_norm_rms_eps(config.layer_norm_epsilon)
    writer.add_relative_attn_buckets_count(config.relative_attention_num_buckets)
    writer.add_decoder_start_token_id(config.decoder_start_token_id)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.T5, max(config.num_layers, config.num_decoder_layers))
    for name, tensor in model.state_dict().items():
        if name.endswith("embed_tokens.weight") or (name.startswith("lm_head") and config.scale_decoder_outputs):
            continue
        add(writer, names.get_name(name, try_suffixes=(".weight",)), tensor.float().numpy(), case.dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def published_spelling(config):
    """As T5 1.1's config.json has it."""
    del config["scale_decoder_outputs"]
    config["tie_word_embeddings"] = False
    config["n_positions"] = 512


HOW = dict(randomize=values, oracle=oracle, oracle_file="oracle_seq2seq.safetensors")
# GGUF has no key for the last bucket's distance: it is 128.
GGUF = {**SIZE, "relative_attention_max_distance": 128}

CASES = [
    # Sparse steps of 2 and 3: experts in layers 1 and 3 of the encoder, and in layer 1 of the decoder.
    Case("switch", SwitchTransformersConfig(**{**SIZE, "vocab_size": 261}, num_layers=5, num_decoder_layers=3,
                                            num_sparse_encoder_layers=2, num_sparse_decoder_layers=1, num_experts=6,
                                            expert_capacity=1000),
         SwitchTransformersForConditionalGeneration, finish=tokenizer, **HOW),
    Case("t5", T5Config(**GGUF, num_layers=2, num_decoder_layers=3), T5ForConditionalGeneration, gguf=as_gguf, **HOW),
    Case("flan_t5", T5Config(**{**GGUF, "relative_attention_num_buckets": 32}, num_layers=2,
                             feed_forward_proj="gated-gelu", tie_word_embeddings=False),
         T5ForConditionalGeneration, gguf=as_gguf, edit=published_spelling, **HOW),
]
