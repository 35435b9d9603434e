"""The command line as people meet it: a variable for every option, exit statuses, wrong values told before any work, nothing
ignored without a word, the demo by its name.
    command_line_test.py QUORUM"""
import json
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODELS = ROOT / "tests/fixtures/model"
MOE, DENSE = MODELS / "tiny_chat_moe.gguf", ROOT / "tests/fixtures/quant/dense.gguf"
DEMO = ROOT / "cli/demo/committee.gguf"
TEXT = ROOT / "tests/committee/questions.txt"
QUORUM = sys.argv[1]
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith("QUORUM_")}


def run(*arguments, **variables):
    return subprocess.run([QUORUM, *map(str, arguments)], capture_output=True, text=True, errors="replace",
                          stdin=subprocess.DEVNULL, env={**CLEAN, **variables})


def expect(status, words, *arguments, **variables):
    """Ends with `status`, says each of `words` on standard error, and did not load a model if it failed."""
    done = run(*arguments, **variables)
    said = done.stdout + done.stderr
    assert done.returncode == status, (arguments, done.returncode, said)
    for word in [words] if isinstance(words, str) else words:
        assert word in (done.stderr if status else said), (arguments, word, said)
    assert "/proc/" not in said, said
    if status in (1, 2):
        assert "memory: weights" not in said, ("a model was loaded before the fault was told", arguments, said)
    return done


def sections():
    """Command -> list of (option, short, variable), from the man page, which walks the command line's own definition."""
    page = run("man").stdout.replace("\\-", "-")
    commands = {part.split("\n", 1)[0]: part for part in page.split(".SH OPTIONS OF ALL COMMANDS")[0].split("\n.SS ")[1:]}
    commands[""] = page.split(".SH OPTIONS OF ALL COMMANDS")[1].split("\n.SH ")[0]
    out = {}
    for command, text in commands.items():
        out[command] = []
        for head, body in re.findall(r"\.TP\n(\\fB.*)\n(.*(?:\n[^.\n].*)*)", text):
            variable = re.search(r"\[([A-Z][A-Z0-9_]*)\]$", body.strip())
            out[command].append((re.match(r"\\fB(.*?)\\fR", head)[1], variable and variable[1]))
    return out


def check_variables(folder):
    none = {"--help", "--version", "--force"}
    seen = {}
    for command, options in sections().items():
        assert len(options) >= 2 or command in ("man", "completion"), (command, options)
        names = [variable for _, variable in options if variable]
        assert len(names) == len(set(names)), (command, names)
        for option, variable in options:
            if option in none or (not option.startswith("-") and option != "MODEL"):
                assert variable is None, (command, option, variable)
            elif option.startswith("-"):
                assert variable, f"{command} {option} has no variable"
                assert seen.setdefault(variable, option) == option, (variable, option, seen[variable])
                shown = run(*([command] if command else []), "--help").stdout
                assert variable in shown, (command, variable)
    for name in ("QUORUM_PORT", "QUORUM_TEMPERATURE", "QUORUM_QUANTIZE_TYPE", "QUORUM_QUANTIZE_DRY_RUN", "QUORUM_EVAL_TEXT", "QUORUM_JSON",
                 "QUORUM_UPCYCLE_EXPERTS", "QUORUM_PRUNE_BY", "QUORUM_EXPERTS_CTX", "QUORUM_LOG_LEVEL", "QUORUM_DEMO", "HF_TOKEN"):
        assert name in seen, name
    # They work, the command line comes first, those of other commands do not matter, and wrong values are told.
    assert json.loads(run("simulate", QUORUM_SIMULATE_REQUESTS="7", QUORUM_JSON="1").stdout)["requests"] == 7
    assert "requests in" in run("simulate", "--requests", "3", QUORUM_JSON="0").stdout
    assert json.loads(run("simulate", "--requests", "3", "--json", QUORUM_SIMULATE_REQUESTS="7").stdout)["requests"] == 3
    # Of a flag that is given twice the last counts.
    twice = run("simulate", "--requests", "3", "--json", "--requests", "5", "--seed", "1", "--seed=2", QUORUM_SIMULATE_REQUESTS="7")
    once = run("simulate", "--requests", "5", "--json", "--seed", "2")
    assert twice.stdout == once.stdout and json.loads(once.stdout)["requests"] == 5, (twice, once)
    expect(0, [], "inspect", QUORUM_MODEL=str(MOE), QUORUM_PORT="none", QUORUM_QUANTIZE_TYPE="none")
    expect(2, ["--requests", "QUORUM_SIMULATE_REQUESTS"], "simulate", QUORUM_SIMULATE_REQUESTS="none")
    expect(2, ["--log-level", "QUORUM_LOG_LEVEL"], "inspect", MOE, QUORUM_LOG_LEVEL="none")
    expect(2, ["--rate", "QUORUM_SIMULATE_RATE"], "simulate", QUORUM_SIMULATE_RATE="-1")
    assert run("run", "-p", "Reverse hello", QUORUM_DEMO="1").stdout.strip() == "olleh"
    assert run("run", "--demo", "-p", "Reverse hello", QUORUM_MODEL="none.gguf").stdout.strip() == "olleh"
    assert json.loads(run("inspect", MOE, "--json", QUORUM_DEMO="1").stdout)["files"] == [str(MOE)]
    assert json.loads(run("inspect", "--demo", "--json").stdout)["experts"] == 16
    there = folder / "there.gguf"
    there.write_text("precious")
    expect(1, "exists already", "upcycle", DENSE, there, QUORUM_UPCYCLE_FORCE="1", QUORUM_FORCE="1")
    assert there.read_text() == "precious"


