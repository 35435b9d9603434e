"""`quorum experts`, `prune`, `merge`, `add`, `upcycle --carve` and `--demo` as people call them.
    experts_test.py QUORUM"""
import json
import pathlib
import subprocess
import sys
import tempfile

FIXTURES = pathlib.Path(__file__).resolve().parent.parent
MOE = FIXTURES / "fixtures/model/tiny_chat_moe.gguf"
TEXT = FIXTURES / "committee/questions.txt"


def run(quorum, *arguments, fails=False):
    done = subprocess.run([quorum, *map(str, arguments), "--log-level", "error"], capture_output=True, text=True)
    assert (done.returncode != 0) == fails, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stderr if fails else done.stdout


def check_experts(quorum, folder):
    log, page = folder / "log.jsonl", folder / "page.html"
    text = folder / "part.txt"
    text.write_text("".join(TEXT.read_text().splitlines(True)[::10]))
    common = ["--demo", "--text", text, "--topics", "first-word", "--ctx", 128]
    report = json.loads(run(quorum, "experts", *common, "--log", log, "--html", page, "--ablate", "--ablate-tokens", 256, "--json"))
    top_k = report["experts_per_token"]
    for layer in report["layers"]:
        assert sum(e["tokens"] for e in layer["experts"]) == report["tokens"] * top_k, layer
        assert all(e["reap"] >= 0 for e in layer["experts"])
    assert len(report["topics"]) == 8
    assert sum(t["tokens"] for t in report["topics"]) == report["tokens"]
    gains = [a["increase"] for a in report["ablation"]]
    assert gains == sorted(gains, reverse=True) and gains[0] > 0
    content = page.read_text()
    assert "null/*REPORT*/" not in content and "http" not in content.replace("http://www.w3.org", ""), "the page needs something from outside"
    again = json.loads(run(quorum, "experts", "--from", log, "--compare", log, "--json"))
    assert again["layers"] == report["layers"] and again["topics"] == report["topics"]
    assert all(layer["divergence"] == 0 for layer in again["drift"]["layers"])
    table = run(quorum, "experts", *common)
    assert "REAP" in table and "topics" in table
    one = folder / "one.txt"
    one.write_text("".join(line for line in text.read_text().splitlines(True) if line.startswith("Date")))
    drift = json.loads(run(quorum, "experts", "--demo", "--text", one, "--ctx", 128, "--compare", log, "--json"))["drift"]
    assert all(layer["divergence"] > 10 * layer["noise"] for layer in drift["layers"]), drift
    assert "dense" in run(quorum, "experts", FIXTURES / "fixtures/quant/dense.gguf", "--text", text, fails=True)
    run(quorum, "experts", "--text", text, fails=True)
    run(quorum, "experts", MOE, "--demo", "--text", text, fails=True)


def check_surgery(quorum, folder):
    report = folder / "report.json"
    report.write_text(run(quorum, "experts", MOE, "--text", TEXT, "--ctx", 256, "--json"))
    small = folder / "small.gguf"
    for ways in (["--keep", "50%", "--text", TEXT], ["--keep", 3, "--report", report, "--by", "tokens"], ["--drop", "0:1,1:2"], ["--drop", 3]):
        made = json.loads(run(quorum, "prune", MOE, small, *ways, "--force", "--json"))
        assert made["equals_masked"] and made["bytes"] == small.stat().st_size, made
        assert made["experts"] == (2 if "50%" in ways else 3)
    assert "exists already" in run(quorum, "prune", MOE, small, "--drop", 3, fails=True)
    assert "one number for all layers" in run(quorum, "prune", MOE, small, "--drop", "0:1", "--force", fails=True)
    run(quorum, "prune", MOE, small, "--keep", 3, "--force", fails=True)
    made = json.loads(run(quorum, "merge", MOE, small, "--keep", 2, "--text", TEXT, "--force", "--json"))
    assert made["experts"] == 2 and all(sorted(sum(l["groups"], [])) == [0, 1, 2, 3] for l in made["merged"]), made
    assert "2 experts" in run(quorum, "inspect", small) or "2 a layer" in run(quorum, "inspect", small)


def check_demo(quorum):
    assert run(quorum, "run", "--demo", "-p", "Reverse hello").strip() == "olleh"
    assert run(quorum, "run", "--demo", "-p", "Date 2024-05-17").strip() == "2024-05-18"


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        check_experts(sys.argv[1], folder)
        check_surgery(sys.argv[1], folder)
    check_demo(sys.argv[1])


if __name__ == "__main__":
    main()
