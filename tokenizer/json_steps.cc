#include "tokenizer/json_steps.h"

#include <algorithm>
#include <array>
#include <memory>
#include <optional>

#include <fmt/format.h>

#include "tokenizer/base64.h"
#include "tokenizer/pre_patterns.h"
#include "tokenizer/utf8.h"
#include "tokenizer/vocab.h"

namespace quorum::tok {
namespace {

// Runs of what Rust calls word characters (alphabetic, marks, decimal digits, connectors, joiners), or of others.
#define QUORUM_RUST_WORD                                                                                   \
  R"(\p{L}\p{M}\p{Nl}\p{Nd}\p{Pc}\x{200c}\x{200d}\x{24b6}-\x{24e9}\x{1f130}-\x{1f149}\x{1f150}-\x{1f169})" \
  R"(\x{1f170}-\x{1f189})"
constexpr std::string_view kWordsAndSymbols = "[" QUORUM_RUST_WORD "]+|[^" QUORUM_RUST_WORD R"(\s]+)";
// Rust's char::is_ascii_punctuation and general category P.
constexpr std::string_view kPunctuation = R"([!-/:-@\[-`{-~\p{P}])";

/// `pattern` objects are {"String": s} or {"Regex": r}.
struct Pattern {
  std::string literal;
  std::optional<Regex> regex;
};

Result<Pattern> ParsePattern(const JsonView& pattern) {
  Pattern out;
  if (const JsonView literal = pattern["String"]; !literal.IsNull()) {
    QUORUM_ASSIGN(out.literal, literal.String());
    return out;
  }
  QUORUM_ASSIGN(const std::string regex, pattern["Regex"].String());
  QUORUM_ASSIGN(out.regex, Regex::Compile(regex));
  return out;
}

Result<SplitBehavior> ParseBehavior(const JsonView& view, std::string_view otherwise) {
  QUORUM_ASSIGN(const std::string name, view.String(otherwise));
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return view.NotSupported(fmt::format("\"{}\"", name));
}

Result<SplitStep> RegexStep(std::string_view pattern, SplitBehavior behavior, bool invert = false) {
  SplitStep step;
  QUORUM_ASSIGN(step.regex, Regex::Compile(pattern));
  step.behavior = behavior;
  step.invert = invert;
  return step;
}

Status AppendMetaspace(const JsonView& view, std::vector<SplitStep>& steps) {
  SplitStep step;
  step.kind = SplitStep::Kind::kMetaspace;
  QUORUM_ASSIGN(step.text, view["replacement"].String("\xE2\x96\x81"));
  if (step.text.empty() || DecodeUtf8(step.text, 0).length != step.text.size()) {
    return view["replacement"].Bad("is not one character");
  }
  const bool second = std::any_of(steps.begin(), steps.end(),
                                  [](const SplitStep& other) { return other.kind == SplitStep::Kind::kMetaspace; });
  if (second) return view.NotSupported("a second Metaspace");
  QUORUM_ASSIGN(const bool add, view["add_prefix_space"].Bool(true));
  QUORUM_ASSIGN(const std::string scheme, view["prepend_scheme"].String(add ? "always" : "never"));
  if (scheme == "always") {
    step.prepend = SplitStep::Prepend::kAlways;
  } else if (scheme == "first") {
    step.prepend = SplitStep::Prepend::kFirst;
  } else if (scheme != "never") {
    return view["prepend_scheme"].NotSupported(fmt::format("\"{}\"", scheme));
  }
  SplitStep cut;
  cut.kind = SplitStep::Kind::kLiteral;
  cut.text = step.text;
  cut.behavior = SplitBehavior::kMergedWithNext;
  steps.push_back(std::move(step));
  QUORUM_ASSIGN(const bool split, view["split"].Bool(true));
  if (split) steps.push_back(std::move(cut));
  return {};
}

Status AppendByteLevel(const JsonView& view, ParsedPreTokenizer& out) {
  out.byte_level = true;
  QUORUM_ASSIGN(const bool prefix, view["add_prefix_space"].Bool(true));
  if (prefix) {
    SplitStep step;
    step.kind = SplitStep::Kind::kAddPrefixSpace;
    out.steps.push_back(std::move(step));
  }
  QUORUM_ASSIGN(const bool use_regex, view["use_regex"].Bool(true));
  if (use_regex) {
    QUORUM_ASSIGN(SplitStep step, RegexStep(Gpt2Pattern(), SplitBehavior::kIsolated));
    out.steps.push_back(std::move(step));
  }
  return {};
}

Status AppendSplit(const JsonView& view, ParsedPreTokenizer& out) {
  QUORUM_ASSIGN(Pattern pattern, ParsePattern(view["pattern"]));
  SplitStep step;
  step.kind = pattern.regex ? SplitStep::Kind::kRegex : SplitStep::Kind::kLiteral;
  step.regex = std::move(pattern.regex);
  step.text = std::move(pattern.literal);
  QUORUM_ASSIGN(step.behavior, ParseBehavior(view["behavior"], "Isolated"));
  QUORUM_ASSIGN(step.invert, view["invert"].Bool(false));
  out.steps.push_back(std::move(step));
  return {};
}

/// The pre-tokenizers that are a fixed pattern.
Status AppendPattern(const JsonView& view, std::string_view type, std::vector<SplitStep>& steps) {
  std::string_view pattern;
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;
  if (type == "Digits") {
    QUORUM_ASSIGN(const bool individual, view["individual_digits"].Bool(false));
    pattern = R"(\p{N})";
    behavior = individual ? SplitBehavior::kIsolated : SplitBehavior::kContiguous;
  } else if (type == "Punctuation") {
    pattern = kPunctuation;
    QUORUM_ASSIGN(behavior, ParseBehavior(view["behavior"], "Isolated"));
  } else if (type == "Whitespace") {
    pattern = kWordsAndSymbols;
    behavior = SplitBehavior::kRemoved;
    invert = true;
  } else if (type == "CharDelimiterSplit") {
    SplitStep step;
    step.kind = SplitStep::Kind::kLiteral;
    step.behavior = SplitBehavior::kRemoved;
    QUORUM_ASSIGN(step.text, view["delimiter"].String());
    steps.push_back(std::move(step));
    return {};
  } else if (type == "WhitespaceSplit") {
    pattern = R"(\s)";
    behavior = SplitBehavior::kRemoved;
  } else {
    return view.NotSupported(fmt::format("the pre-tokenizer \"{}\"", type));
  }
  QUORUM_ASSIGN(SplitStep step, RegexStep(pattern, behavior, invert));
  steps.push_back(std::move(step));
  return {};
}

Status AppendPreTokenizer(const JsonView& view, ParsedPreTokenizer& out) {
  if (view.IsNull()) return {};
  const Result<std::string> type = view["type"].String();
  if (!type) return type.error();
  if (*type == "Sequence") {
    QUORUM_ASSIGN(const std::vector<JsonView> elements, view["pretokenizers"].Elements());
    for (const JsonView& element : elements) QUORUM_TRY(AppendPreTokenizer(element, out));
    return {};
  }
  if (out.byte_level) {
    // After ByteLevel the text is in another spelling, where patterns mean something else.
    if (*type == "ByteLevel" || *type == "Metaspace")
      return view.NotSupported("a step after ByteLevel that changes text");
    if (!out.spelled) {
      SplitStep step;
      step.kind = SplitStep::Kind::kSpellBytes;
      out.steps.push_back(std::move(step));
      out.spelled = true;
    }
  }
  if (*type == "ByteLevel") return AppendByteLevel(view, out);
  if (*type == "Split") return AppendSplit(view, out);
  if (*type == "Metaspace") return AppendMetaspace(view, out.steps);
  return AppendPattern(view, *type, out.steps);
}

Status AppendNormalizer(const JsonView& view, std::vector<NormalizeStep>& steps) {
  using Kind = NormalizeStep::Kind;
  if (view.IsNull()) return {};
  QUORUM_ASSIGN(const std::string type, view["type"].String());
  if (type == "Sequence") {
    QUORUM_ASSIGN(const std::vector<JsonView> elements, view["normalizers"].Elements());
    for (const JsonView& element : elements) QUORUM_TRY(AppendNormalizer(element, steps));
    return {};
  }
  constexpr std::array<std::pair<std::string_view, Kind>, 10> kKinds = {{
      {"NFC", Kind::kNfc},
      {"NFD", Kind::kNfd},
      {"NFKC", Kind::kNfkc},
      {"NFKD", Kind::kNfkd},
      {"Lowercase", Kind::kLowercase},
      {"StripAccents", Kind::kStripAccents},
      {"Strip", Kind::kStrip},
      {"Prepend", Kind::kPrepend},
      {"Replace", Kind::kReplace},
      {"Precompiled", Kind::kPrecompiled},
  }};
  NormalizeStep step;
  bool known = false;
  for (const auto& [name, kind] : kKinds) {
    if (type == name) {
      step.kind = kind;
      known = true;
    }
  }
  if (!known) return view.NotSupported(fmt::format("the normalizer \"{}\"", type));
  if (step.kind == Kind::kStrip) {
    QUORUM_ASSIGN(step.left, view["strip_left"].Bool(true));
    QUORUM_ASSIGN(step.right, view["strip_right"].Bool(true));
  } else if (step.kind == Kind::kPrepend) {
    QUORUM_ASSIGN(step.content, view["prepend"].String());
  } else if (step.kind == Kind::kReplace) {
    QUORUM_ASSIGN(Pattern pattern, ParsePattern(view["pattern"]));
    step.pattern = std::move(pattern.literal);
    step.regex = std::move(pattern.regex);
    QUORUM_ASSIGN(step.content, view["content"].String());
  } else if (step.kind == Kind::kPrecompiled) {
    QUORUM_ASSIGN(const std::string base64, view["precompiled_charsmap"].String());
    const std::optional<std::string> bytes = DecodeBase64(base64);
    if (!bytes) return view["precompiled_charsmap"].Bad("is not base64");
    const Result<CharsMap> map = CharsMap::Parse(*bytes);
    if (!map.ok()) return view["precompiled_charsmap"].Bad(fmt::format("is broken: {}", map.error().message));
    step.chars_map = std::make_shared<const CharsMap>(*map);
  }
  steps.push_back(std::move(step));
  return {};
}

/// A token before or behind every text.
Status AppendAround(const JsonView& id, std::vector<TokenId>& ids) {
  constexpr std::size_t kMost = 1024;  // published files have one or two
  QUORUM_ASSIGN(const std::int64_t value, id.Integer());
  if (value < 0 || value >= kMaxVocabSize) return id.Bad("is not a token id");
  if (ids.size() >= kMost) return id.NotSupported(fmt::format("a text with more than {} tokens beside it", kMost));
  ids.push_back(static_cast<TokenId>(value));
  return {};
}

Status AppendTemplate(const JsonView& view, ParsedTemplate& out) {
  QUORUM_ASSIGN(const std::vector<JsonView> pieces, view["single"].Elements());
  bool after_text = false;
  for (const JsonView& piece : pieces) {
    if (piece["Sequence"].IsObject()) {
      if (after_text) return piece.NotSupported("a second text");
      after_text = true;
      continue;
    }
    QUORUM_ASSIGN(const std::string name, piece["SpecialToken"]["id"].String());
    QUORUM_ASSIGN(const std::vector<JsonView> ids, view["special_tokens"][name.c_str()]["ids"].Elements());
    for (const JsonView& id : ids) QUORUM_TRY(AppendAround(id, after_text ? out.suffix : out.prefix));
  }
  if (!after_text) return view["single"].Bad("has no place for the text");
  return {};
}

/// A token as ["name", id].
Status AppendPairToken(const JsonView& view, std::vector<TokenId>& ids) {
  QUORUM_ASSIGN(const std::vector<JsonView> pair, view.Elements());
  if (pair.size() != 2) return view.Bad("is not a name and an id");
  return AppendAround(pair[1], ids);
}

Status AppendPostProcessor(const JsonView& view, ParsedTemplate& out) {
  if (view.IsNull()) return {};
  QUORUM_ASSIGN(const std::string type, view["type"].String());
  if (type == "ByteLevel") return {};
  if (type == "Sequence") {
    QUORUM_ASSIGN(const std::vector<JsonView> elements, view["processors"].Elements());
    for (const JsonView& element : elements) QUORUM_TRY(AppendPostProcessor(element, out));
    return {};
  }
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    QUORUM_TRY(AppendPairToken(view["cls"], out.prefix));
    return AppendPairToken(view["sep"], out.suffix);
  }
  if (type != "TemplateProcessing") return view.NotSupported(fmt::format("the post-processor \"{}\"", type));
  if (!out.prefix.empty() || !out.suffix.empty()) return view.NotSupported("a second template");
  return AppendTemplate(view, out);
}

Status AppendDecoder(const JsonView& view, std::vector<std::pair<std::string, std::string>>& out) {
  if (view.IsNull()) return {};
  QUORUM_ASSIGN(const std::string type, view["type"].String());
  if (type == "Sequence") {
    QUORUM_ASSIGN(const std::vector<JsonView> elements, view["decoders"].Elements());
    for (const JsonView& element : elements) QUORUM_TRY(AppendDecoder(element, out));
  } else if (type == "Metaspace") {
    QUORUM_ASSIGN(std::string replacement, view["replacement"].String("\xE2\x96\x81"));
    out.emplace_back(std::move(replacement), " ");
  } else if (type == "Replace") {
    QUORUM_ASSIGN(std::string pattern, view["pattern"]["String"].String());
    QUORUM_ASSIGN(std::string content, view["content"].String());
    out.emplace_back(std::move(pattern), std::move(content));
  } else if (type != "ByteLevel" && type != "ByteFallback" && type != "Fuse" && type != "Strip") {
    return view.NotSupported(fmt::format("the decoder \"{}\"", type));
  }
  return {};
}

}  // namespace

Result<std::vector<NormalizeStep>> ParseNormalizer(const JsonView& normalizer) {
  std::vector<NormalizeStep> steps;
  QUORUM_TRY(AppendNormalizer(normalizer, steps));
  return steps;
}

Result<ParsedPreTokenizer> ParsePreTokenizer(const JsonView& pre_tokenizer) {
  ParsedPreTokenizer out;
  QUORUM_TRY(AppendPreTokenizer(pre_tokenizer, out));
  if (out.spelled) {
    SplitStep step;
    step.kind = SplitStep::Kind::kUnspellBytes;
    out.steps.push_back(std::move(step));
  }
  return out;
}

Result<ParsedTemplate> ParsePostProcessor(const JsonView& post_processor) {
  ParsedTemplate out;
  QUORUM_TRY(AppendPostProcessor(post_processor, out));
  return out;
}

Result<std::vector<std::pair<std::string, std::string>>> ParseDecoder(const JsonView& decoder) {
  std::vector<std::pair<std::string, std::string>> out;
  QUORUM_TRY(AppendDecoder(decoder, out));
  return out;
}

}  // namespace quorum::tok
