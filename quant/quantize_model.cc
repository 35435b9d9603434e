#include "quant/quantize_model.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <mutex>
#include <utility>

#include "quant/gguf_parser.h"
#include "quant/resumable_file.h"
#include "quant/workers.h"

namespace quorum::quant {
namespace {

constexpr std::string_view kChecksumKey = "quorum.quantize.sha256";
constexpr std::int64_t kChunkElements = 1 << 16;  // what a thread takes at a time
constexpr std::int64_t kChunksPerThread = 16;     // of a batch, which goes to the writer when all of it is done
constexpr std::int64_t kReadElements = 1 << 15;   // that are read at a time
constexpr std::size_t kCopyBytes = std::size_t{8} << 20;

bool IsPlain(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16 || type == DType::kF64;
}

/// Whether what is quantized already loses something by becoming `to`: not as floats, nor MXFP4 that is made of MXFP4.
bool Requantizes(DType from, DType to) {
  return !IsPlain(from) && !IsPlain(to) && !(from == to && from == DType::kMXFP4);
}

/// "blk.3." of "blk.3.ffn_gate_exps.weight"; empty for tensors that are no stack of experts.
std::string ExpertLayer(std::string_view name) {
  const std::size_t at = name.find("ffn_");
  return at != std::string_view::npos && name.find("_exps.") != std::string_view::npos ? std::string(name.substr(0, at))
                                                                                       : "";
}

/// blk.N.ffn_gate_exps.weight -> blk.N.ffn_gate.E.weight
std::string NameOfExpert(const std::string& name, std::int64_t expert) {
  constexpr std::string_view kStack = "_exps.";
  std::string out = name;
  return out.replace(out.find(kStack), kStack.size(), "." + std::to_string(expert) + ".");
}

/// GGUF's number for the file's type as a whole (llama.cpp's `llama_ftype`), for programs that print it.
std::uint32_t FileType(const Encoding& encoding) {
  switch (encoding.type) {
    case DType::kF16: return 1;
    case DType::kQ4_0: return 2;
    case DType::kQ4_1: return 3;
    case DType::kQ8_0: return 7;
    case DType::kQ5_0: return 8;
    case DType::kQ5_1: return 9;
    case DType::kQ2_K: return 10;
    case DType::kQ3_K: return 12;
    case DType::kQ4_K: return 14;
    case DType::kQ5_K: return 16;
    case DType::kQ6_K: return 18;
    case DType::kBF16: return 32;
    case DType::kMXFP4: return 38;
    default: return 0;
  }
}

/// Makes one tensor's bytes and takes down what came of it.
class TensorEncoder {
 public:
  TensorEncoder(const TensorChoice& choice, const QuantizeOptions& options, TensorReport& report)
      : choice_(choice), options_(options), report_(report), cols_(choice.source->dims[0]) {}

  Status Run(const GgufWriter::Sink& sink) {
    if (choice_.copy) return Copy(sink);
    rows_of_matrix_ = choice_.dims.size() > 1 ? choice_.dims[1] : 1;
    LoadImportance();
    const std::int64_t chunk = std::max<std::int64_t>(1, kChunkElements / cols_);
    const std::int64_t batch = chunk * kChunksPerThread * options_.threads;
    const auto row_bytes = static_cast<std::size_t>(BytesOf(choice_.encoding.type, cols_));
    std::vector<std::byte> made(static_cast<std::size_t>(std::min(batch, choice_.rows)) * row_bytes);
    for (std::int64_t row = 0; row < choice_.rows; row += batch) {
      const std::int64_t count = std::min(batch, choice_.rows - row);
      ForEach(options_.threads, (count + chunk - 1) / chunk, [&](std::int64_t i) {
        const std::int64_t first = i * chunk;
        EncodeRows(row + first, std::min(chunk, count - first),
                   made.data() + static_cast<std::size_t>(first) * row_bytes);
      });
      if (bad_row_ >= 0) {
        return InvalidArgument("tensor " + Quoted(choice_.name) + " has a value in row " +
                               std::to_string(bad_row_.load()) + " that is not finite");
      }
      if (choice_.source->release) choice_.source->release(choice_.first_row + row, count);
      QUORUM_TRY(sink(std::span(made).first(static_cast<std::size_t>(count) * row_bytes)));
    }
    return {};
  }

