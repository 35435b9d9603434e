#!/usr/bin/env python3
"""Models with changed experts, run by Quorum and by llama.cpp: do they load there, and answer alike?

    tests/tools/surgery_llama.py --llama-perplexity PATH [--quorum build/release/quorum] [MODEL.gguf TEXT]

Without MODEL: the committed models of every family with experts, given a vocabulary of single characters. Each is pruned and merged
by half (groups of experts as a whole), and both programs tell the perplexity of the same positions. Needs gguf and numpy.

llama.cpp rounds activations to the type of the weights they meet (bf16, q8_0), which sends tokens of random models to other experts.
--float writes all weights as float32 and has both compute in float32 (its flash attention, which rounds to half, is off in any case):
what differs then is a difference of the models, and llama_differences.py says which.
"""
import argparse
import json
import os
import pathlib
import random
import re
import string
import subprocess
import tempfile

import gguf

MODELS = pathlib.Path(__file__).resolve().parent.parent / "fixtures/model"
FAMILIES = ["mixtral", "qwen2_moe", "qwen3_moe", "olmoe", "olmoe_clip", "deepseek2", "deepseek2_lite", "deepseek3", "gpt_oss",
            "gpt_oss_mxfp4", "granitemoe", "granitemoe_shared", "grok", "grok_caps", "phimoe"]
LETTERS = string.ascii_lowercase + string.ascii_uppercase + string.digits


def with_letters(source, target, in_floats=False):
    """`source` with tokens of single characters, and names for what is left of its vocabulary; with `in_floats`, all weights as float32."""
    reader = gguf.GGUFReader(source)
    vocabulary = next(int(t.shape[1]) for t in reader.tensors if t.name == "token_embd.weight")
    architecture = reader.fields["general.architecture"].contents()
    writer = gguf.GGUFWriter(target, architecture)
    for name, field in reader.fields.items():
        if name.startswith(("GGUF.", "tokenizer.")) or name in ("general.architecture", f"{architecture}.vocab_size"):
            continue
        kind = field.types[0]
        writer.add_key_value(name, field.contents(), kind, field.types[-1] if kind == gguf.GGUFValueType.ARRAY else None)
    tokens = ["ab", *LETTERS][:vocabulary]
    tokens += [f"<{i}>" for i in range(vocabulary - len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.NORMAL] * vocabulary)
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(vocabulary - 1)
    writer.add_bos_token_id(vocabulary - 1)
    writer.add_add_bos_token(False)
    for tensor in reader.tensors:
        if in_floats:
            writer.add_tensor(tensor.name, gguf.dequantize(tensor.data, tensor.tensor_type))
        else:
            writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tokens


def run(command, env=None):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=env)
    if done.returncode != 0:
        reason = [line for line in (done.stderr + done.stdout).splitlines() if re.search("error|quorum:|unknown|fail", line)]
        raise RuntimeError(" / ".join(reason[:3]) or f"{command[0]} ended with {done.returncode}")
    return done.stdout + done.stderr


def pieces(text):
    """`text` as the tokens that with_letters gives."""
    return re.findall("ab|.", text)


class Pair:
    """Both programs' perplexities of the same positions."""

    def __init__(self, flags):
        self.flags = flags
        self.env = dict(os.environ, LD_LIBRARY_PATH=str(flags.llama_perplexity.resolve().parent))

    def ours(self, path, text):
        return json.loads(run([self.flags.quorum, "eval", path, "--text", text, "--ctx", self.flags.ctx, "--like-llama-perplexity",
                               "--json", "--act", "int16", "--kv", "f32", "--log-level", "error"]))["perplexity"]

    def theirs(self, path, text):
        command = [self.flags.llama_perplexity, "-m", path, "-f", text, "-c", self.flags.ctx, "-b", self.flags.ctx,
                   "-t", self.flags.threads, "-ctk", "f32", "-ctv", "f32", "-fa", "off", "--load-mode", "none"]
        for _ in range(50):  # its last lines may be lost when it ends
            if found := re.search(r"Final estimate: PPL = ([\d.]+)", run(command, self.env)):
                return float(found.group(1))
        raise RuntimeError("llama-perplexity gives no estimate")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?")
    parser.add_argument("text", nargs="?")
    parser.add_argument("--quorum", default="build/release/quorum")
    parser.add_argument("--llama-perplexity", type=pathlib.Path, required=True)
    parser.add_argument("--ctx", default="128")
    parser.add_argument("--threads", default="1", help="of llama-perplexity")
    parser.add_argument("--keep", default="50%")
    parser.add_argument("--models", type=pathlib.Path,
                        help="in place of the committed ones all GGUFs of this folder, as tests/oracle/random_cases.py makes them")
    parser.add_argument("--only", nargs="*", help="of these models")
    parser.add_argument("--unchanged", action="store_true", help="only as they are")
    parser.add_argument("--float", action="store_true", help="without MODEL: all weights in float32")
    flags = parser.parse_args()
    pair = Pair(flags)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        print("| model | experts | Quorum | llama.cpp | ratio - 1 |\n|---|---|---:|---:|---:|")
        models = flags.models or MODELS
        families = flags.only or (sorted(path.stem for path in models.glob("*.gguf")) if flags.models else FAMILIES)
        for family in [flags.model] if flags.model else families:
            if flags.model:
                base, text = pathlib.Path(flags.model), pathlib.Path(flags.text)
            else:
                base, text = folder / f"{family}.gguf", folder / "text"
                known = [t for t in with_letters(models / f"{family}.gguf", base, flags.float) if len(t) == 1]
                draw = random.Random(1)
                text.write_text("".join(draw.choice(known) for _ in range(1500)))
            for change in ("as it is",) if flags.unchanged else ("as it is", "prune", "merge"):
                try:
                    path = base
                    if change != "as it is":
                        path = folder / "changed.gguf"
                        made = json.loads(run([flags.quorum, change, base, path, "--keep", flags.keep, "--text", text, "--ctx", flags.ctx, "--force",
                                               "--json", "--log-level", "error"]))
                        experts = f"{change}: {made['experts']} of {made['experts_before']}"
                        if change == "prune":
                            assert made["equals_masked"]
                    else:
                        experts = change
                    a, b = pair.ours(path, text), pair.theirs(path, text)
                    print(f"| {base.stem} | {experts} | {a:.4f} | {b:.4f} | {a / b - 1:+.5f} |", flush=True)
                except RuntimeError as error:
                    print(f"| {base.stem} | {change} | {error} | | |", flush=True)


if __name__ == "__main__":
    main()
