#include "cli/experts_report.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "server/expert_handler.h"

namespace quorum::cli {
namespace {

constexpr std::size_t kFavourites = 8;
constexpr std::size_t kUnsure = 40;
constexpr std::size_t kContext = 12;  // tokens before one that is shown
constexpr double kOverload = 2.0;     // times the mean

Json Rounded(double x) { return std::isfinite(x) ? Json(std::round(x * 1e6) / 1e6) : Json(); }

Json LayerReport(const engine::ExpertInsight& insight, std::int32_t layer, const TokenText& text) {
  const std::int32_t experts = insight.shape().experts[static_cast<std::size_t>(layer)];
  std::vector<std::uint64_t> visits;
  for (std::int32_t e = 0; e < experts; ++e) visits.push_back(insight.At(layer, e).tokens);
  const double all = static_cast<double>(std::accumulate(visits.begin(), visits.end(), std::uint64_t{0}));
  const auto favourites = insight.Favourites(layer, kFavourites);
  Json list = Json::array(), idle = Json::array(), overloaded = Json::array(), together = Json::array();
  for (std::int32_t e = 0; e < experts; ++e) {
    const engine::ExpertInsight::Cell& cell = insight.At(layer, e);
    const double share = all > 0 ? static_cast<double>(cell.tokens) / all : 0;
    if (cell.tokens == 0) idle.push_back(e);
    if (share * experts > kOverload) overloaded.push_back(e);
    Json expert = {{"expert", e}, {"tokens", cell.tokens}, {"share", Rounded(share)}, {"gate_mass", cell.mass}};
    if (insight.has_norms()) {
      expert["mean_norm"] = Rounded(cell.mean_norm());
      expert["reap"] = Rounded(cell.reap_score());
    }
    expert["favourites"] = Json::array();
    for (const auto& favourite : favourites[static_cast<std::size_t>(e)]) {
      expert["favourites"].push_back(
          {{"token", text(favourite.token)}, {"visits", favourite.visits}, {"lift", Rounded(favourite.lift)}});
    }
    list.push_back(std::move(expert));
    Json row = Json::array();
    for (std::int32_t other = 0; other < experts; ++other) row.push_back(insight.Together(layer, e, other));
    together.push_back(std::move(row));
  }
  std::vector<float> margins = insight.Margins(layer);
  std::sort(margins.begin(), margins.end());
  const auto close = std::lower_bound(margins.begin(), margins.end(), kCloseCall) - margins.begin();
  const auto quantile = [&](double q) {
    return margins.empty() ? Json()
                           : Rounded(margins[static_cast<std::size_t>(q * static_cast<double>(margins.size() - 1))]);
  };
  const server::LayerSpread spread = server::SpreadOf({1, experts, visits, {}, {}}, 0);
  return {{"layer", layer},
          {"experts", std::move(list)},
          {"entropy", spread.any ? Rounded(spread.entropy) : Json()},
          {"balance", spread.any ? Rounded(spread.balance) : Json()},
          {"idle", std::move(idle)},
          {"overloaded", std::move(overloaded)},
          {"topic_bits", Rounded(insight.TopicBits(layer))},
          {"close_calls",
           margins.empty() ? Json() : Rounded(static_cast<double>(close) / static_cast<double>(margins.size()))},
          {"margin_quantiles", {quantile(0.05), quantile(0.25), quantile(0.5), quantile(0.75), quantile(0.95)}},
          {"together", std::move(together)}};
}

Json UnsureReport(const engine::ExpertInsight& insight, const TokenText& text) {
  Json list = Json::array();
  for (const auto& unsure : insight.UnsureTokens(kCloseCall, kUnsure)) {
    const auto at = static_cast<std::size_t>(unsure.position);
    std::string before;
    for (std::size_t i = at - std::min(at, kContext); i < at; ++i) before += text(insight.sequence()[i]);
    list.push_back({{"position", unsure.position},
                    {"topic", insight.topic_of()[at]},
                    {"before", std::move(before)},
                    {"token", text(insight.sequence()[at])},
                    {"layers", unsure.layers},
                    {"mean_margin", Rounded(unsure.mean_margin)}});
  }
  return list;
}

/// Whole numbers; false: something else.
bool ReadCounts(const Json& list, std::vector<std::uint64_t>& out) {
  if (!list.is_array()) return false;
  for (const Json& count : list) {
    if (!count.is_number_unsigned()) return false;
    out.push_back(count.get<std::uint64_t>());
  }
  return true;
}

std::string Ids(const Json& ids) {
  std::string out;
  for (const Json& id : ids) out += (out.empty() ? "" : " ") + id.dump();
  return out.empty() ? "-" : out;
}

/// A token's text on one line.
std::string Visible(const std::string& text) {
  const std::string quoted = Json(text).dump();
  return quoted.substr(1, quoted.size() - 2);
}

std::string Number(const Json& value, const char* format) {
  return value.is_number() ? fmt::format(fmt::runtime(format), value.get<double>()) : "-";
}

void PrintLayer(const Json& layer, bool norms) {
  const std::size_t experts = layer["experts"].size();
  fmt::print("\nlayer {}   entropy {} of {:.2f} bits, busiest {} x mean, close calls {} %, idle: {}\n",
             layer["layer"].get<int>(), Number(layer["entropy"], "{:.2f}"), std::log2(static_cast<double>(experts)),
             Number(layer["balance"], "{:.2f}"),
             layer["close_calls"].is_null() ? "-" : fmt::format("{:.1f}", layer["close_calls"].get<double>() * 100),
             Ids(layer["idle"]));
  fmt::print("  expert    tokens  share %   gate mass{}  favourite tokens\n", norms ? "      norm      REAP" : "");
  for (const Json& e : layer["experts"]) {
    std::string favourites;
    for (const Json& f : e["favourites"]) {
      favourites += (favourites.empty() ? "" : " ") + Visible(f["token"].get<std::string>());
      if (favourites.size() > 50) break;
    }
    fmt::print("  {:6} {:9} {:8.2f} {:11.2f}{}  {}\n", e["expert"].get<int>(), e["tokens"].get<std::uint64_t>(),
               e["share"].get<double>() * 100, e["gate_mass"].get<double>(),
               norms ? fmt::format(" {:9.3f} {:9.4f}", e["mean_norm"].get<double>(), e["reap"].get<double>()) : "",
               favourites);
  }
}

}  // namespace

Json ReportOf(const engine::ExpertLogHead& head, const engine::ExpertInsight& insight, const TokenText& text) {
  Json layers = Json::array(), topics = Json::array();
  std::vector<std::int32_t> moe;
  double visits_seen = 0;  // of all layers
  for (std::int32_t layer = 0; layer < std::ssize(head.shape.experts); ++layer) {
    if (head.shape.experts[static_cast<std::size_t>(layer)] == 0) continue;
    moe.push_back(layer);
    layers.push_back(LayerReport(insight, layer, text));
    for (const Json& expert : layers.back()["experts"]) visits_seen += expert["tokens"].get<double>();
  }
  for (std::size_t i = 0; i < head.topics.size(); ++i) {
    const engine::ExpertInsight::Topic& topic = insight.topics()[i];
    Json visits = Json::array();
    for (const std::int32_t layer : moe) {
      Json row = Json::array();
      for (std::int32_t e = 0; e < head.shape.experts[static_cast<std::size_t>(layer)]; ++e) {
        row.push_back(insight.OfTopic(static_cast<std::int32_t>(i), layer, e));
      }
      visits.push_back(std::move(row));
    }
    topics.push_back({{"name", head.topics[i]},
                      {"tokens", topic.tokens},
                      {"loss", topic.scored > 0 ? Rounded(topic.loss / static_cast<double>(topic.scored)) : Json()},
                      {"visits", std::move(visits)}});
  }
  const double cells = static_cast<double>(insight.tokens()) * static_cast<double>(moe.size());
  return {{"object", "expert_report"},
          {"model", head.model},
          {"tokens", insight.tokens()},
          {"log_share", head.share},
          {"experts_per_token", head.shape.top_k},
          {"experts_per_token_seen", cells > 0 ? Rounded(visits_seen / cells) : Json()},
          {"layers", std::move(layers)},
          {"topics", std::move(topics)},
          {"close_call", Rounded(kCloseCall)},
          {"unsure", UnsureReport(insight, text)}};
}

Json AblationReport(std::vector<engine::Ablated> ablated) {
  std::stable_sort(ablated.begin(), ablated.end(),
                   [](const engine::Ablated& a, const engine::Ablated& b) { return a.increase > b.increase; });
  Json list = Json::array();
  for (const engine::Ablated& one : ablated) {
    Json by_topic = Json::array();
    for (const double increase : one.by_topic) by_topic.push_back(Rounded(increase));
    list.push_back({{"layer", one.layer},
                    {"expert", one.expert},
                    {"increase", Rounded(one.increase)},
                    {"by_topic", std::move(by_topic)}});
  }
  return list;
}

Spread SpreadOf(std::string name, const engine::ExpertInsight& insight) {
  Spread spread{std::move(name), {}, {}};
  for (std::int32_t layer = 0; layer < std::ssize(insight.shape().experts); ++layer) {
    const std::int32_t experts = insight.shape().experts[static_cast<std::size_t>(layer)];
    if (experts == 0) continue;
    spread.layers.push_back(layer);
    auto& visits = spread.visits.emplace_back();
    for (std::int32_t e = 0; e < experts; ++e) visits.push_back(insight.At(layer, e).tokens);
  }
  return spread;
}

Result<Spread> SpreadOf(std::string name, const Json& report) {
  Spread spread{name, {}, {}};
  const auto fault = InvalidArgument(name + " is neither a report of quorum experts nor an answer of /v1/experts");
  if (!report.is_object()) return fault;
  if (report.contains("layers") && report["layers"].is_array()) {
    for (const Json& layer : report["layers"]) {
      if (!layer.is_object() || !layer.contains("layer") || !layer["layer"].is_number_integer() ||
          !layer.contains("experts") || !layer["experts"].is_array()) {
        return fault;
      }
      spread.layers.push_back(layer["layer"].get<std::int32_t>());
      Json counts = Json::array();
      for (const Json& e : layer["experts"]) {
        counts.push_back(e.is_object() && e.contains("tokens") ? e["tokens"] : Json());
      }
      if (!ReadCounts(counts, spread.visits.emplace_back())) return fault;
    }
    return spread;
  }
  if (!report.contains("tokens") || !report["tokens"].is_array()) return fault;
  std::int32_t number = 0;
  for (const Json& layer : report["tokens"]) {
    std::vector<std::uint64_t> counts;
    if (!ReadCounts(layer, counts)) return fault;
    // A dense layer among others shows as one without any visit.
    if (std::any_of(counts.begin(), counts.end(), [](std::uint64_t n) { return n > 0; })) {
      spread.layers.push_back(number);
      spread.visits.push_back(std::move(counts));
    }
    ++number;
  }
  return spread;
}

Status CheckComparable(const Spread& from, const Spread& to) {
  if (from.layers != to.layers) {
    return InvalidArgument(
        fmt::format("{} and {} are of models with other layers, or one of them is empty", from.name, to.name));
  }
  for (std::size_t i = 0; i < from.layers.size(); ++i) {
    if (from.visits[i].size() == to.visits[i].size()) continue;
    return InvalidArgument(fmt::format("layer {} has {} experts in {} and {} in {}", from.layers[i],
                                       from.visits[i].size(), from.name, to.visits[i].size(), to.name));
  }
  return {};
}

Result<Json> DriftReport(const Spread& from, const Spread& to) {
  QUORUM_TRY(CheckComparable(from, to));
  Json layers = Json::array();
  for (std::size_t i = 0; i < from.layers.size(); ++i) {
    const auto &a = from.visits[i], &b = to.visits[i];
    const engine::SpreadDistance distance = engine::CompareSpreads(a, b);
    const auto share = [](const std::vector<std::uint64_t>& visits, std::size_t e) {
      const double all = static_cast<double>(std::accumulate(visits.begin(), visits.end(), std::uint64_t{0}));
      return all > 0 ? static_cast<double>(visits[e]) / all : 0.0;
    };
    std::vector<std::size_t> order(a.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t x, std::size_t y) {
      return std::abs(share(a, x) - share(b, x)) > std::abs(share(a, y) - share(b, y));
    });
    Json experts = Json::array();  // those that changed at all
    for (std::size_t e = 0; e < std::min<std::size_t>(order.size(), 4); ++e) {
      if (share(a, order[e]) == share(b, order[e])) break;
      experts.push_back(
          {{"expert", order[e]}, {"from", Rounded(share(a, order[e]))}, {"to", Rounded(share(b, order[e]))}});
    }
    layers.push_back({{"layer", from.layers[i]},
                      {"divergence", Rounded(distance.divergence)},
                      {"noise", Rounded(distance.noise)},
                      {"moved", Rounded(distance.moved)},
                      {"experts", std::move(experts)}});
  }
  return Json{{"from", from.name}, {"to", to.name}, {"layers", std::move(layers)}};
}

