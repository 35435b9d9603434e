#!/usr/bin/env python3
"""The JSON Schema Test Suite against the grammars of schemas, a longer check by hand.

    schema_suite.py GRAMMAR_SAMPLE SUITE/tests/draft2020-12 [--samples 5]

The suite comes with the source package of Python's jsonschema (pip download --no-binary :all: jsonschema; its json/ folder). For each of
its schemas that is not refused, every completed text must be valid for jsonschema, and no instance that the suite calls invalid
may be taken. Of the instances that it calls valid, those that are not taken are counted: a grammar writes properties in the
schema's order, and only what a closed object names, so it may be narrower than the schema, never wider."""

import argparse
import collections
import json
import pathlib
import sys
import threading

import jsonschema
from grammar_fuzz import Sampler

sys.setrecursionlimit(6_000)


class Suite:
    def __init__(self, program, samples, verbose):
        self.verbose = verbose
        self.sampler = Sampler(program)
        self.samples = samples
        self.refused = collections.Counter()
        self.counts = collections.Counter()
        self.failed = False

    def fail(self, where, what):
        self.failed = True
        print(f"FAIL {where}: {what}")

    def run(self, where, schema, cases):
        checked = [case for case in cases if "\\u0000" not in json.dumps(case["data"])]
        answer = self.sampler.ask(kind="json_schema", text=json.dumps(schema), samples=self.samples, seed=1, wander=40,
                                  max_tokens=400, check=[json.dumps(case["data"], ensure_ascii=False) for case in checked])
        self.counts["schemas"] += 1
        if "error" in answer:
            self.counts["refused"] += 1
            self.refused[answer["error"].split("(")[0][:110]] += 1
            return
        if "fault" in answer:
            self.fail(where, answer["fault"])
        validator = jsonschema.Draft202012Validator(schema)
        for sample in answer["samples"]:
            if not sample["finished"]:
                continue
            self.counts["texts"] += 1
            try:
                value = json.loads(sample["text"])
            except ValueError as error:
                self.fail(where, f"not JSON ({error}): {sample['text'][:200]}")
                continue
            if not validator.is_valid(value):
                self.fail(where, f"completed but not valid: {sample['text'][:200]} for {json.dumps(schema)[:300]}")
        for case, taken in zip(checked, answer["takes"]):
            if case["valid"]:
                self.counts["valid instances"] += 1
                self.counts["valid instances taken"] += taken
                if self.verbose and not taken:
                    print(f"narrower {where}: {json.dumps(case['data'])[:100]} for {json.dumps(schema)[:200]}")
            else:
                self.counts["invalid instances"] += 1
                if taken:
                    self.fail(where, f"takes {json.dumps(case['data'])[:200]}, which is not valid for {json.dumps(schema)[:300]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--verbose", action="store_true", help="name the valid instances that are not taken")
    args = parser.parse_args()
    suite = Suite(args.program, args.samples, args.verbose)
    files = sorted(args.folder.glob("*.json"))
    if not files:
        parser.error(f"no *.json in {args.folder}")
    for path in files:
        for group in json.loads(path.read_text(encoding="utf-8")):
            suite.run(f"{path.name}, {group['description']}", group["schema"], group["tests"])
    for what, count in suite.refused.most_common():
        print(f"refused {count:3}: {what}")
    print(dict(suite.counts))
    return suite.failed


if __name__ == "__main__":
    threading.stack_size(512 << 20)  # deep schemas recurse in jsonschema
    failed = []
    thread = threading.Thread(target=lambda: failed.append(main()))
    thread.start()
    thread.join()
    sys.exit(0 if failed == [False] else 1)
