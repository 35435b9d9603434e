#include "quant/equalize_search.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "quant/workers.h"

namespace quorum::quant {
namespace {

constexpr float kMostScale = 16.0F;
constexpr std::int64_t kSampledWeights = 1 << 16;                         // of all readers
constexpr std::array kPowers = {0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7};  // the first changes nothing
constexpr double kFinePower = 0.5;
constexpr double kFineBits = 6;

/// Some rows of a reader.
struct Sample {
  const ChannelReader* reader = nullptr;
  std::vector<float> weights;  // (rows, cols)
  double energy = 0;           // of its products
};

/// Logarithms of rms over their mean; 0 where there is nothing.
std::vector<double> Logs(std::span<const double> squares) {
  double sum = 0;
  double known = 0;
  for (const double square : squares) {
    if (!(square > 0)) continue;
    sum += std::log(square) / 2;
    known += 1;
  }
  std::vector<double> logs(squares.size(), 0.0);
  for (std::size_t c = 0; c < squares.size(); ++c) {
    if (squares[c] > 0) logs[c] = std::log(squares[c]) / 2 - sum / known;
  }
  return logs;
}

/// Relative squared error of a reader's products when its columns are multiplied with `scales`.
double ErrorOf(const Sample& sample, std::span<const float> scales) {
  const ChannelReader& reader = *sample.reader;
  const std::size_t cols = scales.size();
  const std::size_t rows = sample.weights.size() / cols;
  std::vector<float> means(cols), row(cols), again(cols);
  for (std::size_t c = 0; c < cols; ++c) means[c] = reader.means[c] / (scales[c] * scales[c]);
  std::vector<std::byte> made(static_cast<std::size_t>(BytesOf(reader.encoding.type, static_cast<std::int64_t>(cols))));
  double error = 0;
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t c = 0; c < cols; ++c) row[c] = sample.weights[r * cols + c] * scales[c];
    Encode(reader.encoding, row.data(), means.data(), made.data(), static_cast<std::int64_t>(cols));
    Dequantize(reader.encoding.type, made.data(), again.data(), static_cast<std::int64_t>(cols));
    float sum = 0;
    for (std::size_t c = 0; c < cols; ++c) {
      const float off = row[c] - again[c];
      sum += means[c] * off * off;
    }
    error += static_cast<double>(sum);
  }
  return sample.energy > 0 ? error / sample.energy : 0.0;
}

std::vector<Sample> Samples(std::span<const ChannelReader> readers, std::size_t cols) {
  std::vector<Sample> samples;
  for (const ChannelReader& reader : readers) {
    const std::int64_t share = kSampledWeights / static_cast<std::int64_t>(cols) / std::ssize(readers);
    const std::int64_t rows = std::clamp<std::int64_t>(share, std::min<std::int64_t>(reader.rows, 4), reader.rows);
    Sample sample{&reader, std::vector<float>(static_cast<std::size_t>(rows) * cols), 0};
    for (std::int64_t i = 0; i < rows; ++i) {
      float* row = sample.weights.data() + static_cast<std::size_t>(i) * cols;
      reader.tensor->read(reader.first_row + i * reader.rows / rows, 1, row);
      if (!AllFinite(row, static_cast<std::int64_t>(cols))) std::fill_n(row, cols, 0.0F);  // QuantizeTensors says so
      for (std::size_t c = 0; c < cols; ++c) sample.energy += static_cast<double>(reader.means[c] * row[c] * row[c]);
    }
    samples.push_back(std::move(sample));
  }
  return samples;
}

}  // namespace

std::vector<float> SearchScales(std::span<const double> squares, std::span<const std::size_t> channel,
                                std::span<const ChannelReader> readers, int threads) {
  if (readers.empty()) return std::vector<float>(squares.size(), 1.0F);
  const std::vector<double> logs = Logs(squares);
  const auto scales_of = [&](double power) {
    std::vector<float> scales(squares.size());
    for (std::size_t c = 0; c < scales.size(); ++c) {
      scales[c] = std::clamp(static_cast<float>(std::exp(power * logs[c])), 1 / kMostScale, kMostScale);
    }
    return scales;
  };
  const auto fine = [](const ChannelReader& reader) {
    const DTypeInfo& info = Info(reader.encoding.type);
    return 8.0 * static_cast<double>(info.bytes) >= kFineBits * static_cast<double>(info.block);
  };
  if (std::ranges::all_of(readers, fine)) return scales_of(kFinePower);

  const std::size_t cols = channel.empty() ? squares.size() : channel.size();
  const std::vector<Sample> samples = Samples(readers, cols);
  std::array<std::vector<float>, kPowers.size()> scales;  // by column
  for (std::size_t i = 0; i < scales.size(); ++i) {
    scales[i] = scales_of(kPowers[i]);
    if (channel.empty()) continue;
    std::vector<float> wide(cols);
    for (std::size_t col = 0; col < cols; ++col) wide[col] = scales[i][channel[col]];
    scales[i] = std::move(wide);
  }
  std::vector<double> errors(scales.size() * samples.size());
  ForEach(threads, std::ssize(errors), [&](std::int64_t i) {
    const auto at = static_cast<std::size_t>(i);
    errors[at] = ErrorOf(samples[at % samples.size()], scales[at / samples.size()]);
  });
  std::array<double, kPowers.size()> sums{};
  for (std::size_t i = 0; i < errors.size(); ++i) sums[i / samples.size()] += errors[i];
  return scales_of(kPowers[static_cast<std::size_t>(std::ranges::min_element(sums) - sums.begin())]);
}

}  // namespace quorum::quant
