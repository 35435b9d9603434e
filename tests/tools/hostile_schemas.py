"""Schemas, expressions and grammars made to blow up, sent to a server of its own, with a table of what became of each:
    hostile_schemas.py QUORUM_BINARY MODEL [--only WORD]
Checked: each is refused with a 400 within a second (of computing, where the machine has other work too), or followed within bounded
memory and time; /health answers within a second
meanwhile; sixteen at once are answered too; a plain request is answered as before. Exit status 1 if something is wrong.
QUORUM_SLACK widens the bounds of time and memory, for sanitizer builds."""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

sys.setrecursionlimit(20_000)
SLACK = float(os.environ.get("QUORUM_SLACK", "1"))
REFUSED_WITHIN = 1.0  # seconds
FIRST_TOKENS_WITHIN = 4.0  # seconds, compiling and --max-tokens tokens
MEMORY = 160  # MiB above the peak before; compiled grammars are kept, within limits


def strings(count, length=8):
    return [f"{i:0{length}d}" for i in range(count)]


def obj(properties, required=True, **more):
    return {"type": "object", "properties": properties, **({"required": list(properties)} if required else {}),
            "additionalProperties": False, **more}


def chain(count, make, last):
    """d0 is made from a reference to d1, and so on."""
    defs = {f"d{i}": make({"$ref": f"#/$defs/d{i + 1}"}) for i in range(count)}
    return {"$ref": "#/$defs/d0", "$defs": {**defs, f"d{count}": last}}


def nest(depth, make, last):
    for _ in range(depth):
        last = make(last)
    return last


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
SIDES = [{"type": "object", "properties": {f"p{i}": {"const": i}}, "required": [f"p{i}"]} for i in range(10)]

