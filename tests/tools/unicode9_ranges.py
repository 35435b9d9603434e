#!/usr/bin/env python3
"""Prints the table of tokenizer/unicode9.cc: the code points that utf8proc (its installed library) orders, composes or decomposes, and
Hugging Face's tokenizers, whose tables of normal forms are those of Unicode 9, do not. Needs the tokenizers package."""
import ctypes

from tokenizers import normalizers

lib = ctypes.CDLL("libutf8proc.so.2")
lib.utf8proc_NFKD.restype, lib.utf8proc_NFKD.argtypes = ctypes.c_char_p, [ctypes.c_char_p]
lib.utf8proc_NFC.restype, lib.utf8proc_NFC.argtypes = ctypes.c_char_p, [ctypes.c_char_p]
NFC, NFKD = normalizers.NFC(), normalizers.NFKD()
EITHER_SIDE = "\u0334", "\u0345"  # marks of class 1 and class 240: whatever has another class changes places with one of them


def ours(function, text):
    return function(text.encode()).decode()


def differs(c):
    return NFKD.normalize_str(c) != ours(lib.utf8proc_NFKD, c) or any(
        NFC.normalize_str(text) != ours(lib.utf8proc_NFC, text) for mark in EITHER_SIDE for text in ("x" + mark + c, "x" + c + mark))


def main():
    code_points = [c for c in range(0x80, 0x110000) if not 0xD800 <= c < 0xE000]
    differing = [c for c in code_points if differs(chr(c))]
    # Second halves of letters that were composed later: they have no class.
    composed = {c: ours(lib.utf8proc_NFKD, chr(c)) for c in differing if len(ours(lib.utf8proc_NFKD, chr(c))) == 2}
    differing += [ord(halves[1]) for c, halves in composed.items() if ours(lib.utf8proc_NFC, halves) == chr(c)]
    ranges = []
    for c in sorted(set(differing)):
        if ranges and ranges[-1][1] == c - 1:
            ranges[-1][1] = c
        else:
            ranges.append([c, c])
    for first, last in ranges:
        print(f"    {{0x{first:04X}, 0x{last:04X}}},")


if __name__ == "__main__":
    main()
