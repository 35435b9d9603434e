#include "cli/eval_flags.h"

#include <charconv>
#include <string_view>

#include <fmt/format.h>

namespace quorum::cli {
namespace {

constexpr std::int32_t kMostExperts = 1 << 20;

/// A whole number and nothing else.
bool Number(std::string_view text, std::int32_t& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0;
}

}  // namespace

Result<engine::ExpertRequest> ExpertsOf(const EvalFlags& flags, const std::string& top_k) {
  engine::ExpertRequest request;
  if (!(flags.min_weight >= 0 && flags.min_weight < 1)) {
    return InvalidArgument(
        fmt::format("--moe-min-weight is {}, expected a number from 0 on and below 1", flags.min_weight));
  }
  request.min_weight = flags.min_weight;
  if (top_k == "all") {
    request.dense = true;
  } else if (!top_k.empty() && (!Number(top_k, request.top_k) || request.top_k < 1 || request.top_k > kMostExperts)) {
    return InvalidArgument(fmt::format(
        "--moe-top-k is '{}', expected how many experts a token visits: a number from 1 on, or 'all'", top_k));
  }
  QUORUM_TRY(ParseMask(flags.mask, request));
  return request;
}

Status ParseMask(const std::string& text, engine::ExpertRequest& experts) {
  const std::string_view all = text;
  const auto fault = [&](std::string_view part, const char* what) {
    return InvalidArgument(
        fmt::format("--mask '{}': '{}' at character {} is no {}; write experts of every layer as 3 or 1,2, those of "
                    "single layers as 0:1,2;5:7 (counted from 0)",
                    text, part, part.data() - all.data() + 1, what));
  };
  for (std::size_t at = 0; !all.empty() && at <= all.size();) {
    const std::size_t semicolon = std::min(all.find(';', at), all.size());
    std::string_view part = all.substr(at, semicolon - at);
    at = semicolon + 1;
    std::int32_t layer = -1;
    if (const std::size_t colon = part.find(':'); colon != std::string_view::npos) {
      if (!Number(part.substr(0, colon), layer)) return fault(part.substr(0, colon), "layer");
      part.remove_prefix(colon + 1);
    }
    for (;;) {
      const std::size_t comma = part.find(',');
      std::int32_t expert = 0;
      if (!Number(part.substr(0, comma), expert)) return fault(part.substr(0, comma), "expert");
      experts.masked.push_back({layer, expert});
      if (comma == std::string_view::npos) break;
      part.remove_prefix(comma + 1);
    }
  }
  return {};
}

}  // namespace quorum::cli