void PrintReport(const Json& report) {
  if (report.contains("layers")) {
    const Json& layers = report["layers"];
    const bool norms = !layers.empty() && layers[0]["experts"][0].contains("reap");
    const int top_k = report["experts_per_token"].get<int>();
    const Json& seen = report["experts_per_token_seen"];
    // Requests may have asked for more or fewer.
    const bool as_made = !seen.is_number() || seen.get<double>() == top_k;
    fmt::print("{}: {} tokens, {} layers with experts, {} experts a token{}\n", report["model"].get<std::string>(),
               report["tokens"].get<std::int64_t>(), layers.size(), top_k,
               as_made ? "" : fmt::format(" as the model is made, {:.2f} seen", seen.get<double>()));
    if (const double share = report["log_share"].get<double>(); share != 1) {
      fmt::print("the log has {:.3g} of the tokens that were computed\n", share);
    }
    for (const Json& layer : layers) PrintLayer(layer, norms);
    if (report["topics"].size() > 1) {
      fmt::print("\ntopics (loss a token; busiest experts of the layer that tells topics apart best)\n");
      std::size_t best = 0;
      for (std::size_t i = 0; i < layers.size(); ++i) {
        if (layers[i]["topic_bits"].get<double>() > layers[best]["topic_bits"].get<double>()) best = i;
      }
      fmt::print("  layer {}: an expert tells {:.2f} bits about the topic\n", layers[best]["layer"].get<int>(),
                 layers[best]["topic_bits"].get<double>());
      for (const Json& topic : report["topics"]) {
        const auto visits = topic["visits"][best].get<std::vector<std::uint64_t>>();
        const double all = static_cast<double>(std::accumulate(visits.begin(), visits.end(), std::uint64_t{0}));
        std::vector<std::size_t> order(visits.size());
        std::iota(order.begin(), order.end(), std::size_t{0});
        std::stable_sort(order.begin(), order.end(),
                         [&](std::size_t a, std::size_t b) { return visits[a] > visits[b]; });
        std::string busiest;
        for (std::size_t i = 0; i < std::min<std::size_t>(order.size(), 4) && all > 0; ++i) {
          busiest += fmt::format("  {}: {:.0f} %", order[i], 100 * static_cast<double>(visits[order[i]]) / all);
        }
        fmt::print("  {:24} {:8} tokens  loss {}{}\n", topic["name"].get<std::string>(),
                   topic["tokens"].get<std::int64_t>(), Number(topic["loss"], "{:.4f}"), busiest);
      }
    }
    const Json& unsure = report["unsure"];
    if (!unsure.empty())
      fmt::print("\nclose calls: tokens whose choice was within {} logits in most layers\n", kCloseCall);
    for (std::size_t i = 0; i < std::min<std::size_t>(unsure.size(), 8); ++i) {
      fmt::print("  {:7} {} layers  …{}[{}]\n", unsure[i]["position"].get<std::int64_t>(),
                 unsure[i]["layers"].get<int>(), Visible(unsure[i]["before"].get<std::string>()),
                 Visible(unsure[i]["token"].get<std::string>()));
    }
  }
  if (report.contains("ablation")) {
    const Json& list = report["ablation"];
    fmt::print("\nablation{}: what the text's loss gains without an expert (nats a token)\n",
               report.contains("ablation_tokens")
                   ? fmt::format(" over a sample of {} tokens", report["ablation_tokens"].get<std::int64_t>())
                   : "");
    for (std::size_t i = 0; i < list.size(); ++i) {
      if (i == 12 && list.size() > 20) {
        fmt::print("  …\n");
        i = list.size() - 6;
      }
      fmt::print("  layer {:3} expert {:4}  {:+.5f}\n", list[i]["layer"].get<int>(), list[i]["expert"].get<int>(),
                 list[i]["increase"].get<double>());
    }
  }
  if (report.contains("drift")) {
    const Json& drift = report["drift"];
    fmt::print(
        "\ndrift from {} to {}\n  layer  divergence (noise), bits   moved %   most changed experts: share % before > "
        "after\n",
        drift["from"].get<std::string>(), drift["to"].get<std::string>());
    for (const Json& layer : drift["layers"]) {
      std::string experts;
      for (const Json& e : layer["experts"]) {
        experts += fmt::format("  {}: {:.1f} > {:.1f}", e["expert"].get<int>(), e["from"].get<double>() * 100,
                               e["to"].get<double>() * 100);
      }
      fmt::print("  {:5}      {:.5f} ({:.5f})        {:7.2f}  {}\n", layer["layer"].get<int>(),
                 layer["divergence"].get<double>(), layer["noise"].get<double>(), layer["moved"].get<double>() * 100,
                 experts);
    }
  }
}

}  // namespace quorum::cli
