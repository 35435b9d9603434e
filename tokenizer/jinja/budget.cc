#include "tokenizer/jinja/budget.h"

#include <algorithm>
#include <limits>
#include <string>

#include "tokenizer/jinja/error.h"

namespace quorum::tok::jinja {
namespace {

// What a rendering may hold besides two full-size strings: its input, lists and variables.
constexpr std::size_t kBaseMemory = std::size_t{64} << 20;

// Levels of nested expressions and statements that one call may take on average.
constexpr int kLevelsPerCall = 5;

// A level takes about 0.5 KiB of stack (3 KiB in sanitizer builds), so no limit may ask for more than this.
constexpr int kMaxDepth = 400;

}  // namespace

Budget::Budget(const TemplateBudget& limits)
    : limits_{limits.steps, limits.output_bytes, std::clamp(limits.depth, 1, kMaxDepth)},
      left_(static_cast<std::size_t>(std::clamp<std::int64_t>(
                limits.steps, 0, std::numeric_limits<std::int64_t>::max() / static_cast<std::int64_t>(kUnitsPerStep))) *
            kUnitsPerStep),
      max_size_(static_cast<std::size_t>(
          std::clamp<std::int64_t>(limits.output_bytes, 0, std::numeric_limits<std::int64_t>::max() / 4))),
      max_live_(kBaseMemory + 2 * max_size_) {}

void Budget::CheckSize(std::size_t bytes) const {
  if (bytes > max_size_) {
    Fail("the template makes a text of more than " + std::to_string(limits_.output_bytes) + " bytes");
  }
}

void Budget::Allocate(std::size_t bytes) {
  if (bytes > max_live_ - live_) {
    Fail("the template holds more than " + std::to_string(max_live_ >> 20) + " MiB of values");
  }
  live_ += bytes;
}

void Budget::EnterNested() {
  if (nested_ >= limits_.depth * kLevelsPerCall) {
    Fail("the template nests deeper than " + std::to_string(limits_.depth * kLevelsPerCall) + " levels");
  }
  ++nested_;
}

void Budget::EnterCall() {
  if (calls_ >= limits_.depth) Fail("the template nests more than " + std::to_string(limits_.depth) + " calls");
  ++calls_;
}

void Budget::FailSteps() {
  left_ = 0;
  Fail("the template needs more than " + std::to_string(limits_.steps) + " steps");
}

}  // namespace quorum::tok::jinja
