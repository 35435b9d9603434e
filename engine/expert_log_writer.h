// The routing log of a server: what was computed is handed over by the engine's thread and written by another.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "engine/base/result.h"
#include "engine/expert_log.h"
#include "engine/expert_trace.h"
#include "tokenizer/tokenizer.h"

namespace quorum::engine {

struct ExpertLogOptions {
  std::string path;
  std::int64_t max_bytes = std::int64_t{256} << 20;  // then the file becomes PATH.1, in place of an older one
  double share = 1;                                  // of the slices that are logged, evenly spread
  std::size_t max_rows = 1 << 14;  // that wait to be written; what comes on top of them is left out and counted
  /// Spells a token. Null: the log says neither which tokens there were nor their texts.
  std::function<std::string(tok::TokenId)> text = nullptr;
};

/// A log as ExpertLogLine writes it, of two topics: tokens of prompts, and of replies. It takes 2 max_bytes of disk and
/// the memory of max_rows rows at most. What cannot be written is left out with a warning: serving goes on.
class ExpertLogWriter {
 public:
  enum Topic : std::int32_t { kPrompt, kReply };

  /// An existing file becomes PATH.1 first. Others than the owner cannot read it. Errors: kInvalidArgument with the
  /// path.
  static Result<std::unique_ptr<ExpertLogWriter>> Open(ExpertLogOptions options, const std::string& model,
                                                       const ExpertShape& shape);
  /// Writes what waits. Says how much was left out.
  ~ExpertLogWriter();

  // By one thread, the engine's:
  /// Whether the next slice is one that is logged.
  bool Wants(Topic topic);
  /// Row i of the trace is what became of tokens[i].
  void Push(std::shared_ptr<const ExpertTrace> trace, std::span<const tok::TokenId> tokens, Topic topic);

  /// Rows that were pushed and did not get into the log.
  std::int64_t left_out() const;

 private:
  struct Batch {
    std::shared_ptr<const ExpertTrace> trace;
    std::vector<tok::TokenId> tokens;
    Topic topic;
  };

  ExpertLogWriter(ExpertLogOptions options, ExpertLogHead head);
  Status Begin();
  void Run();
  void Write(const Batch& batch);

  const ExpertLogOptions options_;
  const ExpertLogHead head_;
  double due_[2] = {0, 0};  // of each topic: slices that are to be logged and were not

  // Of the writing thread:
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{nullptr, &std::fclose};  // null after an error
  std::int64_t bytes_ = 0;
  RoutedToken token_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> waiting_;  // guarded by mutex_
  std::size_t rows_ = 0;       // guarded: of `waiting_`
  std::int64_t left_out_ = 0;  // guarded
  bool ends_ = false;          // guarded
  std::thread thread_;         // last: it uses all of the above
};

}  // namespace quorum::engine
