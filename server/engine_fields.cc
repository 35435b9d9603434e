#include "server/engine_fields.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <utility>

namespace quorum::server {
namespace {

constexpr double kMaxSeconds = 365.0 * 24 * 3600;

Status ReadExperts(const Json& list, std::int32_t layer, std::vector<engine::ExpertRequest::Masked>& out) {
  const auto wrong = [] {
    return InvalidArgument(
        "'moe.mask' must be an array of expert ids, or an object from layer numbers (or \"*\") to such arrays",
        "moe.mask");
  };
  if (!list.is_array()) return wrong();
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<double>() < 0 || id.get<double>() > INT32_MAX) return wrong();
    out.push_back({layer, id.get<std::int32_t>()});
  }
  return {};
}

Status ReadMask(const Json& mask, std::vector<engine::ExpertRequest::Masked>& out) {
  if (!mask.is_object()) return ReadExperts(mask, -1, out);
  for (const auto& [key, list] : mask.items()) {
    std::int32_t layer = -1;  // "*": every layer that has the expert
    const auto parsed = std::from_chars(key.data(), key.data() + key.size(), layer);
    if (key != "*" && (parsed.ec != std::errc() || parsed.ptr != key.data() + key.size() || layer < 0)) {
      return InvalidArgument("the keys of 'moe.mask' must be layer numbers in decimal, or \"*\" for all layers",
                             "moe.mask");
    }
    QUORUM_TRY(ReadExperts(list, layer, out));
  }
  return {};
}

Status ReadMoe(JsonFields& fields, engine::ExpertRequest& out, std::vector<std::string>& ignored) {
  const Json* moe = fields.Find("moe");
  if (moe == nullptr) return {};
  if (!moe->is_object()) return fields.Wrong("moe", "an object");
  JsonFields inner(*moe, "moe");
  QUORUM_ASSIGN(const auto top_k, inner.Int("top_k", 1, INT32_MAX));
  QUORUM_ASSIGN(const auto dense, inner.Bool("dense"));
  QUORUM_ASSIGN(const auto min_weight, inner.Number("min_weight", 0, 1));
  const Json* report = inner.Find("report");
  if (report != nullptr && !report->is_boolean() && *report != "tokens") {
    return inner.Wrong("report", "true, false or \"tokens\"");
  }
  out.top_k = static_cast<std::int32_t>(top_k.value_or(0));
  out.dense = dense.value_or(false);
  out.min_weight = static_cast<float>(min_weight.value_or(0));
  out.report = report != nullptr && *report != false;
  out.trace = report != nullptr && *report == "tokens";
  if (const Json* mask = inner.Find("mask")) QUORUM_TRY(ReadMask(*mask, out.masked));
  for (auto& name : inner.Unread()) ignored.push_back(std::move(name));
  return {};
}

}  // namespace

Status ReadEngineFields(JsonFields& fields, GenerationFields& out) {
  engine::GenerationRequest& request = out.request;
  QUORUM_TRY(ReadMoe(fields, request.experts, out.ignored));
  QUORUM_ASSIGN(const auto priority, fields.Int("priority", INT32_MIN, INT32_MAX));
  request.priority = static_cast<std::int32_t>(priority.value_or(0));
  QUORUM_ASSIGN(const auto timeout, fields.Number("timeout", 0, kMaxSeconds, true));
  if (timeout.has_value()) {
    request.time_limit =
        std::chrono::milliseconds(std::max<std::int64_t>(1, static_cast<std::int64_t>(*timeout * 1000)));
  }
  QUORUM_ASSIGN(const auto cache_prompt, fields.Bool("cache_prompt"));
  request.reuse_prefix = cache_prompt.value_or(true);
  QUORUM_ASSIGN(const auto cache_report, fields.Bool("cache_report"));
  request.explain_cache = cache_report.value_or(false);
  QUORUM_ASSIGN(const auto cache_save, fields.Bool("cache_save"));
  request.save_prefix = cache_save.value_or(false);
  for (const char* name : {"thinking_token_budget", "thinking_budget"}) {
    QUORUM_ASSIGN(const auto budget, fields.Int(name, 0, INT32_MAX));
    if (!budget.has_value()) continue;
    if (!out.budget_field.empty()) out.ignored.push_back(out.budget_field);
    out.budget_field = name;
    request.thinking.budget = static_cast<std::int32_t>(*budget);
  }
  QUORUM_ASSIGN(const auto speculate, fields.Bool("speculate"));
  request.speculate = speculate.value_or(true);
  return {};
}

void DropTokenReports(GenerationFields& out) {
  if (out.request.experts.trace) out.ignored.push_back("moe.report");
  out.request.experts.trace = false;
}

void DropUnavailable(const engine::Engine& engine, engine::GenerationRequest& request,
                     std::vector<std::string>& ignored) {
  if (request.save_prefix && !engine.stores_prefixes()) ignored.push_back("cache_save");
  request.save_prefix &= engine.stores_prefixes();
}

}  // namespace quorum::server
