#include "cli/output_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "quant/expert_surgery.h"

namespace quorum::cli {
namespace {

Error CannotWrite(const std::string& path, const std::string& why) {
  return InvalidArgument(path + ": cannot be written: " + why);
}

/// Whether a file can be made in `folder`.
Status CheckFolder(const std::string& path, const std::string& folder) {
  struct stat info{};
  if (::stat(folder.c_str(), &info) != 0) {
    return CannotWrite(path, errno == ENOENT ? "there is no folder " + folder : folder + ": " + std::strerror(errno));
  }
  if (!S_ISDIR(info.st_mode)) return CannotWrite(path, folder + " is no folder");
  // A file without a name tells what permissions alone do not (a disk that is read-only), where the system has them.
  const int fd = ::open(folder.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
  if (fd >= 0) {
    ::close(fd);
    return {};
  }
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
    return CannotWrite(path, folder + ": " + std::strerror(errno));
  }
  if (::access(folder.c_str(), W_OK | X_OK) != 0) return CannotWrite(path, folder + ": " + std::strerror(errno));
  return {};
}

}  // namespace

Status CheckOutput(const std::string& path, bool replace) {
  if (path.empty()) return InvalidArgument("a file to write has an empty name");
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0) {
    if (S_ISDIR(info.st_mode)) return InvalidArgument(path + " is a folder; the name of a file is needed");
    if (!S_ISREG(info.st_mode)) return {};  // a device or a pipe
    if (!replace) return InvalidArgument(path + " exists already; --force writes over it");
    if (::access(path.c_str(), W_OK) != 0) return CannotWrite(path, std::strerror(errno));
  }
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return CheckFolder(path, folder.empty() ? "." : folder);
}

Status CheckNewModel(const quant::GgufFile& source, const std::string& path, bool replace) {
  QUORUM_TRY(quant::CheckDestination(source, path, replace));
  return CheckOutput(path, replace);
}

}  // namespace quorum::cli
