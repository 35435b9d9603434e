#include "quant/expert_surgery.h"

#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <utility>

#include "engine/base/check.h"
#include "quant/encode.h"
#include "quant/expert_places.h"
#include "quant/gguf_parser.h"
#include "quant/workers.h"

namespace quorum::quant {
namespace {

Error Fault(const GgufFile& file, const std::string& what) { return InvalidArgument(file.path() + ": " + what); }

bool Verbatim(const NewExpert& expert) { return expert.parts.size() == 1; }

/// The type in which averages are kept.
DType AverageType(const GgufTensor& tensor) {
  if (CanEncode(tensor.type)) return tensor.type;
  return tensor.dim(0) % Info(DType::kQ8_0).block == 0 ? DType::kQ8_0 : DType::kF16;
}

/// And how: as the tensor's own weights, where the type is theirs. Reads them: while writing, not before.
Encoding AverageEncoding(const GgufTensor& tensor) {
  const DType type = AverageType(tensor);
  if (type != tensor.type) return {type, false};
  return EncodingOf(type, tensor.data.data(), tensor.elements());
}

/// Blocks of an expert and what they count for.
struct Part {
  DType type = DType::kF32;
  std::span<const std::byte> data;
  double weight = 1;
};

constexpr std::int64_t kChunk = std::int64_t{1} << 16;  // a multiple of every block

/// The weighted mean of elements [at, at + n) of the parts, encoded.
Status EncodeMean(const std::vector<Part>& parts, const Encoding& to, std::int64_t at, std::int64_t n,
                  std::byte* blocks) {
  std::vector<float> values(static_cast<std::size_t>(n));
  std::vector<double> sums(values.size());
  double total = 0;
  for (const Part& part : parts) total += part.weight;
  for (const Part& part : parts) {
    if (!Dequantize(part.type, part.data.data() + BytesOf(part.type, at), values.data(), n)) {
      return Unsupported("a tensor of type " + std::string(Info(part.type).name) + " cannot be averaged");
    }
    for (std::size_t i = 0; i < values.size(); ++i) sums[i] += part.weight / total * static_cast<double>(values[i]);
  }
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(sums[i]);
  QUORUM_CHECK(Encode(to, values.data(), nullptr, blocks, n));
  return {};
}

/// Writes the weighted mean of some tensors' parts, chunks of it side by side.
Status WriteMean(const std::vector<Part>& parts, const Encoding& to, std::int64_t elements, int threads,
                 const GgufWriter::Sink& sink) {
  const std::int64_t batch = kChunk * std::max(threads, 1);
  std::vector<std::byte> blocks;
  for (std::int64_t at = 0; at < elements; at += batch) {
    const std::int64_t n = std::min(batch, elements - at);
    const std::int64_t chunks = (n + kChunk - 1) / kChunk;
    blocks.resize(static_cast<std::size_t>(BytesOf(to.type, n)));
    std::vector<Status> done(static_cast<std::size_t>(chunks));
    ForEach(threads, chunks, [&](std::int64_t i) {
      done[static_cast<std::size_t>(i)] = EncodeMean(parts, to, at + i * kChunk, std::min(kChunk, n - i * kChunk),
                                                     blocks.data() + BytesOf(to.type, i * kChunk));
    });
    for (const Status& status : done) QUORUM_TRY(status);
    QUORUM_TRY(sink(blocks));
  }
  return {};
}

/// Builds the new file's list of tensors; borrows from its arguments.
class Rewriter {
 public:
  Rewriter(const GgufFile& src, std::map<std::int32_t, std::int32_t> experts, const std::vector<LayerSurgery>& plan,
           int threads)
      : src_(src), experts_(std::move(experts)), threads_(threads) {
    for (const LayerSurgery& layer : plan) plan_[layer.layer] = &layer;
    for (const GgufTensor& tensor : src.tensors()) {
      const Place place = PlaceOf(tensor.name);
      if (place.role == Role::kSingle)
        singles_[{place.layer, place.before + "#" + place.after}][place.expert] = &tensor;
    }
  }

