#include "engine/grammar/stack_pool.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "engine/grammar/grammar.h"

namespace quorum::grammar {

std::uint64_t MixHash(std::uint64_t hash, std::uint64_t value) {
  std::uint64_t x = hash + 0x9E3779B97F4A7C15ULL + value;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

StackPool::StackPool() {
  std::vector<Frame> bottom = {Frame{}};
  Intern(bottom);
}

std::span<const Frame> StackPool::frames(StackId id) const {
  const Set& set = sets_[static_cast<std::size_t>(id)];
  return std::span(frames_).subspan(set.first, set.count);
}

StackId StackPool::Intern(std::vector<Frame>& frames) {
  std::uint64_t hash = frames.size();
  std::int32_t depth = 0;
  for (const Frame& frame : frames) {
    hash = MixHash(hash, static_cast<std::uint32_t>(frame.symbol));
    hash = MixHash(hash, (std::uint64_t{frame.low} << 32) | frame.high);
    hash = MixHash(hash, static_cast<std::uint32_t>(frame.below));
    if (frame.symbol != Frame::kBottom) depth = std::max(depth, this->depth(frame.below) + 1);
  }
  const auto [begin, end] = index_.equal_range(hash);
  for (auto it = begin; it != end; ++it) {
    const auto known = this->frames(it->second);
    if (std::equal(frames.begin(), frames.end(), known.begin(), known.end())) return it->second;
  }
  const auto id = static_cast<StackId>(sets_.size());
  sets_.push_back({frames_.size(), frames.size(), depth});
  frames_.insert(frames_.end(), frames.begin(), frames.end());
  index_.emplace(hash, id);
  return id;
}

StackId StackPool::Push(const Frame& frame) {
  std::vector<Frame> one = {frame};
  return Intern(one);
}

StackId StackPool::Union(StackId a, StackId b) {
  if (a == b) return a;
  if (a > b) std::swap(a, b);
  const std::uint64_t key =
      (static_cast<std::uint64_t>(static_cast<std::uint32_t>(a)) << 32) | static_cast<std::uint32_t>(b);
  if (const auto known = unions_.find(key); known != unions_.end()) return known->second;
  const auto of_a = frames(a);
  const auto of_b = frames(b);
  std::vector<Frame> all(of_a.begin(), of_a.end());
  all.insert(all.end(), of_b.begin(), of_b.end());
  Normalize(all);
  const StackId id = Intern(all);
  unions_.emplace(key, id);
  return id;
}

/// What is kept when there are too many depends only on the frames' keys, never on ids: a mask must not depend on what
/// was computed before.
void StackPool::Normalize(std::vector<Frame>& frames) {
  const auto by_key = [](const Frame& x, const Frame& y) {
    return std::tie(x.symbol, x.low, x.high) < std::tie(y.symbol, y.low, y.high);
  };
  const auto unite_keys = [&] {
    std::sort(frames.begin(), frames.end(), by_key);
    std::size_t kept = 0;
    for (std::size_t i = 1; i < frames.size(); ++i) {
      if (frames[kept].SameKey(frames[i])) {
        frames[kept].below = Union(frames[kept].below, frames[i].below);
      } else {
        frames[++kept] = frames[i];
      }
    }
    frames.resize(kept + 1);
  };
  unite_keys();
  bool joined = false;
  for (std::size_t i = 0; i < frames.size(); ++i) {
    if (!frames[i].repeat()) continue;
    for (std::size_t k = i + 1; k < frames.size() && frames[k].symbol == frames[i].symbol;) {
      // Sorted by low: they overlap or touch when the later begins no further than one behind the earlier's end.
      const bool touch = frames[i].high == kUnbounded || frames[k].low <= frames[i].high + 1;
      if (touch && frames[k].below == frames[i].below) {
        frames[i].high = std::max(frames[i].high, frames[k].high);
        frames.erase(frames.begin() + static_cast<std::ptrdiff_t>(k));
        joined = true;
      } else {
        ++k;
      }
    }
  }
  if (joined) unite_keys();
  if (frames.size() > kMaxFrames) frames.resize(kMaxFrames);
}

StackId StackPool::Clamp(StackId id, std::uint32_t limit) {
  if (id == kBottom) return id;
  if (const auto known = clamped_.find(id); known != clamped_.end()) return known->second;
  const auto own = frames(id);
  std::vector<Frame> cut(own.begin(), own.end());
  for (Frame& frame : cut) {
    if (frame.symbol == Frame::kBottom) continue;
    frame.below = Clamp(frame.below, limit);
    if (!frame.repeat()) continue;
    frame.low = std::min(frame.low, limit);
    if (frame.high > limit) frame.high = kUnbounded;
  }
  Normalize(cut);
  const StackId result = Intern(cut);
  clamped_.emplace(id, result);
  return result;
}

std::size_t StackPool::bytes() const {
  constexpr std::size_t kMapEntry = 48;
  return frames_.size() * sizeof(Frame) + sets_.size() * (sizeof(Set) + kMapEntry) +
         (unions_.size() + clamped_.size()) * kMapEntry;
}

}  // namespace quorum::grammar
