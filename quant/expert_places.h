// Which tensors of a GGUF file belong to the experts of a layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "quant/gguf.h"

namespace quorum::quant {

/// "blk.12.rest" -> 12 and "rest"; nothing for other names.
std::optional<std::pair<std::int32_t, std::string_view>> SplitLayer(std::string_view name);

/// What a tensor has to do with experts.
enum class Role : std::uint8_t {
  kNone,
  kStacked,  // the last axis counts experts: "_exps", router rows, biases of the choice
  kSingle,   // one expert's own: blk.L.ffn_gate.E.weight
};
struct Place {
  Role role = Role::kNone;
  std::int32_t layer = 0;
  std::int32_t expert = 0;    // kSingle
  std::string before, after;  // kSingle: the name around the expert's number
};
Place PlaceOf(const std::string& name);

/// One expert's slice of a tensor whose last axis counts them.
std::span<const std::byte> ExpertSlice(const GgufTensor& tensor, std::int32_t expert, std::int32_t experts);

}  // namespace quorum::quant
