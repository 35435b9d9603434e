// quorum upcycle: a dense GGUF model becomes a Mixture-of-Experts model.
#include "quant/upcycle.h"

#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <memory>

#include <fmt/format.h>

#include "cli/command.h"

namespace quorum::cli {
namespace {

constexpr int kCancelledStatus = 130;     // as a shell reports SIGINT
constexpr int kLlamaCppMaxExperts = 512;  // LLAMA_MAX_EXPERTS

volatile sig_atomic_t g_interrupted = 0;

struct Flags {
  std::string src;
  std::string dst;
  quant::UpcycleOptions options;
};

std::string Gigabytes(std::uint64_t bytes) { return fmt::format("{:.2f}", static_cast<double>(bytes) * 1e-9); }
std::string Millions(std::int64_t n) { return fmt::format("{:.1f} M", static_cast<double>(n) * 1e-6); }

// A line on the terminal, several times a second at the most; nothing when stderr is a file. False after Ctrl-C.
bool ShowProgress(std::uint64_t done, std::uint64_t total) {
  static std::chrono::steady_clock::time_point last;
  if (g_interrupted != 0) return false;
  if (::isatty(STDERR_FILENO) == 0) return true;
  const auto now = std::chrono::steady_clock::now();
  if (done < total && now - last < std::chrono::milliseconds(100)) return true;
  last = now;
  std::fprintf(stderr, "\r%3d %%  %s of %s GB",
               static_cast<int>(100.0 * static_cast<double>(done) / static_cast<double>(total)),
               Gigabytes(done).c_str(), Gigabytes(total).c_str());
  if (done == total) std::fprintf(stderr, "\r\x1b[K");
  return true;
}

// CLI11 lets "-1" wrap round and cuts numbers that are too large, without a word.
std::string IsSeed(const std::string& text) {
  std::uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  return error == std::errc() && end == text.data() + text.size() ? "" : "a whole number from 0 to 2^64 - 1 is needed";
}

int Run(const Flags& flags) {
  struct sigaction interrupt{};
  interrupt.sa_handler = [](int) { g_interrupted = 1; };
  ::sigaction(SIGINT, &interrupt, nullptr);
  ::sigaction(SIGTERM, &interrupt, nullptr);

  const auto made = quant::Upcycle(flags.src, flags.dst, flags.options, ShowProgress);
  if (!made.ok()) {
    if (::isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "\r\x1b[K");
    const int status = Fail(made.error());
    return made.error().code == ErrorCode::kCancelled ? kCancelledStatus : status;
  }
  fmt::print("{}\n", flags.dst);
  fmt::print("  {} layers, {} experts each, {} used a token; architecture {}\n", made->layers, flags.options.experts,
             flags.options.top_k, made->architecture);
  fmt::print("  parameters: {} (dense {}), {} active a token\n", Millions(made->parameters),
             Millions(made->dense_parameters), Millions(made->active_parameters));
  fmt::print("  {} GB, seed {}, noise {}\n", Gigabytes(made->bytes), flags.options.seed, flags.options.noise);
  if (flags.options.experts > kLlamaCppMaxExperts) {
    fmt::print("  note: llama.cpp loads at most {} experts\n", kLlamaCppMaxExperts);
  }
  return 0;
}

}  // namespace

void AddUpcycle(CLI::App& app, Action& action) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("upcycle", "Turn a dense GGUF model into a Mixture-of-Experts model");
  command->footer(
      "Every expert starts as a copy of the dense feed-forward network, behind a random router: sparse upcycling\n"
      "(Komatsuzaki et al. 2022). Without --noise the new model answers like the dense one, and the same seed gives\n"
      "the same file. llama.cpp and other GGUF programs load it as they load Mixtral.");
  command->add_option("SRC", flags->src, "Dense model: a GGUF file of architecture llama or qwen3")->required();
  command->add_option("DST", flags->dst, "The MoE model to write")->required();
  command->add_option("--experts", flags->options.experts, "Experts a layer, 2 to 1024")
      ->envname("QUORUM_UPCYCLE_EXPERTS")
      ->capture_default_str();
  command->add_option("--top-k", flags->options.top_k, "Experts that a token uses, 1 to the number of experts")
      ->envname("QUORUM_UPCYCLE_TOP_K")
      ->capture_default_str();
  command->add_option("--seed", flags->options.seed, "Seed of the router's weights and of the noise")
      ->envname("QUORUM_UPCYCLE_SEED")
      ->check(IsSeed)
      ->capture_default_str();
  command
      ->add_option("--noise", flags->options.noise,
                   "Make the experts differ: standard deviation of added noise, relative to a tensor's root mean "
                   "square. Not for K-quants")
      ->envname("QUORUM_UPCYCLE_NOISE")
      ->capture_default_str();
  command->add_flag("--force", flags->options.replace, "Write over an existing file");
  command->callback([flags, &action] { action = [flags] { return Run(*flags); }; });
}

}  // namespace quorum::cli
