#include "engine/grammar/number_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <map>
#include <utility>

namespace quorum::grammar {
namespace {

constexpr std::size_t kUsualWhole = 16;
constexpr std::size_t kMostWhole = 60;
constexpr std::size_t kMaxStates = 20'000;

/// A bound on a magnitude: at least (or at most) `value`, or strictly so.
struct MagnitudeBound {
  const Decimal* value;
  bool at_least;
  bool open;
};

/// Multiples of divisor / 10^places.
struct Multiple {
  std::int64_t divisor = 1;
  std::size_t places = 0;
};

/// The automaton of one sign's magnitudes. A state is what is known of the digits so far.
class MagnitudeAutomaton {
 public:
  MagnitudeAutomaton(std::vector<MagnitudeBound> bounds, std::vector<Multiple> multiples, std::size_t most_whole,
                     std::size_t most_fraction, bool zero_too)
      : bounds_(std::move(bounds)),
        multiples_(std::move(multiples)),
        most_whole_(most_whole),
        most_fraction_(most_fraction),
        zero_too_(zero_too) {}

  Result<Automaton> Build() {
    Key start;
    start.order.assign(bounds_.size(), 0);
    start.remainder.assign(multiples_.size(), 0);
    StateOf(start);
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      if (keys_.size() > kMaxStates) {
        return InvalidArgument("the bounds and 'multipleOf' of a number need too many states; use smaller ones");
      }
      for (char c = '0'; c <= '9'; ++c) {
        if (auto next = Digit(keys_[i], c)) Link(i, c, std::move(*next));
      }
      if (auto next = Point(keys_[i])) Link(i, '.', std::move(*next));
    }
    return std::move(automaton_);
  }

 private:
  enum Phase { kStart, kZero, kWhole, kPoint, kFraction };
  struct Key {
    int phase = kStart;
    std::size_t whole = 0;     // digits read before the point
    std::size_t fraction = 0;  // and behind it
    bool zero = true;
    std::vector<int>
        order;  // against each bound: the digits so far, as far as both go; once the point is known, the value
    std::vector<std::int64_t> remainder;
    auto operator<=>(const Key&) const = default;
  };

  std::int32_t StateOf(const Key& key) {
    const auto [it, added] = known_.try_emplace(key, static_cast<std::int32_t>(keys_.size()));
    if (added) {
      keys_.push_back(key);
      automaton_.states.emplace_back();
      automaton_.states.back().accepts = Accepts(key);
    }
    return it->second;
  }

  void Link(std::size_t from, char c, const Key& to) {
    const std::int32_t target = StateOf(to);
    automaton_.states[from].edges.emplace_back(CharSet::One(static_cast<CodePoint>(c)), target);
  }

  std::optional<Key> Digit(const Key& from, char c) const {
    Key to = from;
    switch (from.phase) {
      case kStart:
        to.phase = c == '0' ? kZero : kWhole;
        to.whole = 1;
        break;
      case kZero: return std::nullopt;  // no leading zeros
      case kWhole:
        if (++to.whole > most_whole_) return std::nullopt;
        break;
      default:
        to.phase = kFraction;
        if (++to.fraction > most_fraction_) return std::nullopt;
    }
    to.zero = from.zero && c == '0';
    for (std::size_t b = 0; b < bounds_.size(); ++b) {
      if (to.order[b] != 0) continue;
      const std::string& digits = to.fraction > 0 ? bounds_[b].value->fraction : bounds_[b].value->whole;
      const std::size_t place = (to.fraction > 0 ? to.fraction : to.whole) - 1;
      const char its = place < digits.size() ? digits[place] : '0';
      // Longer than the bound's whole part: larger, whatever the digits. Decided in Value().
      if (to.fraction == 0 && place >= digits.size()) continue;
      to.order[b] = c < its ? -1 : c > its ? 1 : 0;
    }
    for (std::size_t m = 0; m < multiples_.size(); ++m) {
      to.remainder[m] = (from.remainder[m] * 10 + (c - '0')) % multiples_[m].divisor;
    }
    return to;
  }

  std::optional<Key> Point(const Key& from) const {
    if ((from.phase != kZero && from.phase != kWhole) || most_fraction_ == 0) return std::nullopt;
    Key to = from;
    to.phase = kPoint;
    for (std::size_t b = 0; b < bounds_.size(); ++b) to.order[b] = WholeOrder(from, b);
    to.whole = 0;  // does not matter any more
    return to;
  }

  int WholeOrder(const Key& key, std::size_t b) const {
    const std::size_t digits = bounds_[b].value->whole.size();
    return key.whole < digits ? -1 : key.whole > digits ? 1 : key.order[b];
  }

  bool Accepts(const Key& key) const {
    if (key.phase == kStart || key.phase == kPoint || (key.zero && !zero_too_)) return false;
    for (std::size_t b = 0; b < bounds_.size(); ++b) {
      int order = key.phase == kFraction ? key.order[b] : WholeOrder(key, b);
      if (order == 0 && key.fraction < bounds_[b].value->fraction.size()) order = -1;  // its other digits are not all 0
      if (order == 0 ? bounds_[b].open : (order > 0) != bounds_[b].at_least) return false;
    }
    for (std::size_t m = 0; m < multiples_.size(); ++m) {
      std::int64_t rest = key.remainder[m];
      for (std::size_t place = key.fraction; place < multiples_[m].places; ++place)
        rest = rest * 10 % multiples_[m].divisor;
      if (rest != 0) return false;
    }
    return true;
  }

