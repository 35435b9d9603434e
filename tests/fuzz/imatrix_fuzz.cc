// Importance matrices in both formats, and plans, on any bytes: what reads can be written and reads again.
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "engine/base/check.h"
#include "quant/imatrix.h"
#include "quant/quantize_plan.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace quant = quorum::quant;
  const auto bytes = std::as_bytes(std::span(data, size));
  if (const auto matrix = quant::ImportanceMatrix::Parse(bytes, "fuzz"); matrix.ok()) {
    for (const auto& [name, entry] : matrix->entries) {
      for (const std::int64_t i : {std::int64_t{-1}, std::int64_t{0}, entry.matrices() - 1, entry.matrices()}) {
        const auto means = matrix->Means(name, i, entry.columns());
        QUORUM_CHECK(means.empty() || static_cast<std::int64_t>(means.size()) == entry.columns());
      }
    }
    const std::string dat = matrix->ToDat();
    const auto again = quant::ImportanceMatrix::Parse(std::as_bytes(std::span(dat)), "again");
    // Scaling to the number of chunks may leave the floats' range, which is refused.
    QUORUM_CHECK(!again.ok() || again->entries.size() == matrix->entries.size());
  } else {
    QUORUM_CHECK(matrix.error().message.starts_with("fuzz: "));
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto rules = quant::ParsePlan(text); rules.ok()) {
    const auto again = quant::ParsePlan(quant::PlanText(*rules));
    QUORUM_CHECK(again.ok() && again->size() == rules->size());
    for (const auto& rule : *rules) QUORUM_CHECK(quant::MatchesGlob(rule.pattern, rule.pattern));
  }
  return 0;
}
