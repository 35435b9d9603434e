#include "quant/alike_experts.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "engine/base/check.h"
#include "quant/expert_places.h"
#include "quant/quantize.h"
#include "quant/workers.h"

namespace quorum::quant {
namespace {

Error Fault(const GgufFile& file, const std::string& what) { return InvalidArgument(file.path() + ": " + what); }

/// How alike the experts of a layer are: products of all their weights, router and biases of the choice apart.
class Likeness {
 public:
  Likeness(std::int32_t experts, int threads)
      : experts_(experts),
        threads_(threads),
        dots_(static_cast<std::size_t>(experts) * static_cast<std::size_t>(experts)) {}

  Status AddLayer(const GgufFile& file, const ExpertLayer& layer) {
    const auto n = static_cast<std::size_t>(experts_);
    std::map<std::string, std::vector<Part>> singles;
    bool any = false;
    for (const GgufTensor& tensor : file.tensors()) {
      const Place place = PlaceOf(tensor.name);
      if (place.layer != layer.layer || place.role == Role::kNone) continue;
      if (place.role == Role::kSingle) {
        auto& list = singles[place.before + "#" + place.after];
        list.resize(n);
        if (static_cast<std::size_t>(place.expert) < n)
          list[static_cast<std::size_t>(place.expert)] = {tensor.type, tensor.data, tensor.elements()};
        continue;
      }
      if (tensor.name.find("_exps.") == std::string::npos) continue;
      const std::int64_t each = tensor.elements() / experts_;
      if (tensor.dims.back() != experts_ || each % Info(tensor.type).block != 0) {
        return Fault(file, "tensor '" + tensor.name + "' does not count experts on its last axis");
      }
      std::vector<Part> parts;
      for (std::int32_t e = 0; e < experts_; ++e)
        parts.push_back({tensor.type, ExpertSlice(tensor, e, experts_), each});
      QUORUM_TRY(Add(file, parts));
      file.Release(tensor);
      any = true;
    }
    for (const auto& [name, list] : singles) {
      if (std::any_of(list.begin(), list.end(),
                      [&](const Part& part) { return part.elements != list.front().elements || part.data.empty(); }))
        return Fault(file, "the experts' tensors '" + name + "' do not fit each other");
      QUORUM_TRY(Add(file, list));
      any = true;
    }
    return any ? Status() : Fault(file, "layer " + std::to_string(layer.layer) + " has no experts");
  }

  /// The experts [first, first + n) in `count` clusters.
  std::vector<std::vector<std::int32_t>> Cluster(std::int32_t first, std::int32_t n, std::int32_t count) const {
    std::vector<std::vector<std::int32_t>> clusters;
    for (std::int32_t e = first; e < first + n; ++e) clusters.push_back({e});
    while (std::ssize(clusters) > count) {
      std::size_t best_a = 0, best_b = 1;
      double best = -2;
      for (std::size_t a = 0; a < clusters.size(); ++a) {
        for (std::size_t b = a + 1; b < clusters.size(); ++b) {
          const double value = Alike(clusters[a], clusters[b]);
          if (value > best) std::tie(best, best_a, best_b) = std::tuple(value, a, b);
        }
      }
      auto& into = clusters[best_a];
      into.insert(into.end(), clusters[best_b].begin(), clusters[best_b].end());
      std::sort(into.begin(), into.end());
      clusters.erase(clusters.begin() + static_cast<std::ptrdiff_t>(best_b));
    }
    return clusters;
  }

 private:
  struct Part {
    DType type = DType::kF32;
    std::span<const std::byte> data;
    std::int64_t elements = 0;
  };

  double& Dot(std::size_t a, std::size_t b) { return dots_[a * static_cast<std::size_t>(experts_) + b]; }
  double Dot(std::int32_t a, std::int32_t b) const {
    return dots_[static_cast<std::size_t>(std::max(a, b)) * static_cast<std::size_t>(experts_) +
                 static_cast<std::size_t>(std::min(a, b))];
  }

  /// One matrix of every expert, in pieces that stay in the cache; the sums do not depend on the threads.
  Status Add(const GgufFile& file, const std::vector<Part>& parts) {
    const auto n = static_cast<std::size_t>(experts_);
    for (const Part& part : parts) {
      if (float none = 0; !Dequantize(part.type, part.data.data(), &none, 0))
        return Unsupported(file.path() + ": a tensor of type " + std::string(Info(part.type).name) +
                           " holds no weights");
    }
    // About a megabyte of floats; a multiple of every block.
    const std::size_t piece = std::max<std::size_t>((std::size_t{1} << 18) / n / 2048, 1) * 2048;
    values_.resize(n * piece);
    const std::int64_t all = parts.front().elements;
    for (std::int64_t at = 0; at < all; at += static_cast<std::int64_t>(piece)) {
      const std::int64_t size = std::min(static_cast<std::int64_t>(piece), all - at);
      ForEach(threads_, experts_, [&](std::int64_t e) {
        const Part& part = parts[static_cast<std::size_t>(e)];
        QUORUM_CHECK(Dequantize(part.type, part.data.data() + BytesOf(part.type, at),
                                values_.data() + static_cast<std::size_t>(e) * piece, size));
      });
      // Rows i and n - 1 - i together have n + 1 products: equal work.
      ForEach(threads_, static_cast<std::int64_t>((n + 1) / 2), [&](std::int64_t i) {
        const auto low = static_cast<std::size_t>(i), high = n - 1 - low;
        for (const std::size_t a : {low, high}) {
          for (std::size_t b = 0; b <= a; ++b) {
            Dot(a, b) += Product(values_.data() + a * piece, values_.data() + b * piece, size);
          }
          if (low == high) break;
        }
      });
    }
    return {};
  }

  static double Product(const float* a, const float* b, std::int64_t n) {
    constexpr std::int64_t kLanes = 16;  // of sums that compilers keep in vectors
    float sums[kLanes] = {};
    std::int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      for (std::int64_t lane = 0; lane < kLanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
    }
    double sum = 0;
    for (; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    for (const float lane : sums) sum += static_cast<double>(lane);
    return sum;
  }

  double Alike(const std::vector<std::int32_t>& a, const std::vector<std::int32_t>& b) const {
    double sum = 0;
    for (const std::int32_t x : a) {
      for (const std::int32_t y : b) {
        const double size = std::sqrt(Dot(x, x) * Dot(y, y));
        sum += size > 0 ? Dot(x, y) / size : 0;
      }
    }
    return sum / static_cast<double>(a.size() * b.size());
  }

  std::int32_t experts_;
  int threads_;
  std::vector<float> values_;  // (experts, piece)
  std::vector<double> dots_;   // (experts, experts), the lower triangle
};

}  // namespace

Result<std::vector<std::vector<std::int32_t>>> GroupAlike(const GgufFile& file, const ExpertLayer& layer,
                                                          std::int32_t count, int threads) {
  if (count < 1 || count > layer.experts || count % layer.groups != 0) {
    return Fault(file, fmt::format("{} experts cannot be left of {} in {} groups", count, layer.experts, layer.groups));
  }
  Likeness likeness(layer.experts, threads);
  QUORUM_TRY(likeness.AddLayer(file, layer));
  std::vector<std::vector<std::int32_t>> clusters;
  const std::int32_t in_group = layer.experts / layer.groups;
  for (std::int32_t group = 0; group < layer.groups; ++group) {
    for (auto& cluster : likeness.Cluster(group * in_group, in_group, count / layer.groups)) {
      clusters.push_back(std::move(cluster));
    }
  }
  return clusters;
}

}  // namespace quorum::quant
