#include "cli/expert_choice.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <map>
#include <numeric>
#include <string_view>
#include <utility>

#include <fmt/format.h>

#include "cli/model_header.h"

namespace quorum::cli {
namespace {

/// "12" or "75%": the number, and whether it is a percentage. False: neither.
bool ReadKeep(const std::string& text, double& value, bool& percent) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view rest(end, static_cast<std::size_t>(text.data() + text.size() - end));
  percent = rest == "%";
  if (error != std::errc() || (!percent && !rest.empty())) return false;
  return percent ? value > 0 && value <= 100 : value >= 1 && value <= 1 << 20 && value == std::floor(value);
}

/// "3" or "2:5"; `layer` is -1 for the first. False: neither.
bool ReadDrop(const std::string& text, std::int32_t& layer, std::int32_t& expert) {
  const char* at = text.data();
  const char* const end = at + text.size();
  layer = -1;
  if (const std::size_t colon = text.find(':'); colon != std::string::npos) {
    const auto read = std::from_chars(at, end, layer);
    if (read.ec != std::errc() || read.ptr != text.data() + colon || layer < 0) return false;
    at = text.data() + colon + 1;
  }
  const auto read = std::from_chars(at, end, expert);
  return read.ec == std::errc() && read.ptr == end && expert >= 0;
}

Result<double> Score(const Json& expert, const std::string& by) {
  const auto number = [&](const char* key) -> Result<double> {
    if (expert.contains(key) && expert[key].is_number()) return expert[key].get<double>();
    const bool length = key != std::string_view("tokens") && key != std::string_view("gate_mass");
    return InvalidArgument(fmt::format(
        "the report has no \"{}\" of every expert{}", key,
        length ? " (a server's log tells no lengths of outputs): --by tokens and --by mass go with it, or a report of "
                 "quorum experts --text"
               : ""));
  };
  if (by == "tokens") return number("tokens");
  if (by == "mass") return number("gate_mass");
  if (by == "norm") return number("mean_norm");
  return number("reap");
}

Result<Scores> ReadScores(const Json& report, const std::vector<quant::ExpertLayer>& layers, const std::string& by) {
  Scores scores;
  std::map<std::int32_t, std::size_t> place;
  for (const quant::ExpertLayer& layer : layers) {
    place[layer.layer] = scores.size();
    scores.emplace_back(static_cast<std::size_t>(layer.experts), std::nan(""));
  }
  const auto set = [&](const Json& layer, const Json& expert, double value) -> Status {
    if (!layer.is_number_integer() || !expert.is_number_integer()) return InvalidArgument("the report is damaged");
    const auto found = place.find(layer.get<std::int32_t>());
    const auto id = expert.get<std::int64_t>();
    if (found == place.end() || id < 0 || id >= std::ssize(scores[found->second])) {
      return InvalidArgument(
          fmt::format("the report is of another model: it has expert {} of layer {}", id, layer.get<std::int32_t>()));
    }
    scores[found->second][static_cast<std::size_t>(id)] = value;
    return {};
  };
  if (!report.is_object() || !report.contains("layers") || !report["layers"].is_array())
    return InvalidArgument("that is no report of quorum experts --json");
  if (by == "ablation") {
    if (!report.contains("ablation") || !report["ablation"].is_array())
      return InvalidArgument("the report has no ablation (quorum experts --ablate)");
    for (const Json& one : report["ablation"]) {
      if (!one.is_object() || !one.value("increase", Json()).is_number())
        return InvalidArgument("the report is damaged");
      QUORUM_TRY(set(one.value("layer", Json()), one.value("expert", Json()), one["increase"].get<double>()));
    }
  } else {
    for (const Json& layer : report["layers"]) {
      if (!layer.is_object() || !layer.value("experts", Json()).is_array())
        return InvalidArgument("the report is damaged");
      for (const Json& expert : layer["experts"]) {
        if (!expert.is_object()) return InvalidArgument("the report is damaged");
        QUORUM_ASSIGN(const double value, Score(expert, by));
        if (!(value >= 0))
          return InvalidArgument(fmt::format("the report has {} as what expert {} of layer {} is worth", value,
                                             expert.value("expert", Json()).dump(),
                                             layer.value("layer", Json()).dump()));
        QUORUM_TRY(set(layer.value("layer", Json()), expert.value("expert", Json()), value));
      }
    }
  }
  for (std::size_t i = 0; i < scores.size(); ++i) {
    const auto missing = std::find_if(scores[i].begin(), scores[i].end(), [](double x) { return std::isnan(x); });
    if (missing != scores[i].end()) {
      return InvalidArgument(
          fmt::format("the report does not know expert {} of layer {}", missing - scores[i].begin(), layers[i].layer));
    }
  }
  return scores;
}

}  // namespace

CLI::Validator IsKeep() {
  return CLI::Validator(
      [](std::string& text) {
        double value = 0;
        bool percent = false;
        return ReadKeep(text, value, percent)
                   ? std::string()
                   : "'" + text + "' is neither a number from 1 nor a percentage such as 75%";
      },
      "", "keep");
}

