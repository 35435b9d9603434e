"""Objects built with instruction-set flags must hold no weak symbol: the linker keeps one copy of a weak function for
the whole program, and if that is the AVX-512 one, any other CPU dies in code that looks harmless.

kernel_symbols_test.py NM OBJECT... looks at the objects named after an instruction set, as *_avx2.cc.*; `--self-test` shows that it
can fail."""

import re
import subprocess
import sys

KERNEL_OBJECT = re.compile(r"_(avx2|avxvnni|avx512|amx)\.cc\.\w+$")
# nm: [value] type name. W, V: weak function, weak object; u: unique global (an inline variable or a template's static).
SYMBOL = re.compile(r"^(?:[0-9a-fA-F]+|\s+)\s*([A-Za-z?-])\s+(.+)$")
WEAK = {"W", "V", "u"}
# A pointer to the C++ runtime's personality routine, in sanitizer builds: data that is the same in every object.
HARMLESS = re.compile(r"DW\.ref\.")


def weak_symbols(nm_output):
    """Names of the weak symbols in what `nm -C` printed. Raises ValueError where there is no symbol at all."""
    symbols = [match.groups() for match in map(SYMBOL.match, nm_output.splitlines()) if match]
    if not symbols:
        raise ValueError("no symbols: not an object file, or nm prints something else")
    return [name for kind, name in symbols if kind in WEAK and not HARMLESS.match(name)]


def self_test():
    clean = "0000000000000000 t quorum::engine::avx2::F()\n                 U memcpy\n0000000000000040 T g\n"
    assert weak_symbols(clean) == []
    assert weak_symbols(clean + "0000000000000000 V DW.ref.__gxx_personality_v0\n") == []
    for kind in "WVu":
        assert weak_symbols(clean + f"0000000000000080 {kind} std::vector<int>::push_back(int&&)\n") == [
            "std::vector<int>::push_back(int&&)"], kind
    try:
        weak_symbols("")
    except ValueError:
        pass
    else:
        raise AssertionError("an empty listing passed")
    print("weak symbols are found")


def main(nm, objects):
    kernels = [path for path in objects if KERNEL_OBJECT.search(path)]
    if not kernels:
        print("no kernel objects given")
        return 1
    failed = False
    for path in kernels:
        output = subprocess.run([nm, "-C", path], check=True, capture_output=True, text=True).stdout
        for name in weak_symbols(output):
            print(f"{path}: weak symbol {name}")
            failed = True
    print(f"{len(kernels)} kernel objects looked at")
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    else:
        sys.exit(main(sys.argv[1], sys.argv[2:]))
