#include "server/response_store.h"

#include <charconv>
#include <iterator>
#include <utility>

#include <fmt/format.h>

namespace quorum::server {
namespace {

constexpr std::string_view kInputItem = "item_";

/// Calls `f` with the id and the item of each item of a response's own output that has one.
template <typename F>
void ForOutputItems(const StoredResponse& stored, F&& f) {
  const auto output = stored.response.find("output");
  if (output == stored.response.end()) return;
  for (const Json& item : *output) {
    if (const auto id = item.find("id"); id != item.end() && id->is_string()) f(id->get<std::string>(), item);
  }
}

}  // namespace

std::string InputItemId(const std::string& response, std::size_t index) {
  return fmt::format("{}{}_{}", kInputItem, response, index);
}

void ResponseStore::Put(const std::string& id, StoredResponse stored) {
  // Parsed JSON takes several times the memory of its text.
  const std::size_t bytes = 8 * (DumpJson(stored.response).size() + DumpJson(stored.items).size());
  const std::lock_guard lock(mutex_);
  if (const auto old = index_.find(id); old != index_.end()) Remove(old->second);
  if (bytes > max_bytes_) return;
  entries_.push_front({id, std::move(stored), bytes});
  index_[id] = entries_.begin();
  ForOutputItems(entries_.front().stored, [&](const std::string& name, const Json& item) { outputs_[name] = &item; });
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

const Json* ResponseStore::InputItem(const std::string& id) const {
  const std::size_t end = id.rfind('_');
  if (!id.starts_with(kInputItem) || end < kInputItem.size()) return nullptr;
  const auto found = index_.find(id.substr(kInputItem.size(), end - kInputItem.size()));
  std::size_t index = 0;
  const auto [stop, error] = std::from_chars(id.data() + end + 1, id.data() + id.size(), index);
  if (found == index_.end() || error != std::errc() || stop != id.data() + id.size()) return nullptr;
  const Json& items = found->second->stored.items;
  return index < items.size() ? &items[index] : nullptr;
}

std::optional<Json> ResponseStore::GetItem(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto output = outputs_.find(id);
  const Json* item = output != outputs_.end() ? output->second : InputItem(id);
  return item == nullptr ? std::nullopt : std::optional(*item);
}

void ResponseStore::Remove(std::list<Entry>::iterator entry) {
  bytes_ -= entry->bytes;
  index_.erase(entry->id);
  ForOutputItems(entry->stored, [&](const std::string& name, const Json&) { outputs_.erase(name); });
  entries_.erase(entry);
}

}  // namespace quorum::server
