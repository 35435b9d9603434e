// Speaks to a Hugging Face hub (https://huggingface.co/docs/hub/api): what a repository holds, and its files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cli/hub/model_reference.h"
#include "engine/base/result.h"

namespace quorum::hub {

struct HubOptions {
  std::string endpoint = "https://huggingface.co";
  std::string token;       // empty: none is sent
  int stall_seconds = 60;  // without a byte for so long, a connection is given up
};

struct RemoteFile {
  std::string url;
  std::uint64_t size = 0;
  std::string etag;  // without quotes; a checksum where the hub is a usual one (checksum.h)
};

/// What became of an attempt to read a file from `offset` on.
struct FetchResult {
  Status status;           // of the transfer
  bool restarted = false;  // the hub sent the file from its beginning
  bool retry = false;      // the failure may pass: a broken connection, 429, 5xx
  int wait_seconds = 0;    // what the hub asks for before another attempt; 0: nothing
};

class HubClient {
 public:
  explicit HubClient(HubOptions options);
  ~HubClient();

  /// Names of the files of a repository. Errors: as Describe.
  Result<std::vector<std::string>> List(const ModelReference& model);

  /// Errors: kNotFound; kUnauthenticated, kPermissionDenied: private or gated, without (the right) token; kUnavailable:
  /// the hub cannot be reached or fails; kDataLoss: an answer that makes no sense.
  Result<RemoteFile> Describe(const ModelReference& model, const std::string& name);

  /// Sends the file's bytes from `offset` on to `take`, which returns false to stop. When `restarted`, `restart` was
  /// called first and the bytes are those from the beginning.
  FetchResult Fetch(const RemoteFile& file, std::uint64_t offset, const std::function<bool()>& restart,
                    const std::function<bool(const char*, std::size_t)>& take);

 private:
  struct Connection;
  const HubOptions options_;
  std::unique_ptr<Connection> connection_;
};

/// The names in an answer of /api/models/OWNER/REPO/revision/REV; those that are not safe are left out.
/// Errors: kDataLoss: not such an answer.
Result<std::vector<std::string>> ReadListing(std::string_view json);

}  // namespace quorum::hub
