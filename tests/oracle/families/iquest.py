"""IQuest-Coder: Llama under another name. transformers has no class of its own for it."""
from transformers import LlamaConfig, LlamaForCausalLM

from common import PLAIN, SIZE, Case
from gguf_decoder import writer


def published_spelling(config):
    config["model_type"] = "iquestcoder"
    config["architectures"] = ["IQuestCoderForCausalLM"]
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config.update(rope_scaling=None, clip_qkv=None, use_sliding_window=False, sliding_window=None, max_window_layers=0)


CASES = [
    Case("iquestcoder", LlamaConfig(**SIZE, head_dim=16, rope_parameters=PLAIN), LlamaForCausalLM, gguf=writer("llama"),
         edit=published_spelling),
]
