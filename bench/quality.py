#!/usr/bin/env python3
"""Quorum's quantized files beside llama.cpp's, made of the same source: size, error of the weights, KL divergence, perplexity.

    bench/quality.py SOURCE.gguf TEXT --llama-quantize PATH [--llama-perplexity PATH] [--calibrate TEXT | --imatrix FILE]

All files are run by Quorum (`eval --reference SOURCE`); with --llama-perplexity the q4x file by llama.cpp too, on the same
positions. RMSE is of the matrices of the layers, relative to their values.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import tempfile

import gguf
import numpy as np


def run(command, env=None):
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout, done.stderr


def matrices(path):
    return {t.name: t for t in gguf.GGUFReader(path).tensors if t.name.startswith("blk.") and len(t.shape) > 1}


def relative_error(source, made):
    error = squares = 0.0
    for name, tensor in made.items():
        x = gguf.quants.dequantize(source[name].data, source[name].tensor_type).astype(np.float64)
        y = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        error += ((x - y) ** 2).sum()
        squares += (x ** 2).sum()
    return (error / squares) ** 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("text")
    parser.add_argument("--quorum", default="build/release/quorum")
    parser.add_argument("--llama-quantize", required=True)
    parser.add_argument("--llama-perplexity")
    parser.add_argument("--imatrix", help="adds files weighed by, and equalized with, this importance matrix")
    parser.add_argument("--calibrate", help="the same with a matrix that Quorum makes of this text")
    parser.add_argument("--extra", action="append", default=[], help='more of Quorum, as "name: --target-bpw 4.5"')
    parser.add_argument("--ctx", default="512", help="tokens of a window; llama-perplexity needs two of them")
    parser.add_argument("--eval", default="", help="more flags of quorum eval")
    parser.add_argument("--out", help="folder for the files (else a temporary one)")
    flags = parser.parse_args()
    env = dict(os.environ, LD_LIBRARY_PATH=str(pathlib.Path(flags.llama_quantize).resolve().parent))
    source = matrices(flags.source)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(flags.out or temporary)
        made = {"Q8_0": ["--type", "q8_0"], "Q4_0": ["--type", "q4_0"], "Q4_K": ["--type", "q4_k"], "q4x": ["--type", "q4x"]}
        if flags.calibrate:
            flags.imatrix = str(folder / "imatrix.gguf")
            run([flags.quorum, "quantize", flags.source, "--calibrate", flags.calibrate, "--save-imatrix", flags.imatrix, "--force"])
        if flags.imatrix:
            weighed = {name: ["--type", name, "--imatrix", flags.imatrix] for name in ("q4_0", "q4_k", "q4x", "q8_0")}
            made |= {f"{name} weighed": weighed[name] for name in ("q4_0", "q4_k", "q4x")}
            made |= {f"{name} equalized": [*weighed[name], "--equalize"] for name in ("q4x", "q8_0")}
        for extra in flags.extra:
            name, _, options = extra.partition(":")
            made[name] = options.split()
        paths = {}
        for name, type_name in (("llama.cpp Q4_0", "Q4_0"), ("llama.cpp Q4_K", "Q4_K_S"), ("llama.cpp Q8_0", "Q8_0")):
            paths[name] = folder / (name.replace(" ", "_") + ".gguf")
            run([flags.llama_quantize, flags.source, str(paths[name]), type_name], env)
        if flags.imatrix:
            paths["llama.cpp Q4_K weighed"] = folder / "llama.cpp_Q4_K_weighed.gguf"
            run([flags.llama_quantize, "--imatrix", flags.imatrix, flags.source, str(paths["llama.cpp Q4_K weighed"]), "Q4_K_S"], env)
        for name, options in made.items():
            paths[name] = folder / (name.replace(" ", "_") + ".gguf")
            run([flags.quorum, "quantize", flags.source, str(paths[name]), *options, "--force"])
        print(f"{'file':22} {'MB':>9} {'RMSE':>8} {'KL':>10} {'top-1 %':>8} {'perplexity':>11}")
        for name, path in paths.items():
            out, _ = run([flags.quorum, "eval", str(path), "--text", flags.text, "--reference", flags.source, "--json",
                          "--ctx", flags.ctx, *flags.eval.split()])
            result = json.loads(out)
            difference = result["difference"]
            print(f"{name:22} {path.stat().st_size / 1e6:9.2f} {relative_error(source, matrices(path)):8.4f} "
                  f"{difference['kl_mean']:10.6f} {100 * difference['top1_agreement']:8.2f} {result['perplexity']:11.4f}", flush=True)
        if flags.llama_perplexity:
            for name in ("q4x", "llama.cpp Q4_K"):
                own, _ = run([flags.quorum, "eval", str(paths[name]), "--text", flags.text, "--like-llama-perplexity", "--json",
                              "--ctx", flags.ctx, *flags.eval.split()])
                out, err = run([flags.llama_perplexity, "-m", str(paths[name]), "-f", flags.text, "-c", flags.ctx, "-t", "2"], env)
                found = re.search(r"Final estimate: PPL = ([0-9.]+)", out + err)
                if found is None:
                    raise SystemExit(f"llama-perplexity gives no estimate:\n{err[-1000:]}")
                theirs = float(found.group(1))
                ours = json.loads(own)["perplexity"]
                print(f"{name}: perplexity {ours:.4f}, in llama.cpp {theirs:.4f} ({100 * (ours / theirs - 1):+.3f} %)")


if __name__ == "__main__":
    main()
