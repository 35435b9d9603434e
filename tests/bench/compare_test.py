#!/usr/bin/env python3
"""bench/compare.py with programs that only say numbers: which flags peers get, whose best counts, what a failure does."""
import json
import pathlib
import subprocess
import sys
import tempfile

COMPARE = pathlib.Path(__file__).resolve().parents[2] / "bench" / "compare.py"

# Says what a run with its flags gives; notes each command.
PROGRAM = '''#!{python} -IS
import json, pathlib, sys
arguments = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps([{name!r}, *arguments]) + "\\n")
value = lambda flag, default=None: arguments[arguments.index(flag) + 1] if flag in arguments else default
if "--help" in arguments:
    print({help!r})
    sys.exit()
{body}
'''
QUORUM = 'print(json.dumps([{"avg_ts": 300 if value("-p") != "0" else 120}]))'
LLAMA = 'print(json.dumps([{"avg_ts": 150 if value("--repack") == "1" and value("-fa") == "1" else 60}]))'
BATCHED = '[print(json.dumps({"pl": int(n), "speed_tg": 50})) for n in value("-npl").split(",")]'
IK = 'deep = "-gp" in arguments\nprint(json.dumps([{"avg_ts": 100 if deep and value("-ctk") == "q8_0" else 90 if not deep else 40}]))'


def make(folder, name, body, help=""):
    program = folder / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(PROGRAM.format(python=sys.executable, log=str(folder / "log"), name=name, help=help, body=body))
    program.chmod(0o755)
    return program


def compare(folder, *arguments):
    return subprocess.run([sys.executable, COMPARE, folder / "m.gguf", "--quorum", folder / "quorum", "--threads", "2", *arguments],
                          capture_output=True, text=True, check=False)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "m.gguf").write_text("")
        make(folder, "quorum", QUORUM)
        make(folder, "llama/llama-bench", LLAMA, "--n-depth --load-mode")
        make(folder, "llama/llama-batched-bench", BATCHED, "--no-mmap")
        make(folder, "ik/llama-bench", IK, "-gp -mmp")
        common = ["--llama", folder / "llama", "--ik", folder / "ik", "-n", "8", "-d", "64", "-b", "2", "-r", "1"]
        done = compare(folder, *common, "--json")
        assert done.returncode == 0, done.stderr
        rows = {row["test"]: row for row in json.loads(done.stdout)["rows"]}
        assert list(rows) == ["pp512", "tg8", "tg8 @ d64", "tg8 x2"], rows
        assert rows["pp512"]["ratio"] == 2 and rows["pp512"]["peers"]["llama.cpp"]["flags"].startswith("--repack 1 -fa on"), rows
        deep = rows["tg8 @ d64"]["peers"]
        assert deep["ik_llama.cpp"] == {"ts": 100, "flags": "-fmoe 1 -rtr 1 -fa on -ctk q8_0 -ctv q8_0"}, deep
        assert rows["tg8"]["peers"]["ik_llama.cpp"]["ts"] == 90
        assert rows["tg8 x2"]["ratio"] == 120 / 50 and "ik_llama.cpp" not in rows["tg8 x2"]["peers"], rows
        assert "no llama-batched-bench" in done.stderr, done.stderr

        runs = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
        llama = [run for run in runs if run[0] == "llama/llama-bench" and "--help" not in run]
        assert all("--load-mode" in run for run in llama) and sum("-d" in run for run in llama) == 6, llama
        deep = [run for run in runs if run[0] == "ik/llama-bench" and "-gp" in run]
        assert all(run[run.index("-gp") + 1] == "64,8" and "-d" not in run and "-mmp" in run for run in deep) and deep

        # Nothing but single rows: what was slow everywhere is measured once.
        (folder / "log").unlink()
        assert compare(folder, *common[:4], "-n", "8", "-d", "0", "-b", "0", "-r", "2").returncode == 0
        runs = [json.loads(line) for line in (folder / "log").read_text().splitlines()]
        llama = [run for run in runs if run[0] == "llama/llama-bench" and "--help" not in run and run[run.index("-p") + 1] == "512"]
        assert sorted(sum(run[run.index("--repack") + 1] == "1" and run[run.index("-fa") + 1] == on for run in llama) for on in "01") == [1, 4], llama

        # Versions of ik_llama.cpp differ in how they are told.
        for help, given in (("--no-fused-moe (auto|on|off|0|1) --no-mmap", ["-rtr", "-fa", "on", "--no-mmap"]), ("", ["-fmoe", "-rtr", "-fa"])):
            make(folder, "ik/llama-batched-bench", BATCHED, help)
            (folder / "log").unlink()
            done = compare(folder, *common)
            assert done.returncode == 0 and "same few experts" in done.stderr, done.stderr
            runs = [json.loads(line)[1:] for line in (folder / "log").read_text().splitlines() if "ik/llama-batched-bench" in line]
            assert any(run[-len(given):] == given for run in runs), runs
        (folder / "ik/llama-batched-bench").unlink()

        make(folder, "ik/llama-bench", "sys.exit('no such architecture')", "-gp")
        done = compare(folder, *common)
        assert done.returncode == 1 and "no such architecture" in done.stderr and "| tg8 | 120.0 |" in done.stdout, (done.stdout, done.stderr)
        done = compare(folder, "--ik", folder / "nothing")
        assert done.returncode != 0 and "no llama-bench in" in done.stderr, done.stderr


if __name__ == "__main__":
    main()
