#include "tests/support/fake_model.h"

#include <algorithm>
#include <cstring>
#include <map>

namespace quorum::test {
namespace {

constexpr std::uint64_t kSeed = 0x9E3779B97F4A7C15U;

/// The finaliser of SplitMix64.
std::uint64_t Mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

std::uint64_t Extend(std::uint64_t history, tok::TokenId token) {
  return Mix(history + kSeed + static_cast<std::uint64_t>(token));
}

}  // namespace

std::uint64_t HashHistory(std::span<const tok::TokenId> history) {
  std::uint64_t hash = kSeed;
  for (const tok::TokenId token : history) hash = Extend(hash, token);
  return hash;
}

FakeModel::FakeModel(const Options& options)
    : options_(options),
      slots_(static_cast<std::size_t>(options.pages) * engine::kPageTokens),
      window_slots_(static_cast<std::size_t>(options.window.places) * engine::kPageTokens),
      places_(static_cast<std::size_t>(options.pages), -1) {}

void FakeModel::HashLogits(std::span<const tok::TokenId> history, std::span<float> row) {
  const std::uint64_t hash = HashHistory(history);
  for (std::size_t i = 0; i < row.size(); ++i) {
    row[i] = static_cast<float>(Mix(hash + i * kSeed) >> 40) * 0x1p-21F - 4.0F;
  }
}

FakeModel::Logits FakeModel::Saying(std::int32_t prompt_size, std::vector<tok::TokenId> reply) {
  return [prompt_size, reply = std::move(reply)](std::span<const tok::TokenId> history, std::span<float> row) {
    const auto said = static_cast<std::int32_t>(history.size()) - prompt_size;
    std::fill(row.begin(), row.end(), 0.0F);
    if (said < 0) return;
    const std::size_t next = std::min(static_cast<std::size_t>(said), reply.size() - 1);
    row[static_cast<std::size_t>(reply[next])] = 10.0F;
  };
}

FakeModel::Slot& FakeModel::At(std::span<const std::int32_t> pages, std::int32_t pos) {
  const std::int32_t page = pages[static_cast<std::size_t>(pos / engine::kPageTokens)];
  return slots_[static_cast<std::size_t>(page * engine::kPageTokens + pos % engine::kPageTokens)];
}

/// The windowed half of a page; empty where it is not mapped.
std::span<FakeModel::Slot> FakeModel::WindowPage(std::int32_t page) {
  const std::int32_t place = places_[static_cast<std::size_t>(page)];
  if (place < 0) return {};
  return std::span(window_slots_).subspan(static_cast<std::size_t>(place * engine::kPageTokens), engine::kPageTokens);
}

std::span<const FakeModel::Slot> FakeModel::WindowPage(std::int32_t page) const {
  return const_cast<FakeModel*>(this)->WindowPage(page);
}

FakeModel::Slot* FakeModel::WindowAt(std::span<const std::int32_t> pages, std::int32_t pos) {
  const auto page = WindowPage(pages[static_cast<std::size_t>(pos / engine::kPageTokens)]);
  return page.empty() ? nullptr : &page[static_cast<std::size_t>(pos % engine::kPageTokens)];
}

void FakeModel::MapWindow(std::int32_t page, std::int32_t place) {
  if (page < 0 || page >= options_.pages || place >= options_.window.places) return Fault("maps no such page");
  // What the place held stays there: a page may take another's over, and anything else does not fit its history.
  if (place >= 0 && std::find(places_.begin(), places_.end(), place) != places_.end()) Fault("maps a place twice");
  places_[static_cast<std::size_t>(page)] = place;
}

/// What the windowed layers see of a slice is there, and the same.
void FakeModel::CheckWindow(const engine::StepSlice& slice) {
  if (options_.window.places == 0) return;
  const auto end = slice.pos + static_cast<std::int32_t>(slice.tokens.size());
  for (std::int32_t pos = std::max(0, slice.pos - options_.window.window + 1); pos < end; ++pos) {
    const Slot* slot = WindowAt(slice.pages, pos);
    if (slot == nullptr) {
      Fault("position " + std::to_string(pos) + " has no windowed layers");
    } else if (pos < slice.pos && slot->history != At(slice.pages, pos).history) {
      Fault("position " + std::to_string(pos) + " is not what windowed layers have");
    }
  }
}

void FakeModel::Fault(std::string what) { faults_.push_back("step " + std::to_string(steps_.size()) + ": " + what); }

bool FakeModel::CheckShape(std::span<const engine::StepSlice> slices, std::size_t floats) {
  const std::size_t before = faults_.size();
  std::int64_t tokens = 0;
  std::int64_t encoded = 0;
  std::int64_t encodings = 0;
  std::int64_t rows = 0;
  for (const engine::StepSlice& slice : slices) {
    const auto size = static_cast<std::int32_t>(slice.tokens.size());
    (slice.encode ? encoded : tokens) += size;
    encodings += slice.encode ? 1 : 0;
    rows += size - slice.first_logits;
    if (slice.encode && (slice.pos != 0 || slice.first_logits != size))
      Fault("an encoding slice that is no whole source");
    if (!options_.decoder_start && (slice.encode || slice.source_tokens > 0))
      Fault("a source, but there is no encoder");
    if (options_.decoder_start && slice.encode == (slice.source_tokens > 0)) Fault("no source, or two");
    if (static_cast<std::int64_t>(slice.source_pages.size()) * engine::kPageTokens < slice.source_tokens) {
      Fault("too few pages of the source");
    }
    if (size == 0) Fault("empty slice");
    if (slice.first_logits < 0 || slice.first_logits > size) Fault("first_logits out of range");
    if (slice.pos < 0 || slice.pos + size > options_.context) Fault("positions out of range");
    if (static_cast<std::int64_t>(slice.pages.size()) * engine::kPageTokens < slice.pos + size) Fault("too few pages");
    std::set<std::int32_t> distinct(slice.pages.begin(), slice.pages.end());
    distinct.insert(slice.source_pages.begin(), slice.source_pages.end());
    if (distinct.size() != slice.pages.size() + slice.source_pages.size()) Fault("a page twice in one table");
    if (!distinct.empty() && (*distinct.begin() < 0 || *distinct.rbegin() >= options_.pages)) Fault("no such page");
    for (const tok::TokenId token : slice.tokens) {
      if (token < 0 || token >= options_.vocab) Fault("token outside the vocabulary");
    }
  }
  if (slices.empty()) Fault("empty step");
  if (tokens > options_.max_step_tokens) Fault("too many tokens");
  if (encodings > 1 && encoded > options_.max_step_tokens) Fault("too many tokens of sources");
  if (rows > options_.max_step_logits) Fault("too many rows of logits");
  if (floats != static_cast<std::size_t>(rows * options_.vocab)) Fault("logits have the wrong size");
  return faults_.size() == before;
}

/// A page that a slice writes belongs to no other slice's positions.
void FakeModel::CheckSharing(std::span<const engine::StepSlice> slices) {
  std::map<std::int32_t, int> users;
  const auto last_page = [](const engine::StepSlice& slice) {
    return (slice.pos + static_cast<std::int32_t>(slice.tokens.size()) - 1) / engine::kPageTokens;
  };
  for (const engine::StepSlice& slice : slices) {
    for (std::int32_t page = 0; page <= last_page(slice); ++page) ++users[slice.pages[static_cast<std::size_t>(page)]];
    for (const std::int32_t page : slice.source_pages) ++users[page];
  }
  for (const engine::StepSlice& slice : slices) {
    for (std::int32_t page = slice.pos / engine::kPageTokens; page <= last_page(slice); ++page) {
      if (users[slice.pages[static_cast<std::size_t>(page)]] != 1) Fault("writes a shared page");
    }
  }
}

void FakeModel::CopyPage(std::int32_t from, std::int32_t to) {
  if (from == to || std::min(from, to) < 0 || std::max(from, to) >= options_.pages) return Fault("copies no such page");
  const auto begin = slots_.begin() + std::ptrdiff_t{from} * engine::kPageTokens;
  std::copy(begin, begin + engine::kPageTokens, slots_.begin() + std::ptrdiff_t{to} * engine::kPageTokens);
  if (WindowPage(to).size() == WindowPage(from).size()) std::ranges::copy(WindowPage(from), WindowPage(to).begin());
}

void FakeModel::ReadPage(std::int32_t page, std::span<std::byte> out) const {
  const std::size_t half = out.size() / 2;
  std::memcpy(out.data(), &slots_[static_cast<std::size_t>(page * engine::kPageTokens)], half);
  std::memset(out.data() + half, 0, half);
  if (const auto window = WindowPage(page); !window.empty()) std::memcpy(out.data() + half, window.data(), half);
}

void FakeModel::WritePage(std::int32_t page, std::span<const std::byte> in) {
  const std::size_t half = in.size() / 2;
  std::memcpy(&slots_[static_cast<std::size_t>(page * engine::kPageTokens)], in.data(), half);
  if (const auto window = WindowPage(page); !window.empty()) std::memcpy(window.data(), in.data() + half, half);
}

/// The hash of an empty history.
std::uint64_t FakeModel::StartOf(const engine::StepSlice& slice) const {
  const engine::ExpertOptions* options = slice.experts;
  if (options == nullptr) return kSeed;
  std::uint64_t hash = Extend(kSeed, options->top_k);
  for (const std::uint8_t masked : options->masked) hash = Extend(hash, masked);
  return Extend(hash, static_cast<tok::TokenId>(options->min_weight * 1e6F));
}

/// Token t goes to experts t, t + 1, ... of each layer, as many as it may.
void FakeModel::Visit(const engine::StepSlice& slice, std::size_t row) const {
  if (slice.tally != nullptr) ++slice.tally->rows;
  const tok::TokenId token = slice.tokens[row];
  const std::int32_t k = slice.experts == nullptr ? options_.experts.top_k : slice.experts->top_k;
  for (std::size_t layer = 0; layer < options_.experts.experts.size(); ++layer) {
    const std::int32_t experts = options_.experts.experts[layer];
    std::vector<std::int32_t> ids;
    for (std::int32_t i = 0; i < std::min(k, experts); ++i) ids.push_back((token + i) % experts);
    std::sort(ids.begin(), ids.end());
    const std::vector<float> weights(ids.size(), 1.0F / static_cast<float>(k));
    for (const std::int32_t id : ids) {
      if (slice.tally != nullptr) slice.tally->Count(static_cast<std::int32_t>(layer), id, weights[0]);
    }
    if (slice.trace == nullptr) continue;
    slice.trace->SetChoice(static_cast<std::int32_t>(layer), static_cast<std::int64_t>(row), ids, weights, {}, nullptr);
  }
}

void FakeModel::Encode(const engine::StepSlice& slice) {
  std::uint64_t hash = StartOf(slice);
  for (std::size_t t = 0; t < slice.tokens.size(); ++t) {
    Visit(slice, t);
    hash = Extend(hash, slice.tokens[t]);
  }
  for (std::size_t i = 0; i < slice.tokens.size(); ++i) {
    At(slice.pages, static_cast<std::int32_t>(i)) = {slice.tokens[i], hash + i};
  }
}

std::vector<tok::TokenId> FakeModel::ReadSource(const engine::StepSlice& slice) {
  std::vector<tok::TokenId> source;
  for (std::int32_t pos = 0; pos < slice.source_tokens; ++pos) source.push_back(At(slice.source_pages, pos).token);
  std::uint64_t hash = StartOf(slice);
  for (const tok::TokenId token : source) hash = Extend(hash, token);
  for (std::int32_t pos = 0; pos < slice.source_tokens; ++pos) {
    if (At(slice.source_pages, pos).history != hash + static_cast<std::uint64_t>(pos)) {
      Fault("position " + std::to_string(pos) + " was not encoded with this source");
    }
  }
  return source;
}

std::vector<tok::TokenId> FakeModel::ReadHistory(const engine::StepSlice& slice) {
  std::vector<tok::TokenId> history = ReadSource(slice);
  std::uint64_t hash = StartOf(slice);
  for (const tok::TokenId token : history) hash = Extend(hash, token);
  for (std::int32_t pos = 0; pos < slice.pos; ++pos) {
    const Slot& slot = At(slice.pages, pos);
    hash = Extend(hash, slot.token);
    if (slot.token < 0 || slot.history != hash) {
      Fault("position " + std::to_string(pos) + " does not continue the history before it");
    }
    history.push_back(slot.token);
  }
  return history;
}

Status FakeModel::Step(std::span<const engine::StepSlice> slices, std::span<float> out) {
  if (before_step) QUORUM_TRY(before_step(slices));
  if (!CheckShape(slices, out.size())) return Internal("malformed step: " + faults_.back());
  CheckSharing(slices);
  std::vector<std::vector<tok::TokenId>> histories;
  for (const engine::StepSlice& slice : slices) {
    CheckWindow(slice);
    histories.push_back(ReadHistory(slice));
  }
  steps_.emplace_back();
  const auto vocab = static_cast<std::size_t>(options_.vocab);
  for (std::size_t i = 0; i < slices.size(); ++i) {
    const engine::StepSlice& slice = slices[i];
    if (slice.encode) {
      Encode(slice);
      const auto size = static_cast<std::int32_t>(slice.tokens.size());
      tokens_computed_ += size;
      steps_.back().push_back({slice.tokens.front(), 0, size, 0});
      continue;
    }
    std::vector<tok::TokenId>& history = histories[i];
    std::uint64_t hash = StartOf(slice);
    for (const tok::TokenId token : history) hash = Extend(hash, token);
    for (std::size_t t = 0; t < slice.tokens.size(); ++t) {
      const tok::TokenId token = slice.tokens[t];
      history.push_back(token);
      hash = Extend(hash, token);
      Visit(slice, t);
      const std::int32_t pos = slice.pos + static_cast<std::int32_t>(t);
      At(slice.pages, pos) = {token, hash};
      if (Slot* slot = WindowAt(slice.pages, pos)) *slot = {token, hash};
      if (slice.hidden != nullptr) {
        const float state[4] = {static_cast<float>(token), static_cast<float>(slice.pos) + static_cast<float>(t), 1, 0};
        std::copy_n(state, 4, slice.hidden + t * 4);
      }
      if (t < static_cast<std::size_t>(slice.first_logits)) continue;
      logits(history, out.first(vocab));
      out = out.subspan(vocab);
    }
    const auto size = static_cast<std::int32_t>(slice.tokens.size());
    tokens_computed_ += size;
    steps_.back().push_back({history.front(), slice.pos, size, size - slice.first_logits});
  }
  return {};
}

FakeTokenizer::FakeTokenizer(std::int32_t vocab) {
  for (std::int32_t id = 0; id + 1 < vocab; ++id) {
    pieces_.push_back(id < 26 ? std::string(1, static_cast<char>('a' + id)) : std::to_string(id - 26));
  }
  pieces_.push_back("<eos>");
  control_ = {vocab - 1};
  ends_ = {vocab - 1};
}

std::string_view FakeTokenizer::TokenBytes(tok::TokenId id) const {
  return id >= 0 && id < vocab_size() ? std::string_view(pieces_[static_cast<std::size_t>(id)]) : std::string_view();
}

std::optional<tok::TokenId> FakeTokenizer::eos() const {
  return ends_.empty() ? std::nullopt : std::optional(*ends_.begin());
}

std::optional<tok::TokenId> FakeTokenizer::FindToken(std::string_view text) const {
  const auto it = std::find(pieces_.begin(), pieces_.end(), text);
  return it == pieces_.end() ? std::nullopt : std::optional(static_cast<tok::TokenId>(it - pieces_.begin()));
}

}  // namespace quorum::test
