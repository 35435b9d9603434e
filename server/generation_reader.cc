#include "server/generation_reader.h"

#include <algorithm>
#include <utility>

namespace quorum::server {
namespace {

constexpr std::chrono::milliseconds kPatience{50};
constexpr std::chrono::milliseconds kClientCheck{20};
constexpr std::chrono::milliseconds kSharedPatience{2};  // several generations: look at each in turn

}  // namespace

GenerationReader::GenerationReader(std::vector<std::shared_ptr<engine::Generation>> generations, Metrics& metrics,
                                   std::shared_ptr<RequestScope> scope, Clock::time_point started)
    : generations_(std::move(generations)),
      metrics_(metrics),
      scope_(std::move(scope)),
      started_(started),
      client_seen_(started),
      last_token_(generations_.size()) {}

GenerationReader::~GenerationReader() { CancelAll(); }

void GenerationReader::CancelAll() {
  if (all_read_) return;
  for (const auto& generation : generations_) {
    if (!generation->done()) generation->Cancel();
    while (const auto event = generation->Next(std::chrono::milliseconds(0))) {
      if (event->kind == engine::Event::Kind::kToken) scope_->CountGenerated(1);
    }
  }
  all_read_ = true;
}

GenerationReader::State GenerationReader::Next(const std::function<bool()>& client_gone, Item& item) {
  const auto give_up = Clock::now() + kPatience;
  for (;;) {
    if (const auto now = Clock::now(); now - client_seen_ >= kClientCheck) {
      client_seen_ = now;
      if (client_gone()) {
        CancelAll();
        return State::kGone;
      }
    }
    std::size_t open = 0;
    std::size_t waiting_on = 0;
    for (std::size_t i = 0; i < generations_.size(); ++i) {
      const std::size_t index = (turn_ + i) % generations_.size();
      if (ReadOne(index, std::chrono::milliseconds(0), item)) {
        turn_ = index + 1;
        return State::kEvent;
      }
      if (!generations_[index]->done()) {
        ++open;
        waiting_on = index;
      }
    }
    if (open == 0) {
      if (!all_read_) metrics_.GenerationTime(std::chrono::duration<double>(Clock::now() - started_).count(), waited_);
      all_read_ = true;
      return State::kDone;
    }
    if (ReadOne(waiting_on, open == 1 ? kClientCheck : kSharedPatience, item)) return State::kEvent;
    if (Clock::now() >= give_up) return State::kNothing;
  }
}

std::int32_t GenerationReader::queue_position() const {
  std::int32_t ahead = generations_.front()->queue_position();
  for (const auto& generation : generations_) ahead = std::min(ahead, generation->queue_position());
  return ahead;
}

bool GenerationReader::ReadOne(std::size_t index, std::chrono::milliseconds timeout, Item& item) {
  auto event = generations_[index]->Next(timeout);
  if (!event.has_value()) return false;
  item.generation = index;
  item.event = std::move(*event);
  Measure(item);
  return true;
}

void GenerationReader::Measure(const Item& item) {
  if (item.event.kind == engine::Event::Kind::kPrompt) {
    waited_ = item.event.queue_seconds;
    metrics_.QueueTime(waited_);
  }
  if (item.event.kind != engine::Event::Kind::kToken) return;
  scope_->CountGenerated(1);
  const auto now = Clock::now();
  if (first_token_) metrics_.TimeToFirstToken(std::chrono::duration<double>(now - started_).count());
  first_token_ = false;
  auto& times = last_token_[item.generation];
  const auto choice = static_cast<std::size_t>(item.event.choice);
  if (times.size() <= choice) times.resize(choice + 1);
  if (times[choice] != Clock::time_point{}) {
    metrics_.InterTokenTime(std::chrono::duration<double>(now - times[choice]).count());
  }
  times[choice] = now;
}

}  // namespace quorum::server
