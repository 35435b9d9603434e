#include "engine/expert_log_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>

#include <fmt/format.h>

#include "engine/base/log.h"

namespace quorum::engine {

Result<std::unique_ptr<ExpertLogWriter>> ExpertLogWriter::Open(ExpertLogOptions options, const std::string& model,
                                                               const ExpertShape& shape) {
  ExpertLogHead head{model, shape, {"prompts", "replies"}, options.share};
  std::unique_ptr<ExpertLogWriter> writer(new ExpertLogWriter(std::move(options), std::move(head)));
  QUORUM_TRY(writer->Begin());
  writer->thread_ = std::thread([raw = writer.get()] { raw->Run(); });
  return writer;
}

ExpertLogWriter::ExpertLogWriter(ExpertLogOptions options, ExpertLogHead head)
    : options_(std::move(options)), head_(std::move(head)) {}

ExpertLogWriter::~ExpertLogWriter() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
  if (left_out_ > 0) Log(LogLevel::kWarn, "{}: {} tokens were left out of the expert log", options_.path, left_out_);
}

bool ExpertLogWriter::Wants(Topic topic) {
  double& due = due_[topic];
  due += options_.share;
  if (due < 1) return false;
  due -= 1;
  return true;
}

void ExpertLogWriter::Push(std::shared_ptr<const ExpertTrace> trace, std::span<const tok::TokenId> tokens,
                           Topic topic) {
  const std::size_t rows = tokens.size();
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    if (rows_ + rows <= options_.max_rows) {
      rows_ += rows;
      waiting_.push_back({std::move(trace), {tokens.begin(), tokens.end()}, topic});
    } else {
      first = left_out_ == 0;
      left_out_ += static_cast<std::int64_t>(rows);
    }
  }
  changed_.notify_one();
  if (first) {
    Log(LogLevel::kWarn, "{} is written too slowly: some tokens are left out of the expert log", options_.path);
  }
}

std::int64_t ExpertLogWriter::left_out() const {
  const std::lock_guard lock(mutex_);
  return left_out_;
}

/// Opens a new file and writes the head.
Status ExpertLogWriter::Begin() {
  const auto failed = [&](const std::string& what, const std::string& why) {
    return InvalidArgument(fmt::format("{}: the expert log cannot be {}: {}", options_.path, what, why));
  };
  file_.reset();
  std::error_code error;
  if (const auto status = std::filesystem::symlink_status(options_.path, error);
      std::filesystem::is_regular_file(status)) {
    std::filesystem::rename(options_.path, options_.path + ".1", error);
    if (error) return failed("moved", error.message());
  }
  const int fd = ::open(options_.path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return failed("opened", std::strerror(errno));
  file_.reset(::fdopen(fd, "w"));
  if (file_ == nullptr) {
    ::close(fd);
    return failed("opened", std::strerror(errno));
  }
  const std::string line = ExpertLogLine(head_);
  bytes_ = static_cast<std::int64_t>(line.size());
  if (std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size() || std::fflush(file_.get()) != 0)
    return failed("written", std::strerror(errno));
  return {};
}

void ExpertLogWriter::Run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (waiting_.empty()) {
      if (file_ != nullptr) {
        lock.unlock();
        std::fflush(file_.get());
        lock.lock();
      }
      changed_.wait(lock, [&] { return ends_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
    }
    const Batch batch = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    Write(batch);
    lock.lock();
    rows_ -= batch.tokens.size();
    if (file_ == nullptr) left_out_ += static_cast<std::int64_t>(batch.tokens.size());
  }
}

/// After an error there is no file any more.
void ExpertLogWriter::Write(const Batch& batch) {
  if (file_ == nullptr) return;
  token_.topic = batch.topic;
  token_.loss = std::numeric_limits<float>::quiet_NaN();
  token_.layers.resize(head_.shape.experts.size());
  Status status;
  std::string text;
  for (std::size_t row = 0; row < batch.tokens.size(); ++row) {
    token_.token = kNoToken;
    if (options_.text != nullptr) {
      token_.token = batch.tokens[row];
      text = options_.text(token_.token);
    }
    for (std::size_t i = 0; i < token_.layers.size(); ++i) {
      token_.layers[i] = batch.trace->At(static_cast<std::int32_t>(i), static_cast<std::int64_t>(row));
    }
    const std::string line = ExpertLogLine(token_, text);
    if (bytes_ + static_cast<std::int64_t>(line.size()) > options_.max_bytes) status = Begin();
    if (status.ok() && std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size()) {
      status =
          InvalidArgument(fmt::format("{}: the expert log cannot be written: {}", options_.path, std::strerror(errno)));
    }
    if (!status.ok()) {
      Log(LogLevel::kError, "{}; it ends here", status.error().message);
      file_.reset();
      return;
    }
    bytes_ += static_cast<std::int64_t>(line.size());
  }
}

}  // namespace quorum::engine
