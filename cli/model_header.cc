#include "cli/model_header.h"

#include <memory>
#include <utility>

#include "engine/model_files.h"

namespace quorum::cli {

Result<engine::ModelSpec> ReadSpec(const std::string& path) {
  QUORUM_ASSIGN(const std::unique_ptr<engine::ModelFiles> files, engine::ModelFiles::Open(path));
  return files->spec();
}

engine::ExpertShape ExpertShapeOf(const engine::ModelSpec& spec) {
  engine::ExpertShape shape{spec.router.top_k, {}};
  for (const auto* stack : {&spec.layers, &spec.encoder}) {
    for (const engine::LayerSpec& layer : *stack) shape.experts.push_back(layer.experts);
  }
  return shape;
}

Error InModel(const std::string& name, const Error& error) {
  Error named = error;
  if (!named.message.starts_with(name)) named.message = name + ": " + named.message;
  return named;
}

Status CheckExperts(const std::string& name, const engine::ExpertRequest& request, const engine::ExpertShape& shape) {
  const auto resolved = engine::ResolveExperts(request, shape);
  if (resolved.ok()) return {};
  // Its words are those of requests.
  Error error = resolved.error();
  for (const auto& [field, flag] : {std::pair<const char*, const char*>{"moe.top_k", "--moe-top-k"},
                                    {"moe.min_weight", "--moe-min-weight"},
                                    {"moe.mask", "--mask"}}) {
    const std::string_view word(field);
    for (std::size_t at = 0; (at = error.message.find(word, at)) != std::string::npos;) {
      error.message.replace(at, word.size(), flag);
    }
  }
  if (error.param == "moe.mask") {
    error.message += " Layers are 0 to " + std::to_string(shape.experts.size() - 1) + ", their experts 0 to " +
                     std::to_string(shape.most() - 1) + ".";
  }
  return InModel(name, error);
}

}  // namespace quorum::cli
