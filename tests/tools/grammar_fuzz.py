"""Random JSON schemas, regular expressions and GBNF grammars against other implementations: every completed text must be
valid for Python's `jsonschema` (formats too), must match for `re`, and so on; what must be taken is taken.

    grammar_fuzz.py GRAMMAR_SAMPLE [--schemas 1000] [--regexes 1000] [--grammars 300] [--seed 1] [--vocabulary FILE]

Needs the package jsonschema (with [format-nongpl] for the formats). Prints each disagreement and fails on any."""

import argparse
import collections
import json
import random
import re
import subprocess
import sys
import tempfile
import threading

import jsonschema

sys.setrecursionlimit(6_000)  # main() runs on a thread with a stack for it


def write_vocabulary(path, out):
    """The tokens of a byte-level tokenizer.json, or of tests/fixtures/tokenizer/smollm2_vocab.json, for grammar_sample."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    byte_of = {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}
    data = json.load(open(path, encoding="utf-8"))
    if "model" in data and isinstance(data["model"], dict):
        names = dict((i, t) for t, i in data["model"]["vocab"].items())
        special = {t["id"]: t["content"] for t in data["added_tokens"]}
    else:
        special = dict(enumerate(data["specials"]))
        names = dict(enumerate(data["specials"] + data["alphabet"] + [m.replace(" ", "") for m in data["merges"]]))
    ends = {"<|im_end|>", "<|endoftext|>", "</s>", "<|eot_id|>"}
    for i in range(max([*names, *special]) + 1):
        if i in special:
            line = [special[i].encode().hex(), 2 if special[i] in ends else 1]
        else:
            line = [bytes(byte_of[c] for c in names[i]).hex() if i in names else "", 0]
        out.write(json.dumps(line) + "\n")
    out.flush()


class Sampler:
    """A grammar_sample process: one request at a time."""

    def __init__(self, program, vocabulary=None):
        self.tokens = tempfile.NamedTemporaryFile("w")
        if vocabulary:
            write_vocabulary(vocabulary, self.tokens)
        self.process = subprocess.Popen([program] + ([self.tokens.name] if vocabulary else []), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"grammar_sample ended ({self.process.wait()}) at {json.dumps(request)[:3000]}")
        return json.loads(answer)


# --- schemas -------------------------------------------------------------------------------------------------------

NAMES = ["a", "b", "ab", "name", "kind", "value", "x-1", "é", 'q"t', "items", "n_1"]
PATTERNS = ["^[a-z]+$", "b", "^\\d{2,4}$", "(ab|ba)+", "^(x|y){0,3}z?$", "^.{2}", "[^a-c]", "^\\w+@\\w+$", "^[^\"]*$", "a$"]
FORMATS = ["date-time", "date", "time", "uuid", "email", "ipv4", "ipv6", "hostname", "uri", "duration", "json-pointer",
           "uri-reference"]


def scalar(rng):
    return rng.choice([None, True, False, 0, 1, -5, 2.5, "", "a", "é\n", 'q"', "abc", 1e10, 12345])


def value(rng, depth=2):
    kind = rng.random()
    if depth == 0 or kind < 0.7:
        return scalar(rng)
    if kind < 0.85:
        return [value(rng, depth - 1) for _ in range(rng.randrange(3))]
    return {rng.choice(NAMES): value(rng, depth - 1) for _ in range(rng.randrange(3))}


def maybe(rng, schema, chance, **keywords):
    for name, make in keywords.items():
        if rng.random() < chance:
            schema[name] = make()


def string_schema(rng):
    schema = {"type": "string"}
    low = rng.randrange(5)
    maybe(rng, schema, 0.25, minLength=lambda: low, maxLength=lambda: low + rng.randrange(12))
    if rng.random() < 0.25:
        schema["pattern"] = rng.choice(PATTERNS)
    elif rng.random() < 0.25:
        return {"type": "string", "format": rng.choice(FORMATS)}
    return schema


def number_schema(rng):
    schema = {"type": rng.choice(["integer", "number"])}
    low = rng.choice([-1000, -37, -1, 0, 1, 5, 99, 0.5, -2.25, 1e3, 123456789])
    high = low + rng.choice([0, 1, 7, 100, 12345, 0.75])
    maybe(rng, schema, 0.4, **{rng.choice(["minimum", "exclusiveMinimum"]): lambda: low})
    maybe(rng, schema, 0.4, **{rng.choice(["maximum", "exclusiveMaximum"]): lambda: high})
    maybe(rng, schema, 0.2, multipleOf=lambda: rng.choice([1, 2, 3, 7, 10, 25, 0.5, 0.25]))
    return schema


def array_schema(rng, depth, defs):
    schema = {"type": "array"}
    low = rng.randrange(3)
    maybe(rng, schema, 0.3, minItems=lambda: low, maxItems=lambda: low + rng.randrange(4))
    maybe(rng, schema, 0.3, prefixItems=lambda: [any_schema(rng, depth - 1, defs) for _ in range(rng.randrange(1, 4))])
    maybe(rng, schema, 0.8, items=lambda: any_schema(rng, depth - 1, defs))
    maybe(rng, schema, 0.1, contains=lambda: any_schema(rng, depth - 1, defs), minContains=lambda: rng.randrange(3))
    if rng.random() < 0.1:
        schema["uniqueItems"] = True
        schema["items"] = rng.choice([{"enum": [value(rng) for _ in range(rng.randrange(1, 5))]}, {"type": ["boolean", "null"]}])
        schema.pop("prefixItems", None)
        schema.pop("contains", None)
    return schema


def condition(rng, names):
    """What can stand behind not and if."""
    name = rng.choice(names) if names else "a"
    return rng.choice([
        lambda: {"required": [name]}, lambda: {"type": rng.sample(["string", "null", "boolean", "number"], 2)},
        lambda: {"properties": {name: {"enum": [value(rng) for _ in range(3)]}}}, lambda: {"const": value(rng)},
        lambda: {"properties": {name: {"type": "string"}}, "required": [name]}, lambda: {"minimum": rng.randrange(9)},
        lambda: {"maxLength": rng.randrange(4)}, lambda: {"pattern": rng.choice(PATTERNS)}, lambda: {"minItems": 2},
        lambda: {"anyOf": [condition(rng, names), {"maxProperties": 1}]}, lambda: {"not": condition(rng, names)},
        lambda: {"items": {"type": "string"}}, lambda: {"contains": {"type": "number"}}])()


def add_conditions(rng, schema, names, depth, defs):
    maybe(rng, schema, 0.06, **{"not": lambda: condition(rng, names)})
    if rng.random() < 0.08:
        schema["if"] = condition(rng, names)
        maybe(rng, schema, 0.7, **{"then": lambda: condition(rng, names), "else": lambda: condition(rng, names)})
    if len(names) > 1:
        maybe(rng, schema, 0.06, dependentRequired=lambda: {names[0]: names[1:3]},
              dependentSchemas=lambda: {names[1]: condition(rng, names)})
    return schema


def object_schema(rng, depth, defs):
    names = rng.sample(NAMES, rng.randrange(5))
    schema = {"type": "object", "properties": {name: any_schema(rng, depth - 1, defs) for name in names}}
    if names:
        schema["required"] = rng.sample(names, rng.randrange(len(names) + 1))
        if rng.random() < 0.1:
            schema["required"] = schema["required"] + ["more"]
    if rng.random() < 0.1:
        del schema["properties"]
    maybe(rng, schema, 0.5, additionalProperties=lambda: rng.choice([False, False, True, any_schema(rng, depth - 1, defs)]))
    maybe(rng, schema, 0.1, patternProperties=lambda: {rng.choice(["^a", "b$", "^n_"]): any_schema(rng, depth - 1, defs)})
    maybe(rng, schema, 0.08, minProperties=lambda: rng.randrange(3), maxProperties=lambda: 2 + rng.randrange(3))
    maybe(rng, schema, 0.05, propertyNames=lambda: rng.choice([{"maxLength": 4}, {"pattern": "^[a-z_0-9]*$"}, {"enum": NAMES[:5]}]))
    return add_conditions(rng, schema, names, depth, defs)


def any_schema(rng, depth, defs):
    schema = some_schema(rng, depth, defs)
    if isinstance(schema, dict) and schema.get("type") in ("string", "array") and rng.random() < 0.2:
        add_conditions(rng, schema, [], depth, defs)
    return schema


def some_schema(rng, depth, defs):
    kind = rng.random()
    if kind < 0.04:
        return rng.choice([True, {}])
    if kind < 0.10:
        return {"enum": [value(rng) for _ in range(rng.randrange(1, 5))]}
    if kind < 0.13:
        return {"const": value(rng)}
    if kind < 0.20:
        return {"type": rng.sample(["null", "boolean", "integer", "string", "number"], rng.randrange(1, 4))}
    if kind < 0.38 or depth <= 0:
        return rng.choice([string_schema, number_schema])(rng)
    if kind < 0.46:
        return {"$ref": "#/$defs/" + rng.choice(defs)}
    if kind < 0.56:
        return {"anyOf": [any_schema(rng, depth - 1, defs) for _ in range(rng.randrange(1, 4))]}
    if kind < 0.60:
        return {"oneOf": [any_schema(rng, depth - 1, defs) for _ in range(rng.randrange(1, 4))]}
    if kind < 0.65:
        return {"allOf": [any_schema(rng, depth - 1, defs) for _ in range(rng.randrange(1, 3))]}
    if kind < 0.69:  # a discriminated union
        return {"oneOf": [{"type": "object", "properties": {"kind": {"const": k}, "v": any_schema(rng, depth - 1, defs)},
                           "required": ["kind"]} for k in ("one", "two")]}
    if kind < 0.72:
        base = object_schema(rng, depth, defs)
        base["anyOf"] = [{"required": ["a"]}, {"properties": {"b": any_schema(rng, depth - 1, defs)}, "required": ["b"]}]
        return base
    if kind < 0.82:
        return array_schema(rng, depth, defs)
    return object_schema(rng, depth, defs)


def random_schema(rng):
    defs = ["d0", "d1"]
    schema = any_schema(rng, 3, defs)
    if schema is True:
        schema = {}
    schema["$defs"] = {name: any_schema(rng, 2, defs) for name in defs}
    return schema


def check_schemas(sampler, count, rng, samples):
    refused, completed, cut, compile_ms, mask_us, faults = collections.Counter(), 0, 0, [], [], 0
    for number in range(count):
        schema = random_schema(rng)
        answer = sampler.ask(kind="json_schema", text=json.dumps(schema), samples=samples, seed=rng.getrandbits(60),
                             wander=rng.choice([0, 10, 40, 120]), max_tokens=3000, compact=rng.random() < 0.2)
        compile_ms.append(answer["compile_ms"])
        if "error" in answer:
            refused[re.sub(r"#\S*|\d+|'[^']*'", "_", answer["error"])[:90]] += 1
            continue
        mask_us += answer["mask_us"]
        if "fault" in answer:
            faults += 1
            print(f"FAULT in schema {number}: {answer['fault'][:500]}\n  {json.dumps(schema)}")
        checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
        for sample in answer["samples"]:
            if not sample["finished"]:
                cut += 1
                continue
            completed += 1
            try:
                errors = [e.message for e in checker.iter_errors(json.loads(sample["text"]))]
            except RecursionError:  # a schema that only refers to itself
                continue
            except ValueError as error:
                errors = [f"not JSON: {error}"]
            if errors:
                faults += 1
                print(f"INVALID for schema {number}: {errors[0][:300]}\n  {json.dumps(schema)}\n  {sample['text'][:600]}")
    print(f"schemas: {count}, refused {sum(refused.values())}, texts completed {completed}, cut at the limit {cut}, faults {faults}")
    for why, times in refused.most_common(12):
        print(f"  {times:5d} {why}")
    print_times("compile ms", compile_ms)
    print_times("mask us", mask_us)
    return faults


def print_times(name, times):
    times = sorted(times)
    if times:
        print(f"  {name}: p50 {times[len(times) // 2]:.3f} p99 {times[len(times) * 99 // 100]:.3f} max {times[-1]:.3f} (n={len(times)})")


# --- regular expressions -------------------------------------------------------------------------------------------

def random_regex(rng, depth=3):
    kind = rng.random()
    if depth == 0 or kind < 0.35:
        return rng.choice(["a", "b", "c", "1", "\\d", "\\w", ".", "[ab]", "[^a]", "[a-c1]", "\\.", "é", "\\s", "\\D", "\\W", "\\S",
                           "[^\\d]", "[\\w-]", "\\x41", " ", "[^\\W]", "-"])
    if kind < 0.5:
        return "".join(random_regex(rng, depth - 1) for _ in range(rng.randrange(1, 4)))
    if kind < 0.55:  # where it is behind what repeats, that is refused
        return rng.choice(["(?=", "(?!"]) + random_regex(rng, depth - 1) + rng.choice(["", "$"]) + ")"
    if kind < 0.7:
        return "(?:" + "|".join(random_regex(rng, depth - 1) for _ in range(rng.randrange(1, 4))) + ")"
    inner = random_regex(rng, depth - 1)
    return f"(?:{inner})" + rng.choice(["*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "{3,12}"])


def check_regexes(sampler, count, rng):
    faults, texts, taken, refused = 0, 0, 0, 0
    alphabet = ["a", "b", "c", "1", "7", ".", " ", "é", "A", "\n", "-", "_"]
    for _ in range(count):
        pattern = random_regex(rng)
        kind = rng.choice(["regex", "search"])
        if kind == "search" and rng.random() < 0.5:
            pattern = rng.choice(["^", ""]) + pattern + rng.choice(["$", ""])
        # Python's $ is also before a line end at the end, ECMA-262's is not.
        letters = [c for c in alphabet if c != "\n" or "$)" not in pattern]
        checks = ["".join(rng.choices(letters, k=rng.randrange(8))) for _ in range(40)]
        answer = sampler.ask(kind=kind, text=pattern, samples=3, seed=rng.getrandbits(60), wander=15, max_tokens=500, check=checks)
        looks = "(?=" in pattern or "(?!" in pattern
        if looks and re.search("look-ahead|no text|too many states", answer.get("error", "")):
            refused += 1
            continue
        if "error" in answer or "fault" in answer:
            faults += 1
            print(f"{pattern!r}: {answer.get('error', answer.get('fault'))}")
            continue
        compiled = re.compile(pattern)
        matches = compiled.fullmatch if kind == "regex" else compiled.search
        for sample in answer["samples"]:
            if sample["finished"]:
                texts += 1
                if not matches(sample["text"]) and not ("$)" in pattern and "\n" in sample["text"]):
                    faults += 1
                    print(f"{kind} {pattern!r} produced {sample['text']!r}")
        for text, takes in zip(checks, answer["takes"]):
            expected = bool(matches(text))
            taken += takes
            if takes and not expected:
                faults += 1
                print(f"{kind} {pattern!r} takes {text!r}")
            # What the dialects disagree on is left out on purpose; of the alphabet that is only the letter é in \W and the like.
            if expected and not takes and text.isascii() and not (text.endswith("\n") and pattern.endswith("$")):
                faults += 1
                print(f"{kind} {pattern!r} does not take {text!r}")
    print(f"regexes: {count}, refused {refused}, texts completed {texts}, given texts taken {taken}, faults {faults}")
    return faults


# --- GBNF ------------------------------------------------------------------------------------------------------------

def random_grammar(rng):
    """Non-recursive rules, each a regular expression too: r<i> uses only rules behind it."""
    n = rng.randrange(1, 5)
    gbnf, as_regex = {}, {}
    for i in reversed(range(n)):
        def expr(depth):
            kind = rng.random()
            if i + 1 < n and kind < 0.2:
                k = rng.randrange(i + 1, n)
                return f"r{k}", f"(?:{as_regex[k]})"
            if depth == 0 or kind < 0.5:
                return rng.choice([('"a"', "a"), ('"bc"', "bc"), ("[a-c]", "[a-c]"), ("[^a\\n]", "[^a\\n]"), ('"\\""', '"'), ('"é"', "é"),
                                   ("[0-9]", "[0-9]"), ('""', "(?:)")])
            parts = [expr(depth - 1) for _ in range(rng.randrange(1, 4))]
            if kind < 0.7:
                return " ".join(p[0] for p in parts), "".join(p[1] for p in parts)
            if kind < 0.85:
                return "(" + " | ".join(p[0] for p in parts) + ")", "(?:" + "|".join(p[1] for p in parts) + ")"
            op = rng.choice(["*", "+", "?", "{2}", "{1,3}", "{2,}"])
            return f"({parts[0][0]}){op}", f"(?:{parts[0][1]}){op}"
        gbnf[i], as_regex[i] = expr(3)
    return "root ::= r0\n" + "".join(f"r{i} ::= {gbnf[i]} # rule {i}\n" for i in gbnf), as_regex[0]


def check_grammars(sampler, count, rng):
    faults, texts = 0, 0
    for _ in range(count):
        grammar, pattern = random_grammar(rng)
        checks = ["".join(rng.choices(["a", "b", "bc", "c", '"', "é", "0", "\n"], k=rng.randrange(6))) for _ in range(40)]
        answer = sampler.ask(kind="gbnf", text=grammar, samples=3, seed=rng.getrandbits(60), wander=15, max_tokens=500, check=checks)
        if "error" in answer or "fault" in answer:
            faults += 1
            print(f"{grammar}: {answer.get('error', answer.get('fault'))}")
            continue
        matches = re.compile(pattern).fullmatch
        for sample in answer["samples"]:
            texts += sample["finished"]
            if sample["finished"] and not matches(sample["text"]):
                faults += 1
                print(f"{grammar} produced {sample['text']!r}")
        for text, takes in zip(checks, answer["takes"]):
            if takes != bool(matches(text)):
                faults += 1
                print(f"{grammar} {'takes' if takes else 'does not take'} {text!r}")
    print(f"grammars: {count}, texts completed {texts}, faults {faults}")
    return faults


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--schemas", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=3, help="texts for each schema")
    parser.add_argument("--regexes", type=int, default=1000)
    parser.add_argument("--grammars", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vocabulary", help="a byte-level tokenizer.json; default: a small made-up vocabulary")
    args = parser.parse_args()
    sampler = Sampler(args.program, args.vocabulary)
    faults = check_schemas(sampler, args.schemas, random.Random(args.seed), args.samples)
    faults += check_regexes(sampler, args.regexes, random.Random(args.seed))
    faults += check_grammars(sampler, args.grammars, random.Random(args.seed))
    return faults


if __name__ == "__main__":
    threading.stack_size(256 << 20)
    result = []
    thread = threading.Thread(target=lambda: result.append(main()))
    thread.start()
    thread.join()
    sys.exit(0 if result == [0] else 1)
