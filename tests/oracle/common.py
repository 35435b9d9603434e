"""What all cases of make_fixtures.py share: random weights, the oracle's run, saving."""
import dataclasses
import json
import tempfile
import typing
import zlib

import torch
import transformers
from safetensors.torch import load_file, save_file

PROMPT = 48
GREEDY = 32

# Odd sizes on purpose: six heads over three, a width that is no power of two and no multiple of 32.
SIZE = dict(hidden_size=48, intermediate_size=56, num_hidden_layers=2, num_attention_heads=6, num_key_value_heads=3,
            vocab_size=67, max_position_embeddings=256, bos_token_id=1, eos_token_id=2, pad_token_id=0)
THETA = 1000.0
PLAIN = dict(rope_type="default", rope_theta=THETA)


@dataclasses.dataclass
class Case:
    name: str
    config: transformers.PretrainedConfig
    model: type
    dtype: torch.dtype = torch.bfloat16
    # gguf(case, model, path): writes the GGUF file, then calls gguf_decoder.add_oracle or the like.
    gguf: typing.Callable | None = None
    # randomize(name, parameter, noise): the value of a parameter, or None for the usual one.
    randomize: typing.Callable = lambda name, parameter, noise: None
    # edit(config): changes the saved config.json's dict, e.g. to an older spelling.
    edit: typing.Callable = lambda config: None
    # oracle(case, model, generator): tensors of another oracle than the usual one, and the file's name.
    oracle: typing.Callable | None = None
    oracle_file: str = "oracle.safetensors"
    # finish(folder): writes further files.
    finish: typing.Callable = lambda folder: None
    max_shard_size: str = "5GB"
    # quantize(tensors): given the file's tensors, what they become when quantized and back, what the file shall hold instead,
    # and the config's "quantization_config".
    quantize: typing.Callable | None = None
    # more(model, tokens): further answers for oracle.safetensors.
    more: typing.Callable = lambda model, tokens: {}


def usual(name, parameter, noise):
    """Values large enough that attention, norms, biases and routing all matter."""
    if "norm" in name and name.endswith("weight"):
        return 1.0 + 0.3 * noise
    if name.endswith("bias"):
        return 0.3 * noise
    if "embed_tokens" in name or "shared_expert_gate" in name:
        return 0.5 * noise
    if "router" in name or name.endswith("mlp.gate.weight"):
        return 0.5 * noise
    return noise / parameter.shape[-1] ** 0.5


def randomize(case, model, generator):
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            value = case.randomize(name, parameter, noise)
            parameter.copy_((usual(name, parameter, noise) if value is None else value).to(case.dtype).float())


class RouterProbe:
    """Records what modules called ...Router give: (scores of all experts, ..., chosen ids)."""

    def __init__(self, model):
        self.calls = {}
        for name, module in model.named_modules():
            if type(module).__name__.endswith("Router"):
                layer = int(next(part for part in name.split(".") if part.isdigit()))
                module.register_forward_hook(lambda _m, _i, out, layer=layer: self.calls.__setitem__(layer, out))

    def experts(self, layers, tokens):
        """(layers, tokens, k) ids, ascending, and the margins (layers, tokens)."""
        chosen = {}
        for layer, out in self.calls.items():
            ids = next(t for t in out if torch.is_tensor(t) and not t.is_floating_point())
            scores = out[0].float().reshape(tokens, -1)
            ids = ids.reshape(tokens, -1)
            left = scores.scatter(1, ids, -torch.inf).max(1).values
            chosen[layer] = (ids.sort(1).values, scores.gather(1, ids).min(1).values - left)
        if not chosen:
            return None
        k = next(iter(chosen.values()))[0].shape[1]
        ids = torch.full((layers, tokens, k), -1, dtype=torch.int32)
        margin = torch.full((layers, tokens), torch.inf)
        for layer, (i, m) in chosen.items():
            ids[layer], margin[layer] = i.int(), m
        return ids, margin


def oracle(case, model, tokens):
    probe = RouterProbe(model)
    with torch.no_grad():
        out = {"tokens": tokens.int(), "logits": model(tokens[None]).logits[0].float().contiguous()}
        routed = probe.experts(model.config.num_hidden_layers, len(tokens))
        if routed:
            out["experts"], out["margin"] = routed
        text = tokens
        for _ in range(GREEDY):
            text = torch.cat([text, model(text[None]).logits[0, -1].argmax()[None]])
        out["greedy"] = text[len(tokens):].int()
    return out


def versions():
    return f"torch {torch.__version__}, transformers {transformers.__version__}, tests/oracle/make_fixtures.py"


def make(case, out):
    """Builds, runs and saves one case."""
    model = case.model(case.config).eval().float()
    model.set_attn_implementation("eager")
    generator = torch.Generator().manual_seed(zlib.crc32(case.name.encode()))
    randomize(case, model, generator)
    model.tie_weights()
    packed, how = None, None
    if case.quantize:
        with tempfile.TemporaryDirectory() as temp:
            model.save_pretrained(temp)
            rounded, packed, how = case.quantize(load_file(f"{temp}/model.safetensors"))
            save_file(rounded, f"{temp}/model.safetensors", metadata={"format": "pt"})
            model = case.model.from_pretrained(temp, dtype=torch.float32, attn_implementation="eager").eval()
    if case.oracle:
        result = case.oracle(case, model, generator)
    else:
        tokens = torch.randint(3, case.config.vocab_size, (PROMPT,), generator=generator)
        result = oracle(case, model, tokens)
        result.update(case.more(model, tokens))
    folder = out / case.name
    if folder.exists():
        for file in folder.iterdir():
            file.unlink()
    model.to(case.dtype).save_pretrained(folder, max_shard_size=case.max_shard_size)
    config = json.loads((folder / "config.json").read_text())
    if packed:
        save_file(packed, folder / "model.safetensors", metadata={"format": "pt"})
        config["quantization_config"] = how
    case.edit(config)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file(result, folder / case.oracle_file, metadata={"made_with": versions()})
    case.finish(folder)
    model.float()
    if case.gguf:
        case.gguf(case, model, out / f"{case.name}.gguf", result)
    for file in folder.iterdir():
        file.chmod(0o644)
    bytes_ = sum(file.stat().st_size for file in folder.iterdir())
    logits = result["logits"]
    print(f"{case.name}: {bytes_} bytes, logits {logits.min():.3f} .. {logits.max():.3f}", flush=True)