SCHEMAS = {
    # Depth and recursion.
    "objects 20 deep": nest(20, lambda s: obj({"a": s}), TEXT),
    "objects 28 deep": nest(28, lambda s: obj({"a": s}), TEXT),
    "objects 60 deep": nest(60, lambda s: obj({"a": s}), TEXT),
    "arrays 50 deep": nest(50, lambda s: {"type": "array", "items": s, "minItems": 1}, TEXT),
    "a thousand nested": nest(1000, lambda s: {"items": s}, {}),
    "a schema that is itself": {"$ref": "#"},
    "two that are each other": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    "anyOf itself alone": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
    "recursion that never ends": obj({"a": {"$ref": "#"}}),
    "recursion 8 ways": {"type": "array", "items": {"anyOf": [{"$ref": "#"}] * 8}},
    "20,000 references in a row": chain(20_000, lambda next: next, TEXT),
    "2,000 objects in a row": chain(2000, lambda next: obj({"a": next}), TEXT),
    "reference into nowhere": {"$ref": "#/$defs/none"},
    "reference to the network": {"$ref": "http://127.0.0.1:9/schema.json"},
    # Exponents.
    "anyOf doubled 60 times": chain(60, lambda next: {"anyOf": [next, next]}, TEXT),
    "allOf doubled 60 times": chain(60, lambda next: {"allOf": [next, next]}, TEXT),
    "oneOf doubled 60 times": chain(60, lambda next: {"oneOf": [next, next]}, TEXT),
    "not doubled 60 times": chain(60, lambda next: {"not": {"anyOf": [next, {"not": next}]}}, TEXT),
    "properties doubled 60 times": chain(60, lambda next: obj({"a": next, "b": next}), TEXT),
    "items doubled 60 times": chain(60, lambda next: {"type": "array", "prefixItems": [next, next], "minItems": 2, "items": False}, TEXT),
    "allOf of 20 anyOf": {"allOf": [{"anyOf": SIDES} for _ in range(20)]},
    "oneOf of 20 oneOf": {"oneOf": [{"oneOf": [{"allOf": [side, other]} for side in SIDES]} for other in SIDES * 2]},
    "anyOf of 3,000": {"anyOf": [obj({f"k{i}": {"const": i}}) for i in range(3000)]},
    "oneOf of 1,000": {"oneOf": [obj({"kind": {"const": f"k{i}"}, "x": TEXT}) for i in range(1000)]},
    "30 if-then-else": {"allOf": [{"if": obj({f"p{i}": {"const": 1}}), "then": {"required": [f"q{i}"]}, "else": {"required": [f"r{i}"]}}
                                  for i in range(30)]},
    "30 dependentSchemas": {"type": "object", "properties": {f"p{i}": TEXT for i in range(30)},
                            "dependentSchemas": {f"p{i}": {"required": [f"p{(i + 7) % 30}"], "properties": {f"p{(i + 3) % 30}": {"maxLength": i}}}
                                                 for i in range(30)}},
    "60 dependentRequired": {"type": "object", "properties": {f"p{i}": TEXT for i in range(60)},
                             "dependentRequired": {f"p{i}": [f"p{(i * 7 + j) % 60}" for j in range(5)] for i in range(60)}},
    "negated products": {"not": {"allOf": [{"anyOf": SIDES} for _ in range(12)]}},
    "unevaluated": {"allOf": [{"anyOf": SIDES}], "unevaluatedProperties": False},
    # Breadth.
    "enum of 100,000": {"enum": strings(100_000)},
    "enum of 100,000 with one beginning": {"enum": ["x" * 200 + s for s in strings(4_000)]},
    "enum of 100,000 numbers": {"enum": list(range(100_000))},
    "enum of 5,000 objects": {"enum": [{"a": i, "b": [i, {"c": str(i)}]} for i in range(5000)]},
    "enum of 90,000 lists": {"enum": [[i] for i in range(90_000)]},
    "enum of 40,000 but not of 40,000": {"enum": [[i] for i in range(40_000)], "not": {"enum": [[i] for i in range(1000, 41_000)]}},
    "a constant of 800 kB": {"const": "y" * 800_000},
    "a constant 60 deep": {"const": nest(60, lambda v: [v], 1)},
    "5,000 optional members": obj({f"p{i}": TEXT for i in range(5000)}, required=False),
    "5,000 required members": obj({f"p{i}": NUMBER for i in range(5000)}),
    "300 members, some of them": obj({f"p{i}": TEXT for i in range(300)}, required=False, minProperties=100, maxProperties=200),
    "a name of 500 kB": obj({"n" * 500_000: TEXT}),
    "10,000 prefixItems": {"type": "array", "prefixItems": [NUMBER] * 10_000, "minItems": 10_000},
    "100 patternProperties": {"type": "object", "patternProperties": {f"^.*{c}{d}.*$": TEXT for c in "abcdefghij" for d in "abcdefghij"}},
    "propertyNames of a wild pattern": {"type": "object", "propertyNames": {"pattern": "^(a|aa)+.{3,40}$"}, "additionalProperties": TEXT},
    "required names that no property has": {"type": "object", "required": strings(20_000)},
    # Bounds.
    "a billion items at least": {"type": "array", "items": TEXT, "minItems": 10**9},
    "a billion items at most": {"type": "array", "items": TEXT, "maxItems": 10**9},
    "exactly 100,000 objects": {"type": "array", "items": obj({"a": TEXT, "b": NUMBER}), "minItems": 100_000, "maxItems": 100_000},
    "a thousand to the sixth": nest(6, lambda s: {"type": "array", "items": s, "minItems": 1000, "maxItems": 1000}, NUMBER),
    "bounds 1e308": {"type": "array", "minItems": 1e308},
    "bounds below nothing": {"type": "array", "minItems": -5, "maxItems": -10},
    "a billion characters at least": {"type": "string", "minLength": 10**9},
    "two billion at most": {"type": "string", "maxLength": 2**31},
    "length and pattern": {"type": "string", "pattern": "^(ab|a|b)*$", "minLength": 5000, "maxLength": 50_000},
    "200 unique": {"type": "array", "items": {"enum": strings(200)}, "uniqueItems": True},
    "contains 10,000": {"type": "array", "items": TEXT, "contains": {"const": "x"}, "minContains": 10_000},
    "numbers of 300 digits": {"type": "integer", "minimum": 10**300 + 7, "maximum": 10**301},
    "tiny multiples": {"type": "number", "multipleOf": 1e-300},
    "odd multiples": {"type": "integer", "multipleOf": 999_983, "minimum": -10**15, "maximum": 10**15},
    "many multiples": {"allOf": [{"type": "integer", "multipleOf": p} for p in (9973, 9967, 9949, 9941, 9931)]},
}

