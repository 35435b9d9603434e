#!/usr/bin/env python3
"""Quorum beside llama.cpp and ik_llama.cpp on the same GGUF: prefill, decode, batched decode, decode in a long context.

    bench/compare.py MODEL.gguf --llama DIR [--ik DIR] [-p 512] [-n 64] [-b 16,48] [-d 4096] [-r 3] [--threads N]
                     [--quorum build/release/quorum] [--quorum-flags="--act int8"] [--json]

DIR holds llama-bench and, for batched rows, llama-batched-bench. Peers run with each of their flag sets (llama.cpp: with and without
repacking; ik_llama.cpp: fused experts, with and without run-time repacking; both: without flash attention, with it, and with it over a q8_0
cache), and the best one counts, row by row. All engines take turns (A B A B ...), each round measures every row once, and medians are
compared. A flag set that was nowhere within 15 % of the best of its program in the first round is left out of the others. Nothing else
should be running: the load average is printed. Exit status 1 if an engine fails on every row.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
BATCH_PROMPT = 32  # tokens of each sequence before a batch decodes


class Engine:
    """A program with one set of flags; `rows` maps a row's name to its samples in tokens a second."""

    def __init__(self, name, label):
        self.name, self.label, self.rows, self.errors = name, label, {}, []

    def add(self, row, rate):
        self.rows.setdefault(row, []).append(rate)

    def run(self, command, threads):
        # Their OpenMP threads collide unless there are exactly as many as the engine starts.
        env = dict(os.environ, OMP_NUM_THREADS=str(threads))
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, check=False)
        if done.returncode != 0:
            self.errors.append((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
            return ""
        return done.stdout


def single_rows(args):
    """(name, prompt, generated, depth) of the rows with one sequence."""
    rows = [(f"pp{n}", n, 0, 0) for n in args.prompts] + [(f"tg{n}", 0, n, 0) for n in args.generated]
    return rows + [(f"tg{n} @ d{d}", 0, n, d) for d in args.depths for n in args.generated]


class Quorum(Engine):
    def __init__(self, args):
        super().__init__("Quorum", " ".join(args.quorum_flags.split()) or "default")
        self.args = args

    def round(self):
        a = self.args
        base = [a.quorum, "bench", a.model, "-r", 1, "--threads", a.threads, "--json", *a.quorum_flags.split()]
        commands = [(name, [*base, "-p", p, "-n", n, "-d", d]) for name, p, n, d in single_rows(a)]
        commands += [(f"tg{n} x{b}", [*base, "-p", 0, "-n", n, "-b", b, "-d", BATCH_PROMPT])
                     for n in a.generated for b in a.batches]
        for name, command in commands:
            output = self.run(command, a.threads)
            if output:
                self.add(name, json.loads(output)[0]["avg_ts"])


class Llama(Engine):
    def __init__(self, args, name, folder, label, flags, batched_flags):
        super().__init__(name, label)
        self.args, self.folder, self.flags, self.batched_flags = args, folder, flags, batched_flags
        self.knows_depth = "--n-depth" in help_of(folder / "llama-bench")

    def single(self, prompt, generated, depth):
        """What llama-bench is told to measure."""
        if depth == 0:
            return ["-p", prompt, "-n", generated]
        return ["-p", 0, "-n", generated, "-d", depth] if self.knows_depth else ["-p", 0, "-n", 0, "-gp", f"{depth},{generated}"]

    def round(self):
        a = self.args
        for name, p, n, d in single_rows(a):
            command = [self.folder / "llama-bench", "-m", a.model, "-r", 1, "-t", a.threads, "-o", "json", *self.single(p, n, d), *self.flags]
            output = self.run(command, a.threads)
            if output:
                self.add(name, json.loads(output)[0]["avg_ts"])
        program = self.folder / "llama-batched-bench"
        for n in a.generated if a.batches and program.exists() else []:
            command = [program, "-m", a.model, "-t", a.threads, "-npp", BATCH_PROMPT, "-ntg", n,
                       "-npl", ",".join(map(str, a.batches)), "-c", max(a.batches) * (BATCH_PROMPT + n),
                       "--output-format", "jsonl", *self.batched_flags]
            for line in self.run(command, a.threads).splitlines():
                if line.startswith("{"):
                    row = json.loads(line)
                    self.add(f"tg{n} x{row['pl']}", row["speed_tg"])


def help_of(program):
    text = subprocess.run([program, "--help"], capture_output=True, text=True, check=False)
    return text.stdout + text.stderr


def no_mmap(program):
    """How this version is told to keep the weights in anonymous memory, as Quorum does."""
    text = help_of(program)
    if "--load-mode" in text:
        return ["--load-mode", "none"]
    if "--no-mmap" in text:
        return ["--no-mmap"]
    return ["-mmp", "0"] if "-mmp" in text else []


ATTENTIONS = (("on", ()), ("off", ()), ("on", ("-ctk", "q8_0", "-ctv", "q8_0")))  # flash attention, and how the cache is kept


def batched_switches(text, repack, attention):
    """How the version of ik_llama.cpp's llama-batched-bench whose help is `text` is told what llama-bench is told by -fmoe, -rtr and -fa."""
    fused = [] if "--no-fused-moe" in text else ["-fmoe"]  # newer ones do it unless told otherwise
    valued = ["-fa", attention] if "(auto|on|off" in text else ["-fa"] if attention == "on" else []
    return [*fused, *(["-rtr"] if repack else []), *valued]


def peers(args):
    for folder, name in ((args.llama, "llama.cpp"), (args.ik, "ik_llama.cpp")):
        if folder is None:
            continue
        if not (folder / "llama-bench").exists():
            sys.exit(f"compare.py: no llama-bench in {folder} (--{'llama' if name == 'llama.cpp' else 'ik'})")
        program = folder / "llama-batched-bench"
        bench, batched, batched_help = no_mmap(folder / "llama-bench"), [], ""
        if program.exists():
            batched, batched_help = no_mmap(program), help_of(program)
        elif args.batches:
            print(f"compare.py: no llama-batched-bench in {folder}: {name} is not measured with several sequences", file=sys.stderr)
        if name == "ik_llama.cpp" and args.batches and program.exists():
            print("compare.py: ik_llama.cpp's llama-batched-bench gives all sequences the same tokens, so all of them use the same few experts:\n"
                  "  its rows with several sequences mean nothing unless it was changed to random ones, as llama.cpp's and Quorum's have", file=sys.stderr)
        for repack in (1, 0):
            for attention, cache in ATTENTIONS:
                shown = " ".join(["-fa", attention, *cache])
                single = ["-fa", int(attention == "on"), *cache, *bench]
                if name == "llama.cpp":
                    yield Llama(args, name, folder, f"--repack {repack} {shown}", ["--repack", repack, *single],
                                ["-fa", attention, *cache, *([] if repack else ["--no-repack"]), *batched])
                else:
                    yield Llama(args, name, folder, f"-fmoe 1 -rtr {repack} {shown}", ["-fmoe", 1, "-rtr", repack, *single],
                                [*batched_switches(batched_help, repack, attention), *cache, *batched])


def promising(engines):
    """Quorum, and the flag sets that may turn out to be the best of their program in some row."""
    best = {}
    for engine in engines:
        for row, rates in engine.rows.items():
            best[engine.name, row] = max(best.get((engine.name, row), 0), *rates)
    return [engine for engine in engines
            if isinstance(engine, Quorum) or any(max(rates) > 0.85 * best[engine.name, row] for row, rates in engine.rows.items())]


def numbers(text):
    return [int(part) for part in text.split(",") if int(part) > 0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--quorum", type=pathlib.Path, default=ROOT / "build/release/quorum")
    parser.add_argument("--quorum-flags", default="", help="flags of `quorum bench`, for example '--act int8 --kv int8'")
    parser.add_argument("--llama", type=pathlib.Path, help="folder of llama.cpp's programs")
    parser.add_argument("--ik", type=pathlib.Path, help="folder of ik_llama.cpp's programs")
    parser.add_argument("-p", dest="prompts", type=numbers, default=[512])
    parser.add_argument("-n", dest="generated", type=numbers, default=[64])
    parser.add_argument("-b", dest="batches", type=numbers, default=[16, 48])
    parser.add_argument("-d", dest="depths", type=numbers, default=[4096])
    parser.add_argument("-r", dest="rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if not args.model.exists():
        parser.error(f"{args.model}: no such file")
    engines = [Quorum(args), *peers(args)]
    load = os.getloadavg()[0]
    for index in range(args.rounds):
        for engine in promising(engines) if index > 0 else engines:
            print(f"round {index + 1} of {args.rounds}: {engine.name} {engine.label}", file=sys.stderr)
            engine.round()

    names = list(dict.fromkeys(name for engine in engines for name in engine.rows))
    table = []
    for name in names:
        medians = {engine: statistics.median(engine.rows[name]) for engine in engines if name in engine.rows}
        row = {"test": name, "quorum": medians.get(engines[0]), "peers": {}}
        for engine in engines[1:]:
            best = row["peers"].get(engine.name)
            if engine in medians and (best is None or medians[engine] > best["ts"]):
                row["peers"][engine.name] = {"ts": medians[engine], "flags": engine.label}
        best = max((peer["ts"] for peer in row["peers"].values()), default=None)
        row["ratio"] = row["quorum"] / best if row["quorum"] and best else None
        table.append(row)
    for engine in engines:
        if engine.errors:
            print(f"compare.py: {engine.name} {engine.label}: {engine.errors[-1]}", file=sys.stderr)
    if args.json:
        print(json.dumps({"model": str(args.model), "threads": args.threads, "rounds": args.rounds, "load_before": load, "rows": table}, indent=2))
    else:
        print(f"{args.model.name}, {args.threads} threads, medians of {args.rounds}, load average before {load:.2f}; tokens a second\n")
        found = list(dict.fromkeys(engine.name for engine in engines[1:]))
        print("| test | Quorum | " + " | ".join(f"{name} (best flags)" for name in found) + " | ratio to the best |")
        print("|---|---:|" + "---:|" * (len(found) + 1))
        for row in table:
            cells = [f"{row['quorum']:.1f}" if row["quorum"] else "failed"]
            cells += [f"{row['peers'][name]['ts']:.1f} ({row['peers'][name]['flags']})" if name in row["peers"] else "-" for name in found]
            cells.append(f"{row['ratio']:.2f}" if row["ratio"] else "-")
            print(f"| {row['test']} | " + " | ".join(cells) + " |")
    failed = {engine.name for engine in engines} - {engine.name for engine in engines if engine.rows}
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
