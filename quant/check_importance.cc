// Whether an importance matrix is of the model that is to be quantized.
#include <algorithm>
#include <map>
#include <string_view>

#include "quant/expert_places.h"
#include "quant/gguf_parser.h"
#include "quant/quantize_model.h"

namespace quorum::quant {

Result<std::vector<std::string>> CheckImportance(const ImportanceMatrix& importance,
                                                 const std::vector<SourceTensor>& sources) {
  std::map<std::string_view, const SourceTensor*> by_name;
  std::int32_t layers = 0;
  for (const SourceTensor& source : sources) {
    by_name[source.name] = &source;
    if (const auto layer = SplitLayer(source.name)) layers = std::max(layers, layer->first + 1);
  }
  std::vector<std::string> unknown;
  for (const auto& [name, entry] : importance.entries) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) {
      const auto layer = SplitLayer(name);
      if (layer && layer->first >= layers) {
        return InvalidArgument("the importance matrix is of another model: it has " + Quoted(name) + ", the model " +
                               std::to_string(layers) + " layers");
      }
      unknown.push_back(name);
      continue;
    }
    const std::int64_t columns = found->second->dims[0];
    const std::int64_t matrices = found->second->dims.size() > 2 ? found->second->dims[2] : 1;
    // The older format has one count for the columns of all experts.
    const bool counted = entry.matrices() == matrices || entry.matrices() == 1;
    const std::int64_t sums = std::ssize(entry.sums);
    if ((counted && sums == columns * matrices) || (entry.matrices() == 1 && sums == columns)) continue;
    return InvalidArgument("the importance matrix is of another model: its entry " + Quoted(name) + " has " +
                           std::to_string(entry.sums.size()) + " columns in all, the model's tensor " +
                           std::to_string(columns * matrices));
  }
  if (unknown.size() == importance.entries.size()) {
    return InvalidArgument("the importance matrix is of another model: none of its " + std::to_string(unknown.size()) +
                           " entries, such as " + Quoted(unknown.front()) + ", names a tensor");
  }
  return unknown;
}

}  // namespace quorum::quant
