#include "engine/expert_trace.h"

#include <algorithm>

#include "engine/base/check.h"

namespace quorum::engine {

ExpertTrace::ExpertTrace(const ExpertShape& shape, std::int32_t visits, std::int64_t rows, const TraceParts& parts)
    : layers_(static_cast<std::int32_t>(shape.experts.size())),
      visits_(std::max(visits, 1)),
      rows_(rows),
      parts_(parts) {
  const std::size_t cells = static_cast<std::size_t>(rows) * static_cast<std::size_t>(layers_);
  const std::size_t all = cells * static_cast<std::size_t>(visits_);
  count_.resize(cells);
  margin_.resize(cells, std::numeric_limits<float>::infinity());
  experts_.resize(all);
  weights_.resize(all);
  if (parts.norms) norms_.resize(all);
  if (parts.inputs) inputs_.resize(cells * static_cast<std::size_t>(parts.d_model));
  if (parts.hidden) hidden_.resize(all * static_cast<std::size_t>(parts.ff));
}

ExpertTrace::Visits ExpertTrace::At(std::int32_t layer, std::int64_t row) const {
  const std::size_t cell = Cell(layer, row);
  const auto count = static_cast<std::size_t>(count_[cell]);
  const std::size_t at = cell * static_cast<std::size_t>(visits_);
  Visits visits{std::span(experts_).subspan(at, count), std::span(weights_).subspan(at, count), {}, margin_[cell]};
  if (parts_.norms) visits.norms = std::span(norms_).subspan(at, count);
  return visits;
}

std::span<const float> ExpertTrace::Input(std::int32_t layer, std::int64_t row) const {
  if (!parts_.inputs) return {};
  const auto width = static_cast<std::size_t>(parts_.d_model);
  return std::span(inputs_).subspan(Cell(layer, row) * width, width);
}

std::span<const float> ExpertTrace::Hidden(std::int32_t layer, std::int64_t row, std::int32_t visit) const {
  if (!parts_.hidden) return {};
  const auto width = static_cast<std::size_t>(parts_.ff);
  const std::size_t at = Cell(layer, row) * static_cast<std::size_t>(visits_) + static_cast<std::size_t>(visit);
  return std::span(hidden_).subspan(at * width, width);
}

void ExpertTrace::SetChoice(std::int32_t layer, std::int64_t row, std::span<const std::int32_t> experts,
                            std::span<const float> weights, std::span<const float> logits, const std::uint8_t* masked) {
  QUORUM_CHECK(std::ssize(experts) <= visits_);
  const std::size_t cell = Cell(layer, row);
  const std::size_t at = cell * static_cast<std::size_t>(visits_);
  count_[cell] = static_cast<std::int32_t>(experts.size());
  std::copy(experts.begin(), experts.end(), experts_.begin() + static_cast<std::ptrdiff_t>(at));
  std::copy(weights.begin(), weights.end(), weights_.begin() + static_cast<std::ptrdiff_t>(at));
  float lowest = std::numeric_limits<float>::infinity();
  float highest = -lowest;
  for (std::size_t e = 0, next = 0; e < logits.size(); ++e) {
    if (next < experts.size() && experts[next] == static_cast<std::int32_t>(e)) {
      lowest = std::min(lowest, logits[e]);
      ++next;
    } else if (masked == nullptr || masked[e] == 0) {
      highest = std::max(highest, logits[e]);
    }
  }
  margin_[cell] = lowest - highest;
}

std::int32_t ExpertTrace::VisitOf(std::int32_t layer, std::int64_t row, std::int32_t expert) const {
  const std::size_t cell = Cell(layer, row);
  if (count_[cell] == 0) return 0;
  const auto begin = experts_.begin() + static_cast<std::ptrdiff_t>(cell * static_cast<std::size_t>(visits_));
  const auto end = begin + count_[cell];
  const auto found = std::lower_bound(begin, end, expert);
  return found == end || *found != expert ? -1 : static_cast<std::int32_t>(found - begin);
}

void ExpertTrace::SetNorm(std::int32_t layer, std::int64_t row, std::int32_t expert, float norm) {
  const std::int32_t visit = VisitOf(layer, row, expert);
  if (visit < 0) return;  // a shared expert
  norms_[Cell(layer, row) * static_cast<std::size_t>(visits_) + static_cast<std::size_t>(visit)] = norm;
}

void ExpertTrace::SetInput(std::int32_t layer, std::int64_t row, const float* input) {
  std::copy_n(input, parts_.d_model, inputs_.data() + Cell(layer, row) * static_cast<std::size_t>(parts_.d_model));
}

void ExpertTrace::SetHidden(std::int32_t layer, std::int64_t row, std::int32_t expert, std::int64_t col,
                            const float* hidden, std::int64_t n) {
  const std::int32_t visit = VisitOf(layer, row, expert);
  if (visit < 0) return;
  const std::size_t at = Cell(layer, row) * static_cast<std::size_t>(visits_) + static_cast<std::size_t>(visit);
  std::copy_n(hidden, n, hidden_.data() + at * static_cast<std::size_t>(parts_.ff) + col);
}

}  // namespace quorum::engine
