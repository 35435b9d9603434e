#include "quant/expert_places.h"

#include <charconv>

namespace quorum::quant {

std::optional<std::pair<std::int32_t, std::string_view>> SplitLayer(std::string_view name) {
  if (!name.starts_with("blk.")) return {};
  std::int32_t layer = 0;
  const auto [end, error] = std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  if (error != std::errc() || layer < 0 || end == name.data() + name.size() || *end != '.') return {};
  return {{layer, name.substr(static_cast<std::size_t>(end + 1 - name.data()))}};
}

Place PlaceOf(const std::string& name) {
  const auto split = SplitLayer(name);
  if (!split) return {};
  const auto [layer, rest] = *split;
  if (rest.find("_exps.") != std::string_view::npos || rest.starts_with("ffn_gate_inp.") ||
      rest.starts_with("exp_probs_b")) {
    return {Role::kStacked, layer, 0, {}, {}};
  }
  for (const std::string_view matrix : {"ffn_gate.", "ffn_up.", "ffn_down."}) {
    if (!rest.starts_with(matrix)) continue;
    std::int32_t expert = 0;
    const char* const first = rest.data() + matrix.size();
    const auto [end, error] = std::from_chars(first, rest.data() + rest.size(), expert);
    if (error != std::errc() || expert < 0 || end == rest.data() + rest.size() || *end != '.') continue;
    return {Role::kSingle, layer, expert, name.substr(0, name.size() - rest.size() + matrix.size()),
            std::string(end, rest.data() + rest.size())};
  }
  return {};
}

std::span<const std::byte> ExpertSlice(const GgufTensor& tensor, std::int32_t expert, std::int32_t experts) {
  const std::size_t size = tensor.data.size() / static_cast<std::size_t>(experts);
  return tensor.data.subspan(static_cast<std::size_t>(expert) * size, size);
}

}  // namespace quorum::quant
