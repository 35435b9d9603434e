"""SmolLM3: every fourth layer does without rotary positions."""
from transformers import SmolLM3Config, SmolLM3ForCausalLM

from common import PLAIN, SIZE, Case
from gguf_decoder import writer

def randomize(name, parameter, noise):
    # Tied embeddings that outweigh the blocks would only ever repeat a token.
    return 0.1 * noise if "embed_tokens" in name else None


CASES = [
    Case("smollm3", SmolLM3Config(**{**SIZE, "num_hidden_layers": 5, "hidden_size": 40, "num_attention_heads": 5,
                                     "num_key_value_heads": 1}, rope_parameters=PLAIN), SmolLM3ForCausalLM,
         randomize=randomize, gguf=writer("smollm3")),
]
