"""How fixtures of make_tokenizer_fixtures.py are written."""

import json
import pathlib
import unicodedata

import sentencepiece
import tiktoken
import tokenizers

OUT = pathlib.Path(__file__).resolve().parents[1] / "fixtures" / "tokenizer"
VERSIONS = {
    "tokenizers": tokenizers.__version__,
    "sentencepiece": sentencepiece.__version__,
    "tiktoken": tiktoken.__version__,
    "unicode": unicodedata.unidata_version,
}


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
