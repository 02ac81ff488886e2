// Directories: what they hold, removing them, and one that appears complete or not at all.
#pragma once

#include <dirent.h>
#include <sys/file.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "qat/io/file.hpp"

namespace qat::inline v0 {

/// Names in the directory, sorted, without "." and "..".
/// @throws qat::Error (kIo) if it cannot be read
inline std::vector<std::string> list_directory(const std::string& path) {
  DIR* const directory = ::opendir(path.c_str());
  if (directory == nullptr) raise(ErrorCode::kIo, path, ": cannot read directory: ", std::strerror(errno));
  std::vector<std::string> names;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

/// Removes the directory and everything in it; links are removed, not followed. Absent: nothing to do.
/// @throws qat::Error (kIo) naming what cannot be removed
inline void remove_directory(const std::string& path) {
  struct stat status;
  if (::lstat(path.c_str(), &status) != 0) return;
  if (S_ISDIR(status.st_mode)) {
    for (const std::string& name : list_directory(path)) {
      const std::string inner = join_path(path, name);
      if (::lstat(inner.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
        remove_directory(inner);
      } else if (::unlink(inner.c_str()) != 0) {
        raise(ErrorCode::kIo, inner, ": cannot remove: ", std::strerror(errno));
      }
    }
  }
  if (::rmdir(path.c_str()) != 0) raise(ErrorCode::kIo, path, ": cannot remove: ", std::strerror(errno));
}

/// What the names of unfinished directories begin with; those of a dead process may be removed.
inline constexpr std::string_view kUnfinishedPrefix = ".unfinished-";

/// Files are written below path(), a temporary directory beside the target; commit() makes them durable and gives the
/// directory its name in one step. Without commit() (an error on the way, say) it is gone. The target must not exist.
class AtomicDirectoryWriter {
 public:
  explicit AtomicDirectoryWriter(const std::string& target)
      : target_(target),
        path_(join_path(parent_directory(target), std::string(kUnfinishedPrefix) + file_name(target))) {
    remove_directory(path_);
    if (::mkdir(path_.c_str(), 0777) != 0) {
      const int reason = errno;
      path_.clear();
      raise(ErrorCode::kIo, target, ": cannot create directory: ", std::strerror(reason));
    }
  }
  AtomicDirectoryWriter(const AtomicDirectoryWriter&) = delete;
  AtomicDirectoryWriter& operator=(const AtomicDirectoryWriter&) = delete;
  ~AtomicDirectoryWriter() {
    if (!path_.empty()) discard(path_);
  }

  const std::string& path() const { return path_; }

  void commit() {
    sync_directory(path_);
    if (::rename(path_.c_str(), target_.c_str()) != 0)
      raise(ErrorCode::kIo, target_, ": cannot create directory: ", std::strerror(errno));
    path_.clear();
    sync_directory(parent_directory(target_));
  }

 private:
  static void discard(const std::string& path) noexcept {
    try {
      remove_directory(path);
    } catch (const Error&) {  // it stays, under a name that says what it is
    }
  }

  std::string target_, path_;
};

/// Removes a finished directory in one step, as seen by whoever looks for its name: a process that dies meanwhile
/// leaves the whole directory or an unfinished one.
inline void retire_directory(const std::string& path) {
  const std::string doomed =
      join_path(parent_directory(path), std::string(kUnfinishedPrefix) + "removal-of-" + file_name(path));
  remove_directory(doomed);
  if (::rename(path.c_str(), doomed.c_str()) != 0)
    raise(ErrorCode::kIo, path, ": cannot remove: ", std::strerror(errno));
  remove_directory(doomed);
}

/// Replaces the directory, if there is one, by what write(path) puts below the path it is given.
template <class Write>
void replace_directory(const std::string& target, Write&& write) {
  AtomicDirectoryWriter writer(target);
  write(writer.path());
  if (is_directory(target)) retire_directory(target);
  writer.commit();
}

/// Puts the files that write(path) makes below the path it is given into the directory, which is created when absent.
/// Files of the same names are replaced, once all new ones are complete; others stay.
template <class Write>
void update_directory(const std::string& target, Write&& write) {
  AtomicDirectoryWriter writer(target);
  write(writer.path());
  if (!is_directory(target)) return writer.commit();
  for (const std::string& name : list_directory(writer.path())) {
    const std::string place = join_path(target, name);
    if (::rename(join_path(writer.path(), name).c_str(), place.c_str()) != 0)
      raise(ErrorCode::kIo, place, ": cannot write: ", std::strerror(errno));
  }
  sync_directory(target);
}

/// Removes what processes that died have left in a directory.
inline void remove_unfinished(const std::string& directory) {
  for (const std::string& name : list_directory(directory))
    if (name.starts_with(kUnfinishedPrefix)) remove_directory(join_path(directory, name));
}

/// A lock on a file that this process holds until it ends, however it ends.
class FileLock {
 public:
  /// Creates the file when absent.
  /// @throws qat::Error (kIo) if another process holds the lock, or the file cannot be opened
  explicit FileLock(const std::string& path) {
    descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor_ < 0) raise(ErrorCode::kIo, path, ": cannot write: ", std::strerror(errno));
    if (::flock(descriptor_, LOCK_EX | LOCK_NB) == 0) return;
    const int reason = errno;
    ::close(descriptor_);
    raise(ErrorCode::kIo, path,
          reason == EWOULDBLOCK ? ": another process is at work here"
                                : std::string(": cannot lock: ") + std::strerror(reason));
  }
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock() { ::close(descriptor_); }

 private:
  int descriptor_ = -1;
};

}  // namespace qat::inline v0
