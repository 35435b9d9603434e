"""`quorum experts`, `prune`, `merge`, `add`, `upcycle --carve` and `--demo` as people call them.
    experts_test.py QUORUM"""
import concurrent.futures
import json
import pathlib
import signal
import subprocess
import sys
import tempfile
import urllib.request

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


def check_eval(quorum, folder):
    text = folder / "eval.txt"
    text.write_text("".join(TEXT.read_text().splitlines(True)[::20]))
    common = ["--demo", "--text", text, "--ctx", 128]
    rows = json.loads(run(quorum, "eval", *common, "--moe-top-k", "2,all", "--json"))
    assert [row["experts"] for row in rows] == [2, 16], rows
    assert "reference" not in rows[0] and rows[1]["reference"] == {"model": rows[0]["model"], "experts": 2}, rows
    assert rows[1]["difference"]["kl_mean"] > 0
    low, high = (rows[1]["difference"][f"top1_agreement_ci95_{end}"] for end in ("low", "high"))
    assert 0 <= low < rows[1]["difference"]["top1_agreement"] < high <= 1, rows
    # Two programs' ways to the same losses.
    loss = json.loads(run(quorum, "experts", *common, "--json"))["topics"][0]["loss"]
    own = json.loads(run(quorum, "eval", *common, "--json"))
    assert abs(own["mean_nll"] - loss) < 1e-6, (own["mean_nll"], loss)
    tasks = folder / "tasks.jsonl"
    tasks.write_text('{"prompt": "Sum 47+8=", "answer": "55"}\n{"prompt": "Sum 47+8=", "choices": ["55", "56"], "answer": 0}\n')
    solved = json.loads(run(quorum, "eval", "--demo", "--tasks", tasks, "--json"))
    assert solved["accuracy"] == 1 and abs(solved["accuracy_ci95_low"] - 2 / (2 + 1.959964**2)) < 1e-6, solved
    assert solved["tasks_with_choices"] == 1 and solved["accuracy_by_length_ci95_high"] == 1, solved


def check_bench(quorum):
    for row in json.loads(run(quorum, "bench", "--demo", "-p", 16, "-n", 4, "-r", 3, "--json")):
        assert len(row["samples_ns"]) == len(row["samples_ts"]) == 3 and row["weight_bytes"] > 0, row
        assert abs(row["avg_ns"] - sum(row["samples_ns"]) / 3) <= 1, row
        tokens = row["n_prompt"] + row["n_gen"]
        for ns, rate in zip(row["samples_ns"], row["samples_ts"]):
            assert abs(ns * 1e-9 * rate / tokens - 1) < 1e-3, row


