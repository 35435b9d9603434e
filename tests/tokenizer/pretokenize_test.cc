#include "tokenizer/pretokenize.h"

#include <map>

#include "tests/support/catch.h"
#include "tests/tokenizer/fixture.h"
#include "tokenizer/pre_patterns.h"
#include "tokenizer/regex_syntax.h"

namespace quorum::tok {
namespace {

std::vector<std::string> Pieces(const PreTokenizer& pre, std::string_view text, bool at_start = true) {
  PreTokenizeScratch scratch;
  const Status status = pre.Run(text, at_start, scratch);
  REQUIRE(status.ok());
  return {scratch.pieces.begin(), scratch.pieces.end()};
}

SplitStep RegexStep(std::string_view pattern, SplitBehavior behavior, bool invert) {
  SplitStep step;
  Result<Regex> regex = Regex::Compile(pattern);
  REQUIRE(regex.ok());
  step.regex = *regex;
  step.behavior = behavior;
  step.invert = invert;
  return step;
}

PreTokenizer Named(std::string_view name) {
  Result<PreTokenizerRecipe> recipe = FindPreTokenizer(name);
  REQUIRE(recipe.ok());
  return PreTokenizer(recipe->steps);
}

TEST_CASE("GGUF pre-tokenizer names split as the models' own patterns do in Oniguruma") {
  const auto fixture = Fixture("splits.json");
  REQUIRE(fixture["cases"].size() >= 12);
  for (const auto& example : fixture["cases"]) {
    const PreTokenizer pre = Named(example["pre"].get<std::string>());
    for (std::size_t i = 0; i < fixture["texts"].size(); ++i) {
      const std::string text = fixture["texts"][i];
      std::vector<std::size_t> lengths;
      for (const std::string& piece : Pieces(pre, text)) lengths.push_back(piece.size());
      CAPTURE(example["pre"].get<std::string>(), text);
      CHECK(lengths == example["pieces"][i].get<std::vector<std::size_t>>());
    }
  }
}

TEST_CASE("Patterns match what they match in Oniguruma") {
  const auto fixture = Fixture("splits.json");
  REQUIRE(fixture["syntax"].size() >= 40);
  for (const auto& example : fixture["syntax"]) {
    const std::string pattern = example["pattern"];
    CAPTURE(pattern);
    const PreTokenizer matches({RegexStep(pattern, SplitBehavior::kRemoved, true)});
    CHECK(Pieces(matches, example["text"].get<std::string>()) == example["matches"].get<std::vector<std::string>>());
    const PreTokenizer isolated({RegexStep(pattern, SplitBehavior::kIsolated, false)});
    CHECK(Pieces(isolated, example["text"].get<std::string>()) == example["isolated"].get<std::vector<std::string>>());
  }
}

TEST_CASE("Constructs that might mean something else are refused by name") {
  for (const char* pattern : {"(*LIMIT_MATCH=1)a",
                              "(?C1)a",
                              "(?R)",
                              "(?1)",
                              "(?<n>a)",
                              "(?(1)a)",
                              "a(?i)b",
                              "(?x: a)",
                              "\\1",
                              "\\K",
                              "\\R",
                              "\\X",
                              "\\C",
                              "\\Qa\\E",
                              "\\G",
                              "\\pL",
                              "\\p{L&}",
                              "\\p{sc=Han}",
                              "[[:alpha:]]",
                              "[a[b]]",
                              "[\\W]",
                              "[^a&&[^b]]",
                              "[\\p{L}a&&[^b]]",
                              "[\\p{L}&&b]",
                              "a{1,2}+",
                              "a{2}?",
                              "\\xE2",
                              "\\u12",
                              "[a",
                              "\\",
                              "\\0",
                              "\\N",
                              "[\\b]"}) {
    CAPTURE(pattern);
    const Result<std::string> translated = OnigurumaToPcre2(pattern);
    REQUIRE(!translated.ok());
    CHECK(translated.error().code == ErrorCode::kUnsupported);
  }
  for (const char* pattern : {"(a", "a)", "\\p{Nonsense}", "*a", "[z-a]"}) {
    CAPTURE(pattern);
    const Result<Regex> regex = Regex::Compile(pattern);
    REQUIRE(!regex.ok());
    CHECK(regex.error().code == ErrorCode::kUnsupported);
    CHECK(regex.error().message.find(pattern) != std::string::npos);
  }
}

TEST_CASE("Delimiters are removed, isolated or merged as Hugging Face does it") {
  const std::map<std::string, SplitBehavior> behaviors = {
      {"removed", SplitBehavior::kRemoved},
      {"isolated", SplitBehavior::kIsolated},
      {"merged_with_previous", SplitBehavior::kMergedWithPrevious},
      {"merged_with_next", SplitBehavior::kMergedWithNext},
      {"contiguous", SplitBehavior::kContiguous},
  };
  const auto fixture = Fixture("splits.json");
  REQUIRE(fixture["behaviors"].size() >= 200);
  for (const auto& example : fixture["behaviors"]) {
    const std::string pattern = example["pattern"];
    const std::string text = example["text"];
    const SplitBehavior behavior = behaviors.at(example["behavior"]);
    CAPTURE(example.dump());
    const auto expected = example["pieces"].get<std::vector<std::string>>();
    CHECK(Pieces(PreTokenizer({RegexStep(pattern, behavior, example["invert"])}), text) == expected);
    if (pattern == "-") {
      SplitStep literal;
      literal.kind = SplitStep::Kind::kLiteral;
      literal.text = pattern;
      literal.behavior = behavior;
      literal.invert = example["invert"];
      CHECK(Pieces(PreTokenizer({literal}), text) == expected);
    }
  }
}

TEST_CASE("Digit groups align to the right") {
  SplitStep step;
  step.kind = SplitStep::Kind::kGroupDigits;
  const auto group = [&](std::string_view text) { return Pieces(PreTokenizer({step}), text); };
  using Strings = std::vector<std::string>;
  CHECK(group("1234567") == Strings{"1", "234", "567"});
  CHECK(group("a12345.678b") == Strings{"a", "12", "345", ".", "678", "b"});
  CHECK(group("no digits") == Strings{"no digits"});
  step.whole_words = true;
  CHECK(group("1234x 1234") == Strings{"1234x ", "1", "234"});
}

TEST_CASE("Metaspace, prefix spaces and cuts before marks") {
  using Strings = std::vector<std::string>;
  SplitStep step;
  step.kind = SplitStep::Kind::kMetaspace;
  step.text = "_";
  step.prepend = SplitStep::Prepend::kFirst;
  CHECK(Pieces(PreTokenizer({step}), "a b", true) == Strings{"_a_b"});
  CHECK(Pieces(PreTokenizer({step}), "a b", false) == Strings{"a_b"});
  CHECK(Pieces(PreTokenizer({step}), " a b", true) == Strings{"_a_b"});
  step.prepend = SplitStep::Prepend::kAlways;
  CHECK(Pieces(PreTokenizer({step}), "a b", false) == Strings{"_a_b"});
  SplitStep cut;
  cut.kind = SplitStep::Kind::kBeforeMarks;
  cut.text = "_";
  CHECK(Pieces(PreTokenizer({cut}), "__a__b_c_") == Strings{"__a", "__b", "_c", "_"});
  CHECK(Pieces(PreTokenizer({cut}), "___") == Strings{"___"});
  SplitStep prefix;
  prefix.kind = SplitStep::Kind::kAddPrefixSpace;
  CHECK(Pieces(PreTokenizer({prefix}), "a") == Strings{" a"});
  CHECK(Pieces(PreTokenizer({prefix}), " a") == Strings{" a"});
}

TEST_CASE("Every known name splits a long run of one kind of character without an error or loss") {
  for (const char* name :
       {"",         "gpt-2",  "olmo",     "smollm",     "llama-bpe",    "dbrx",           "qwen2",
        "qwen35",   "gpt-4o", "tekken",   "kimi-k2",    "deepseek-llm", "deepseek-v3",    "spark2_5",
        "youtu",    "falcon", "bloom",    "viking",     "bailingmoe",   "deepseek-coder", "seed-coder",
        "ufakzeka", "laguna", "minicpm5", "exaone-moe", "jais-2",       "afmoe",          "tiny_aya"}) {
    const PreTokenizer pre = Named(name);
    for (const char* unit : {"a", "A", " ", "1", ".", "\n", "\xE6\xBC\xA2", "e\xCC\x81", "aB", "a "}) {
      std::string text;
      while (text.size() < 100'000) text += unit;
      text += "1x";
      CAPTURE(name, unit);
      std::size_t total = 0;
      for (const std::string& piece : Pieces(pre, text)) total += piece.size();
      CHECK(total == text.size());
    }
  }
}

TEST_CASE("A pattern that backtracks without end gives an error, not a hang") {
  const PreTokenizer pre({RegexStep("(?:a+)+[bd]", SplitBehavior::kIsolated, false)});
  PreTokenizeScratch scratch;
  const Status status = pre.Run(std::string(60, 'a') + "c", true, scratch);
  REQUIRE(!status.ok());
  CHECK(status.error().code == ErrorCode::kInternal);
}

TEST_CASE("An unknown name is refused with the name") {
  const Result<PreTokenizerRecipe> recipe = FindPreTokenizer("gpt-2 phi-2");
  REQUIRE(!recipe.ok());
  CHECK(recipe.error().code == ErrorCode::kUnsupported);
  CHECK(recipe.error().message.find("\"gpt-2 phi-2\"") != std::string::npos);
}

}  // namespace
}  // namespace quorum::tok
