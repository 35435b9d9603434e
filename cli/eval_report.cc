#include "cli/eval_report.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

namespace quorum::cli {
namespace {

using Json = nlohmann::ordered_json;

Json ToJson(const engine::LogitReport& report) {
  return {{"positions", report.positions},
          {"kl_mean", report.kl.mean},
          {"kl_mean_ci95_low", report.kl.low()},
          {"kl_mean_ci95_high", report.kl.high()},
          {"kl_median", report.kl_median},
          {"kl_p99", report.kl_p99},
          {"kl_max", report.kl_max},
          {"top1_agreement", report.same_top.fraction},
          {"top1_agreement_ci95_low", report.same_top.low},
          {"top1_agreement_ci95_high", report.same_top.high},
          {"nll_difference", report.loss_difference.mean},
          {"nll_difference_ci95_low", report.loss_difference.low()},
          {"nll_difference_ci95_high", report.loss_difference.high()}};
}

}  // namespace

std::string Percent(const engine::Proportion& part) {
  return fmt::format("{:.2f} % (95 %: {:.2f} to {:.2f})", 100 * part.fraction, 100 * part.low, 100 * part.high);
}

std::string Perplexity(const engine::MeanInterval& loss, int digits) {
  if (std::isnan(loss.half_width)) return fmt::format("{:.{}f}", std::exp(loss.mean), digits);
  return fmt::format("{:.{}f} (95 %: {:.{}f} to {:.{}f})", std::exp(loss.mean), digits, std::exp(loss.low()), digits,
                     std::exp(loss.high()), digits);
}

Json Settings(const EvalFlags& flags, Stepper& stepper) {
  Json out = {{"kernels", stepper.model().kernels().name},
              {"kv", KvName(stepper.model())},
              {"act", ActivationsName(stepper.model())},
              {"weights", flags.model.weights}};
  if (flags.top_k.size() == 1) out["moe_top_k"] = flags.top_k.front();
  if (flags.min_weight > 0) out["moe_min_weight"] = flags.min_weight;
  if (!flags.mask.empty()) out["mask"] = flags.mask;
  if (flags.like_llama) out["like_llama_perplexity"] = true;
  return out;
}

std::string SettingsText(const EvalFlags& flags) {
  std::string text;
  if (flags.top_k.size() == 1) text += " --moe-top-k " + flags.top_k.front();
  if (flags.min_weight > 0) text += fmt::format(" --moe-min-weight {}", flags.min_weight);
  if (!flags.mask.empty()) text += " --mask " + flags.mask;
  if (flags.like_llama) text += " --like-llama-perplexity";
  return text.empty() ? text : "with" + text + "\n";
}

Json ToJson(const std::string& model, const EvalFlags& flags, Stepper& stepper, const Text& text,
            const Scores& scores) {
  const engine::MeanInterval loss = engine::MeanOf(scores.losses);
  const double perplexity = std::exp(loss.mean);
  Json out = {{"model", model},
              {"text", flags.text},
              {"ctx", text.window},
              {"tokens", text.tokens.size()},
              {"scored", scores.losses.size()},
              {"perplexity", perplexity},
              {"perplexity_stderr", perplexity * loss.half_width / 1.96},
              {"perplexity_ci95_low", std::exp(loss.low())},
              {"perplexity_ci95_high", std::exp(loss.high())},
              {"mean_nll", loss.mean}};
  out.update(Settings(flags, stepper));
  if (!flags.reference.empty()) out["reference"] = flags.reference;
  if (!flags.kl.empty()) out["reference"] = flags.kl;
  if (scores.difference) out["difference"] = ToJson(*scores.difference);
  return out;
}

Json ToJson(const std::vector<engine::LayerDifference>& layers) {
  Json rows = Json::array();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Json row = {{"layer", i}, {"error", layers[i].error}};
    if (layers[i].other_experts) row["other_experts"] = *layers[i].other_experts;
    rows.push_back(std::move(row));
  }
  return rows;
}

void Print(const std::vector<engine::LayerDifference>& layers) {
  const bool routed = std::any_of(layers.begin(), layers.end(),
                                  [](const engine::LayerDifference& layer) { return layer.other_experts.has_value(); });
  fmt::print("layer  relative error of the stream behind it{}\n", routed ? "  tokens sent to other experts" : "");
  for (std::size_t i = 0; i < layers.size(); ++i) {
    fmt::print("{:5}  {:35.6f}", i, layers[i].error);
    if (layers[i].other_experts) fmt::print("  {:26.2f} %", 100 * *layers[i].other_experts);
    fmt::print("\n");
  }
}

void Print(const EvalFlags& flags, const Text& text, const Scores& scores) {
  fmt::print("{}perplexity {}   ({} of {} tokens scored, windows of {})\n", SettingsText(flags),
             Perplexity(engine::MeanOf(scores.losses)), scores.losses.size(), text.tokens.size(), text.window);
  if (!scores.difference) return;
  const engine::LogitReport& d = *scores.difference;
  fmt::print("KL divergence from the reference: mean {:.6f}{}, median {:.6f}, p99 {:.5f}, max {:.4f} nats\n", d.kl.mean,
             std::isnan(d.kl.half_width) ? "" : fmt::format(" ± {:.6f}", d.kl.half_width), d.kl_median, d.kl_p99,
             d.kl_max);
  fmt::print("same most likely token: {}\n", Percent(d.same_top));
  fmt::print("perplexity / reference's: {}\n", Perplexity(d.loss_difference, 5));
}

}  // namespace quorum::cli
