#include "tokenizer/pretokenize.h"

#include "tokenizer/byte_level.h"
#include "tokenizer/unicode.h"
#include "tokenizer/utf8.h"

namespace quorum::tok {
namespace {

using Span = PreTokenizeScratch::Span;
using Pieces = std::vector<std::string_view>;

void AddSpan(std::size_t begin, std::size_t end, bool match, std::vector<Span>& spans) {
  spans.push_back({begin, end, match});
}

/// Digit runs as matches of up to three digits, aligned to the right. One pass: the equivalent pattern looks ahead to
/// the run's end from each group and takes quadratic time.
void GroupDigits(std::string_view text, bool whole_words, std::vector<Span>& spans) {
  std::size_t copied = 0;
  std::vector<std::size_t> starts;  // of the digits of one run, and its end
  for (std::size_t pos = 0; pos < text.size();) {
    if (const Utf8Unit unit = DecodeUtf8(text, pos); !IsDigit(unit.code_point)) {
      pos += unit.length;
      continue;
    }
    starts.clear();
    bool word_goes_on = false;
    while (pos < text.size()) {
      const Utf8Unit unit = DecodeUtf8(text, pos);
      if (!IsDigit(unit.code_point)) {
        word_goes_on = IsWord(unit.code_point);
        break;
      }
      starts.push_back(pos);
      pos += unit.length;
    }
    starts.push_back(pos);
    if (whole_words && word_goes_on) continue;
    if (copied < starts.front()) AddSpan(copied, starts.front(), false, spans);
    const std::size_t digits = starts.size() - 1;
    for (std::size_t i = 0; i < digits;) {
      const std::size_t group = i == 0 && digits % 3 != 0 ? digits % 3 : 3;
      AddSpan(starts[i], starts[i + group], true, spans);
      i += group;
    }
    copied = pos;
  }
  if (copied < text.size()) AddSpan(copied, text.size(), false, spans);
}

/// Covers `text` with delimiters and what lies between them.
Status FindSpans(const SplitStep& step, std::string_view text, PreTokenizeScratch& scratch) {
  auto& spans = scratch.spans;
  spans.clear();
  if (step.kind == SplitStep::Kind::kGroupDigits) {
    GroupDigits(text, step.whole_words, spans);
    return {};
  }
  std::size_t copied = 0;
  const auto visit = [&](std::size_t begin, std::size_t end) {
    if (copied < begin) AddSpan(copied, begin, step.invert, spans);
    AddSpan(begin, end, !step.invert, spans);
    copied = end;
  };
  if (step.regex) {
    QUORUM_TRY(step.regex->ForEachMatch(text, scratch.regex, visit));
  } else if (!step.text.empty()) {
    for (std::size_t at = 0; (at = text.find(step.text, at)) != std::string_view::npos; at += step.text.size()) {
      visit(at, at + step.text.size());
    }
  }
  if (copied < text.size()) AddSpan(copied, text.size(), step.invert, spans);
  return {};
}

/// Joins spans as `behavior` says; afterwards a span that still matches is to be dropped.
void ApplyBehavior(SplitBehavior behavior, std::vector<Span>& spans) {
  const bool backwards = behavior == SplitBehavior::kMergedWithNext;
  if (behavior == SplitBehavior::kRemoved) return;
  std::vector<Span> joined;
  bool previous_match = false;
  for (std::size_t i = 0; i < spans.size(); ++i) {
    const Span span = spans[backwards ? spans.size() - 1 - i : i];
    bool join = false;
    if (behavior == SplitBehavior::kContiguous) {
      join = span.match == previous_match;
    } else if (behavior != SplitBehavior::kIsolated) {
      join = span.match && !previous_match;
    }
    previous_match = span.match;
    if (join && !joined.empty()) {
      if (backwards) {
        joined.back().begin = span.begin;
      } else {
        joined.back().end = span.end;
      }
    } else {
      joined.push_back({span.begin, span.end, false});
    }
  }
  if (backwards) {
    spans.assign(joined.rbegin(), joined.rend());
  } else {
    spans = std::move(joined);
  }
}

Status Split(const SplitStep& step, std::string_view text, PreTokenizeScratch& scratch, Pieces& out) {
  if (step.kind == SplitStep::Kind::kRegex && step.regex && step.behavior == SplitBehavior::kIsolated) {
    // The common case needs no list of spans.
    std::size_t copied = 0;
    QUORUM_TRY(step.regex->ForEachMatch(text, scratch.regex, [&](std::size_t begin, std::size_t end) {
      if (copied < begin) out.push_back(text.substr(copied, begin - copied));
      if (begin < end) out.push_back(text.substr(begin, end - begin));
      copied = end;
    }));
    if (copied < text.size()) out.push_back(text.substr(copied));
    return {};
  }
  QUORUM_TRY(FindSpans(step, text, scratch));
  ApplyBehavior(step.behavior, scratch.spans);
  for (const Span& span : scratch.spans) {
    if (!span.match && span.begin < span.end) out.push_back(text.substr(span.begin, span.end - span.begin));
  }
  return {};
}

void CutBeforeMarks(std::string_view mark, std::string_view text, Pieces& out) {
  std::size_t begin = 0;
  for (std::size_t at = 0; (at = text.find(mark, at)) != std::string_view::npos; at += mark.size()) {
    if (at == begin || text.substr(0, at).ends_with(mark)) continue;
    out.push_back(text.substr(begin, at - begin));
    begin = at;
  }
  out.push_back(text.substr(begin));
}

std::string Metaspace(const SplitStep& step, std::string_view text, bool at_start) {
  std::string out;
  out.reserve(text.size() * 2);
  for (const char c : text) {
    if (c == ' ') {
      out += step.text;
    } else {
      out.push_back(c);
    }
  }
  const bool wanted =
      step.prepend == SplitStep::Prepend::kAlways || (step.prepend == SplitStep::Prepend::kFirst && at_start);
  if (wanted && !out.starts_with(step.text)) out.insert(0, step.text);
  return out;
}

}  // namespace

Status PreTokenizer::Run(std::string_view text, bool at_start, PreTokenizeScratch& scratch) const {
  scratch.changed.clear();
  scratch.pieces.assign(1, text);
  for (const SplitStep& step : steps_) {
    Pieces& next = scratch.next;
    next.clear();
    for (std::size_t i = 0; i < scratch.pieces.size(); ++i) {
      const std::string_view piece = scratch.pieces[i];
      switch (step.kind) {
        case SplitStep::Kind::kAddPrefixSpace:
          if (piece.starts_with(' ')) {
            next.push_back(piece);
          } else {
            next.push_back(scratch.changed.emplace_back(" ").append(piece));
          }
          break;
        case SplitStep::Kind::kSpellBytes: next.push_back(scratch.changed.emplace_back(ByteLevelEncode(piece))); break;
        case SplitStep::Kind::kUnspellBytes:
          next.push_back(scratch.changed.emplace_back(ByteLevelDecode(piece).value_or(std::string(piece))));
          break;
        case SplitStep::Kind::kMetaspace:
          next.push_back(scratch.changed.emplace_back(Metaspace(step, piece, at_start && i == 0)));
          break;
        case SplitStep::Kind::kRegex:
        case SplitStep::Kind::kLiteral:
        case SplitStep::Kind::kGroupDigits: QUORUM_TRY(Split(step, piece, scratch, next)); break;
        case SplitStep::Kind::kBeforeMarks: CutBeforeMarks(step.text, piece, next); break;
      }
    }
    scratch.pieces.swap(next);
  }
  return {};
}

}  // namespace quorum::tok