 private:
  Status Copy(const GgufWriter::Sink& sink) {
    const std::span<const std::byte> all = choice_.source->raw;
    const std::size_t row_bytes =
        all.size() / static_cast<std::size_t>(std::max<std::int64_t>(choice_.source->rows(), 1));
    const auto bytes = all.subspan(static_cast<std::size_t>(choice_.first_row) * row_bytes,
                                   static_cast<std::size_t>(choice_.rows) * row_bytes);
    for (std::size_t at = 0; at < bytes.size(); at += kCopyBytes) {
      QUORUM_TRY(sink(bytes.subspan(at, std::min(kCopyBytes, bytes.size() - at))));
    }
    if (choice_.source->release) choice_.source->release(choice_.first_row, choice_.rows);
    return {};
  }

  /// Mean squares of the columns for each matrix of the stack.
  void LoadImportance() {
    if (options_.importance == nullptr) return;
    const std::int64_t matrices = choice_.rows / rows_of_matrix_;
    importance_.resize(static_cast<std::size_t>(matrices));
    for (std::int64_t i = 0; i < matrices; ++i) {
      importance_[static_cast<std::size_t>(i)] =
          options_.importance->Means(choice_.source->name, choice_.expert < 0 ? i : choice_.expert, cols_);
    }
  }

  /// Rows of the source: its own bytes where these are floats, else in `room`.
  const float* Read(std::int64_t first, std::int64_t count, std::vector<float>& room) const {
    const SourceTensor& source = *choice_.source;
    if (source.type == DType::kF32 && !source.raw.empty()) {
      const std::byte* bytes = source.raw.data() + first * cols_ * static_cast<std::int64_t>(sizeof(float));
      if (reinterpret_cast<std::uintptr_t>(bytes) % alignof(float) == 0) return reinterpret_cast<const float*>(bytes);
    }
    room.resize(static_cast<std::size_t>(count * cols_));
    source.read(first, count, room.data());
    return room.data();
  }

  void EncodeRows(std::int64_t first, std::int64_t count, std::byte* out) {
    // Some rows at a time, for sources that read across the file's lines.
    const std::int64_t at_once = std::clamp<std::int64_t>(kReadElements / cols_, 1, count);
    std::vector<float> room;
    const std::int64_t row_bytes = BytesOf(choice_.encoding.type, cols_);
    TensorReport sums;
    std::vector<float> again(options_.measure ? static_cast<std::size_t>(cols_) : 0);
    for (std::int64_t i = 0; i < count; i += at_once) {
      const std::int64_t n = std::min(at_once, count - i);
      const float* rows = Read(choice_.first_row + first + i, n, room);
      if (!AllFinite(rows, n * cols_)) {
        std::int64_t bad = 0;
        while (AllFinite(rows + bad * cols_, cols_)) ++bad;
        bad_row_ = first + i + bad;
        return;
      }
      if (importance_.empty() && !options_.measure) {  // blocks end with rows: all of them are like one
        Encode(choice_.encoding, rows, nullptr, out, n * cols_);
        out += n * row_bytes;
        continue;
      }
      for (std::int64_t row = i; row < i + n; ++row, rows += cols_, out += row_bytes) {
        const float* importance = nullptr;
        if (!importance_.empty()) {
          const std::vector<float>& means = importance_[static_cast<std::size_t>((first + row) / rows_of_matrix_)];
          if (!means.empty()) importance = means.data();
        }
        Encode(choice_.encoding, rows, importance, out, cols_);
        if (options_.measure) Measure(out, rows, importance, again, sums);
      }
    }
    if (!options_.measure) return;
    const std::lock_guard lock(mutex_);
    report_.squares += sums.squares;
    report_.error_squares += sums.error_squares;
    report_.weighted_squares += sums.weighted_squares;
    report_.weighted_error += sums.weighted_error;
  }

