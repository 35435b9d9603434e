// Fetches the files of a model into the cache: resumed where an earlier attempt ended, checked, and put in place whole.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "cli/hub/hub_client.h"
#include "cli/hub/model_reference.h"
#include "engine/base/result.h"

namespace quorum::hub {

struct PullOptions {
  HubOptions hub;
  std::filesystem::path cache;
  int attempts = 6;         // in a row without a byte
  double first_wait = 1.0;  // seconds before the second attempt, doubled each time
  /// Called as bytes come: of the file `name`, of `total` files' bytes in all.
  std::function<void(const std::string& name, std::uint64_t done, std::uint64_t total)> progress;
  std::function<void(const std::string& line)> say;  // what a person should know
};

struct PulledFile {
  std::string name;
  std::uint64_t size = 0;
  std::string checksum;  // as the hub says it; empty: it has none that is known
  bool fetched = false;  // else it was here, unchanged
};

struct PulledModel {
  std::filesystem::path path;  // what is loaded
  std::vector<PulledFile> files;
};

/// Errors: those of HubClient and ChooseFiles; kDataLoss: the disk is full or cannot be written to, or what came has
/// another checksum than the hub says. What has come is kept for the next attempt, unless it is wrong.
Result<PulledModel> PullModel(const ModelReference& model, const PullOptions& options);

}  // namespace quorum::hub