def check_surgery(quorum, folder):
    report = folder / "report.json"
    report.write_text(run(quorum, "experts", MOE, "--text", TEXT, "--ctx", 256, "--json"))
    small = folder / "small.gguf"
    data = json.loads(report.read_text())
    for change, words in ((lambda r: r["layers"][1]["experts"].pop(), ["bad.json", "does not know expert 3 of layer 1"]),
                          (lambda r: r["layers"][0]["experts"][2].update(expert=9), ["bad.json", "expert 9 of layer 0"]),
                          (lambda r: r["layers"][0]["experts"][0].update(reap=-1), ["bad.json", "-1"]),
                          (lambda r: r["layers"][0]["experts"][0].pop("reap"), ["bad.json", "--by tokens"])):
        other = json.loads(json.dumps(data))
        change(other)
        (folder / "bad.json").write_text(json.dumps(other))
        complaint = run(quorum, "prune", MOE, small, "--keep", 3, "--report", folder / "bad.json", fails=True)
        assert all(word in complaint for word in words), complaint
    for ways in (["--keep", "50%", "--text", TEXT], ["--keep", 3, "--report", report, "--by", "tokens"], ["--drop", "0:1,1:2"], ["--drop", 3]):
        made = json.loads(run(quorum, "prune", MOE, small, *ways, "--force", "--json"))
        assert made["equals_masked"] and made["bytes"] == small.stat().st_size, made
        assert made["experts"] == (2 if "50%" in ways else 3)
    assert "exists already" in run(quorum, "prune", MOE, small, "--drop", 3, fails=True)
    assert "one number for all layers" in run(quorum, "prune", MOE, small, "--drop", "0:1", "--force", fails=True)
    run(quorum, "prune", MOE, small, "--keep", 3, "--force", fails=True)
    # DeepSeek chooses from groups first: as many go from each, the least visited.
    grouped = FIXTURES / "fixtures/model/deepseek3.gguf"
    merged = json.loads(run(quorum, "merge", grouped, small, "--keep", "67%", "--force", "--json"))
    assert merged["experts"] == 6 and all(len({e // 3 for e in group}) == 1 for l in merged["merged"] for group in l["groups"]), merged
    visits = [5, 1, 2, 3, 4, 0, 7, 6, 8]
    report.write_text(json.dumps({"layers": [{"layer": l["layer"], "experts": [{"expert": e, "tokens": n} for e, n in enumerate(visits)]}
                                             for l in merged["merged"]]}))
    made = json.loads(run(quorum, "prune", grouped, small, "--keep", 6, "--report", report, "--by", "tokens", "--force", "--json"))
    assert made["equals_masked"] and all(l["experts"] == [0, 2, 3, 4, 6, 8] for l in made["kept"]), made
    assert "multiple of 3" in run(quorum, "merge", grouped, small, "--keep", 4, "--force", fails=True)
    made = json.loads(run(quorum, "merge", MOE, small, "--keep", 2, "--text", TEXT, "--force", "--json"))
    assert made["experts"] == 2 and all(sorted(sum(l["groups"], [])) == [0, 1, 2, 3] for l in made["merged"]), made
    assert "2 experts" in run(quorum, "inspect", small) or "2 a layer" in run(quorum, "inspect", small)


def check_upcycle(quorum, folder):
    dense, moe = FIXTURES / "fixtures/quant/dense.gguf", folder / "moe.gguf"
    ways = ["upcycle", dense, moe, "--experts", 3, "--top-k", 2, "--seed", 7, "--force"]
    made = json.loads(run(quorum, *ways, "--json"))
    seen = json.loads(run(quorum, "inspect", moe, "--json"))
    assert made["model"] == str(moe) and made["bytes"] == moe.stat().st_size and made["noise"] == 0, made
    for key, other in (("layers", "layers"), ("experts", "experts"), ("experts_per_token", "experts_used"), ("architecture", "architecture"), ("seed", "upcycle_seed"),
                       ("parameters", "parameters"), ("active_parameters", "active_parameters")):
        assert made[key] == seen[other], (key, made, seen)
    assert made["dense_parameters"] < made["active_parameters"] < made["parameters"], made
    assert run(quorum, *ways).splitlines()[0] == str(moe)


def check_served(quorum, folder):
    """What requests at once report, what the server counts and what its log tells are the same, to the token."""
    log, answer = folder / "served.jsonl", folder / "answer.json"
    server = subprocess.Popen([quorum, "serve", "--demo", "--port", "0", "--threads", "2", "--expert-log", log, "--log-level", "error"],
                              stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().split()[-1]
        fetch = lambda path, body=None: json.load(urllib.request.urlopen(url + path, body and json.dumps(body).encode(), timeout=60))
        before = fetch("/v1/experts")
        ways = [{}, {"top_k": 1}, {"dense": True}, {"mask": [3, 7]}]
        def ask(i):
            line = TEXT.read_text().splitlines()[i * 37]
            return fetch("/v1/chat/completions", {"messages": [{"role": "user", "content": line.split("=")[0]}], "max_tokens": 6 + i % 7,
                                                  "moe": {"report": True, **ways[i % len(ways)]}})["moe"]
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            reports = list(pool.map(ask, range(20)))
        after = fetch("/v1/experts")
        answer.write_text(json.dumps(after))
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0
    width = range(after["experts"])
    for layer in range(after["layers"]):
        delta = [after["tokens"][layer][e] - before["tokens"][layer][e] for e in width]
        assert delta == [sum(r["layers"][layer]["tokens"][e] for r in reports) for e in width], layer
        for i, r in enumerate(reports):
            experts = {1: 1, 2: after["experts"]}.get(i % len(ways), after["experts_per_token"])
            assert sum(r["layers"][layer]["tokens"]) == r["tokens"] * experts
    report = json.loads(run(quorum, "experts", "--from", log, "--compare", answer, "--json"))
    assert report["tokens"] == sum(r["tokens"] for r in reports)
    assert [[e["tokens"] for e in l["experts"]] for l in report["layers"]] == after["tokens"]
    assert all(l["divergence"] == 0 for l in report["drift"]["layers"]) and report["drift"]["layers"]
    assert [t["name"] for t in report["topics"]] == ["prompts", "replies"] and all(t["tokens"] > 0 for t in report["topics"])
    assert '"s":' not in log.read_text() and '"t":' not in log.read_text()
    run(quorum, "serve", FIXTURES / "fixtures/quant/dense.gguf", "--port", 0, "--expert-log", log, fails=True)


def check_counters_bench(quorum):
    """The measurement itself; what it measures is for a quiet machine."""
    tables = json.loads(run(quorum, "bench", "--demo", "--expert-counters", "-n", 16, "-b", "1,2", "--json"))
    assert [t["n_seq"] for t in tables] == [1, 2] and all(t["steps"] == 16 and len(t["costs"]) == 3 for t in tables)
    assert all(c["low"] <= c["share"] <= c["high"] for t in tables for c in t["costs"])
    assert "dense" in run(quorum, "bench", FIXTURES / "fixtures/quant/dense.gguf", "--expert-counters", fails=True)


def check_demo(quorum):
    assert run(quorum, "run", "--demo", "-p", "Reverse hello").strip() == "olleh"
    assert run(quorum, "run", "--demo", "-p", "Date 2024-05-17").strip() == "2024-05-18"


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        check_experts(sys.argv[1], folder)
        check_eval(sys.argv[1], folder)
        check_surgery(sys.argv[1], folder)
        check_upcycle(sys.argv[1], folder)
        check_served(sys.argv[1], folder)
    check_counters_bench(sys.argv[1])
    check_bench(sys.argv[1])
    check_demo(sys.argv[1])


if __name__ == "__main__":
    main()
