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
          {"kl_mean_ci95", report.kl.half_width},
          {"kl_median", report.kl_median},
          {"kl_p99", report.kl_p99},
          {"kl_max", report.kl_max},
          {"top1_agreement", report.same_top.fraction},
          {"top1_agreement_ci95_low", report.same_top.low},
          {"top1_agreement_ci95_high", report.same_top.high},
          {"nll_difference", report.loss_difference.mean},
          {"nll_difference_ci95", report.loss_difference.half_width}};
}

}  // namespace

std::string Percent(const engine::Proportion& part) {
  return fmt::format("{:.2f} % (95 %: {:.2f} to {:.2f})", 100 * part.fraction, 100 * part.low, 100 * part.high);
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
              {"perplexity_ci95", perplexity * loss.half_width},
              {"mean_nll", loss.mean},
              {"kernels", stepper.model().kernels().name},
              {"kv", KvName(stepper.model())},
              {"act", ActivationsName(stepper.model())}};
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

void Print(const Text& text, const Scores& scores) {
  const engine::MeanInterval loss = engine::MeanOf(scores.losses);
  const double perplexity = std::exp(loss.mean);
  fmt::print("perplexity {:.4f} ± {:.4f} (95 %)   ({} of {} tokens scored, windows of {})\n", perplexity,
             perplexity * loss.half_width, scores.losses.size(), text.tokens.size(), text.window);
  if (!scores.difference) return;
  const engine::LogitReport& d = *scores.difference;
  fmt::print("KL divergence from the reference: mean {:.6f} ± {:.6f}, median {:.6f}, p99 {:.5f}, max {:.4f} nats\n",
             d.kl.mean, d.kl.half_width, d.kl_median, d.kl_p99, d.kl_max);
  fmt::print("same most likely token: {}\n", Percent(d.same_top));
  fmt::print("perplexity / reference's: {:.5f} (95 %: {:.5f} to {:.5f})\n", std::exp(d.loss_difference.mean),
             std::exp(d.loss_difference.mean - d.loss_difference.half_width),
             std::exp(d.loss_difference.mean + d.loss_difference.half_width));
}

}  // namespace quorum::cli
