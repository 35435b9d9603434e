// Answers of /v1/responses that later requests may go on from, in memory and within a limit.
#pragma once

#include <cstddef>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "server/json_input.h"

namespace quorum::server {

struct StoredResponse {
  Json response;  // as it was answered
  Json items;     // the whole conversation: input items of all turns, and the output
};

/// The id by which item `index` of a response's conversation is known that came without one.
std::string InputItemId(const std::string& response, std::size_t index);

/// Forgets what was not used for longest. Thread-safe.
class ResponseStore {
 public:
  explicit ResponseStore(std::size_t max_bytes = 64 << 20, std::size_t max_entries = 10'000)
      : max_bytes_(max_bytes), max_entries_(max_entries) {}

  void Put(const std::string& id, StoredResponse stored);
  std::optional<StoredResponse> Get(const std::string& id);
  bool Erase(const std::string& id);
  /// An item of a stored response: of its output by the item's own id, of its input by InputItemId.
  std::optional<Json> GetItem(const std::string& id);

 private:
  struct Entry {
    std::string id;
    StoredResponse stored;
    std::size_t bytes = 0;
  };
  void Remove(std::list<Entry>::iterator entry);
  const Json* InputItem(const std::string& id) const;

  const std::size_t max_bytes_;
  const std::size_t max_entries_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // last used first
  std::unordered_map<std::string, std::list<Entry>::iterator> index_;
  std::unordered_map<std::string, const Json*> outputs_;  // items of the entries' own outputs, by their ids
  std::size_t bytes_ = 0;
};

}  // namespace quorum::server
