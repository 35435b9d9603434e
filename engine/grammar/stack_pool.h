// Sets of parse stacks, shared and interned: equal sets have one id, whatever order they were made in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace quorum::grammar {

using StackId = std::int32_t;

/// One frame on top of a set of stacks: a call's node to return to, or a counted repeat with the numbers of further
/// rounds that are needed and allowed.
struct Frame {
  static constexpr std::int32_t kBottom = -1;  // the root's own end

  std::int32_t symbol = kBottom;  // >= 0: the node behind a call; <= -2: repeat -2 - symbol
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  StackId below = 0;  // what is under this frame; ignored for kBottom

  static std::int32_t RepeatSymbol(std::int32_t repeat) { return -2 - repeat; }
  bool repeat() const { return symbol <= -2; }
  std::int32_t repeat_index() const { return -2 - symbol; }
  bool SameKey(const Frame& other) const { return symbol == other.symbol && low == other.low && high == other.high; }
  bool operator==(const Frame&) const = default;
};

/// A set is its top frames, each with the set below it. Frames of one key are one (their sets below are united), and
/// counts of one repeat over one set that overlap or touch are one interval, so a set stays small: at most kMaxFrames
/// frames; what would be more is left out, which forbids some texts but allows no wrong ones.
class StackPool {
 public:
  static constexpr std::size_t kMaxFrames = 64;
  static constexpr StackId kBottom = 0;

  StackPool();

  StackId Push(const Frame& frame);
  StackId Union(StackId a, StackId b);
  /// REQUIRES: nothing that changes the pool happens while the span is used.
  std::span<const Frame> frames(StackId id) const;
  std::int32_t depth(StackId id) const { return sets_[static_cast<std::size_t>(id)].depth; }  // frames of the deepest
  /// `id` with every count cut: `low` to at most `limit`, a `high` above it to no limit. Equal for the next `limit`
  /// bytes.
  StackId Clamp(StackId id, std::uint32_t limit);
  std::size_t bytes() const;

 private:
  struct Set {
    std::size_t first = 0;
    std::size_t count = 0;
    std::int32_t depth = 0;
  };
  StackId Intern(std::vector<Frame>& frames);
  void Normalize(std::vector<Frame>& frames);

  std::vector<Frame> frames_;
  std::vector<Set> sets_;
  std::unordered_multimap<std::uint64_t, StackId> index_;
  std::unordered_map<std::uint64_t, StackId> unions_;  // by the pair of ids
  std::unordered_map<StackId, StackId> clamped_;
};

/// Mixes `value` into `hash` (the finalizer of splitmix64).
std::uint64_t MixHash(std::uint64_t hash, std::uint64_t value);

}  // namespace quorum::grammar