def check_served_file(folder):
    """A file that is no model is told before a port is opened, and the demo's first words name what it knows."""
    for path, words in (("none.gguf", "cannot open none.gguf: No such file"), (folder, "no config.json"), (TEXT, "not a GGUF file")):
        done = expect(1, words, "serve", path, "--port", 0)
        assert "listening" not in done.stderr, done.stderr
    server = subprocess.Popen([QUORUM, "serve", "--demo", "--port", "0", "--log-level", "error"], stdout=subprocess.PIPE, text=True, env=CLEAN)
    said = "".join(server.stdout.readline() for _ in range(5))
    server.send_signal(signal.SIGTERM)
    said += server.communicate(timeout=60)[0]
    assert server.returncode == 0 and '"Sum 47+8"' in said, said
    answers = {"Sum 47+8": "55", "Sort dcab": "abcd", "Reverse hello": "olleh", "Date 2024-01-31": "2024-02-01", "Close ([{": "}])",
               "Recall a3 k7 q1 k": "k7", "Max 17 93 4": "93", "Shift abc": "bcd"}
    for question, answer in answers.items():
        assert question in said and run("run", "--demo", "-p", question).stdout.strip() == answer, question


def check_statuses(folder):
    expect(0, "serve", "--help")
    expect(0, "Exit status: 0", "--help")
    assert "EXIT STATUS" in run("man").stdout
    expect(2, "a command is needed; there are serve, run")
    expect(2, "there is no command 'evil'", "evil")
    expect(2, "there is no option --bogus of eval", "eval", "--demo", "--bogus", 5)
    expect(2, "'more' is one argument too many", "inspect", MOE, "more")
    expect(2, "--demo excludes MODEL", "eval", MOE, "--demo", "--text", TEXT)
    expect(2, "MODEL is required", "eval", "--text", TEXT)
    expect(2, "--port", "serve", MOE, "--port", 99999)
    expect(1, "none.gguf", "inspect", "none.gguf")
    expect(1, "none.gguf", "eval", "none.gguf", "--text", TEXT)


