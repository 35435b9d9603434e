"""What the tokenizer tools share: test texts, and vocabularies in the forms that the C++ side reads."""

import base64
import itertools
import json
import random
import unicodedata

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

ENGLISH = """The quick brown fox jumps over the lazy dog, doesn't it? It's what I'd've said; we'll see what they're up to.
In 1969 the Apollo 11 mission cost $355 million (about 2.5% of the programme). Gravity is a force that attracts bodies.
"Well," she said -- quietly -- "you can't have both!" Mr. O'Neill's e-mail: oneill@example.org, https://example.org/a?b=c#d
ISN'T THAT GREAT? WE'RE SHOUTING, THEY'LL STOP, I'M SURE. HelloWorld camelCaseWord snake_case_word SCREAMING_SNAKE XMLHttpRequest
x = 3.14159e-10; 0xDEADBEEF 1_000_000 12,345,678.90 +1 (555) 010-9999 2026-11-22T03:14:15Z v1.2.3-rc4""".split(
    "\n"
)

CODE = """#include <vector>\nint main(int argc, char** argv) {\n\tstd::vector<int> v{1, 2, 3};\n\treturn v[0] != 1 ? -1 : 0;\n}\n
def f(x: int = 0, *args, **kwargs) -> dict[str, list[int]]:\n    \"\"\"Doc.\"\"\"\n    return {"a": [i ** 2 for i in range(10) if i % 2]}\n
SELECT name, COUNT(*) AS n FROM users WHERE age >= 18 AND email LIKE '%@example.org' GROUP BY name ORDER BY n DESC;
<div class="a b" id='c'>&nbsp;<!-- note --><script>let f = async (x) => { await x?.y ?? `t${x}`; };</script></div>
{"key": [1, 2.5, -3e8, true, null], "nested": {"a\\n": "\\u00e9"}}
for i in $(seq 1 10); do echo "$i: ${HOME:-none}" | sed -e 's/[^a-z]*//g' >> /tmp/out.txt 2>&1; done
fn main() -> Result<(), Box<dyn std::error::Error>> { let x: &'static str = "a"; println!("{x:?}"); Ok(()) }
\\begin{equation} \\frac{\\partial u}{\\partial t} = \\alpha \\nabla^2 u + \\sum_{i=0}^{n} x_i^{2} \\end{equation}""".split(
    "\n\n"
)

SENTENCES = """Größe, Übermut und Ähnliches: »Straße« heißt jetzt „STRASSE“ – 3,50 €.
L’été dernier, où étais-tu ? Ça coûte 10 % de plus qu'à Noël. Œuvre naïve.
El pingüino comió ñandú; ¿cuántos años? ¡Qué lástima! Nº 5, 1ª edición.
Příliš žluťoučký kůň úpěl ďábelské ódy. Zażółć gęślą jaźń.
İstanbul'da ığdır, ÇŞĞÜÖ çşğüö. Ɓalɗe ɛ ɔ ŋ.
Съешь же ещё этих мягких французских булок, да выпей чаю. Київ, Їжак, ґанок.
Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. Ὁ ἄνθρωπος ᾧ ᾳ.
דג סקרן שט בים מאוכזב ולפתע מצא חברה. שָׁלוֹם
نص حكيم له سر قاطع وذو شأن عظيم ١٢٣٤٥٦٧٨٩٠ مُحَمَّد ﷺ.
بر این اساس می‌توان گفت ۱۲۳۴ که پژوهش‌ها. اردو میں لکھیں ہے۔
ऋषियों को सताने वाले दुष्ट राक्षसों के राजा रावण १२३४ का। क्षत्रिय
আমি বাংলায় গান গাই ১২৩৪। ਪੰਜਾਬੀ ਵਿੱਚ ੧੨੩। ગુજરાતી ૧૨૩ ଓଡ଼ିଆ
யாமறிந்த மொழிகளிலே தமிழ்மொழி ௧௨௩. తెలుగు భాష ౧౨౩ ಕನ್ನಡ ೧೨೩ മലയാളം ൧൨൩ සිංහල
เป็นมนุษย์สุดประเสริฐเลิศคุณค่า ๑๒๓๔ ລາວ ໑໒໓ ខ្មែរ ១២៣ မြန်မာ ၁၂၃
天地玄黃，宇宙洪荒。简体中文测试：2026年11月22日，星期日。𠀀𠮷𪚥 ㈱ ㌔ ＡＢＣ１２３
いろはにほへと ちりぬるを。カタカナ、ﾊﾝｶｸ。今日は3時30分です！ー々〆ヶ
키스의 고유조건은 입술끼리 만나야 하고 특별한 기술은 필요치 않다. ㄱㄴㄷ ᄀᄁᆞ
ქართული ენა ᲥᲐᲠᲗ. Հայերեն լեզու։ አማርኛ ፩፪፫። ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ ᠮᠣᠩᠭᠣᠯ བོད་ཡིག ༡༢༣ ⵜⴰⵎⴰⵣⵉⵖⵜ
∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β → γ ⊕ δ; ½ ⅓ ² ³ ₁ Ⅷ ⅷ ① ⑳ ㊿ 𝟘𝟙 𝔄𝕭 ™ © ® ° ± × ÷""".split("\n")

EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇯🇵", "1️⃣", "❤️", "🧑🏿‍🚀", "☃", "⚔︎", "🫠", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]

SPACES = [
    " ",
    "  ",
    "   ",
    "\t",
    "\t\t",
    "\n",
    "\r\n",
    "\n\n",
    " \n",
    "\n ",
    "\r",
    "\v",
    "\f",
    "\u0085",
    "\u00a0",
    "\u1680",
    "\u180e",
    "\u2003",
    "\u200b",
    "\u2028",
    "\u2029",
    "\u202f",
    "\u205f",
    "\u3000",
    "\ufeff",
    "\u200d",
    " " * 7,
    " " * 40,
    "\n" * 5,
    "\t \t ",
    "    \n    ",
]

CONTRACTIONS = [
    "'s",
    "'S",
    "'t",
    "'T",
    "'re",
    "'RE",
    "'Re",
    "'ve",
    "'m",
    "'M",
    "'ll",
    "'LL",
    "'lL",
    "'d",
    "'D",
    "'x",
    "’s",
    "'ſ",
    "'ⓢ",
    "'",
    "''",
    "'sing",
    "'tis",
    "n't",
    "'Kelvin",
    "'ſt",
]


def assigned(low, high):
    """Code points that Python's Unicode (14.0 with 3.11) knows: newer ones split differently from library to library."""
    return [c for c in range(low, high) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]


def blocks():
    step = 128
    planes = itertools.chain(range(0, 0x20000, step), range(0x20000, 0x20400, step), range(0xE0000, 0xE0200, step))
    return [b for b in (assigned(low, low + step) for low in planes) if b]


def corpus(lines, seed, specials=()):
    """`lines` texts: prose and code, scripts, emoji, control characters, odd spaces, numbers, special tokens' names."""
    rng = random.Random(seed)
    all_blocks = blocks()
    controls = [chr(c) for c in range(32)] + [chr(c) for c in range(0x7F, 0xA0)]

    def word():
        block = rng.choice(all_blocks)
        return "".join(chr(rng.choice(block)) for _ in range(rng.randint(1, 12)))

    def number():
        zero = rng.choice([0x30, 0x30, 0x30, 0x660, 0x966, 0xFF10, 0x1D7CE, 0x2160, 0xB2])
        return "".join(chr(zero + rng.randrange(4 if zero == 0xB2 else 10)) for _ in range(rng.randint(1, 10)))

    def slice_of(texts):
        words = rng.choice(texts).split(" ")
        start = rng.randrange(len(words))
        return " ".join(words[start : start + rng.randint(1, 12)])

    def combining():
        marks = [0x300, 0x301, 0x308, 0x327, 0x323, 0x5B0, 0x64B, 0x93C, 0x94D, 0xE31, 0x3099, 0x20DD, 0x1DC0]
        return "".join(
            rng.choice("aeiouAEOcnsकがกא ") + "".join(chr(rng.choice(marks)) for _ in range(rng.randint(0, 3)))
            for _ in range(rng.randint(1, 6))
        )

    def ascii_noise():
        return "".join(chr(rng.randrange(33, 127)) for _ in range(rng.randint(1, 15)))

    makers = [
        (lambda: slice_of(ENGLISH), 24),
        (lambda: slice_of(CODE), 18),
        (lambda: slice_of(SENTENCES), 22),
        (word, 10),
        (lambda: rng.choice(EMOJI) * rng.randint(1, 3), 5),
        (lambda: rng.choice(SPACES), 16),
        (lambda: rng.choice(controls) * rng.randint(1, 3), 4),
        (number, 7),
        (lambda: rng.choice("abcXYZéЯ中") + rng.choice(CONTRACTIONS), 6),
        (combining, 4),
        (ascii_noise, 6),
        (lambda: rng.choice(["-", "=", "_", "#", "/", ".", "~", "!", "a", "é", "漢", "0"]) * rng.randint(2, 60), 4),
        (lambda: rng.choice(list(specials) or ["<|none|>"]), 3 if specials else 1),
    ]
    functions, weights = zip(*makers)
    out = []
    for _ in range(lines):
        parts = []
        for maker in rng.choices(functions, weights, k=rng.randint(1, 9)):
            parts.append(maker())
            if rng.random() < 0.6:
                parts.append(" ")
        out.append("".join(parts))
    return out


