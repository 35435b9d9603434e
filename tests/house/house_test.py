"""Holds the code to the house rules of CONTRIBUTING.md: which folder may include which, which third-party header
belongs to which file, and how long a file may be. Run from anywhere; prints every breach and fails on the first run
that has one. `--self-test` proves on made-up files that each rule can fail."""

import pathlib
import re
import sys
import tempfile

# A folder may include itself and these.
MAY_INCLUDE = {
    "engine/base": [],
    "tokenizer/jinja": ["engine/base"],
    "tokenizer": ["engine/base", "tokenizer/jinja"],
    "quant": ["engine/base"],
    "engine/grammar": ["engine/base"],
    "engine/kernels": ["engine/base", "quant"],
    "engine": ["engine/base", "engine/grammar", "engine/kernels", "quant", "tokenizer"],
    "server/tools": ["engine/base"],
    "server": ["engine/base", "engine/grammar", "engine", "quant", "tokenizer", "server/tools"],
    "cli/hub": ["engine/base"],
    "cli": ["cli/hub", "engine/base", "engine/kernels", "engine", "quant", "tokenizer", "server", "server/tools"],
}
# Kernel files of one instruction set include nothing that could bring in a shared template.
KERNEL_FILE = re.compile(r"engine/kernels/.*_(avx2|avxvnni|avx512|amx)\.cc$")
KERNEL_SYSTEM = {"immintrin.h", "stddef.h", "stdint.h", "string.h"}
# Third-party headers that live behind one place.
OWNED = {
    r"httplib\.h": r"server/httplib_compat\.h",
    r"dnnl\.hpp|oneapi/dnnl/.*": r"engine/dnnl_(gemm|int8)\.cc",
    r"spdlog/.*": r"engine/base/log\.cc",
    r"pcre2\.h": r"tokenizer/.*\.cc",
    r"utf8proc\.h": r"tokenizer/.*\.cc",
    r"sentencepiece.*": r"tokenizer/sentencepiece_model\.cc",
    r"prometheus/.*": r"server/metrics\.(h|cc)",
    r"CLI/.*": r"cli/.*",
    r"curl/.*": r"cli/(hub/hub_client|selftest/http_client)\.cc",
    r"nlohmann/json\.hpp": r".*\.cc|cli/.*|server/.*\.h|tokenizer/.*json.*\.h|engine/grammar/schema_document\.h",
}
MAX_LINES = 900
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^">]+)[">]')


def folder_of(path):
    """The house folder that a repository path belongs to, the longest match first."""
    return next((f for f in sorted(MAY_INCLUDE, key=len, reverse=True) if path.startswith(f + "/")), None)


def breaches(root):
    """All breaches in the tree at `root`, as lines `file:line: what`."""
    found = []
    sources = [p for top in {f.split("/")[0] for f in MAY_INCLUDE} for p in (root / top).rglob("*")
               if p.suffix in {".h", ".cc", ".cpp"}]
    for file in sorted(sources):
        path = file.relative_to(root).as_posix()
        folder = folder_of(path)
        lines = file.read_text(encoding="utf-8").splitlines()
        if len(lines) > MAX_LINES:
            found.append(f"{path}: {len(lines)} lines; split it (limit {MAX_LINES})")
        for number, line in enumerate(lines, 1):
            if re.search(r"using\s+namespace\b", line):
                found.append(f"{path}:{number}: using namespace")
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, header = match.groups()
            target = folder_of(header)
            if target and target != folder and target not in MAY_INCLUDE[folder]:
                found.append(f"{path}:{number}: {folder} may not include {target} ({header})")
            if quote == '"' and target is None:
                found.append(f"{path}:{number}: include paths start at the repository root ({header})")
            for pattern, owner in OWNED.items():
                if re.fullmatch(pattern, header) and not re.fullmatch(owner, path):
                    found.append(f"{path}:{number}: {header} belongs to {owner}")
            if KERNEL_FILE.search(path) and quote == "<" and header not in KERNEL_SYSTEM:
                found.append(f"{path}:{number}: a kernel file includes <{header}>")
        if path.endswith(".h") and not any(line.startswith("#pragma once") for line in lines):
            found.append(f"{path}: no #pragma once")
    return found


def untested(root):
    """Statements of tests/server/CONFORMANCE.md (1 to 73) without a line, and tests that they name and that do not exist."""
    conformance = root / "tests/server/CONFORMANCE.md"
    if not conformance.exists():
        return []
    found, numbers = [], set()
    for row in re.findall(r"^\| (\d+) \|[^|]*\| (.*) \|$", conformance.read_text(encoding="utf-8"), re.MULTILINE):
        numbers.add(int(row[0]))
        for file, name in re.findall(r"`([\w/]+\.(?:cc|py))` (.*?)(?=; `[\w/]+\.(?:cc|py)` |$)", row[1]):
            path = root / "tests" / (file if "/" in file else "server/" + file)
            source = re.sub(r'"\s*\n\s*"', "", path.read_text(encoding="utf-8")) if path.exists() else ""
            if name not in source:
                found.append(f"tests/server/CONFORMANCE.md: statement {row[0]}: {file} has no test '{name}'")
    found += [f"tests/server/CONFORMANCE.md: statement {number} has no test" for number in range(1, 74) if number not in numbers]
    return found


def self_test():
    """Each rule fails on a file that breaks it."""
    cases = {
        "quant/a.cc": ('#include "engine/model.h"\n', "quant may not include engine"),
        "tokenizer/b.cc": ('#include "quant/gguf.h"\n', "tokenizer may not include quant"),
        "engine/c.cc": ('#include "server/x.h"\n', "engine may not include server"),
        "engine/kernels/d_avx2.cc": ("#include <vector>\n", "a kernel file includes <vector>"),
        "server/e.cc": ("#include <httplib.h>\n", "httplib.h belongs to"),
        "server/f.h": ("int x;\n", "no #pragma once"),
        "cli/g.cc": ("using namespace std;\n", "using namespace"),
        "quant/h.cc": ('#include "gguf.h"\n', "start at the repository root"),
        "quant/i.cc": ("\n" * 1000, "lines; split it"),
    }
    for path, (text, expected) in cases.items():
        with tempfile.TemporaryDirectory() as temp:
            file = pathlib.Path(temp, path)
            file.parent.mkdir(parents=True)
            file.write_text(text, encoding="utf-8")
            found = breaches(pathlib.Path(temp))
            assert len(found) == 1 and expected in found[0], (path, found)
    with tempfile.TemporaryDirectory() as temp:
        file = pathlib.Path(temp, "tests/server/CONFORMANCE.md")
        file.parent.mkdir(parents=True)
        file.write_text("".join(f"| {n} | x | `a_test.cc` A test; `e2e/b.py` test_b |\n" for n in range(1, 73)), encoding="utf-8")
        assert len(untested(pathlib.Path(temp))) == 2 * 72 + 1
    print(f"{len(cases) + 1} rules can fail")


if __name__ == "__main__":
    if "--self-test" in sys.argv:
        self_test()
    else:
        root = pathlib.Path(__file__).resolve().parents[2]
        result = breaches(root) + untested(root)
        print("\n".join(result) or "the house is in order")
        sys.exit(1 if result else 0)
