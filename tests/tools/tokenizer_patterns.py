"""The patterns by which models split texts before they merge bytes."""

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
