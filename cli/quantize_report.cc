#include "cli/quantize_report.h"

#include <cmath>
#include <cstdlib>
#include <map>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "engine/base/log.h"
#include "engine/base/units.h"

namespace quorum::cli {
namespace {

double Bits(std::uint64_t bytes, std::int64_t elements) {
  return elements > 0 ? 8.0 * static_cast<double>(bytes) / static_cast<double>(elements) : 0;
}

double Relative(double error, double squares) { return squares > 0 ? std::sqrt(error / squares) : 0; }

/// Elements and bytes by type.
struct TypeSum {
  std::int64_t tensors = 0, elements = 0;
  std::uint64_t bytes = 0;
  double squares = 0, error = 0;
};

std::map<std::string, TypeSum> SumByType(const std::vector<quant::TensorReport>& tensors) {
  std::map<std::string, TypeSum> sums;
  for (const quant::TensorReport& tensor : tensors) {
    TypeSum& sum = sums[quant::NameOf(tensor.encoding)];
    ++sum.tensors;
    sum.elements += tensor.elements;
    sum.bytes += tensor.bytes;
    sum.squares += tensor.squares;
    sum.error += tensor.error_squares;
  }
  return sums;
}

/// Matrices whose rows do not fit the blocks of the type that was asked for.
struct Fallback {
  std::int64_t tensors = 0, elements = 0;
  std::int64_t columns = 0;  // of one of them

  void Add(std::int64_t row, std::int64_t n) {
    ++tensors;
    elements += n;
    columns = row;
  }
};
/// By the type asked for and the type taken.
using Fallbacks = std::map<std::pair<std::string, std::string>, Fallback>;

Fallbacks FallbacksOf(const std::vector<quant::TensorReport>& tensors) {
  Fallbacks fallbacks;
  for (const quant::TensorReport& tensor : tensors) {
    if (tensor.wanted == tensor.encoding) continue;
    fallbacks[{quant::NameOf(tensor.wanted), quant::NameOf(tensor.encoding)}].Add(tensor.columns, tensor.elements);
  }
  return fallbacks;
}

void PrintFallbacks(const Fallbacks& fallbacks) {
  for (const auto& [types, sum] : fallbacks) {
    const auto& [wanted, got] = types;
    fmt::print(
        "  note: {} {} ({:.2f} M weights) became {} instead of {}, as their rows (of {} weights, say) are no "
        "multiple of its blocks of {}\n",
        sum.tensors, sum.tensors == 1 ? "matrix" : "matrices", static_cast<double>(sum.elements) * 1e-6, got, wanted,
        sum.columns, quant::Info(quant::FindEncoding(wanted)->type).block);
  }
}

nlohmann::ordered_json ToJson(const Fallbacks& fallbacks) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const auto& [types, sum] : fallbacks) {
    list.push_back(
        {{"wanted", types.first}, {"type", types.second}, {"tensors", sum.tensors}, {"elements", sum.elements}});
  }
  return list;
}

/// All of "name[3]", "name[4]", "other", as "name[3-4], other".
std::string Compact(const std::vector<std::string>& names) {
  std::string list;
  std::string stack;
  std::int64_t first = -1, last = -2;
  const auto end_run = [&] {
    if (last > first) list += fmt::format("-{}", last);
    first = -1;
    last = -2;
  };
  for (const std::string& name : names) {
    const std::size_t at = name.find('[');
    const std::string base = name.substr(0, at);
    const std::int64_t i = at == std::string::npos ? -1 : std::strtol(name.c_str() + at + 1, nullptr, 10);
    if (i >= 0 && base == stack && i == last + 1) {
      last = i;
      continue;
    }
    end_run();
    if (base != stack || i < 0) {
      if (!stack.empty()) list += ']';
      list += (list.empty() ? "" : ", ") + base;
      if (i >= 0) list += '[';
      stack = i >= 0 ? base : "";
    } else {
      list += ',';
    }
    if (i >= 0) list += std::to_string(i);
    first = last = i;
  }
  end_run();
  if (!stack.empty()) list += ']';
  return list;
}

}  // namespace

