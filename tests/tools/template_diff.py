#!/usr/bin/env python3
"""Compares Quorum's rendering of every chat template in folders or tokenizer_config.json files with transformers'.

    tests/tools/template_diff.py --build build/release PATH...

PATH: *.jinja files, folders of them, or tokenizer_config.json files. Not part of ctest: for templates whose licences do
not let us keep them (Llama, Gemma and others). llama.cpp's `models/templates` come with the PyPI package
llama-cpp-python. Prints what differs; exit status 1 if anything does.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import make_template_fixtures as fixtures
import template_conversations

ROOT = pathlib.Path(__file__).resolve().parents[2]


def build_dump(build, out):
    libraries = [build / "tokenizer/libquorum_tokenizer.a", build / "tokenizer/jinja/libquorum_jinja.a", build / "engine/base/libquorum_base.a"]
    packages = subprocess.check_output(
        ["pkg-config", "--libs", "libpcre2-8", "libutf8proc", "sentencepiece", "fmt", "spdlog"], text=True
    )
    source = ROOT / "tests/tools/template_dump.cc"
    subprocess.check_call(
        ["g++", "-std=c++20", "-O2", f"-I{ROOT}", str(source), "-o", out, *map(str, libraries), *packages.split(), "-pthread"]
    )


def templates(paths):
    """(name, source) of all templates under the paths."""
    for path in paths:
        if path.is_dir():
            yield from templates(sorted(path.rglob("*.jinja")))
        elif path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8")).get("chat_template")
            for entry in found if isinstance(found, list) else [{"name": "default", "template": found}] if found else []:
                yield f"{path}:{entry['name']}", entry["template"]
        else:
            yield str(path), path.read_text(encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("paths", nargs="+", type=pathlib.Path)
    args = parser.parse_args()
    conversations = template_conversations.CONVERSATIONS
    found = list(templates(args.paths))
    requests = [
        {
            "source": source,
            "messages": c["messages"],
            "tools": c.get("tools"),
            "extra": c.get("extra", {}),
            "add_generation_prompt": c.get("add_generation_prompt", True),
            "now_unix": fixtures.NOW,
        }
        for _, source in found
        for c in conversations
    ]
    with tempfile.TemporaryDirectory() as folder:
        build_dump(args.build, f"{folder}/dump")
        stdin = "".join(json.dumps(r) + "\n" for r in requests)
        result = subprocess.run([f"{folder}/dump"], input=stdin, stdout=subprocess.PIPE, text=True, check=True)
    answers = iter(json.loads(line) for line in result.stdout.splitlines())
    cases = differing = failing = 0
    for name, source in found:
        for c in conversations:
            cases += 1
            answer, expected = next(answers), fixtures.render_chat(source, c)
            failing += not isinstance(expected, str)
            if isinstance(expected, str):
                same = answer.get("text") == expected
            elif isinstance(expected, dict):
                same = answer.get("error", "").endswith(": " + expected["raises"])
            else:
                same = "error" in answer
            if not same:
                differing += 1
                print(f"{name}, {c['name']}:\n  got  {json.dumps(answer)[:300]}\n  want {json.dumps(expected)[:300]}")
    print(f"{len(found)} templates, {cases} cases, {failing} of them fail in transformers too, {differing} differ")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