PATTERNS = {
    "(a+)+$": "^(a+)+$", "(a|a)*": "^(a|a)*$", "(a*)*b": "^(a*)*b$", "nested stars": "^" + "(" * 100 + "a" + ")*" * 100 + "$",
    "nested groups": "(" * 5000 + "a" + ")" * 5000, ".{0,1000000}": "^.{0,1000000}$", "a{1000}{1000}": "^((a{1000}){1000}){1000}$",
    "thousand of thousand": "^(x{1,1000}y?){1,1000}$", "(.*a){25}": "^(.*a){25}$", "the 25th from the end": "^.*a.{25}$",
    "the 25th from the end, of [ab]": "^[ab]*a[ab]{25}$", "no such look": "^(?=a)b", "not followed": "^(?!.*(a|b|c){10}).{1,40}$",
    "a back reference": "^(a*)b\\1$", "50,000 words": "^(" + "|".join(strings(50_000, 5)) + ")$", "10,000 classes": "[a-z\\d]" * 10_000,
    "all of Unicode": "^[\\p{L}\\p{N}\\p{M}]{1,500}$", "not closed": "([a-", "an email, ambiguously": "^([a-zA-Z0-9])(([\\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+[.]{1}(([a-z]{2,3})|([a-z]{2,3}[.]{1}[a-z]{2,3}))$",
    "optional a's": "^" + "a?" * 5000 + "a" * 5000 + "$",
}

GRAMMARS = {
    "left recursion": 'root ::= root "a" | "a"', "ambiguity": 'root ::= "a" | root root | root root root', "itself": "root ::= root",
    "empty loops": 'root ::= x*\nx ::= y*\ny ::= z*\nz ::= ""', "a{1000}{1000}": "root ::= (([a-z]{1000}){1000}){1000}",
    "20,000 rules": "\n".join(["root ::= r0"] + [f"r{i} ::= r{i + 1} r{i + 1}" for i in range(20_000)] + ['r20000 ::= "a"']),
    "doubled 60 times": "\n".join(["root ::= r0"] + [f"r{i} ::= r{i + 1} r{i + 1}" for i in range(60)] + ['r60 ::= "a"']),
    "5,000 brackets": "root ::= " + "(" * 5000 + '"a"' + ")" * 5000, "900 kB": 'root ::= "' + "a" * 900_000 + '"',
    "palindromes": "root ::= " + " | ".join(f'"{c}" root "{c}" | "{c}"' for c in "abcdefghijklmnopqrstuvwxyz"),
}


