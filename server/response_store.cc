#include "server/response_store.h"

#include <iterator>
#include <utility>

namespace quorum::server {

void ResponseStore::Put(const std::string& id, StoredResponse stored) {
  // Parsed JSON takes several times the memory of its text.
  const std::size_t bytes = 8 * (DumpJson(stored.response).size() + DumpJson(stored.items).size());
  const std::lock_guard lock(mutex_);
  if (const auto old = index_.find(id); old != index_.end()) Remove(old->second);
  if (bytes > max_bytes_) return;
  entries_.push_front({id, std::move(stored), bytes});
  index_[id] = entries_.begin();
  bytes_ += bytes;
  while (bytes_ > max_bytes_ || entries_.size() > max_entries_) Remove(std::prev(entries_.end()));
}

std::optional<StoredResponse> ResponseStore::Get(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = index_.find(id);
  if (found == index_.end()) return std::nullopt;
  entries_.splice(entries_.begin(), entries_, found->second);
  return found->second->stored;
}

bool ResponseStore::Erase(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto found = index_.find(id);
  if (found == index_.end()) return false;
  Remove(found->second);
  return true;
}

void ResponseStore::Remove(std::list<Entry>::iterator entry) {
  bytes_ -= entry->bytes;
  index_.erase(entry->id);
  entries_.erase(entry);
}

}  // namespace quorum::server