def check_values(folder):
    """Wrong values and outputs that cannot be written."""
    text, out, nowhere = ["--text", TEXT], folder / "out.gguf", folder / "missing" / "out.gguf"
    for keep in ("abc", "200%", "0", "2.5", "-1"):
        expect(2, ["--keep", keep, "75%"], "prune", MOE, out, f"--keep={keep}", *text)
        expect(2, "--keep", "merge", MOE, out, f"--keep={keep}", *text)
    expect(1, "expected a number from 1 to 4", "prune", MOE, out, "--keep", 5, *text)
    expect(2, ["--drop", "x:1"], "prune", MOE, out, "--drop", "x:1")
    expect(1, ["--drop 99", "experts 0 to 3"], "prune", MOE, out, "--drop", 99)
    expect(1, ["--drop 7:0"], "prune", MOE, out, "--drop", "7:0")
    expect(2, ["--keep 75%", "--idle", "--drop 3"], "prune", MOE, out, *text)
    expect(2, ["--text or --report"], "prune", MOE, out, "--keep", 3)
    bad = folder / "bad.json"
    bad.write_text('{"layers": 5}')
    expect(1, "report", "prune", MOE, out, "--keep", 3, "--report", bad, *text)
    expect(2, "--ctx", "merge", MOE, out, "--keep", 2, "--ctx", 1)
    for place in (folder, nowhere):
        for way in (["prune", MOE, place, "--drop", 3], ["merge", MOE, place, "--keep", 2], ["upcycle", DENSE, place],
                    ["upcycle", DENSE, place, "--carve", *text], ["quantize", DENSE, place, "--type", "q8"],
                    ["quantize", DENSE, "--calibrate", TEXT, "--save-imatrix", place],
                    ["add", DENSE, place, "--expert", DENSE, *text, "--base-text", TEXT],
                    ["experts", "--demo", *text, "--html", place], ["experts", "--demo", *text, "--log", place],
                    ["eval", "--demo", *text, "--save-logits", place], ["serve", "--demo", "--port", 0, "--expert-log", place],
                    ["serve", "--demo", "--port", 0, "--prefix-file", place]):
            expect(1, [str(place), "folder"], *way)
    kept = folder / "kept"
    kept.write_text("a model, perhaps")
    for way in (["experts", "--demo", *text, "--html", kept], ["experts", "--demo", *text, "--log", kept], ["eval", "--demo", *text, "--save-logits", kept]):
        expect(1, [str(kept), "exists already", "--force"], *way)
        expect(2, "--force", *way[:-2], "--force")
    expect(1, [str(kept), "written over"], "serve", "--demo", "--port", 0, "--prefix-file", kept)
    assert kept.read_text() == "a model, perhaps"
    expect(1, ["/dev/null", "no requests"], "simulate", "--trace", "/dev/null")
    faulty = folder / "faulty"
    faulty.symlink_to("/proc/self/mem")
    expect(1, [str(faulty), "read to its end"], "simulate", "--trace", faulty)
    expect(1, [str(faulty), "read to its end"], "experts", "--from", faulty)
    expect(0, "", "experts", "--demo", *text, "--html", kept, "--force")
    assert kept.read_text().startswith("<!")
    expect(1, ["--top-k", "50"], "add", DENSE, out, "--expert", DENSE, *text, "--base-text", TEXT, "--top-k", 50)
    expect(2, "1 --expert and 2 --text", "add", DENSE, out, "--expert", DENSE, *text, *text, "--base-text", TEXT)
    expect(1, ["bad.json", "report"], "experts", "--demo", *text, "--compare", bad)
    bad.write_text('{"layers": [{"layer": 0, "experts": [{"tokens": 1}]}]}')
    expect(1, ["bad.json", "demo", "layers"], "experts", "--demo", *text, "--compare", bad)
    expect(2, ["--top-k", "4 experts"], "upcycle", DENSE, out, "--experts", 4, "--top-k", 5)
    expect(1, "cannot be carved", "upcycle", DENSE, out, "--carve", "--experts", 1000, *text)
    expect(2, ["--type", "q9", "q4_k"], "quantize", DENSE, out, "--type", "q9")
    expect(2, ["--target-types", "q9"], "quantize", DENSE, out, "--target-bpw", 4, "--target-types", "q4_k,q9")
    expect(2, ["--target-size", "12 parsecs"], "quantize", DENSE, out, "--target-size", "12 parsecs")
    expect(1, ["--target-size 1K", "smallest", "kB"], "quantize", DENSE, out, "--requantize", "--target-size", "1K")
    expect(1, ["--target-bpw 0.5", "smallest"], "quantize", DENSE, out, "--requantize", "--target-bpw", 0.5)
    plan = folder / "plan"
    plan.write_text("no.such.* q8_0\n")
    expect(1, "no tensor has a name like", "quantize", DENSE, out, "--plan", plan, "--calibrate", TEXT)
    expect(2, ["--moe-top-k", "'0'", "'all'"], "eval", "--demo", *text, "--moe-top-k", 0)
    expect(1, ["demo", "--moe-top-k is 17", "1 to 16"], "eval", "--demo", *text, "--moe-top-k", 17)
    expect(1, ["--moe-top-k is 17", "1 to 16"], "eval", "--demo", *text, "--moe-top-k", "1,17")
    expect(2, ["'x' at character 5 is no expert", "0:1,2;5:7"], "eval", "--demo", *text, "--mask", "0:1,x")
    expect(2, ["'' at character 3 is no expert"], "eval", "--demo", *text, "--mask", "1,")
    expect(2, ["'a' at character 5 is no layer"], "eval", "--demo", *text, "--mask", "0:1;a:2")
    expect(1, ["demo", "--mask names expert 99", "experts 0 to 15"], "eval", "--demo", *text, "--mask", "99")
    expect(1, "dense", "eval", DENSE, *text, "--moe-top-k", 2)
    expect(1, "none.gguf", "eval", "--demo", *text, "--compare", "none.gguf")
    expect(1, ["vocabulary", str(MOE)], "eval", "--demo", *text, "--reference", MOE)
    template = folder / "template.jinja"
    template.write_text("{% if %}")
    expect(1, "template.jinja", "run", "--demo", "-p", "Max 1 2", "--chat-template", template)
    latin = folder / "latin.txt"
    latin.write_bytes(b"one line\ncaf\xe9 au lait\n")
    for way in (["eval", "--demo"], ["experts", "--demo"], ["prune", MOE, out, "--keep", 3]):
        expect(1, ["latin.txt is no UTF-8", "0xe9", "offset 12 (line 2)"], *way, "--text", latin)


