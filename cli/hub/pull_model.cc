#include "cli/hub/pull_model.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <system_error>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "cli/hub/checksum.h"
#include "cli/hub/model_cache.h"
#include "cli/hub/model_choice.h"
#include "engine/base/units.h"

namespace quorum::hub {
namespace {

namespace fs = std::filesystem;

/// A file that is not complete yet, and the checksum of what it has.
class PartFile {
 public:
  PartFile(fs::path path, const RemoteFile& remote)
      : path_(std::move(path)), remote_(remote), sum_(remote.etag, remote.size) {}
  ~PartFile() {
    if (file_ >= 0) ::close(file_);
  }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;

  /// Opens it and reads what an earlier attempt left.
  Status Open() {
    file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (file_ < 0) return Failed("open");
    std::vector<char> block(1 << 20);
    for (;;) {
      const ssize_t got = ::read(file_, block.data(), block.size());
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) return Failed("read");
      if (got == 0) break;
      sum_.Add(block.data(), static_cast<std::size_t>(got));
      size_ += static_cast<std::uint64_t>(got);
    }
    if (size_ > remote_.size && !Restart()) return Failed("empty");
    return {};
  }

  bool Restart() {
    size_ = 0;
    sum_ = Checksum(remote_.etag, remote_.size);
    return ::ftruncate(file_, 0) == 0 && ::lseek(file_, 0, SEEK_SET) == 0;
  }

  bool Add(const char* data, std::size_t size) {
    sum_.Add(data, size);
    while (size > 0) {
      const ssize_t put = ::write(file_, data, size);
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) {
        error_ = Failed("write").error();
        return false;
      }
      data += put;
      size -= static_cast<std::size_t>(put);
      size_ += static_cast<std::uint64_t>(put);
    }
    if (size_ <= remote_.size) return true;
    error_ = DataLoss(fmt::format("the hub sent more than the {} bytes it spoke of", remote_.size));
    return false;
  }

  /// Puts the complete file at `target`.
  Status Finish(const fs::path& target) {
    const std::string sum = sum_.Finish();
    if (sum_.known() && !std::equal(sum.begin(), sum.end(), remote_.etag.begin(), remote_.etag.end(),
                                    [](char a, char b) { return a == std::tolower(static_cast<unsigned char>(b)); })) {
      ::unlink(path_.c_str());
      return DataLoss(fmt::format("its checksum is {}, and should be {}; what came is thrown away", sum, remote_.etag));
    }
    if (::fdatasync(file_) != 0) return Failed("write");
    std::error_code error;
    fs::rename(path_, target, error);
    if (error) return DataLoss(fmt::format("cannot move it to {}: {}", target.string(), error.message()));
    return {};
  }

  std::uint64_t size() const { return size_; }
  const Error& error() const { return error_; }

 private:
  Status Failed(const char* what) const {
    return DataLoss(fmt::format("cannot {} {}: {} ({} of {} are there; another pull goes on from them)", what,
                                path_.string(), std::strerror(errno), FormatBytes(size_), FormatBytes(remote_.size)));
  }

  const fs::path path_;
  const RemoteFile remote_;
  Checksum sum_;
  int file_ = -1;
  std::uint64_t size_ = 0;
  Error error_;
};

class Puller {
 public:
  Puller(const ModelReference& model, const PullOptions& options)
      : model_(model), options_(options), client_(options.hub), folder_(FolderOf(options.cache, model)) {}

  Result<PulledModel> Run() {
    QUORUM_ASSIGN(const std::vector<std::string> names,
                  Patiently<std::vector<std::string>>([&] { return client_.List(model_); }));
    auto chosen = ChooseFiles(names, model_.file);
    if (!chosen.ok()) {
      Error error = chosen.error();
      error.message = model_.Text() + ": " + error.message;
      return error;
    }
    QUORUM_ASSIGN(const FolderLock lock, FolderLock::Take(folder_, [this] {
                    if (options_.say) options_.say("another quorum pull is at it: waiting");
                  }));
    std::vector<RemoteFile> remotes;
    for (const std::string& name : chosen->files) {
      QUORUM_ASSIGN(RemoteFile remote, Patiently<RemoteFile>([&] { return client_.Describe(model_, name); }));
      total_ += remote.size;
      remotes.push_back(std::move(remote));
    }
    QUORUM_TRY(CheckSpace(chosen->files, remotes));
    PulledModel pulled;
    for (std::size_t i = 0; i < remotes.size(); ++i) {
      const std::string& name = chosen->files[i];
      PulledFile file{name, remotes[i].size, Checksum(remotes[i].etag, 0).known() ? remotes[i].etag : "", false};
      if (!IsHere(name, remotes[i])) {
        if (const Status got = Fetch(name, remotes[i]); !got.ok()) {
          Error error = got.error();
          error.message = fmt::format("{} of {}: {}", name, model_.Text(), error.message);
          return error;
        }
        file.fetched = true;
      }
      done_ += remotes[i].size;
      Show(name, done_);
      pulled.files.push_back(std::move(file));
    }
    pulled.path = chosen->path.empty() ? folder_ : folder_ / chosen->path;
    QUORUM_TRY(NotePulled(folder_, model_, chosen->path));
    return pulled;
  }

