#include "engine/scheduler.h"

#include <algorithm>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/support/catch.h"

namespace quorum::engine {
namespace {

constexpr SchedulerLimits kLimits{
    .max_running = 8, .prefill_chunk = 100, .max_step_tokens = 128, .max_step_logits = 16, .num_pages = 64};

/// Sequences with the scheduler that runs them; stands for the engine: after each step a sequence that has computed all
/// its tokens gets the next one, until it has `reply` of them.
struct Bench {
  struct Item : Sequence {
    std::int32_t prompt = 0;
    std::int32_t reply = 0;
    bool done = false;
  };

  explicit Bench(const SchedulerLimits& limits = kLimits) : scheduler(limits, [](std::int32_t, std::int32_t) {}) {}

  /// A prompt of `size` tokens: `common` zeros, then tokens of its own.
  Item& Add(std::int32_t size, std::int32_t reply = 1, std::int32_t common = 0) {
    auto item = std::make_unique<Item>();
    item->key.request = static_cast<std::int64_t>(items.size());
    item->prompt = size;
    item->reply = reply;
    for (std::int32_t i = 0; i < size; ++i)
      item->tokens.push_back(i < common ? 0 : 1000 + static_cast<int>(items.size()));
    items.push_back(std::move(item));
    scheduler.Add(*items.back());
    return *items.back();
  }

  /// One step; returns "request:first-token+count" of each slice, with "!" where logits are wanted.
  std::string Step() {
    std::string text;
    std::int32_t tokens = 0;
    std::int32_t rows = 0;
    const auto planned = scheduler.Plan();
    for (const Sequence* sequence : planned) {
      text += (text.empty() ? "" : " ") + std::to_string(sequence->key.request) + ":" +
              std::to_string(sequence->computed) + "+" + std::to_string(sequence->step_tokens);
      if (sequence->step_first_logits < sequence->step_tokens) text += "!";
      tokens += sequence->step_tokens;
      rows += sequence->step_tokens - sequence->step_first_logits;
      REQUIRE(sequence->step_tokens >= 1);
      REQUIRE(static_cast<std::int32_t>(sequence->pages.size()) * kPageTokens >=
              sequence->computed + sequence->step_tokens);
    }
    REQUIRE(tokens <= 128);
    REQUIRE(rows <= 16);
    computed += tokens;
    scheduler.Commit();
    for (Sequence* sequence : planned) {
      auto& item = static_cast<Item&>(*sequence);
      item.scored = std::max(item.scored, std::min(item.score_end, item.computed));
      if (item.remaining() > 0) continue;
      item.tokens.push_back(7);
      if (item.length() - item.prompt < item.reply) continue;
      scheduler.Remove(item);
      item.done = true;
    }
    return text;
  }

  void Run() {
    while (!scheduler.running().empty() || !scheduler.waiting().empty()) Step();
  }
  std::int32_t used() const { return scheduler.cache().referenced(); }

