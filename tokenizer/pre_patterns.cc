#include "tokenizer/pre_patterns.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include <fmt/format.h>

namespace quorum::tok {
namespace {

// Building blocks. Every split isolates its matches; several splits cut one after the other.
#define QUORUM_CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define QUORUM_NEWLINES_AND_SPACES R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"
// A word with at most one capitalized part, as o200k cuts it.
#define QUORUM_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define QUORUM_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define QUORUM_CASED_WORDS(suffix)                                                                       \
  R"([^\r\n\p{L}\p{N}]?)" QUORUM_UPPER "*" QUORUM_LOWER "+" suffix R"(|[^\r\n\p{L}\p{N}]?)" QUORUM_UPPER \
  "+" QUORUM_LOWER "*" suffix
// The same for Kimi-K2, which takes Han characters apart.
#define QUORUM_UPPER_NO_HAN R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])"
#define QUORUM_LOWER_NO_HAN R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])"
// DeepSeek-V3: ASCII punctuation glued to a word, letters and marks, punctuation and symbols.
#define QUORUM_DEEPSEEK_WORDS                                                               \
  R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)" \
  R"(| ?[\p{P}\p{S}]+)"

constexpr std::string_view kDigit = R"(\p{N})";
constexpr std::string_view kUpToThreeDigits = R"(\p{N}{1,3})";
constexpr std::string_view kDigits = R"(\p{N}+)";
constexpr std::string_view kThreeAsciiDigits = "[0-9][0-9][0-9]";
constexpr std::string_view kNewline = R"([\r\n])";
constexpr std::string_view kHanAndKana = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";

constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3 =
    QUORUM_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)" QUORUM_NEWLINES_AND_SPACES;
constexpr std::string_view kQwen2 =
    QUORUM_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)" QUORUM_NEWLINES_AND_SPACES;
constexpr std::string_view kQwen35 = QUORUM_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)" QUORUM_NEWLINES_AND_SPACES;
constexpr std::string_view kGpt4o =
    QUORUM_CASED_WORDS(QUORUM_CONTRACTIONS "?") R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" QUORUM_NEWLINES_AND_SPACES;
constexpr std::string_view kTekken =
    QUORUM_CASED_WORDS("") R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" QUORUM_NEWLINES_AND_SPACES;
constexpr std::string_view kKimiK2 =
    R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?)" QUORUM_UPPER_NO_HAN "*" QUORUM_LOWER_NO_HAN "+" QUORUM_CONTRACTIONS
    "?"
    R"(|[^\r\n\p{L}\p{N}]?)" QUORUM_UPPER_NO_HAN "+" QUORUM_LOWER_NO_HAN "*" QUORUM_CONTRACTIONS
    "?"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*)" QUORUM_NEWLINES_AND_SPACES;
constexpr std::string_view kDeepSeekV3 = QUORUM_DEEPSEEK_WORDS R"([\r\n]*)" QUORUM_NEWLINES_AND_SPACES;
constexpr std::string_view kSpark = QUORUM_DEEPSEEK_WORDS R"(|[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kBailing =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kSeedCoder =
    QUORUM_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+)" QUORUM_NEWLINES_AND_SPACES;
constexpr std::string_view kUfakzeka =
    R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)" QUORUM_NEWLINES_AND_SPACES;
constexpr std::string_view kMiniCpm5 =
    QUORUM_CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*)" QUORUM_NEWLINES_AND_SPACES;
constexpr std::string_view kExaoneMoe = QUORUM_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr std::string_view kJais2 = QUORUM_CONTRACTIONS
    R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+)"
    R"(|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S))"
    R"(|\s{1,2}(?!\S)|\s{1})";
constexpr std::string_view kLines = R"([^\n]+|[\n]+)";
constexpr std::string_view kBloom = R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+)";
constexpr std::string_view kDefaultPunctuation = R"([\p{P}\$\+<=>\^~\|]+)";
constexpr std::string_view kFalconPunctuation = R"([\p{P}\$\+<=>\^~\|`]+)";
constexpr std::string_view kAsianScripts =
    R"([\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{f900}-\x{faff}\x{3040}-\x{309f}\x{30a0}-\x{30ff}\x{ff65}-\x{ff9f})"
    R"(\x{2f00}-\x{2fdf}\x{e40}-\x{e7f}\x{e80}-\x{eff}\x{1780}-\x{17ff}\x{1000}-\x{109f}\x{aa60}-\x{aa7f})"
    R"(\x{a9e0}-\x{a9ff}\x{ac00}-\x{d7af}\x{1100}-\x{11ff}]+)";
constexpr std::string_view kYoutuScripts =
    R"([\x{ac00}-\x{d7a3}\x{3131}-\x{318e}]+)"
    R"(|[\x{ff01}\x{2026}\x{201c}\x{201d}\x{2018}\x{2019}\x{2014}\x{ff1a}\x{ff1b}\x{ff0c}\x{3001}-\x{303f})"
    R"(\x{fe30}-\x{fe4f}]+|[\x{3105}-\x{312f}]+|[\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr std::string_view kYoutu =
    QUORUM_CASED_WORDS(QUORUM_CONTRACTIONS "?") R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*)" QUORUM_NEWLINES_AND_SPACES;
// DeepSeek's first models: cased letters of Unicode 11 or so, listed.
constexpr std::string_view kDeepSeekLetters =
    R"(\s?[\x{41}-\x{5a}\x{61}-\x{7a}\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1})"
    R"(\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd})"
    R"(\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15})"
    R"(\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d})"
    R"(\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb})"
    R"(\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d})"
    R"(\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e})"
    R"(\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d})"
    R"(\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06})"
    R"(\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb})"
    R"(\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)";
