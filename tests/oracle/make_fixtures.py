#!/usr/bin/env python3
"""Makes tests/fixtures/model/: small random models with what Hugging Face transformers computes with them.

For each case of tests/oracle/families/*.py there is a folder NAME as `save_pretrained` writes it (config.json, safetensors)
with `oracle.safetensors` beside: the prompt's `tokens` (n), its `logits` (n, vocabulary), the `experts` that each layer's router chose
(layers, n, k; -1 where a layer has none) with the `margin` (layers, n) between the last chosen and the first not chosen, and 32
tokens of `greedy` continuation. And NAME.gguf, the same weights, where the case has a GGUF writer.

Run with a Python that has torch, transformers, safetensors and gguf; the result is committed, so tests need none of them.
    make_fixtures.py [--out FOLDER] [NAME...]
To add a family: a file in families/ with a list CASES (common.Case). Weights are rounded to the case's dtype before anything is
computed, so files may be small and logits are exact all the same.
"""
import argparse
import importlib
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import common  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "fixtures" / "model")
    parser.add_argument("names", nargs="*", help="only these cases")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    cases = [case for file in sorted((HERE / "families").glob("*.py"))
             for case in importlib.import_module(f"families.{file.stem}").CASES]
    unknown = set(args.names) - {case.name for case in cases}
    if unknown:
        parser.error(f"no such case: {', '.join(sorted(unknown))}")
    for case in cases:
        if not args.names or case.name in args.names:
            common.make(case, args.out)


if __name__ == "__main__":
    main()
