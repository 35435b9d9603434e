// Where pulled models lie: CACHE/hf/OWNER/REPO[@REVISION]/, each folder as the repository has it, and .quorum/ in it
// for notes, locks and files that are not complete yet.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "cli/hub/model_reference.h"
#include "engine/base/result.h"

namespace quorum::hub {

/// QUORUM_CACHE, else XDG_CACHE_HOME/quorum, else ~/.cache/quorum. Errors: none of them is set.
Result<std::filesystem::path> CacheFolder();

std::filesystem::path FolderOf(const std::filesystem::path& cache, const ModelReference& model);
/// The folder's notes.
std::filesystem::path NotesOf(const std::filesystem::path& folder);

/// What a pulled model is loaded from. Errors: kNotFound: it has not been pulled, or not whole.
Result<std::filesystem::path> FindPulled(const std::filesystem::path& cache, const ModelReference& model);

/// Remembers that `model` is whole and what it is loaded from.
Status NotePulled(const std::filesystem::path& folder, const ModelReference& model, const std::string& path);

/// Held while a folder is written to; others wait. Released when it dies, also with the process.
class FolderLock {
 public:
  /// `waiting` is called once if another holds it.
  static Result<FolderLock> Take(const std::filesystem::path& folder, const std::function<void()>& waiting);
  FolderLock(FolderLock&& other) noexcept;
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int file) : file_(file) {}
  int file_;
};

/// Writes a small file whole or not at all.
Status WriteWhole(const std::filesystem::path& path, const std::string& text);

}  // namespace quorum::hub