CLI::Validator IsDrop() {
  return CLI::Validator(
      [](std::string& text) {
        std::int32_t layer = 0, expert = 0;
        return ReadDrop(text, layer, expert)
                   ? std::string()
                   : "'" + text + "' is neither EXPERT nor LAYER:EXPERT (numbers, counted from 0)";
      },
      "", "drop");
}

Result<std::int32_t> ExpertsToKeep(const std::string& keep, const quant::ExpertLayer& layer) {
  const std::int32_t experts = layer.experts, groups = layer.groups;
  double value = 0;
  bool percent = false;
  if (ReadKeep(keep, value, percent)) {
    if (percent) return std::max(1, static_cast<std::int32_t>(std::lround(value / 100 * experts / groups))) * groups;
    if (value <= experts && static_cast<std::int32_t>(value) % groups == 0) return static_cast<std::int32_t>(value);
  }
  return InvalidArgument(fmt::format(
      "--keep is {}, expected a number from {} to {}{} or a percentage such as 75%", keep, groups, experts,
      groups > 1 ? fmt::format(" that is a multiple of {} (tokens choose from {} groups of one size)", groups, groups)
                 : ""));
}

Result<std::vector<quant::LayerSurgery>> KeepOthers(const std::vector<std::string>& drop,
                                                    const std::vector<quant::ExpertLayer>& layers) {
  std::vector<std::vector<bool>> dropped;
  for (const quant::ExpertLayer& layer : layers) dropped.emplace_back(static_cast<std::size_t>(layer.experts));
  for (const std::string& text : drop) {
    std::int32_t layer = -1, expert = 0;
    bool found = false;
    const bool good = ReadDrop(text, layer, expert);
    for (std::size_t i = 0; good && i < layers.size(); ++i) {
      if ((layer >= 0 && layers[i].layer != layer) || expert >= layers[i].experts) continue;
      dropped[i][static_cast<std::size_t>(expert)] = found = true;
    }
    if (!found) {
      return InvalidArgument(
          fmt::format("--drop {}: this model has no such expert; layers {} to {} have experts 0 to {}", text,
                      layers.front().layer, layers.back().layer, layers.front().experts - 1));
    }
  }
  std::vector<quant::LayerSurgery> plan;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    quant::LayerSurgery& layer = plan.emplace_back();
    layer.layer = layers[i].layer;
    for (std::int32_t e = 0; e < layers[i].experts; ++e) {
      if (!dropped[i][static_cast<std::size_t>(e)]) layer.experts.push_back({{{e, 1.0}}});
    }
    if (layer.experts.size() != plan.front().experts.size() || layer.experts.empty()) {
      return InvalidArgument(fmt::format(
          "--drop leaves {} experts in layer {} and {} in layer {}: GGUF has one number for all layers, at least 1",
          layer.experts.size(), layer.layer, plan.front().experts.size(), plan.front().layer));
    }
  }
  return plan;
}

Result<Scores> ScoresOf(const Json& report, const std::string& name, const std::vector<quant::ExpertLayer>& layers,
                        const std::string& by) {
  auto scores = ReadScores(report, layers, by);
  if (!scores.ok()) return InModel(name, scores.error());
  return scores;
}

Result<Json> ReadReport(const std::string& path) {
  std::ifstream in(path);
  Json report = Json::parse(in, nullptr, false);
  if (report.is_discarded()) return InvalidArgument(path + " is no JSON: what quorum experts --json printed is needed");
  return report;
}

std::vector<quant::LayerSurgery> KeepBest(const std::vector<quant::ExpertLayer>& layers, const Scores& scores,
                                          std::int32_t keep) {
  std::vector<quant::LayerSurgery> plan;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    quant::LayerSurgery& layer = plan.emplace_back();
    layer.layer = layers[i].layer;
    const std::int32_t groups = layers[i].groups, size = layers[i].experts / groups;
    for (std::int32_t group = 0; group < groups; ++group) {
      std::vector<std::int32_t> order(static_cast<std::size_t>(size));
      std::iota(order.begin(), order.end(), group * size);
      std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
        return scores[i][static_cast<std::size_t>(a)] > scores[i][static_cast<std::size_t>(b)];
      });
      order.resize(static_cast<std::size_t>(keep / groups));
      std::sort(order.begin(), order.end());
      for (const std::int32_t expert : order) layer.experts.push_back({{{expert, 1.0}}});
    }
  }
  return plan;
}

Result<std::vector<quant::LayerSurgery>> KeepVisited(const std::vector<quant::ExpertLayer>& layers,
                                                     const Scores& tokens) {
  std::int64_t keep = 1;
  const std::int32_t groups = layers.front().groups, size = layers.front().experts / groups;
  for (const auto& layer : tokens) {
    for (auto group = layer.begin(); group != layer.end(); group += size)
      keep = std::max<std::int64_t>(keep, std::count_if(group, group + size, [](double n) { return n > 0; }));
  }
  if (keep == size) {
    return InvalidArgument(
        fmt::format("a {} has no idle expert, and GGUF has one number of experts for all layers: nothing can go",
                    groups > 1 ? "group of a layer" : "layer"));
  }
  return KeepBest(layers, tokens, static_cast<std::int32_t>(keep) * groups);
}

}  // namespace quorum::cli
