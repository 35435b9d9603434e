#include "cli/pulled_model.h"

#include <string>

#include "cli/hub/model_cache.h"
#include "cli/hub/model_reference.h"

namespace quorum::cli {
namespace {

Result<std::string> PathOf(const std::string& reference) {
  QUORUM_ASSIGN(const hub::ModelReference model, hub::ParseReference(reference));
  QUORUM_ASSIGN(const std::filesystem::path cache, hub::CacheFolder());
  QUORUM_ASSIGN(const std::filesystem::path path, hub::FindPulled(cache, model));
  return path.string();
}

}  // namespace

CLI::Validator PulledModel() {
  return CLI::Validator(
      [](std::string& value) {
        if (!hub::IsReference(value)) return std::string();
        auto path = PathOf(value);
        if (!path.ok()) return path.error().message;
        value = *path;
        return std::string();
      },
      "", "pulled model");
}

}  // namespace quorum::cli
