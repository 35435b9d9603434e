#!/usr/bin/env python3
"""The same load on Quorum and on llama-server, one after the other on the same file; prints both and the ratios.

    scripts/load_pair.py MODEL.gguf --quorum build/release/quorum --llama llama-server --clients 16 --requests 32
    scripts/load_pair.py MODEL.gguf --quorum build/release/quorum --llama llama-server --beside

Without --beside it is a closed loop: prompts of --words words, --max-tokens tokens of reply. With it, one stream runs while
a prompt of --long-words words (about as many tokens) is computed, and short requests come behind that. Each server gets as many
slots as there are clients. The last line has the ratios, Quorum to llama-server. Standard library only."""
import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(name, command, load, log):
    port = free_port()
    server = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=subprocess.STDOUT)
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(1200):
            if server.poll() is not None:
                sys.exit(f"load_pair: {name} ended with {server.returncode}; see {log.name}")
            try:
                if urllib.request.urlopen(url + "/health", timeout=2).status == 200:
                    break
            except OSError:
                time.sleep(0.1)
        else:
            sys.exit(f"load_pair: {name} does not become ready")
        # A first request, so that neither pays for memory that was never touched.
        warm = [sys.executable, os.path.join(HERE, "load_test.py"), "closed", "--url", url]
        subprocess.run([*warm, "--clients", "1", "--requests", "1", "--words", "300", "--max-tokens", "4"], check=True,
                       stdout=subprocess.DEVNULL)
        out = subprocess.run([sys.executable, os.path.join(HERE, "load_test.py"), *load, "--url", url], check=True,
                             capture_output=True, text=True).stdout
        lines = [json.loads(line) for line in out.splitlines()]
        for line in lines:
            print(name, json.dumps(line), flush=True)
        return {line["test"]: line for line in lines if "test" in line} | {key: line[key] for line in lines for key in ("shorts_before_long",) if key in line}
    finally:
        server.terminate()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--quorum", required=True)
    parser.add_argument("--llama", required=True, help="llama-server; '' for Quorum alone")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--words", type=int, default=120)
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--long-words", type=int, default=8000)
    parser.add_argument("--stream-tokens", type=int, default=300)
    parser.add_argument("--max-itl-ms", type=int, default=250, help="Quorum's bound, which 'beside' compares the stream's gaps with")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--quorum-flags", default="", help="more flags of quorum serve")
    parser.add_argument("--llama-flags", default="", help="more flags of llama-server")
    args = parser.parse_args()
    if args.beside:
        load = ["beside", "--long-words", str(args.long_words), "--shorts", "2", "--stream-tokens", str(args.stream_tokens)]
        slots, context = 4, 2 * args.long_words
    else:
        load = ["closed", "--clients", str(args.clients), "--requests", str(args.requests), "--words", str(args.words),
                "--max-tokens", str(args.max_tokens)]
        slots, context = args.clients, 4 * args.words + args.max_tokens
    quorum = [args.quorum, "serve", args.model, "--threads", str(args.threads), "--ctx", str(context), "--max-batch",
              str(max(slots, 4)), "--max-itl-ms", str(args.max_itl_ms), *args.quorum_flags.split()]
    llama = [args.llama, "-m", args.model, "-t", str(args.threads), "-c", str(context * slots), "-np", str(slots),
             "--no-warmup", *args.llama_flags.split()]
    results = {}
    for name, command in (("quorum", quorum), ("llama-server", llama)):
        if not command[0]:
            continue
        with tempfile.NamedTemporaryFile("w", prefix=f"load_pair_{name}_", suffix=".log", delete=False) as log:
            results[name] = run(name, command, load, log)
    if len(results) < 2:
        return
    ours, theirs = results["quorum"], results["llama-server"]
    def ratio(test, what, q):
        return round(ours[test][what][q] / theirs[test][what][q], 3)

    if args.beside:
        total = {name: sum(part["total_per_s"] for part in result.values() if isinstance(part, dict)) for name, result in results.items()}
        print(json.dumps({"itl_p99_ratio": ratio("stream", "itl_ms", "p99"), "total_ratio": round(total["quorum"] / total["llama-server"], 2),
                          "itl_p99_to_max_itl": {name: round(result["stream"]["itl_ms"]["p99"] / args.max_itl_ms, 2)
                                                 for name, result in results.items()},
                          "shorts_before_long": {name: result.get("shorts_before_long") for name, result in results.items()}}))
    else:
        print(json.dumps({"total_ratio": round(ours["closed"]["total_per_s"] / theirs["closed"]["total_per_s"], 2),
                          **{f"{what}_{q}_ratio": ratio("closed", f"{what}_ms", q) for what in ("ttft", "itl") for q in ("p50", "p99")}}))


if __name__ == "__main__":
    main()
