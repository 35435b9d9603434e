#include "server/body_room.h"

#include <malloc.h>

namespace quorum::server {

BodyRoom::Part::~Part() {
  EndReading();
  {
    const std::lock_guard lock(room_.mutex_);
    room_.bytes_ -= bytes_;
  }
  // JSON becomes many small pieces, which the C library would keep for the thread that asked for them.
  constexpr std::uint64_t kLarge = 1 << 20;
  if (bytes_ >= kLarge) ::malloc_trim(0);
}

bool BodyRoom::Part::Take(std::uint64_t bytes) {
  const std::lock_guard lock(room_.mutex_);
  if (bytes > room_.max_bytes_ - room_.bytes_) return false;
  room_.bytes_ += bytes;
  bytes_ += bytes;
  return true;
}

bool BodyRoom::Part::BeginReading() {
  const std::lock_guard lock(room_.mutex_);
  if (reading_ || room_.readers_ >= room_.max_readers_) return reading_;
  ++room_.readers_;
  reading_ = true;
  return true;
}

void BodyRoom::Part::EndReading() {
  const std::lock_guard lock(room_.mutex_);
  if (reading_) --room_.readers_;
  reading_ = false;
}

}  // namespace quorum::server
