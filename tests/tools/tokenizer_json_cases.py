"""The part json_cases of make_tokenizer_fixtures.py: tokenizer.json files of many kinds, and what they make of texts."""

import base64
import io
import json
import tempfile
import unicodedata

import sentencepiece
import tokenizer_lib as lib
from tokenizer_fixture_file import encode_all, write
from tokenizer_patterns import LLAMA3, QWEN2, O200K, DEEPSEEK3
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers


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
