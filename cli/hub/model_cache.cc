#include "cli/hub/model_cache.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <system_error>
#include <utility>

#include <fmt/format.h>

namespace quorum::hub {
namespace {

namespace fs = std::filesystem;

std::string Environment(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): nothing here sets the environment
  return value == nullptr ? std::string() : value;
}

// One note for each way in which the folder's model was asked for.
fs::path NoteOf(const fs::path& folder, const ModelReference& model) {
  std::string name = model.file.empty() ? "whole" : "file " + model.file;
  for (char& c : name) {
    if (c == '/') c = '|';
  }
  return NotesOf(folder) / (name + ".pulled");
}

}  // namespace

Result<fs::path> CacheFolder() {
  if (const std::string own = Environment("QUORUM_CACHE"); !own.empty()) return fs::path(own);
  if (const std::string xdg = Environment("XDG_CACHE_HOME"); !xdg.empty()) return fs::path(xdg) / "quorum";
  if (const std::string home = Environment("HOME"); !home.empty()) return fs::path(home) / ".cache" / "quorum";
  return InvalidArgument(
      "no folder for models: none of QUORUM_CACHE, XDG_CACHE_HOME and HOME is set (--cache names one)");
}

fs::path FolderOf(const fs::path& cache, const ModelReference& model) {
  std::string name = model.repo;
  if (model.revision != "main") name += "@" + model.revision;
  for (char& c : name) {
    if (c == '/') c = '|';
  }
  return cache / "hf" / model.owner / name;
}

fs::path NotesOf(const fs::path& folder) { return folder / ".quorum"; }

Result<fs::path> FindPulled(const fs::path& cache, const ModelReference& model) {
  const fs::path folder = FolderOf(cache, model);
  std::ifstream note(NoteOf(folder, model));
  std::string path;
  if (note) std::getline(note, path);
  std::error_code error;
  if (note && (path.empty() || IsSafeName(path)) && fs::exists(folder / path, error)) {
    return path.empty() ? folder : folder / path;
  }
  return NotFound(fmt::format("{} has not been pulled: quorum pull {}", model.Text(), model.Text()));
}

Status NotePulled(const fs::path& folder, const ModelReference& model, const std::string& path) {
  return WriteWhole(NoteOf(folder, model), path + "\n");
}

Status WriteWhole(const fs::path& path, const std::string& text) {
  const fs::path part = path.string() + ".new";
  {
    std::ofstream file(part, std::ios::binary | std::ios::trunc);
    file << text;
    file.flush();
    if (!file) return DataLoss(fmt::format("cannot write {}: {}", part.string(), std::strerror(errno)));
  }
  std::error_code error;
  fs::rename(part, path, error);
  if (error) return DataLoss(fmt::format("cannot write {}: {}", path.string(), error.message()));
  return {};
}

Result<FolderLock> FolderLock::Take(const fs::path& folder, const std::function<void()>& waiting) {
  std::error_code error;
  fs::create_directories(NotesOf(folder), error);
  if (error) return DataLoss(fmt::format("cannot make {}: {}", NotesOf(folder).string(), error.message()));
  const fs::path path = NotesOf(folder) / "lock";
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file < 0) return DataLoss(fmt::format("cannot open {}: {}", path.string(), std::strerror(errno)));
  if (::flock(file, LOCK_EX | LOCK_NB) != 0) {
    if (waiting) waiting();
    while (::flock(file, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      const int why = errno;
      ::close(file);
      return DataLoss(fmt::format("cannot lock {}: {}", path.string(), std::strerror(why)));
    }
  }
  return FolderLock(file);
}

FolderLock::FolderLock(FolderLock&& other) noexcept : file_(std::exchange(other.file_, -1)) {}

FolderLock::~FolderLock() {
  if (file_ >= 0) ::close(file_);
}

}  // namespace quorum::hub
