"""Acceptance of the engine on a real model, too long for ctest: compares `quorum serve` with itself and with
transformers, and prints each figure. Needs torch, transformers and gguf (see --help); run it as

    scripts/fetch_model.sh
    python tests/tools/accept_smollm2.py --quorum build/release/quorum --model models/SmolLM2-135M-Instruct.Q4_1.gguf

What it shows, for 20 prompts of 64 greedy tokens:
  1. the top-1 upcycled MoE gives the dense model's tokens and log-probabilities bit for bit;
  2. the top-2 upcycled MoE's log-probabilities are within 1e-2 of the dense model's;
  3. the dense model's greedy tokens equal those of transformers in float32 on the same file, or where they part,
     by how little the two tokens differed there;
  4. perplexity on a page of English is within 1 % of transformers'.
Exit status 0 only if all four hold (3: for more than half of the prompts)."""

import argparse
import json
import math
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

QUESTIONS = [
    "What is gravity?", "Explain photosynthesis in two sentences.", "Name the days of the week.",
    "Write a short poem about the sea.", "What is the boiling point of water?", "How do I make a cup of tea?",
    "Give me three synonyms for happy.", "What does a carpenter do?", "Why is the sky blue?",
    "Translate 'good morning' into French.", "List four fruits.", "What is 7 times 8?",
    "Write a Python function that adds two numbers.", "Who wrote Romeo and Juliet?", "What is a noun?",
    "Describe a cat to someone who has never seen one.", "How many continents are there?",
    "What should I pack for a beach holiday?", "Summarize the water cycle.", "Tell me a fact about the Moon.",
]
TOKENS = 64


class Server:
    """`quorum serve MODEL` on a free port of loopback, for one with-block."""

    def __init__(self, quorum, model):
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.command = [quorum, "serve", model, "--host", "127.0.0.1", "--port", str(self.port)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=2):
                    return self
            except (urllib.error.URLError, OSError):
                if self.process.poll() is not None:
                    sys.exit(f"{' '.join(self.command)} ended with {self.process.returncode}")
                time.sleep(0.1)
        sys.exit("the server did not become ready")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)

    def post(self, path, body):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)

    def encode(self, text):
        return self.post("/tokenize", {"content": text, "add_special": False, "parse_special": True})["tokens"]

    def greedy(self, ids):
        """Token ids and log-probabilities (as the server printed them) of a greedy continuation."""
        answer = self.post("/v1/completions", {"prompt": ids, "max_tokens": TOKENS, "temperature": 0, "logprobs": 0,
                                               "return_tokens_as_token_ids": True})
        scores = answer["choices"][0]["logprobs"]
        return [int(t.removeprefix("token_id:")) for t in scores["tokens"]], scores["token_logprobs"]


def chat_prompt(question):
    return ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n")


def run(quorum, model, prompts=None):
    with Server(quorum, model) as server:
        prompts = prompts or [server.encode(chat_prompt(q)) for q in QUESTIONS]
        return prompts, [server.greedy(ids) for ids in prompts]


def reference(model, prompts, results, text_ids, ctx):
    """transformers in float32 on the same file: how many greedy continuations are equal, where the others part, and the
    perplexity over windows of ctx tokens (all but each window's first are scored)."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_grad_enabled(False)
    path = pathlib.Path(model)
    hf = AutoModelForCausalLM.from_pretrained(str(path.parent), gguf_file=path.name, dtype=torch.float32).eval()
    equal, margins = 0, []
    for question, prompt, (tokens, _) in zip(QUESTIONS, prompts, results):
        # One pass over our own continuation: where the reference's argmax differs, how far apart were the two?
        logits = hf(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1:-1]
        best = logits.argmax(-1).tolist()
        part = next((i for i, (a, b) in enumerate(zip(best, tokens)) if a != b), None)
        if part is None:
            equal += 1
        else:
            row = logits[part]
            margins.append((question, part, float(row[best[part]] - row[tokens[part]])))
    loss, scored = 0.0, 0
    for start in range(0, len(text_ids), ctx):
        window = torch.tensor([text_ids[start:start + ctx]])
        if window.shape[1] < 2:
            break
        logprobs = torch.log_softmax(hf(window).logits[0, :-1].double(), -1)
        loss -= float(logprobs.gather(1, window[0, 1:, None]).sum())
        scored += window.shape[1] - 1
    return equal, margins, math.exp(loss / scored)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quorum", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--ctx", type=int, default=512)
    parser.add_argument("--no-reference", action="store_true", help="skip transformers")
    args = parser.parse_args()
    ok = True

    def report(passed, what):
        nonlocal ok
        ok = ok and passed
        print(("ok    " if passed else "FAIL  ") + what, flush=True)

    prompts, dense = run(args.quorum, args.model)
    with tempfile.TemporaryDirectory() as temp:
        for top_k in (1, 2):
            moe = os.path.join(temp, f"top{top_k}.gguf")
            subprocess.run([args.quorum, "upcycle", args.model, moe, "--experts", "8", "--top-k", str(top_k)], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, results = run(args.quorum, moe, prompts)
            os.remove(moe)
            same = sum(a == b for a, b in zip(dense, results))
            if top_k == 1:
                report(same == len(prompts), f"top-1 MoE: tokens and logprobs equal the dense model's for {same} of "
                       f"{len(prompts)} prompts, bit for bit")
            else:
                worst, compared, parted = 0.0, 0, 0
                for (ta, la), (tb, lb) in zip(dense, results):
                    for a, b, x, y in zip(ta, tb, la, lb):
                        if a != b:
                            parted += 1
                            break
                        worst, compared = max(worst, abs(x - y)), compared + 1
                report(worst < 1e-2, f"top-2 MoE: {compared} logprobs differ from the dense model's by at most {worst:.3g}; "
                       f"{parted} of {len(prompts)} continuations part")
    if not args.no_reference:
        text = pathlib.Path(__file__).resolve().parents[1] / "fixtures/eval/english.txt"
        ours = json.loads(subprocess.run([args.quorum, "eval", args.model, "--text", str(text), "--ctx", str(args.ctx),
                                          "--json"], check=True, capture_output=True, text=True).stdout)
        with Server(args.quorum, args.model) as server:
            text_ids = server.encode(text.read_text(encoding="utf-8"))
        equal, margins, perplexity = reference(args.model, prompts, dense, text_ids, args.ctx)
        report(equal * 2 > len(prompts), f"greedy tokens equal transformers' for {equal} of {len(prompts)} prompts")
        for question, at, margin in margins:
            print(f"        {question!r}: parts at token {at}; transformers' two logits differ by {margin:.4f}")
        ratio = ours["perplexity"] / perplexity
        report(abs(ratio - 1) < 0.01, f"perplexity {ours['perplexity']:.4f}, transformers {perplexity:.4f}: ratio {ratio:.5f}")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