void Print(const QuantizeFlags& flags, const quant::QuantizeReport& report, double seconds) {
  std::uint64_t bytes = 0;
  std::int64_t requantized = 0;
  for (const quant::TensorReport& tensor : report.tensors) {
    bytes += tensor.bytes;
    requantized += tensor.requantized ? 1 : 0;
  }
  if (flags.json) {
    nlohmann::ordered_json out = {{"file", flags.dst},
                                  {"type", flags.type},
                                  {"file_bytes", report.file_bytes},
                                  {"tensor_bytes", bytes},
                                  {"elements", report.elements},
                                  {"bits_per_weight", Bits(bytes, report.elements)},
                                  {"seconds", seconds},
                                  {"sha256", report.sha256},
                                  {"verified", flags.verify},
                                  {"fallbacks", ToJson(FallbacksOf(report.tensors))},
                                  {"requantized", requantized},
                                  {"without_importance", report.no_importance}};
    for (const quant::TensorReport& tensor : report.tensors) {
      nlohmann::ordered_json row = {{"name", tensor.name},
                                    {"type", quant::NameOf(tensor.encoding)},
                                    {"bytes", tensor.bytes},
                                    {"elements", tensor.elements},
                                    {"copied", tensor.copied}};
      if (tensor.wanted != tensor.encoding) row["wanted"] = quant::NameOf(tensor.wanted);
      if (flags.measure && !tensor.copied) {
        row["rmse"] = tensor.elements > 0 ? std::sqrt(tensor.error_squares / static_cast<double>(tensor.elements)) : 0;
        row["relative_error"] = Relative(tensor.error_squares, tensor.squares);
        if (tensor.weighted_squares > 0) {
          row["weighted_error"] = Relative(tensor.weighted_error, tensor.weighted_squares);
        }
      }
      out["tensors"].push_back(std::move(row));
    }
    fmt::print("{}\n", out.dump(2));
    return;
  }
  fmt::print("{}\n", flags.dst);
  for (const auto& [type, sum] : SumByType(report.tensors)) {
    fmt::print("  {:6} {:5} tensors  {:10.2f} M weights  {:>10}", type, sum.tensors,
               static_cast<double>(sum.elements) * 1e-6, FormatBytes(sum.bytes));
    if (sum.squares > 0) fmt::print("  relative error {:.5f}", Relative(sum.error, sum.squares));
    fmt::print("\n");
  }
  PrintFallbacks(FallbacksOf(report.tensors));
  fmt::print("  {}, {:.3f} bits a weight, {:.1f} s; sha256 of all tensors {}\n", FormatBytes(report.file_bytes),
             Bits(bytes, report.elements), seconds, report.sha256);
  if (flags.verify) {
    fmt::print("  verified: the disk was read again, and its {} of tensors have that sha256\n",
               FormatBytes(report.data_bytes));
  }
}

Status DryRun(const QuantizeFlags& flags, const std::vector<quant::SourceTensor>& sources,
              const quant::QuantizeOptions& options) {
  QUORUM_ASSIGN(const auto choices, quant::ChooseTypes(sources, options));
  std::uint64_t bytes = 0;
  std::int64_t elements = 0;
  Fallbacks fallbacks;
  nlohmann::ordered_json rows = nlohmann::ordered_json::array();
  for (const quant::TensorChoice& choice : choices) {
    const std::int64_t n = choice.rows * choice.source->dims[0];
    const auto size = static_cast<std::uint64_t>(quant::BytesOf(choice.encoding.type, n));
    bytes += size;
    elements += n;
    const std::string type = quant::NameOf(choice.encoding);
    const bool fits = choice.wanted == choice.encoding;
    if (!fits) fallbacks[{quant::NameOf(choice.wanted), type}].Add(choice.source->dims[0], n);
    if (flags.json) {
      rows.push_back(
          {{"name", choice.name}, {"from", quant::Info(choice.source->type).name}, {"type", type}, {"bytes", size}});
      if (!fits) rows.back()["wanted"] = quant::NameOf(choice.wanted);
    } else {
      fmt::print("{:40} {:>6} -> {:6} {:>10}\n", choice.name, quant::Info(choice.source->type).name, type,
                 FormatBytes(size));
    }
  }
  if (flags.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"tensor_bytes", bytes},
                                              {"bits_per_weight", Bits(bytes, elements)},
                                              {"fallbacks", ToJson(fallbacks)},
                                              {"tensors", rows}}
                           .dump(2));
  } else {
    PrintFallbacks(fallbacks);
    fmt::print("  {} of tensors, {:.3f} bits a weight\n", FormatBytes(bytes), Bits(bytes, elements));
  }
  return {};
}

void WarnUnknown(const quant::ImportanceMatrix& importance, const std::vector<std::string>& names) {
  std::vector<std::string> unvisited, missing;
  for (const std::string& name : names) {
    const bool expert = name.ends_with(']');
    const bool known = importance.Find(expert ? name.substr(0, name.rfind('[')) : name) != nullptr;
    (known && expert ? unvisited : missing).push_back(name);
  }
  if (!unvisited.empty()) {
    Log(LogLevel::kWarn, "no token of the importance matrix visited {} experts: their columns count alike. They are {}",
        unvisited.size(), Compact(unvisited));
  }
  if (!missing.empty()) {
    Log(LogLevel::kWarn, "the importance matrix has no entry for {} matrices: their columns count alike. They are {}",
        missing.size(), Compact(missing));
  }
}

void Warn(const quant::QuantizeReport& report) {
  std::int64_t requantized = 0;
  for (const quant::TensorReport& tensor : report.tensors) requantized += tensor.requantized ? 1 : 0;
  if (requantized > 0) {
    Log(LogLevel::kWarn,
        "{} tensors were quantized in the source already; a file made of the original weights is better", requantized);
  }
}

void PrintMatrix(const QuantizeFlags& flags, const quant::ImportanceMatrix& importance) {
  const std::size_t unvisited = importance.Unvisited().size();
  if (flags.json) {
    fmt::print("{}\n", nlohmann::ordered_json{{"file", flags.save_imatrix},
                                              {"entries", importance.entries.size()},
                                              {"chunks", importance.chunks},
                                              {"chunk_size", importance.chunk_size},
                                              {"unvisited", unvisited}}
                           .dump(2));
    return;
  }
  fmt::print(
      "{}\n  importance of the columns of {} matrices or stacks, from {} windows of {} tokens; {} experts were "
      "visited by none\n",
      flags.save_imatrix, importance.entries.size(), importance.chunks, importance.chunk_size, unvisited);
}

}  // namespace quorum::cli