  Scheduler scheduler;
  std::vector<std::unique_ptr<Item>> items;
  std::int64_t computed = 0;
};

TEST_CASE("Nothing to do is an empty plan") {
  Bench bench;
  CHECK(bench.Step().empty());
}

TEST_CASE("A prompt is cut into chunks; only its last token wants logits; decoding goes on beside it") {
  Bench bench;
  bench.Add(250, 2);
  CHECK(bench.Step() == "0:0+100");
  bench.Add(3, 4);
  CHECK(bench.Step() == "0:100+97 1:0+3!");
  CHECK(bench.Step() == "0:197+53! 1:3+1!");
  CHECK(bench.Step() == "0:250+1! 1:4+1!");
  CHECK(bench.Step() == "1:5+1!");
  CHECK(bench.Step().empty());
  CHECK(bench.used() == 0);
}

TEST_CASE("Half of a step is the first prompt's, the rest goes to the shortest: none is stuck behind long ones") {
  Bench bench;
  bench.Add(500);
  bench.Add(500);
  bench.Add(20);
  CHECK(bench.Step() == "0:0+80 2:0+20!");
  CHECK(bench.Step() == "0:80+100");
  bench.Add(1);
  bench.Add(90);
  CHECK(bench.Step() == "0:180+50 3:0+1! 4:0+50");
  CHECK(bench.Step() == "0:230+60 4:50+40!");
}

TEST_CASE("Decoding leaves the rest of the step to prompts") {
  Bench bench({.max_running = 8, .prefill_chunk = 2, .max_step_tokens = 6, .max_step_logits = 16, .num_pages = 64});
  for (int i = 0; i < 3; ++i) bench.Add(1, 100);
  CHECK(bench.Step() == "0:0+1! 1:0+1! 2:0+1!");
  for (int i = 0; i < 5; ++i) bench.Add(9);
  // Six rows: max_running is cut to what a step can hold.
  CHECK(bench.Step() == "0:1+1! 1:1+1! 2:1+1! 3:0+2");
  CHECK(bench.scheduler.running().size() == 6);
}

TEST_CASE("Admission is first come, first served: a big one at the head waits and nobody overtakes it") {
  Bench bench({.max_running = 8, .prefill_chunk = 100, .max_step_tokens = 128, .max_step_logits = 16, .num_pages = 4});
  bench.Add(100, 3);  // 2 of 4 pages
  bench.Add(150, 1);  // 3 pages
  bench.Add(1, 1);
  CHECK(bench.scheduler.free_slots() == 0);
  CHECK(bench.Step() == "0:0+100!");
  CHECK(bench.scheduler.running().size() == 1);
  CHECK(bench.scheduler.waiting().size() == 2);
  CHECK(bench.Step() == "0:100+1!");
  CHECK(bench.Step() == "0:101+1!");
  CHECK(bench.items[0]->done);
  // 3 pages of 4; the third request must leave one page for each running sequence and does not get the last one.
  CHECK(bench.Step() == "1:0+100");
  CHECK(bench.Step() == "1:100+50!");
  CHECK(bench.Step() == "2:0+1!");
  CHECK(bench.scheduler.free_slots() == 8);
  CHECK(bench.used() == 0);
}

TEST_CASE("When pages run out the youngest sequence gives up its pages, waits, and comes back; the oldest never does") {
  Bench bench({.max_running = 8, .prefill_chunk = 100, .max_step_tokens = 128, .max_step_logits = 16, .num_pages = 4});
  auto& old = bench.Add(60, 150);  // grows to 4 pages
  auto& young = bench.Add(60, 100);
  CHECK(bench.Step() == "0:0+60! 1:0+40");
  std::int32_t old_before = 0;
  bool preempted = false;
  while (!old.done) {
    bench.Step();
    if (old.done) break;
    REQUIRE(old.computed > old_before);
    old_before = old.computed;
    if (young.state == Sequence::State::kWaiting && !young.done) {
      preempted = true;
      CHECK(young.pages.empty());
    }
  }
  CHECK(preempted);
  CHECK(bench.scheduler.preemptions() == 1);
  bench.Run();
  CHECK(young.done);
  CHECK(young.length() == 160);
  CHECK(bench.used() == 0);
}

TEST_CASE("A prompt seen before is taken from the cache, except its last token") {
  for (const std::int32_t size : {63, 64, 65, 128, 129, 200}) {
    Bench bench;
    auto& first = bench.Add(size, 1, size);
    bench.Run();
    CHECK(first.cached == 0);
    auto& second = bench.Add(size, 1, size);
    bench.computed = 0;
    bench.Run();
    CAPTURE(size);
    CHECK(second.cached == size - 1);
    CHECK(bench.computed == 1);
  }
}

TEST_CASE("The reply is cached too: the next turn of a conversation computes only what is new") {
  Bench bench;
  auto& first = bench.Add(100, 60, 100);
  bench.Run();
  auto item = std::make_unique<Bench::Item>();
  item->key.request = 1;
  item->tokens = first.tokens;  // 160 tokens, the last of them never computed
  item->tokens.insert(item->tokens.end(), 20, 5);
  item->prompt = 180;
  item->reply = 1;
  bench.items.push_back(std::move(item));
  bench.scheduler.Add(*bench.items.back());
  bench.Run();
  CHECK(bench.items.back()->cached == 159);
}

TEST_CASE("Prompts that begin alike and come together are computed once, then part") {
  Bench bench;
  auto& a = bench.Add(300, 1, 256);
  auto& b = bench.Add(290, 1, 200);
  auto& c = bench.Add(300, 1, 0);
  // a computes the first common page, b, which is shorter, waits for it without taking a share.
  CHECK(bench.Step() == "0:0+100");
  CHECK(bench.Step() == "0:100+100");
  CHECK(b.computed == 64);  // no copy of a page that is still growing
  bench.Run();
  CHECK(a.cached == 0);
  CHECK(b.cached == 200);
  CHECK(c.cached == 0);
  CHECK(bench.computed == 300 + 90 + 300);
  CHECK(bench.used() == 0);
}

TEST_CASE("Who waits for another one's pages goes on alone when that one is removed") {
  Bench bench;
  auto& a = bench.Add(300, 1, 300);
  auto& b = bench.Add(300, 1, 300);
  CHECK(bench.Step() == "0:0+100");
  bench.scheduler.Remove(a);
  CHECK(bench.Step() == "1:100+100");
  CHECK(b.cached == 100);
  bench.Run();
  CHECK(b.done);
}

TEST_CASE("Equal pages that were computed twice are joined") {
  // Two sequences decode the same tokens, so that neither can wait for the other.
  Bench bench;
  auto& a = bench.Add(1, 200, 1);
  auto& b = bench.Add(1, 200, 1);
  for (int i = 0; i < 70; ++i) bench.Step();
  REQUIRE(a.computed == 70);
  REQUIRE(b.computed == 70);
  CHECK(a.pages[0] == b.pages[0]);
  CHECK(a.pages[1] != b.pages[1]);
  CHECK(bench.used() == 3);
  CHECK(b.cached == 0);
}

TEST_CASE("Scored positions are all computed with logits, within the rows of a step, and the cache skips none") {
  Bench bench;
  bench.Add(200, 1, 200);
  bench.Run();
  auto item = std::make_unique<Bench::Item>();
  item->key.request = 1;
  item->tokens.assign(200, 0);
  item->prompt = 200;
  item->reply = 1;
  item->score_end = 199;
  bench.items.push_back(std::move(item));
  Bench::Item& scored = *bench.items.back();
  bench.scheduler.Add(scored);
  auto& other = bench.Add(40, 8);
  std::int32_t next = 0;
  while (!scored.done) {
    const auto planned = bench.scheduler.Plan();
    for (const Sequence* sequence : planned) {
      if (sequence != &scored) continue;
      REQUIRE(sequence->computed == next);
      REQUIRE(sequence->step_first_logits == 0);
      next += sequence->step_tokens;
    }
    bench.Step();  // plans the same again
  }
  CHECK(next == 200);
  CHECK(scored.cached == 0);
  CHECK(other.done);  // it was not stuck behind the scoring
}

TEST_CASE("Sequences that score share the rows of logits") {
  Bench bench;
  for (int i = 0; i < 3; ++i) bench.Add(40).score_end = 39;
  bench.Add(10, 3);
  CHECK(bench.Step() == "0:0+13! 1:0+1! 2:0+1! 3:0+10!");  // 16 rows
}

TEST_CASE("Only what a sequence never computed counts as cached") {
  Bench bench;
  auto& a = bench.Add(300, 1, 300);
  CHECK(bench.Step() == "0:0+100");
  bench.scheduler.Remove(a);  // as a preemption would
  auto& b = bench.Add(300, 1, 300);
  bench.Run();
  CHECK(b.cached == 100);
  bench.scheduler.Add(a);
  bench.Run();
  CHECK(a.cached == 299 - 100);
}

TEST_CASE("After a preemption, scores that were read need no logits again") {
  Bench bench({.max_running = 8, .prefill_chunk = 100, .max_step_tokens = 128, .max_step_logits = 16, .num_pages = 4});
  auto& old = bench.Add(60, 200);
  bench.Step();
  auto& young = bench.Add(100, 1);
  young.score_end = 99;
  while (young.scored < 80) bench.Step();
  // The old one needs the pages of both.
  while (bench.scheduler.preemptions() == 0) {
    old.tokens.resize(old.tokens.size() + 64, 7);
    bench.scheduler.Plan();
  }
  CHECK(young.state == Sequence::State::kWaiting);
  const std::int32_t scored = young.scored;
  bench.scheduler.Remove(old);
  const auto planned = bench.scheduler.Plan();
  REQUIRE(planned.size() == 1);
  CHECK(young.computed == 64);  // from the cache: these are scored
  CHECK(young.cached == 0);     // it had computed them itself
  CHECK(young.step_first_logits == scored - 64);
  CHECK(young.step_tokens == std::min(36, scored - 64 + 16));
}

TEST_CASE("What a failed admission found in the cache is not counted") {
  Bench bench({.max_running = 8, .prefill_chunk = 128, .max_step_tokens = 128, .max_step_logits = 16, .num_pages = 4});
  bench.Add(65, 1, 64);
  bench.Run();  // one page of zeros stays
  auto& filler = bench.Add(130, 200);
  bench.Step();
  auto& waiting = bench.Add(100, 1, 64);
  bench.Step();
  CHECK(waiting.state == Sequence::State::kWaiting);
  CHECK(waiting.cached == 0);
  while (!filler.done && filler.length() < 200) bench.Step();  // takes the cached page
  bench.scheduler.Remove(filler);
  filler.done = true;
  bench.Run();
  CHECK(waiting.done);
  CHECK(waiting.cached == 0);
}

TEST_CASE("Removing a sequence in any state gives its pages back") {
  Bench bench({.max_running = 2, .prefill_chunk = 50, .max_step_tokens = 128, .max_step_logits = 16, .num_pages = 16});
  auto& decoding = bench.Add(10, 100);
  bench.Step();
  bench.Step();
  auto& prompting = bench.Add(200);
  bench.Step();
  auto& waiting = bench.Add(10);
  bench.Step();
  REQUIRE(decoding.remaining() == 1);
  REQUIRE(prompting.remaining() == 100);
  REQUIRE(waiting.state == Sequence::State::kWaiting);
  bench.scheduler.Remove(waiting);
  CHECK(bench.used() == 5);
  bench.scheduler.Remove(prompting);
  CHECK(bench.used() == 1);
  bench.scheduler.Remove(decoding);
  CHECK(bench.used() == 0);
  CHECK(bench.scheduler.cache().available() == 16);
  CHECK(bench.Step().empty());
  bench.scheduler.Remove(decoding);  // idle already
}

TEST_CASE(
    "Eight prompts with one beginning compute it once, to the token, and a cancelled one leaves what it computed") {
  Bench bench;
  for (int i = 0; i < 8; ++i) bench.Add(1010 + 7 * i, 1, 1000);
  bench.Run();
  std::int64_t own = 0;
  for (int i = 0; i < 8; ++i) own += 10 + 7 * i;
  CHECK(bench.computed == 1000 + own);
  CHECK(bench.items[0]->cached == 0);
  for (std::size_t i = 1; i < 8; ++i) CHECK(bench.items[i]->cached == 1000);

  auto& cancelled = bench.Add(500);
  bench.Step();
  bench.Step();
  bench.scheduler.Remove(cancelled);
  cancelled.done = true;
  auto retry = std::make_unique<Bench::Item>();
  retry->key.request = 100;
  retry->tokens = cancelled.tokens;
  retry->prompt = 500;
  retry->reply = 1;
  bench.items.push_back(std::move(retry));
  bench.scheduler.Add(*bench.items.back());
  bench.Run();
  CHECK(bench.items.back()->cached == 200);
  CHECK(bench.used() == 0);
}

TEST_CASE("Lineages share nothing") {
  Bench bench;
  const auto other = std::make_shared<const std::string>("top_k 1");
  bench.Add(200, 1, 200);
  bench.Run();
  auto& foreign = bench.Add(200, 1, 200);
  foreign.lineage = other;
  auto& same = bench.Add(200, 1, 200);
  same.lineage = std::make_shared<const std::string>("top_k 1");
  auto& plain = bench.Add(200, 1, 200);
  bench.Run();
  CHECK(foreign.cached == 0);
  CHECK(same.cached == 199);
  CHECK(plain.cached == 199);
}

TEST_CASE("Priorities: lower numbers are computed first and take the place of running ones, which come back") {
  Bench bench({.max_running = 2, .prefill_chunk = 50, .max_step_tokens = 128, .max_step_logits = 16, .num_pages = 16});
  const auto add = [&bench](std::int32_t priority, std::int32_t size, std::int32_t reply) -> Bench::Item& {
    auto item = std::make_unique<Bench::Item>();
    item->key = {priority, static_cast<std::int64_t>(bench.items.size()), 0};
    item->prompt = size;
    item->reply = reply;
    item->tokens.assign(static_cast<std::size_t>(size), 2000 + static_cast<tok::TokenId>(bench.items.size()));
    bench.items.push_back(std::move(item));
    bench.scheduler.Add(*bench.items.back());
    return *bench.items.back();
  };
  auto& low = add(5, 100, 20);
  auto& mid = add(0, 100, 20);
  CHECK(bench.Step() == "1:0+50");
  CHECK(bench.Step() == "1:50+50!");
  CHECK(bench.Step() == "1:100+1! 0:0+50");
  auto& high = add(-1, 10, 3);
  CHECK(bench.Step() == "2:0+10! 1:101+1!");
  CHECK(low.state == Sequence::State::kWaiting);
  CHECK(bench.scheduler.preemptions() == 1);
  auto& equal = add(0, 10, 3);  // does not displace its like
  bench.Step();
  CHECK(mid.state == Sequence::State::kRunning);
  bench.Run();
  CHECK((low.done && mid.done && high.done && equal.done));
  CHECK(low.cached == 0);  // what it computed itself before it had to wait
  CHECK(bench.used() == 0);
}

TEST_CASE("Guesses take rows and pages that nobody needs, and nothing of them is certain before the owner says so") {
  Bench bench({.max_running = 4, .prefill_chunk = 50, .max_step_tokens = 8, .max_step_logits = 6, .num_pages = 8});
  auto& a = bench.Add(5, 100);
  auto& b = bench.Add(5, 100);
  bench.Step();
  bench.Step();
  a.draft = 3;
  b.draft = 4;
  auto planned = bench.scheduler.Plan();
  REQUIRE(planned.size() == 2);
  CHECK(a.step_tokens == 4);
  CHECK(a.step_draft == 3);
  CHECK(a.step_first_logits == 0);
  CHECK(b.step_draft == 1);  // six rows of logits
  const std::int32_t before = a.computed;
  bench.scheduler.Commit();
  CHECK(a.computed == before + 1);
  a.draft = b.draft = 0;
  a.tokens.push_back(7);
  b.tokens.push_back(7);
  // At the end of a page guesses take a free page.
  for (; a.length() < 64;) bench.Step();
  a.draft = 4;
  bench.scheduler.Plan();
  CHECK(a.step_draft == 4);
  CHECK(a.pages.size() == 2);
  auto& prompt = bench.Add(40);
  bench.scheduler.Plan();
  CHECK(prompt.step_tokens > 0);
  CHECK(a.step_draft == 0);  // prompts use a step better
  bench.scheduler.Remove(a);
  bench.scheduler.Remove(b);
  bench.scheduler.Remove(prompt);
  CHECK(bench.used() == 0);
}

TEST_CASE("Beside decoding sequences a step takes as many prompt tokens as fit the time that is left") {
  // A step of n rows takes 10 + n milliseconds.
  const CostModel cost({}, {0.010, 0.001, 0.001, 0, 0, 0});
  const auto tokens_beside = [&cost](int decoding, double itl) {
    SchedulerLimits limits{.max_running = 64,
                           .prefill_chunk = 500,
                           .max_step_tokens = 512,
                           .max_step_logits = 64,
                           .num_pages = 256,
                           .max_itl_seconds = itl};
    Scheduler scheduler(limits, [](std::int32_t, std::int32_t) {}, &cost);
    std::vector<Sequence> sequences(static_cast<std::size_t>(decoding) + 2);
    for (std::size_t i = 0; i < sequences.size(); ++i) {
      sequences[i].key.request = static_cast<std::int64_t>(i);
      const bool prompt = i >= static_cast<std::size_t>(decoding);
      sequences[i].tokens.assign(prompt ? 2000 : 1, static_cast<tok::TokenId>(i));
      scheduler.Add(sequences[i]);
    }
    scheduler.Plan();
    const std::int32_t got = sequences[sequences.size() - 2].step_tokens + sequences.back().step_tokens;
    for (Sequence& sequence : sequences) scheduler.Remove(sequence);
    return got;
  };
  CHECK(tokens_beside(1, 0) == 500);
  CHECK(tokens_beside(0, 0.0505) == 500);  // nobody waits for a token
  CHECK(tokens_beside(1, 0.0505) == 39);
  CHECK(tokens_beside(11, 0.0505) == 29);
  CHECK(tokens_beside(1, 0.2005) == 189);
  // Decoding alone takes 50 ms: prompts still go on, and add a quarter at most.
  CHECK(tokens_beside(40, 0.0505) == 12);
  CHECK(tokens_beside(1, 0.001) == 8);
}

TEST_CASE("Random loads: limits hold, the oldest always advances, everything finishes, all pages come back") {
  std::mt19937 random(21);
  for (int round = 0; round < 40; ++round) {
    const SchedulerLimits limits{.max_running = 1 + static_cast<std::int32_t>(random() % 10),
                                 .prefill_chunk = 1 + static_cast<std::int32_t>(random() % 128),
                                 .max_step_tokens = 1 + static_cast<std::int32_t>(random() % 128),
                                 .max_step_logits = 1 + static_cast<std::int32_t>(random() % 16),
                                 .num_pages = 6 + static_cast<std::int32_t>(random() % 20)};
    Bench bench(limits);
    std::size_t added = 0;
    int steps = 0;
    while (added < 60 || !bench.scheduler.running().empty() || !bench.scheduler.waiting().empty()) {
      REQUIRE(++steps < 100000);
      if (added < 60 && random() % 3 == 0) {
        const auto size = 1 + static_cast<std::int32_t>(random() % 250);
        auto& item =
            bench.Add(size, 1 + static_cast<std::int32_t>(random() % 100), static_cast<int>(random() % 3) * 70);
        if (random() % 4 == 0) item.score_end = size - 1;
        ++added;
      }
      if (!bench.items.empty() && random() % 50 == 0) {
        auto& victim = *bench.items[random() % bench.items.size()];
        bench.scheduler.Remove(victim);
        victim.done = true;
      }
      const Sequence* oldest = nullptr;
      for (const auto& item : bench.items) {
        if (item->done) continue;
        oldest = item.get();
        break;
      }
      const auto before = oldest == nullptr ? std::tuple(0, 0) : std::tuple(oldest->length(), oldest->computed);
      bench.Step();
      if (oldest != nullptr) REQUIRE(std::tuple(oldest->length(), oldest->computed) > before);
      REQUIRE(bench.scheduler.running().size() <= static_cast<std::size_t>(limits.max_running));
    }
    CHECK(bench.used() == 0);
    CHECK(bench.scheduler.cache().available() == limits.num_pages);
    for (const auto& item : bench.items) CHECK(item->done);
  }
}

}  // namespace
}  // namespace quorum::engine