 private:
  // Again while the hub fails in a way that may pass.
  template <typename T>
  Result<T> Patiently(const std::function<Result<T>()>& ask) {
    for (int attempt = 1;; ++attempt) {
      auto answer = ask();
      if (answer.ok() || answer.error().code != ErrorCode::kUnavailable || attempt >= std::min(options_.attempts, 3))
        return answer;
      Wait(attempt, 0, answer.error().message);
    }
  }

  void Wait(int attempt, int asked, const std::string& why) {
    constexpr double kLongest = 60;
    const double own = options_.first_wait * static_cast<double>(1 << std::min(attempt - 1, 6));
    const double seconds = std::min(std::max(own, static_cast<double>(asked)), kLongest);
    if (options_.say) options_.say(fmt::format("{}; again in {:.0f} s", why, std::max(seconds, 1.0)));
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  }

  void Show(const std::string& name, std::uint64_t done) {
    if (options_.progress) options_.progress(name, done, total_);
  }

  fs::path EtagNote(const std::string& name) const { return Note(name, ".etag"); }
  fs::path Note(const std::string& name, const char* kind) const {
    std::string flat = name;
    std::replace(flat.begin(), flat.end(), '/', '|');
    return NotesOf(folder_) / (flat + kind);
  }

  bool IsHere(const std::string& name, const RemoteFile& remote) const {
    std::error_code error;
    if (fs::file_size(folder_ / name, error) != remote.size || error || remote.etag.empty()) return false;
    std::ifstream note(EtagNote(name));
    std::string etag;
    return note && std::getline(note, etag) && etag == remote.etag;
  }

  Status CheckSpace(const std::vector<std::string>& names, const std::vector<RemoteFile>& remotes) const {
    std::uint64_t needed = 0;
    for (std::size_t i = 0; i < remotes.size(); ++i) {
      if (IsHere(names[i], remotes[i])) continue;
      std::error_code error;
      const auto part = fs::file_size(PartOf(names[i], remotes[i]), error);
      needed += remotes[i].size - (error ? 0 : std::min<std::uint64_t>(part, remotes[i].size));
    }
    std::error_code error;
    const fs::space_info space = fs::space(folder_, error);
    if (error || needed <= space.available) return {};
    return DataLoss(fmt::format("not enough room in {}: {} are needed, {} are free (--cache names another folder)",
                                folder_.string(), FormatBytes(needed), FormatBytes(space.available)));
  }

  // A new version of a file does not go on from a part of the old one.
  fs::path PartOf(const std::string& name, const RemoteFile& remote) const {
    std::string tag;
    for (const char c : remote.etag.substr(0, 64)) {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0) tag += c;
    }
    return Note(name, ("." + tag + ".part").c_str());
  }

  Status Fetch(const std::string& name, const RemoteFile& remote) {
    const fs::path target = folder_ / name;
    std::error_code error;
    fs::create_directories(target.parent_path(), error);
    if (error) return DataLoss(fmt::format("cannot make {}: {}", target.parent_path().string(), error.message()));
    PartFile part(PartOf(name, remote), remote);
    QUORUM_TRY(part.Open());
    for (int attempt = 1; part.size() < remote.size;) {
      const std::uint64_t before = part.size();
      const FetchResult got = client_.Fetch(
          remote, before, [&part] { return part.Restart(); },
          [&](const char* data, std::size_t size) {
            if (!part.Add(data, size)) return false;
            Show(name, done_ + part.size());
            return true;
          });
      if (!part.error().message.empty()) return part.error();
      if (got.status.ok() && part.size() == remote.size) break;
      if (part.size() > before && !got.restarted) attempt = 1;  // it moves
      const std::string why = got.status.ok()
                                  ? fmt::format("{} broke off after {} of {} bytes", name, part.size(), remote.size)
                                  : got.status.error().message;
      const bool again = (got.status.ok() || got.retry) && attempt < options_.attempts;
      if (!again) {
        return Error{got.status.ok() ? ErrorCode::kUnavailable : got.status.error().code,
                     fmt::format("{} ({} of {} are there; another pull goes on from them)", why,
                                 FormatBytes(part.size()), FormatBytes(remote.size)),
                     {},
                     {}};
      }
      Wait(attempt++, got.wait_seconds, why);
    }
    ::unlink(EtagNote(name).c_str());  // of the version that is replaced
    QUORUM_TRY(part.Finish(target));
    return WriteWhole(EtagNote(name), remote.etag + "\n");
  }

  const ModelReference model_;
  const PullOptions& options_;
  HubClient client_;
  const fs::path folder_;
  std::uint64_t total_ = 0, done_ = 0;  // bytes
};

}  // namespace

Result<PulledModel> PullModel(const ModelReference& model, const PullOptions& options) {
  return Puller(model, options).Run();
}

}  // namespace quorum::hub