  void Measure(const std::byte* made, const float* row, const float* importance, std::vector<float>& again,
               TensorReport& sums) const {
    Dequantize(choice_.encoding.type, made, again.data(), cols_);
    for (std::size_t c = 0; c < again.size(); ++c) {
      const double x = static_cast<double>(row[c]);
      const double error = static_cast<double>(row[c] - again[c]);
      sums.squares += x * x;
      sums.error_squares += error * error;
      if (importance == nullptr) continue;
      sums.weighted_squares += static_cast<double>(importance[c]) * x * x;
      sums.weighted_error += static_cast<double>(importance[c]) * error * error;
    }
  }

  const TensorChoice& choice_;
  const QuantizeOptions& options_;
  TensorReport& report_;
  std::int64_t cols_;
  std::int64_t rows_of_matrix_ = 1;
  std::vector<std::vector<float>> importance_;  // a matrix each; empty: nothing known
  std::atomic<std::int64_t> bad_row_{-1};
  std::mutex mutex_;
};

/// Matrices that are quantized coarsely but of which the importance matrix says nothing.
std::vector<std::string> WithoutImportance(const std::vector<TensorChoice>& choices,
                                           const ImportanceMatrix* importance) {
  std::vector<std::string> names;
  if (importance == nullptr) return names;
  for (const TensorChoice& choice : choices) {
    if (choice.copy || Info(choice.encoding.type).block == 1 || choice.encoding.type == DType::kQ8_0) continue;
    if (choice.source->name == "token_embd.weight") continue;  // no product: rows are looked up
    const std::int64_t matrices = choice.dims.size() > 2 ? choice.dims[2] : 1;
    for (std::int64_t i = 0; i < matrices; ++i) {
      const std::int64_t at = choice.expert < 0 ? i : choice.expert;
      if (!importance->Means(choice.source->name, at, choice.dims[0]).empty()) continue;
      const bool stack = choice.dims.size() > 2 || choice.expert >= 0;
      names.push_back(choice.source->name + (stack ? "[" + std::to_string(at) + "]" : ""));
    }
  }
  return names;
}

}  // namespace

std::int64_t SourceTensor::rows() const {
  std::int64_t n = 1;
  for (std::size_t i = 1; i < dims.size(); ++i) n *= dims[i];
  return n;
}

std::vector<SourceTensor> SourcesOf(const GgufFile& file) {
  std::vector<SourceTensor> sources;
  for (const GgufTensor& tensor : file.tensors()) {
    SourceTensor source{
        .name = tensor.name, .type = tensor.type, .dims = tensor.dims, .read = {}, .raw = tensor.data, .release = {}};
    if (source.dims.empty()) source.dims.push_back(1);
    const std::int64_t cols = source.dims[0];
    float unused = 0;
    if (Dequantize(tensor.type, nullptr, &unused, 0)) {
      const std::int64_t row_bytes = BytesOf(tensor.type, cols);
      source.read = [data = tensor.data, type = tensor.type, cols, row_bytes](std::int64_t first, std::int64_t count,
                                                                              float* dst) {
        Dequantize(type, data.data() + first * row_bytes, dst, count * cols);
      };
      source.release = [&file, data = tensor.data, row_bytes](std::int64_t first, std::int64_t count) {
        file.Release(
            data.subspan(static_cast<std::size_t>(first * row_bytes), static_cast<std::size_t>(count * row_bytes)));
      };
    }
    sources.push_back(std::move(source));
  }
  return sources;
}

void CopyMetadata(const GgufFile& file, GgufWriter& writer) {
  for (const GgufEntry& entry : file.entries()) {
    // The new file is one file with the usual alignment, whatever the source's parts and alignment are.
    if (entry.key.starts_with("split.") || entry.key == "general.alignment") continue;
    writer.SetRaw(entry.key, entry.type, entry.value);
  }
}

Result<std::vector<TensorChoice>> ChooseTypes(const std::vector<SourceTensor>& sources,
                                              const QuantizeOptions& options) {
  bool tied = true;
  for (const SourceTensor& source : sources) tied = tied && source.name != "output.weight";
  for (const PlanRule& rule : options.plan.rules) {
    if (std::ranges::none_of(sources, [&](const SourceTensor& source) { return rule.Covers(source.name); })) {
      return InvalidArgument("plan, line " + std::to_string(rule.line) + ": no tensor has a name like " +
                             Quoted(rule.pattern));
    }
  }
  // A layer whose experts differ somewhere keeps all its experts' tensors apart, as readers take one form or the other.
  std::map<std::string, bool, std::less<>> apart;
  for (const SourceTensor& source : sources) {
    const std::string layer = ExpertLayer(source.name);
    if (layer.empty() || source.dims.size() < 2 || !options.plan.TellsExpertsApart(source.name)) continue;
    const std::int64_t experts = source.dims.back();
    const auto first = options.plan.Choose(source.name, source.dims.size(), tied, 0);
    for (std::int64_t e = 1; e < experts; ++e) {
      if (options.plan.Choose(source.name, source.dims.size(), tied, e) != first) apart[layer] = true;
    }
  }

  std::vector<TensorChoice> choices;
  const auto add = [&](const SourceTensor& source, std::string name, std::int64_t first, std::int64_t rows,
                       std::int64_t expert, std::vector<std::int64_t> dims) -> Status {
    TensorChoice choice{
        &source, std::move(name), first, rows, expert, std::move(dims), {source.type, false}, {source.type, false},
        true};
    auto wanted = options.plan.Choose(source.name, source.dims.size(), tied, expert);
    // Vectors and routers are computed in floats, which other readers ask to be whole ones.
    if (!wanted && source.raw.empty()) wanted = Encoding{DType::kF32, false};
    if (wanted) {
      const Encoding fitting = FitToRow(*wanted, source.dims[0]);
      choice.wanted = *wanted;
      if (fitting.type != source.type || fitting.int8_exact || source.raw.empty()) {
        if (!source.read) {
          return Unsupported("tensor " + Quoted(source.name) + " of type " + std::string(Info(source.type).name) +
                             " holds no weights to quantize");
        }
        if (Requantizes(source.type, fitting.type) && !options.requantize) {
          const Encoding same{source.type, false};
          const bool can_stay = CanEncode(source.type) && (!source.raw.empty() || source.type == DType::kMXFP4);
          return Unsupported("tensor " + Quoted(source.name) + " is quantized already, as " +
                             std::string(Info(source.type).name) + ": quantizing it once more as " + NameOf(fitting) +
                             " loses more than from the original weights; --requantize does it nevertheless" +
                             (can_stay ? ", a plan's line \"" + source.name + " " + NameOf(same) + "\" keeps it" : ""));
        }
        choice.encoding = fitting;
        choice.copy = false;
      }
    }
    choices.push_back(std::move(choice));
    return {};
  };
  for (const SourceTensor& source : sources) {
    const std::string layer = ExpertLayer(source.name);
    if (layer.empty() || !apart.contains(layer)) {
      // A rule for some experts that happen to be all of them holds for the stack.
      const std::int64_t expert = !layer.empty() && options.plan.TellsExpertsApart(source.name) ? 0 : -1;
      QUORUM_TRY(add(source, source.name, 0, source.rows(), expert, source.dims));
      choices.back().expert = -1;
      continue;
    }
    const std::int64_t experts = source.dims.back();
    const std::int64_t rows = source.rows() / experts;
    std::vector<std::int64_t> dims(source.dims.begin(), source.dims.end() - 1);
    for (std::int64_t e = 0; e < experts; ++e) {
      QUORUM_TRY(add(source, NameOfExpert(source.name, e), e * rows, rows, e, dims));
    }
  }
  return choices;
}

namespace {

/// Everything of the file but the tensors' data.
void Describe(GgufWriter& writer, const std::vector<TensorChoice>& choices, const QuantizeOptions& options,
              QuantizeReport& report) {
  report.tensors.resize(choices.size());
  report.no_importance = WithoutImportance(choices, options.importance);
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const TensorChoice& choice = choices[i];
    TensorReport& made = report.tensors[i];
    made.name = choice.name;
    made.encoding = choice.encoding;
    made.wanted = choice.wanted;
    made.columns = choice.source->dims[0];
    made.elements = choice.rows * choice.source->dims[0];
    made.bytes = static_cast<std::uint64_t>(BytesOf(choice.encoding.type, made.elements));
    made.copied = choice.copy;
    made.requantized = !choice.copy && Requantizes(choice.source->type, choice.encoding.type);
    report.elements += made.elements;
    writer.AddTensor(choice.name, choice.encoding.type, choice.dims,
                     [&choice, &options, &made](const GgufWriter::Sink& sink) {
                       return TensorEncoder(choice, options, made).Run(sink);
                     });
  }
  writer.SetUint32("general.quantization_version", 2);
  writer.SetUint32("general.file_type", FileType(options.plan.base));
  writer.SetString("quorum.quantize.type", NameOf(options.plan.base));
  if (!options.plan.rules.empty()) writer.SetString("quorum.quantize.plan", PlanText(options.plan.rules));
  if (options.importance == nullptr) return;
  // Also so that an interrupted run is not gone on with by another matrix.
  Sha256 hash;
  const std::string content = options.importance->ToDat();
  hash.Add(std::as_bytes(std::span(content)));
  writer.SetString("quorum.quantize.imatrix_sha256", hash.Finish());
  writer.SetUint32("quantize.imatrix.entries_count", static_cast<std::uint32_t>(options.importance->entries.size()));
  writer.SetUint32("quantize.imatrix.chunks_count", static_cast<std::uint32_t>(options.importance->chunks));
  if (!options.importance->datasets.empty()) {
    writer.SetString("quantize.imatrix.dataset", options.importance->datasets.front());
  }
}

}  // namespace