def byte_level_characters():
    """GPT-2's printable character for each byte."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [b for b in range(256) if b not in printable]
    characters = {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(rest)}
    return [characters[b] for b in range(256)]


def gguf_vocab(path):
    """The `tokenizer.ggml.*` keys of a GGUF file as a dictionary with VocabData's names."""
    from gguf import GGUFReader

    fields = GGUFReader(path).fields

    def get(key, otherwise=None):
        field = fields.get("tokenizer.ggml." + key)
        return otherwise if field is None else field.contents()

    return {
        "model": get("model"),
        "pre": get("pre", ""),
        "tokens": get("tokens"),
        "types": get("token_type", []),
        "scores": get("scores", []),
        "merges": get("merges", []),
        "bos": get("bos_token_id"),
        "eos": get("eos_token_id"),
        "eot": get("eot_token_id"),
        "unk": get("unknown_token_id"),
        "pad": get("padding_token_id"),
        "add_bos": get("add_bos_token", False),
        "add_eos": get("add_eos_token", False),
        "add_space_prefix": get("add_space_prefix", get("model") == "llama"),
    }


def hf_smollm(vocab):
    """SmolLM's tokenizer.json rebuilt from its GGUF vocabulary."""
    merges = [tuple(m.split(" ")) for m in vocab["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(vocab["tokens"])}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(t, normalized=False, special=True) for t, kind in zip(vocab["tokens"], vocab["types"]) if kind == 3]
    )
    return tokenizer


def vocab_from_json(tokenizer_json, pre):
    """What llama.cpp's converter would put into a GGUF file for a byte-level tokenizer.json."""
    model = tokenizer_json["model"]
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    added = {a["id"]: a for a in tokenizer_json["added_tokens"]}
    by_id = {i: t for t, i in model["vocab"].items()}
    by_id.update({i: a["content"] for i, a in added.items()})
    size = max(by_id) + 1
    types = [(3 if added[i]["special"] else 4) if i in added else 1 if i in by_id else 5 for i in range(size)]
    return {
        "model": "gpt2",
        "pre": pre,
        "tokens": [by_id.get(i, f"[PAD{i}]") for i in range(size)],
        "types": types,
        "merges": merges,
    }


def spm_vocab_from_json(tokenizer_json):
    """The GGUF vocabulary of a Llama-like tokenizer.json, whose merges are in the order of their pieces' scores."""
    by_id = {i: t for t, i in tokenizer_json["model"]["vocab"].items()}
    tokens = [by_id[i] for i in range(len(by_id))]
    types = [
        2 if t == "<unk>" else 3 if t in ("<s>", "</s>") else 6 if len(t) == 6 and t.startswith("<0x") else 1
        for t in tokens
    ]
    rank = {}
    for i, merge in enumerate(tokenizer_json["model"]["merges"]):
        rank.setdefault(merge.replace(" ", ""), i)
    scores = [-float(rank.get(t, len(tokens) * 8)) for t in tokens]
    return {
        "model": "llama",
        "tokens": tokens,
        "types": types,
        "scores": scores,
        "unk": tokens.index("<unk>"),
        "bos": 1,
        "eos": 2,
        "add_space_prefix": True,
    }


def model_proto(path_or_bytes):
    """The message of a tokenizer.model."""
    from sentencepiece import sentencepiece_model_pb2

    data = path_or_bytes if isinstance(path_or_bytes, bytes) else open(path_or_bytes, "rb").read()
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(data)
    return proto


def spm_vocab_from_model(path_or_bytes):
    """What llama.cpp's converter would put into a GGUF file for a tokenizer.model without user-defined symbols."""
    proto = model_proto(path_or_bytes)
    trainer, normalizer = proto.trainer_spec, proto.normalizer_spec
    ids = {"unk": trainer.unk_id, "bos": trainer.bos_id, "eos": trainer.eos_id, "pad": trainer.pad_id}
    return {
        "model": {1: "t5", 2: "llama"}[trainer.model_type],
        "tokens": [p.piece for p in proto.pieces],
        "types": [p.type for p in proto.pieces],
        "scores": [p.score for p in proto.pieces],
        "add_space_prefix": normalizer.add_dummy_prefix,
        "remove_extra_whitespaces": normalizer.remove_extra_whitespaces,
        "chars_map": base64.b64encode(normalizer.precompiled_charsmap).decode(),
        **{name: id_ for name, id_ in ids.items() if id_ >= 0},
    }


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False)