def check_combinations(folder):
    """What would be ignored is refused."""
    out, text = folder / "out.gguf", ["--text", TEXT]
    matrix = folder / "matrix.gguf"
    matrix.write_text("")
    report = ["--report", TEXT]
    for option, *way in [
            ("--by-expert", "quantize", DENSE, out, "--by-expert"), ("--target-types", "quantize", DENSE, out, "--target-types", "q8_0"),
            ("--type", "quantize", DENSE, out, "--type", "q8", "--target-size", "1M"), ("--pure", "quantize", DENSE, out, "--pure", "--target-bpw", 4),
            ("--equalize", "quantize", DENSE, out, "--equalize"), ("--verify", "quantize", DENSE, "--dry-run", "--verify"),
            ("DST", "quantize", DENSE), ("--type", "quantize", DENSE, "--type", "q8", "--calibrate", TEXT, "--save-imatrix", out),
            ("--text", "upcycle", DENSE, out, *text), ("--shared", "upcycle", DENSE, out, "--shared", 0.5), ("--text", "upcycle", DENSE, out, "--carve"),
            ("--seed", "upcycle", DENSE, out, "--carve", "--seed", 3, *text), ("--by", "prune", MOE, out, "--drop", 3, "--by", "tokens"),
            ("--by", "prune", MOE, out, "--idle", "--by", "tokens", *text), ("--report", "prune", MOE, out, "--drop", 3, *report),
            ("more than one", "prune", MOE, out, "--drop", 3, "--keep", 2, *text), ("MODEL", "experts", MOE, "--from", TEXT),
            ("--topics", "experts", "--from", TEXT, "--topics", "file"), ("--ablate-tokens", "experts", "--demo", *text, "--ablate-tokens", 9),
            ("--tasks", "eval", "--demo", "--tasks", TEXT, "--moe-top-k", "1,2"), ("--like-llama", "eval", "--demo", "--tasks", TEXT, "--like-llama-perplexity"),
            ("--reference", "eval", "--demo", *text, "--compare", MOE, "--reference", MOE), ("--layers", "eval", "--demo", *text, "--layers"),
            ("one of --text and --tasks", "eval", "--demo"), ("--gemm", "bench", "--demo", "--gemm", "-n", 4),
            ("--depth", "bench", "--demo", "--expert-counters", "-d", 4), ("nothing to measure", "bench", "--demo", "-p", 0, "-n", 0),
            ("--rate", "simulate", "--trace", TEXT, "--rate", 3), ("--expert-log-mb", "serve", "--demo", "--expert-log-mb", 3),
            ("--tls-key", "serve", "--demo", "--tls-cert", TEXT), ("--token-file", "pull", "hf:a/b", "--token", "x", "--token-file", TEXT)]:
        expect(2, option, *way)
    # A variable that has nothing to say in this case is no fault.
    expect(0, [], "quantize", DENSE, "--dry-run", "--target-bpw", 6, "--requantize", QUORUM_QUANTIZE_TYPE="q8_0", QUORUM_QUANTIZE_VERIFY="1")