  const std::vector<MagnitudeBound> bounds_;
  const std::vector<Multiple> multiples_;
  const std::size_t most_whole_;
  const std::size_t most_fraction_;
  const bool zero_too_;
  std::map<Key, std::int32_t> known_;
  std::vector<Key> keys_;
  Automaton automaton_;
};

Result<Multiple> MultipleOf(const Decimal& value) {
  Multiple multiple;
  const std::string digits = value.whole + value.fraction;
  multiple.places = value.fraction.size();
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), multiple.divisor);
  if (parsed.ec != std::errc() || multiple.divisor > 1'000'000) {
    return InvalidArgument("a 'multipleOf' with so many digits is not supported");
  }
  return multiple;
}

}  // namespace

std::optional<Decimal> Decimal::Parse(std::string_view text) {
  Decimal out;
  std::size_t at = 0;
  if (!text.empty() && text[0] == '-') {
    out.negative = true;
    ++at;
  }
  std::string digits;
  std::int64_t point = -1;
  for (; at < text.size() && text[at] != 'e' && text[at] != 'E'; ++at) {
    if (text[at] == '.') {
      if (point >= 0) return std::nullopt;
      point = static_cast<std::int64_t>(digits.size());
    } else if (text[at] >= '0' && text[at] <= '9') {
      digits.push_back(text[at]);
    } else {
      return std::nullopt;
    }
  }
  if (digits.empty()) return std::nullopt;
  if (point < 0) point = static_cast<std::int64_t>(digits.size());
  if (at < text.size()) {
    if (++at < text.size() && text[at] == '+') ++at;
    int exponent = 0;
    const auto parsed = std::from_chars(text.data() + at, text.data() + text.size(), exponent);
    if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || std::abs(exponent) > 400)
      return std::nullopt;
    point += exponent;
  }
  if (std::abs(point) > 400 || digits.size() > 800) return std::nullopt;
  if (point < 0) {
    digits.insert(0, static_cast<std::size_t>(-point), '0');
    point = 0;
  }
  if (digits.size() < static_cast<std::size_t>(point))
    digits.append(static_cast<std::size_t>(point) - digits.size(), '0');
  out.whole = digits.substr(0, static_cast<std::size_t>(point));
  out.fraction = digits.substr(static_cast<std::size_t>(point));
  out.whole.erase(0, std::min(out.whole.find_first_not_of('0'), out.whole.size()));
  if (out.whole.empty()) out.whole = "0";
  out.fraction.resize(out.fraction.find_last_not_of('0') + 1);
  if (out.zero()) out.negative = false;
  return out;
}

int Decimal::Compare(const Decimal& a, const Decimal& b) {
  if (a.negative != b.negative) return a.negative ? -1 : 1;
  int magnitude = 0;
  if (a.whole.size() != b.whole.size()) {
    magnitude = a.whole.size() < b.whole.size() ? -1 : 1;
  } else if (const int whole = a.whole.compare(b.whole); whole != 0) {
    magnitude = whole < 0 ? -1 : 1;
  } else {
    const int fraction = a.fraction.compare(b.fraction);
    magnitude = fraction < 0 ? -1 : fraction > 0 ? 1 : 0;
  }
  return a.negative ? -magnitude : magnitude;
}

Result<ExprId> BoundedNumber(const NumberLimits& limits, Grammar& grammar) {
  std::vector<Multiple> multiples;
  for (const Decimal& value : limits.multiples) {
    QUORUM_ASSIGN(const Multiple multiple, MultipleOf(value));
    multiples.push_back(multiple);
  }
  std::size_t whole = 1;
  std::size_t places = 0;
  for (const auto* bound : {&limits.low, &limits.high}) {
    if (!bound->has_value()) continue;
    whole = std::max(whole, (*bound)->whole.size());
    places = std::max(places, (*bound)->fraction.size());
  }
  std::size_t most_fraction = 0;
  if (!limits.integer) {
    // 15 significant digits are told apart by doubles; beside an excluded bound that matters.
    most_fraction = whole < 14 ? 14 - whole : 0;
    if (!limits.low_open && !limits.high_open)
      most_fraction = std::max(most_fraction, std::min<std::size_t>(places, 20));
    for (const Multiple& multiple : multiples) most_fraction = std::min(most_fraction, multiple.places);
  }
  std::vector<ExprId> signs;
  for (const bool negative : {false, true}) {
    std::vector<MagnitudeBound> bounds;
    bool possible = true;
    std::size_t most_whole = kUsualWhole;
    const auto add = [&](const std::optional<Decimal>& bound, bool is_low, bool open) {
      if (!bound.has_value()) return;
      const bool away = is_low != negative;  // bounds this sign's magnitudes from below, if it is on its side of zero
      const bool own_side = bound->negative == negative || bound->zero();
      if (own_side) {
        bounds.push_back({&*bound, away, open});
        if (away) most_whole = std::max(most_whole, bound->whole.size() + 1);
      } else if (away) {
        return;  // a bound beyond zero that does not matter
      } else {
        possible = false;
      }
    };
    add(limits.low, true, limits.low_open);
    add(limits.high, false, limits.high_open);
    if (!possible) continue;
    if (most_whole > kMostWhole) return InvalidArgument("a number's bound has too many digits");
    QUORUM_ASSIGN(Automaton automaton,
                  MagnitudeAutomaton(std::move(bounds), multiples, most_whole, most_fraction, !negative).Build());
    const ExprId magnitude = grammar.Machine(std::move(automaton));
    signs.push_back(negative ? grammar.Sequence({grammar.Literal("-"), magnitude}) : magnitude);
  }
  return grammar.Choice(std::move(signs));
}

}  // namespace quorum::grammar