  Status AddTensors(GgufWriter& writer, SurgerySummary& summary) {
    for (const GgufTensor& tensor : src_.tensors()) {
      summary.old_parameters += tensor.elements();
      const Place place = PlaceOf(tensor.name);
      if (place.role == Role::kNone || !plan_.contains(place.layer)) {
        writer.AddTensor(tensor.name, tensor.type, tensor.dims, tensor.data);
        summary.parameters += tensor.elements();
      } else if (place.role == Role::kStacked) {
        QUORUM_TRY(AddStacked(writer, tensor, place.layer, summary));
      } else if (place.expert == 0) {
        QUORUM_TRY(AddSingles(writer, place, summary));
      }
    }
    return {};
  }

 private:
  Status AddStacked(GgufWriter& writer, const GgufTensor& tensor, std::int32_t layer, SurgerySummary& summary) {
    const LayerSurgery& surgery = *plan_.at(layer);
    const std::int32_t old = experts_.at(layer);
    const std::int64_t each = tensor.elements() / old;
    if (tensor.dims.empty() || tensor.dims.back() != old || each % Info(tensor.type).block != 0) {
      return Fault(src_, "tensor " + Quoted(tensor.name) + " does not count " + std::to_string(old) +
                             " experts on its last axis");
    }
    const bool all_verbatim = std::all_of(surgery.experts.begin(), surgery.experts.end(), Verbatim);
    const DType type = all_verbatim ? tensor.type : AverageType(tensor);
    if (type != tensor.type) summary.retyped.push_back(tensor.name);
    std::vector<std::int64_t> dims = tensor.dims;
    dims.back() = std::ssize(surgery.experts);
    writer.AddTensor(tensor.name, type, dims,
                     [this, &tensor, &surgery, old, each, type, all_verbatim](const GgufWriter::Sink& sink) -> Status {
                       const Encoding to = all_verbatim ? Encoding{type, false} : AverageEncoding(tensor);
                       for (const NewExpert& expert : surgery.experts) {
                         if (Verbatim(expert) && type == tensor.type) {
                           QUORUM_TRY(sink(ExpertSlice(tensor, expert.parts.front().expert, old)));
                           continue;
                         }
                         std::vector<Part> parts;
                         for (const NewExpert::Part& part : expert.parts)
                           parts.push_back({tensor.type, ExpertSlice(tensor, part.expert, old), part.weight});
                         QUORUM_TRY(WriteMean(parts, to, each, threads_, sink));
                       }
                       src_.Release(tensor);
                       return {};
                     });
    summary.parameters += each * dims.back();
    return {};
  }

  /// All experts' tensors of one kind, numbered anew. Each may have a type of its own.
  Status AddSingles(GgufWriter& writer, const Place& place, SurgerySummary& summary) {
    const auto& tensors = singles_.at({place.layer, place.before + "#" + place.after});
    const LayerSurgery& surgery = *plan_.at(place.layer);
    for (std::size_t i = 0; i < surgery.experts.size(); ++i) {
      const NewExpert& expert = surgery.experts[i];
      std::vector<const GgufTensor*> parts;
      for (const NewExpert::Part& part : expert.parts) {
        const auto found = tensors.find(part.expert);
        if (found == tensors.end()) {
          return Fault(src_,
                       "tensor " + Quoted(place.before + std::to_string(part.expert) + place.after) + " is missing");
        }
        if (!parts.empty() && (found->second->dims != parts.front()->dims)) {
          return Fault(src_,
                       "experts of layer " + std::to_string(place.layer) + " differ in shape and cannot be averaged");
        }
        parts.push_back(found->second);
      }
      const GgufTensor& first = *parts.front();
      const DType type = Verbatim(expert) ? first.type : AverageType(first);
      const std::string name = place.before + std::to_string(i) + place.after;
      if (type != first.type) summary.retyped.push_back(name);
      summary.parameters += first.elements();
      if (Verbatim(expert)) {
        writer.AddTensor(name, type, first.dims, first.data);
        continue;
      }
      writer.AddTensor(name, type, first.dims, [this, parts, &expert](const GgufWriter::Sink& sink) -> Status {
        std::vector<Part> blocks;  // types may differ: each is read in its own
        for (std::size_t p = 0; p < parts.size(); ++p)
          blocks.push_back({parts[p]->type, parts[p]->data, expert.parts[p].weight});
        return WriteMean(blocks, AverageEncoding(*parts.front()), parts.front()->elements(), threads_, sink);
      });
    }
    return {};
  }

