// Task files and saved logits on any bytes.
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engine/base/check.h"
#include "engine/eval_task.h"
#include "engine/logit_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  namespace engine = quorum::engine;
  if (const auto logits = engine::LogitReader::Parse(std::as_bytes(std::span(data, size))); logits.ok()) {
    std::vector<float> row(logits->header().vocab);
    const std::int64_t rows = logits->header().positions();
    if (rows > 0) {
      logits->Row(0, row);
      logits->Row(rows - 1, row);
    }
  }
  if (const auto tasks = engine::ParseEvalTasks({reinterpret_cast<const char*>(data), size}); tasks.ok()) {
    for (const engine::EvalTask& task : *tasks) {
      QUORUM_CHECK(task.choices.empty() || task.answer < task.choices.size());
      engine::MatchesAnswer(task.prompt, task.text);
    }
  }
  return 0;
}
