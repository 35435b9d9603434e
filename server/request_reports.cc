#include "server/request_reports.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "tokenizer/utf8_stream.h"

namespace quorum::server {
namespace {

constexpr std::size_t kTextAround = 60;  // bytes on each side

/// The message in which byte `at` of the rendered prompt lies, template text counting to the message after it; null
/// behind the last one. Contents stand in the prompt as they are, perhaps trimmed, and in order.
Json MessageAt(const Json& messages, std::string_view rendered, std::size_t at) {
  std::size_t from = 0;
  for (std::size_t i = 0; i < messages.size(); ++i) {
    const auto content = messages[i].find("content");
    if (content == messages[i].end() || !content->is_string()) continue;
    std::string_view text = content->get_ref<const std::string&>();
    std::size_t begin = rendered.find(text, from);
    if (begin == std::string_view::npos) {
      constexpr std::string_view kSpace = " \t\r\n";
      const std::size_t first = text.find_first_not_of(kSpace);
      if (first == std::string_view::npos) continue;
      text = text.substr(first, text.find_last_not_of(kSpace) - first + 1);
      begin = rendered.find(text, from);
      if (begin == std::string_view::npos) continue;
    }
    from = begin + text.size();
    if (at < from) return i;
  }
  return nullptr;
}

}  // namespace

Json ExpertReport(const engine::ExpertTally& tally) {
  Json layers = Json::array();
  const auto experts = static_cast<std::size_t>(tally.experts);
  for (std::size_t begin = 0; experts > 0 && begin < tally.tokens.size(); begin += experts) {
    const auto first = tally.tokens.begin() + static_cast<std::ptrdiff_t>(begin);
    if (tally.rows > 0 && std::all_of(first, first + tally.experts, [](std::uint64_t n) { return n == 0; })) continue;
    Json tokens = Json::array();
    Json mass = Json::array();
    for (std::size_t e = begin; e < begin + experts; ++e) {
      tokens.push_back(tally.tokens[e]);
      mass.push_back(static_cast<double>(tally.mass[e]) * engine::ExpertTally::kMassUnit);
    }
    layers.push_back({{"layer", begin / experts}, {"tokens", std::move(tokens)}, {"gate_mass", std::move(mass)}});
  }
  return {{"tokens", tally.rows}, {"layers", std::move(layers)}};
}

Json TokenReport(std::string spelled, const engine::ExpertTrace& trace) {
  Json layers = Json::array();
  for (std::int32_t layer = 0; layer < trace.layers(); ++layer) {
    const engine::ExpertTrace::Visits visits = trace.At(layer, trace.rows() - 1);
    if (visits.experts.empty()) continue;
    layers.push_back({{"layer", layer}, {"experts", visits.experts}, {"weights", visits.weights}});
  }
  return {{"token", std::move(spelled)}, {"layers", std::move(layers)}};
}

void PutTokenReports(Json tokens, Json& choice) {
  if (!tokens.empty()) choice["moe"] = {{"tokens", std::move(tokens)}};
}

Json CacheReport(const tok::Tokenizer& tokenizer, std::span<const tok::TokenId> prompt, const Json* messages,
                 std::int32_t known, std::int32_t cached) {
  Json report = {{"prompt_tokens", prompt.size()}, {"cached_tokens", cached}, {"first_difference", nullptr}};
  if (known < 0 || static_cast<std::size_t>(known) >= prompt.size()) return report;
  std::string text;
  std::size_t at = 0;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    if (i == static_cast<std::size_t>(known)) at = text.size();
    text += tokenizer.TokenBytes(prompt[i]);
  }
  const std::size_t begin = at - std::min(at, kTextAround);
  report["first_difference"] = {{"token", known},
                                {"message", messages == nullptr ? Json() : MessageAt(*messages, text, at)},
                                {"before", tok::SanitizeUtf8(std::string_view(text).substr(begin, at - begin))},
                                {"after", tok::SanitizeUtf8(std::string_view(text).substr(at, kTextAround))}};
  return report;
}

}  // namespace quorum::server
