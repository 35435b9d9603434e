#!/usr/bin/env python3
"""Quorum's quantizer beside llama.cpp's on the same source: processor and wall seconds, in turns.

    bench/quantize.py SOURCE.gguf --llama-quantize /path/to/llama-quantize --types q4_k,q4_0,q8_0 --rounds 3

Both get every matrix in the same type (--pure) and the same number of threads; the fastest round of each counts, as
everything else that runs on the machine only adds. Quorum's time has the SHA-256 of the file in it.
"""
import argparse
import os
import pathlib
import resource
import subprocess
import tempfile
import time

LLAMA_NAMES = {"q4x": "Q4_K_S", "q4_k": "Q4_K_S", "q5_k": "Q5_K_S", "q3_k": "Q3_K_S", "q6_k": "Q6_K", "q2_k": "Q2_K"}


def seconds(command, env=None):
    """(processor, wall) seconds of a command that must succeed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("--quorum", default="build/release/quorum")
    parser.add_argument("--llama-quantize", required=True)
    parser.add_argument("--types", default="q4x,q4_k,q5_k,q6_k,q3_k,q2_k,q4_0,q4_1,q5_0,q5_1,q8_0")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=3)
    flags = parser.parse_args()
    env = dict(os.environ, LD_LIBRARY_PATH=str(pathlib.Path(flags.llama_quantize).resolve().parent))
    print(f"{'type':6} {'Quorum cpu':>10} {'wall':>8} {'llama cpu':>10} {'wall':>8}   cpu ratio  wall ratio")
    for name in flags.types.split(","):
        best = {}
        for _ in range(flags.rounds):
            with tempfile.TemporaryDirectory() as folder:
                runs = {
                    "quorum": ([flags.quorum, "quantize", flags.source, folder + "/a.gguf", "--type", name, "--pure",
                                "--threads", str(flags.threads)], None),
                    "llama": ([flags.llama_quantize, "--pure", flags.source, folder + "/b.gguf",
                               LLAMA_NAMES.get(name, name.upper()), str(flags.threads)], env),
                }
                for who, (command, environment) in runs.items():
                    took = seconds(command, environment)
                    best[who] = [min(pair) for pair in zip(took, best.get(who, took))]
        (cpu, wall), (other_cpu, other_wall) = best["quorum"], best["llama"]
        print(f"{name:6} {cpu:10.2f} {wall:8.2f} {other_cpu:10.2f} {other_wall:8.2f}   {other_cpu / cpu:8.1f}x  {other_wall / wall:8.1f}x",
              flush=True)


if __name__ == "__main__":
    main()