def cases(message):
    """Name, path and body of each."""
    def chat(**fields):
        return "/v1/chat/completions", {"messages": [{"role": "user", "content": message}], **fields}

    def tool(name, schema):
        return {"type": "function", "function": {"name": name, "strict": True, "parameters": schema}}

    for name, schema in SCHEMAS.items():
        yield name, *chat(response_format={"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}})
    for name, pattern in PATTERNS.items():
        yield f"pattern {name}", *chat(response_format={"type": "json_schema", "json_schema": {
            "name": "x", "strict": True, "schema": obj({"a": {"type": "string", "pattern": pattern}})}})
        yield f"regex {name}", *chat(structured_outputs={"regex": pattern.removeprefix("^").removesuffix("$")})
    for name, grammar in GRAMMARS.items():
        yield f"grammar {name}", *chat(structured_outputs={"grammar": grammar})
    yield "choice of 100,000", *chat(structured_outputs={"choice": strings(100_000)})
    for name in ("properties doubled 60 times", "enum of 100,000", "allOf of 20 anyOf", "recursion 8 ways"):
        tools = [tool("f", {"type": "object", "properties": {"a": SCHEMAS[name]}, "$defs": SCHEMAS[name].get("$defs", {})})]
        yield f"tool: {name}", *chat(tools=tools, tool_choice="required")
    yield "1,000 strict tools", *chat(tools=[tool(f"f{i}", obj({f"p{j}": TEXT for j in range(8)})) for i in range(1000)], tool_choice="required")


class Server:
    def __init__(self, binary, model):
        self.process = subprocess.Popen([binary, "--log-level", "error", "serve", model, "--port", "0", "--ctx", "1024", "--max-batch", "16"],
                                        stdout=subprocess.PIPE, text=True)
        self.url = re.search(r"http://\S+", self.process.stdout.readline()).group()

    def memory(self, which):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{which}:\s+(\d+)", status).group(1)) / 1024

    def cpu(self):
        """Seconds that it has computed; the machine may have other work."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def forget_peak(self):
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def ask(self, path, body, timeout=120):
        data = None if body is None else json.dumps(body).encode()
        begun = time.monotonic()
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url + path, data), timeout=timeout) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        except OSError as error:
            status, text = 0, str(error).encode()
        return status, text.decode(errors="replace"), time.monotonic() - begun


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("model")
    parser.add_argument("--only", default="", help="cases whose name has this word")
    parser.add_argument("--max-tokens", type=int, default=24)
    options = parser.parse_args()
    server = Server(options.binary, options.model)
    wrong, slowest, stop = [], [0.0], threading.Event()

    def watch():
        while not stop.wait(0.05):
            status, _, seconds = server.ask("/health", None, 30)
            slowest[0] = max(slowest[0], seconds)
            if status != 200:
                wrong.append(("health", status))

    def plain():
        body = {"messages": [{"role": "user", "content": "Count"}], "max_tokens": 12, "temperature": 0}
        return json.loads(server.ask("/v1/chat/completions", body)[1])["choices"][0]["message"]["content"]

    said = plain()
    watcher = threading.Thread(target=watch)
    watcher.start()
    todo = [case for case in cases("Say something.") if options.only in case[0]]
    print(f"{'what':44} {'status':6} {'s':>7} {'CPU s':>6} {'MiB':>7}  answer")
    for name, path, body in todo:
        server.forget_peak()
        before, computed = server.memory("VmRSS"), server.cpu()
        status, text, seconds = server.ask(path, {**body, "max_tokens": options.max_tokens, "temperature": 1, "seed": 1})
        grown, computed = server.memory("VmHWM") - before, server.cpu() - computed
        answer = json.loads(text) if text.startswith("{") else {}
        said_so = answer["error"]["message"] if "error" in answer else json.dumps(answer["choices"][0]["message"].get("content") or answer[
            "choices"][0]["message"].get("tool_calls")) if "choices" in answer else text
        limit = REFUSED_WITHIN if status == 400 else FIRST_TOKENS_WITHIN
        fine = status in (200, 400) and min(seconds, computed) <= limit * SLACK and grown <= MEMORY * SLACK
        if not fine:
            wrong.append((name, status, round(seconds, 2), round(computed, 2), round(grown)))
        print(f"{name[:44]:44} {status:6} {seconds:7.2f} {computed:6.2f} {grown:7.1f}  {'' if fine else 'WRONG '}{said_so[:100]!r}", flush=True)
        if server.process.poll() is not None:
            break

    if server.process.poll() is None:
        server.forget_peak()
        before, begun, codes = server.memory("VmRSS"), time.monotonic(), []
        left = list(todo)

        def some():
            while left:
                try:
                    name, path, body = left.pop()
                except IndexError:
                    return
                status = server.ask(path, {**body, "max_tokens": options.max_tokens}, 600)[0]
                codes.append(status)
                if status not in (200, 400, 429):
                    wrong.append(("sixteen at once", name, status))

        threads = [threading.Thread(target=some) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        grown = server.memory("VmHWM") - before
        print(f"sixteen at once: {len(codes)} answered in {time.monotonic() - begun:.1f} s, {grown:.0f} MiB more at the peak")
        if plain() != said:
            wrong.append(("another answer afterwards",))
    stop.set()
    watcher.join()
    print(f"/health took {1000 * slowest[0]:.0f} ms at most; {server.memory('VmRSS') if server.process.poll() is None else 0:.0f} MiB at the end")
    if slowest[0] > SLACK:
        wrong.append(("health", slowest[0]))
    if server.process.poll() is None:
        server.process.terminate()
    if server.process.wait(60) != 0:
        wrong.append(("exit status", server.process.returncode))
    print("wrong:", *(wrong or ["nothing"]), sep="\n  ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