constexpr std::string_view kDeepSeekPunctuation =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
constexpr std::string_view kDeepSeekCjk = R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";

// Steps that are no pattern.
constexpr std::string_view kGroupDigits = "<digit groups>";
constexpr std::string_view kGroupWholeNumbers = "<digit groups, whole words>";

enum Flags : std::uint8_t { kNone = 0, kNfc = 1, kIgnoreMerges = 2, kAddBos = 4 };

struct Row {
  std::string_view names;  // separated by spaces
  std::uint8_t flags;
  std::array<std::string_view, 6> steps;
};

constexpr std::array kRows = {
    Row{"default", kNone, {kDefaultPunctuation, kGpt2, kDigits, kThreeAsciiDigits}},
    Row{"gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum modern-bert jina-v1-en "
        "jina-v2-code roberta-bpe jais trillion granite-docling exaone4",
        kNone,
        {kGpt2}},
    Row{"mpt olmo", kNfc, {kGpt2}},  // GPT-NeoX's tokenizer, also OLMoE's
    Row{"smollm starcoder refact codeshell exaone minerva-7b mellum2", kNone, {kDigit, kGpt2}},
    Row{"command-r", kNfc, {kDigit, kGpt2}},
    Row{"llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
        kIgnoreMerges | kAddBos,
        {kLlama3}},
    Row{"dbrx smaug-bpe chatglm-bpe", kNone, {kLlama3}},
    Row{"glm4 glm5", kIgnoreMerges, {kLlama3}},
    Row{"qwen2 stablelm2 megrez f2llmv2", kNfc, {kQwen2}},
    Row{"deepseek-r1-qwen kormo hunyuan solar-open grok-2", kNone, {kQwen2}},
    Row{"qwen35", kNfc, {kQwen35}},
    Row{"gpt-4o llama4 kanana2 talkie minimax-m2", kNone, {kGpt4o}},
    Row{"granite-embed-multi-97m", kIgnoreMerges, {kGpt4o}},
    Row{"tekken", kIgnoreMerges | kAddBos, {kTekken}},
    Row{"kimi-k2", kNone, {kKimiK2}},
    Row{"deepseek-llm", kNone, {kNewline, kDeepSeekLetters, kDeepSeekPunctuation, R"(\s+$)", kDeepSeekCjk, kDigits}},
    Row{"deepseek-coder", kNone, {kNewline, R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepSeekCjk, kDigit}},
    Row{"deepseek-v3 hunyuan-dense joyai-llm hy_v4", kNone, {kUpToThreeDigits, kHanAndKana, kDeepSeekV3}},
    Row{"spark2_5", kNone, {kUpToThreeDigits, kHanAndKana, kSpark, kDigit}},
    Row{"youtu", kIgnoreMerges, {kYoutuScripts, kYoutu}},
    Row{"falcon", kNone, {kFalconPunctuation, kGpt2, kThreeAsciiDigits}},
    Row{"poro-chat bloom gpt3-finnish", kNone, {kBloom}},
    Row{"viking", kNone, {kBloom, kDigit}},
    Row{"bailingmoe bailingmoe2 llada-moe", kNone, {kBailing}},
    Row{"seed-coder", kNone, {kSeedCoder}},
    Row{"ufakzeka", kNone, {kUfakzeka}},
    Row{"minicpm5", kIgnoreMerges, {kUpToThreeDigits, kMiniCpm5}},
    Row{"exaone-moe", kNone, {kExaoneMoe}},
    Row{"jais-2", kNone, {kJais2}},
    Row{"laguna", kNone, {kLines, kQwen2}},
    Row{"afmoe", kNone, {kGroupDigits, kAsianScripts, kDeepSeekV3}},
    Row{"tiny_aya cohere2moe", kNone, {kGroupWholeNumbers, kGpt4o}},
};

bool ListHas(std::string_view names, std::string_view name) {
  while (!names.empty()) {
    const std::size_t end = std::min(names.find(' '), names.size());
    if (names.substr(0, end) == name) return true;
    names.remove_prefix(std::min(end + 1, names.size()));
  }
  return false;
}

}  // namespace

std::string_view Gpt2Pattern() { return kGpt2; }

Result<PreTokenizerRecipe> FindPreTokenizer(std::string_view name) {
  const std::string_view wanted = name.empty() ? "default" : name;
  const auto row = std::find_if(kRows.begin(), kRows.end(), [&](const Row& r) { return ListHas(r.names, wanted); });
  if (row == kRows.end()) {
    return Unsupported(fmt::format("the pre-tokenizer \"{}\" (tokenizer.ggml.pre) is not known", name));
  }
  PreTokenizerRecipe recipe;
  recipe.nfc = (row->flags & kNfc) != 0;
  recipe.ignore_merges = (row->flags & kIgnoreMerges) != 0;
  recipe.add_bos = (row->flags & kAddBos) != 0;
  for (const std::string_view pattern : row->steps) {
    if (pattern.empty()) break;
    SplitStep step;
    if (pattern == kGroupDigits || pattern == kGroupWholeNumbers) {
      step.kind = SplitStep::Kind::kGroupDigits;
      step.whole_words = pattern == kGroupWholeNumbers;
    } else {
      QUORUM_ASSIGN(step.regex, Regex::Compile(pattern));
    }
    recipe.steps.push_back(std::move(step));
  }
  return recipe;
}

}  // namespace quorum::tok