def check_demo(folder):
    part = folder / "part.txt"
    part.write_text("".join(TEXT.read_text().splitlines(True)[:60]))
    done = run("eval", "--demo", "--text", part, "--json")
    assert done.returncode == 0 and "warn" not in done.stderr, done.stderr
    assert json.loads(done.stdout)["model"] == "demo", done.stdout
    table = expect(0, "demo  ", "eval", "--demo", "--text", part, "--moe-top-k", "1,2")
    assert table.stdout.count("demo ") == 2, table.stdout
    expect(0, "demo: ", "experts", "--demo", "--text", part)
    expect(0, '"model_filename": "demo"', "bench", "--demo", "-p", 16, "-n", 0, "-r", 1, "--json")
    for command in ("prune", "merge", "add"):
        assert "--demo" not in run(command, "--help").stdout, command


def offsets(path):
    """Tensor name -> where its bytes begin."""
    tensors = json.loads(run("inspect", path, "--tensors", "--json").stdout)["tensors"]
    padded = [(t["bytes"] + 31) // 32 * 32 for t in tensors]
    at = path.stat().st_size - sum(padded)
    out = {}
    for tensor, size in zip(tensors, padded):
        out[tensor["name"]] = at
        at += size
    return out


def check_damaged(folder):
    """Numbers that are none end every command that computes with them, with the layer."""
    part = folder / "part.txt"
    part.write_text("".join(TEXT.read_text().splitlines(True)[:60]))
    tasks = folder / "tasks.jsonl"
    tasks.write_text('{"prompt": "Max 1 2", "answer": "2"}\n')
    for tensor, where in (("blk.1.ffn_norm.weight", "layer 1"), ("output_norm.weight", "last norm")):
        damaged = folder / "damaged.gguf"
        content = bytearray(DEMO.read_bytes())
        at = offsets(DEMO)[tensor]
        content[at:at + 4] = struct.pack("<f", float("nan"))
        damaged.write_bytes(content)
        for way in (["eval", damaged, "--text", part], ["eval", damaged, "--tasks", tasks], ["eval", damaged, "--text", part, "--moe-top-k", "1,2"],
                    ["experts", damaged, "--text", part], ["prune", damaged, folder / "out.gguf", "--keep", 8, "--text", part]):
            done = run(*way)
            assert done.returncode == 1 and "not finite" in done.stderr and where in done.stderr, (way, done.stdout, done.stderr)
    assert not (folder / "out.gguf").exists()


def check_quantize(folder):
    small, matrix = folder / "small.gguf", folder / "matrix.gguf"
    saved = run("quantize", MOE, "--calibrate", TEXT, "--save-imatrix", matrix)
    assert saved.returncode == 0 and str(matrix) in saved.stdout and "windows" in saved.stdout, saved
    for other in (matrix, folder / "matrix.dat"):
        if other != matrix:
            assert run("quantize", MOE, "--calibrate", TEXT, "--save-imatrix", other).returncode == 0
        expect(1, [other.name, "of another model"], "quantize", DEMO, small, "--type", "q8", "--imatrix", other, "--requantize", "--force")
        expect(0, [], "quantize", MOE, small, "--type", "q4_0", "--imatrix", other, "--force", "--requantize")
    # Rows that do not fit are told with their count, and what became of them.
    out = json.loads(run("quantize", MOE, small, "--type", "q2_k", "--pure", "--force", "--verify", "--requantize", "--json").stdout)
    fallen = [t for t in out["tensors"] if "wanted" in t]
    assert fallen and sum(f["tensors"] for f in out["fallbacks"]) == len(fallen) and out["verified"], out
    assert {(t["wanted"], t["type"]) for t in fallen} == {(f["wanted"], f["type"]) for f in out["fallbacks"]}
    done = expect(0, ["instead of q2_k", "no multiple of its blocks of 256", "bits a weight", "verified: "], "quantize", MOE, small, "--type", "q2_k",
                  "--pure", "--force", "--verify", "--requantize")
    assert f"{len([t for t in fallen if t['type'] == 'q4_0'])} matrices" in done.stdout, done.stdout
    expect(0, "instead of q2_k", "quantize", MOE, "--dry-run", "--type", "q2_k", "--pure", "--requantize")
    # An unfinished file of another command is told of before it goes; of the same one it is gone on with.
    whole = small.read_bytes()
    partial = folder / "small.gguf.partial"
    small.unlink()
    partial.write_bytes(whole[:-100])
    expect(0, ["small.gguf.partial", "made anew", "'q2_k', now it is 'q8_0'"], "quantize", MOE, small, "--type", "q8_0", "--requantize")
    small.unlink()
    partial.write_text("something else")
    expect(0, ["made anew", "no unfinished model"], "quantize", MOE, small, "--type", "q8_0", "--requantize")
    assert not partial.exists()


def check_interrupts(folder):
    """Ctrl-C or SIGTERM in the middle of long work: 130 or 143, and no file that is not whole."""
    long = folder / "long.txt"
    long.write_text(TEXT.read_text() * 400)
    logits = folder / "logits"
    for kind, *way in ((signal.SIGINT, "eval", "--demo", "--text", long, "--save-logits", logits), (signal.SIGTERM, "experts", "--demo", "--text", long, "--log", folder / "log"),
                       (signal.SIGINT, "prune", DEMO, folder / "pruned.gguf", "--keep", 8, "--text", long),
                       (signal.SIGTERM, "merge", DEMO, folder / "merged.gguf", "--keep", 8, "--text", long),
                       (signal.SIGINT, "bench", "--demo", "-r", 1000), (signal.SIGTERM, "bench", "--demo", "-r", 1000)):
        process = subprocess.Popen([QUORUM, *map(str, way)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=CLEAN)
        line = process.stderr.readline()
        while line and "memory: weights" not in line:
            line = process.stderr.readline()
        time.sleep(0.3)
        process.send_signal(kind)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + kind, (way, process.returncode, said)
        assert "interrupted" in said or "bench" in way, (way, said)
    assert sorted(p.name for p in folder.iterdir()) == ["long.txt"], list(folder.iterdir())


def main():
    for check in (check_variables, check_statuses, check_served_file, check_values, check_combinations, check_demo, check_damaged, check_quantize, check_interrupts):
        with tempfile.TemporaryDirectory() as name:
            check(pathlib.Path(name))


if __name__ == "__main__":
    main()