Result<PlannedSize> SizeOf(GgufWriter writer, const std::vector<SourceTensor>& sources,
                           const QuantizeOptions& options) {
  QUORUM_ASSIGN(const std::vector<TensorChoice> choices, ChooseTypes(sources, options));
  QuantizeReport report;
  Describe(writer, choices, options, report);
  writer.SetString(kChecksumKey, std::string(64, '0'));
  PlannedSize size{0, report.elements, writer.FileBytes()};
  for (const TensorReport& tensor : report.tensors) size.tensor_bytes += tensor.bytes;
  return size;
}

Result<QuantizeReport> QuantizeTensors(GgufWriter& writer, const std::vector<SourceTensor>& sources,
                                       const QuantizeOptions& options, const std::string& dst,
                                       const GgufWriter::Progress& progress) {
  QUORUM_ASSIGN(const std::vector<TensorChoice> choices, ChooseTypes(sources, options));
  QuantizeReport report;
  Describe(writer, choices, options, report);
  QUORUM_ASSIGN(report.sha256, writer.WriteResumable(dst, options.replace, kChecksumKey, progress, options.note));
  report.file_bytes = writer.FileBytes();
  report.data_bytes = writer.DataBytes();
  if (options.verify) QUORUM_TRY(VerifyWritten(dst, writer.DataBytes(), report.sha256));
  return report;
}

}  // namespace quorum::quant