  const GgufFile& src_;
  std::map<std::int32_t, std::int32_t> experts_;      // of each layer that has some
  int threads_;                                       // to average with
  std::map<std::int32_t, const LayerSurgery*> plan_;  // by layer
  std::map<std::pair<std::int32_t, std::string>, std::map<std::int32_t, const GgufTensor*>> singles_;
};

/// Groups of experts that are chosen from must stay of one size.
Status CheckGroups(const GgufFile& src, std::int64_t groups, std::int32_t old, const std::vector<LayerSurgery>& plan) {
  for (const LayerSurgery& layer : plan) {
    std::vector<std::int64_t> left(static_cast<std::size_t>(groups));
    std::int64_t last = -1;
    for (const NewExpert& expert : layer.experts) {
      const std::int64_t group = expert.parts.front().expert * groups / old;
      for (const NewExpert::Part& part : expert.parts) {
        if (part.expert * groups / old != group || group < last) {
          return Unsupported(src.path() + ": layer " + std::to_string(layer.layer) +
                             ": experts of different groups cannot become one");
        }
      }
      last = group;
      ++left[static_cast<std::size_t>(group)];
    }
    if (std::any_of(left.begin(), left.end(), [&](std::int64_t n) { return n != left.front(); })) {
      return Unsupported(src.path() + ": tokens choose from " + std::to_string(groups) +
                         " groups of experts of one size, and layer " + std::to_string(layer.layer) +
                         " would keep unequal numbers of them");
    }
  }
  return {};
}

Status CheckPlan(const GgufFile& src, const std::vector<ExpertLayer>& layers, const std::vector<LayerSurgery>& plan) {
  if (plan.size() != layers.size()) return Fault(src, "the plan does not name every layer that has experts");
  for (std::size_t i = 0; i < plan.size(); ++i) {
    const LayerSurgery& layer = plan[i];
    const std::string where = "layer " + std::to_string(layer.layer);
    if (layer.layer != layers[i].layer) return Fault(src, "the plan names " + where + " out of turn");
    if (layer.experts.empty()) return Fault(src, where + " would keep no expert");
    if (layer.experts.size() != plan.front().experts.size()) {
      return Fault(src, where + " would keep " + std::to_string(layer.experts.size()) + " experts and layer " +
                            std::to_string(plan.front().layer) + " " + std::to_string(plan.front().experts.size()) +
                            ": GGUF has one number for all layers");
    }
    std::vector<bool> used(static_cast<std::size_t>(layers[i].experts));
    for (const NewExpert& expert : layer.experts) {
      if (expert.parts.empty()) return Fault(src, where + ": an expert is made of nothing");
      for (const NewExpert::Part& part : expert.parts) {
        if (part.expert < 0 || part.expert >= layers[i].experts) {
          return Fault(src, where + " has no expert " + std::to_string(part.expert) + ", only 0 to " +
                                std::to_string(layers[i].experts - 1));
        }
        if (used[static_cast<std::size_t>(part.expert)]) {
          return Fault(src, where + ": expert " + std::to_string(part.expert) + " is used twice");
        }
        used[static_cast<std::size_t>(part.expert)] = true;
        if (!(part.weight > 0) || !std::isfinite(part.weight)) return Fault(src, where + ": a weight is not positive");
      }
    }
  }
  return {};
}

}  // namespace

Result<std::vector<ExpertLayer>> ExpertLayers(const GgufFile& file) {
  QUORUM_ASSIGN(const auto architecture, file.GetString("general.architecture"));
  if (!architecture) return Fault(file, "key 'general.architecture' is missing");
  QUORUM_ASSIGN(const auto experts, file.GetInt(*architecture + ".expert_count"));
  constexpr std::int64_t kMost = 1 << 20;
  if (experts.value_or(0) < 1 || *experts > kMost) {
    return Fault(file, "a dense model: it has no experts (quorum upcycle makes some)");
  }
  std::map<std::int32_t, bool> routed;
  for (const GgufTensor& tensor : file.tensors()) {
    const Place place = PlaceOf(tensor.name);
    if (place.role != Role::kNone) routed[place.layer] = true;
  }
  QUORUM_ASSIGN(const auto groups, file.GetInt(*architecture + ".expert_group_count"));
  const std::int64_t count = std::max<std::int64_t>(groups.value_or(1), 1);
  if (*experts % count != 0) return Fault(file, "the number of experts is no multiple of their groups");
  std::vector<ExpertLayer> layers;
  for (const auto& [layer, _] : routed) {
    layers.push_back({layer, static_cast<std::int32_t>(*experts), static_cast<std::int32_t>(count)});
  }
  if (layers.empty()) return Fault(file, "tells of experts but has no tensors of any");
  return layers;
}

Status CheckDestination(const GgufFile& src, const std::string& dst, bool replace) {
  struct stat to{};
  if (::stat(dst.c_str(), &to) != 0) return {};
  for (const std::string& path : src.paths()) {
    struct stat from{};
    if (::stat(path.c_str(), &from) == 0 && from.st_dev == to.st_dev && from.st_ino == to.st_ino) {
      return InvalidArgument(dst + " is the source model itself: give the new model another name");
    }
  }
  if (!replace && S_ISREG(to.st_mode)) return InvalidArgument(dst + " exists already; --force writes over it");
  return {};
}

Result<SurgerySummary> RewriteExperts(const GgufFile& src, const std::string& dst,
                                      const std::vector<LayerSurgery>& plan, const SurgeryOptions& options,
                                      const GgufWriter::Progress& progress) {
  QUORUM_ASSIGN(const std::vector<ExpertLayer> layers, ExpertLayers(src));
  QUORUM_TRY(CheckDestination(src, dst, options.replace));
  QUORUM_TRY(CheckPlan(src, layers, plan));
  QUORUM_ASSIGN(const auto architecture, src.GetString("general.architecture"));
  const auto key = [&](const char* name) { return *architecture + "." + name; };
  SurgerySummary summary;
  summary.layers = static_cast<std::int32_t>(layers.size());
  summary.old_experts = layers.front().experts;
  summary.experts = static_cast<std::int32_t>(plan.front().experts.size());
  summary.old_bytes = src.file_bytes();
  if (layers.front().groups > 1) QUORUM_TRY(CheckGroups(src, layers.front().groups, summary.old_experts, plan));
  QUORUM_ASSIGN(const auto used, src.GetInt(key("expert_used_count")));
  if (!used || *used < 1 || *used > summary.old_experts)
    return Fault(src, "key '" + key("expert_used_count") + "' is missing or out of range");
  summary.old_top_k = static_cast<std::int32_t>(*used);
  summary.top_k = std::min(summary.old_top_k, summary.experts);

  std::map<std::int32_t, std::int32_t> experts;
  for (const ExpertLayer& layer : layers) experts[layer.layer] = layer.experts;
  GgufWriter writer;
  for (const GgufEntry& entry : src.entries()) {
    // The new file is one file with the usual alignment, whatever the source's parts and alignment are.
    if (entry.key.starts_with("split.") || entry.key == "general.alignment") continue;
    writer.SetRaw(entry.key, entry.type, entry.value);
  }
  writer.SetUint32(key("expert_count"), static_cast<std::uint32_t>(summary.experts));
  writer.SetUint32(key("expert_used_count"), static_cast<std::uint32_t>(summary.top_k));
  writer.Erase("general.size_label");
  Rewriter rewriter(src, std::move(experts), plan, options.threads);
  QUORUM_TRY(rewriter.AddTensors(writer, summary));
  if (src.metadata().contains("general.parameter_count")) {
    writer.SetUint64("general.parameter_count", static_cast<std::uint64_t>(summary.parameters));
  }
  QUORUM_ASSIGN(const auto name, src.GetString("general.name"));
  if (name) writer.SetString("general.name", *name + " " + std::to_string(summary.experts) + " experts");
  writer.SetString("quorum.experts.method", options.method);
  writer.SetUint32("quorum.experts.before", static_cast<std::uint32_t>(summary.old_experts));
  summary.bytes = writer.FileBytes();
  QUORUM_TRY(writer.Write(dst, options.replace, progress));
  return summary;
}

}  // namespace quorum::quant
