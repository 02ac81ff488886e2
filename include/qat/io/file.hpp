// Files: a read-only memory map, and a writer whose file appears complete or not at all.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "qat/base/check.hpp"

namespace qat::inline v0 {

/// Text of a file for a message: quoted, cut to 200 bytes, control characters as \xNN, so that it stays on one line.
inline std::string printable(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "'";
  for (const char c : text.substr(0, 200)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  if (text.size() > 200) out += "...";
  return out + "'";
}

inline bool is_directory(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

inline bool file_exists(const std::string& path) {
  struct stat status;
  return ::stat(path.c_str(), &status) == 0 && !S_ISDIR(status.st_mode);
}

inline std::string join_path(const std::string& directory, const std::string& name) {
  return directory.empty() || directory.back() == '/' ? directory + name : directory + "/" + name;
}

/// "" for a bare file name.
inline std::string parent_directory(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? std::string() : path.substr(0, slash + 1);
}

inline std::string file_name(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

/// Makes the names in the directory durable. A file system that cannot sync directories is not an error.
inline void sync_directory(const std::string& path) {
  const int descriptor = ::open(path.empty() ? "." : path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  (void)::fsync(descriptor);
  ::close(descriptor);
}

/// Creates the directory when it does not exist (its parent must); throws kIo when that fails.
inline void make_directory(const std::string& path) {
  if (is_directory(path)) return;
  if (::mkdir(path.c_str(), 0777) != 0 && !is_directory(path))
    raise(ErrorCode::kIo, path, ": cannot create directory: ", std::strerror(errno));
}

/// A whole file mapped read-only: pages are read when touched. The file must not shrink while it is mapped.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::string& path) : path_(path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) raise(ErrorCode::kIo, path, ": cannot open: ", std::strerror(errno));
    struct stat status;
    const char* reason = nullptr;
    if (::fstat(descriptor, &status) != 0) {
      reason = std::strerror(errno);
    } else if (S_ISDIR(status.st_mode)) {
      reason = "is a directory, not a file";
    } else if (!S_ISREG(status.st_mode)) {
      reason = "is not a regular file";
    } else if (status.st_size > 0) {
      void* address = ::mmap(nullptr, static_cast<std::size_t>(status.st_size), PROT_READ, MAP_PRIVATE, descriptor, 0);
      if (address == MAP_FAILED) {
        reason = std::strerror(errno);
      } else {
        data_ = static_cast<const unsigned char*>(address);
        size_ = static_cast<std::size_t>(status.st_size);
      }
    }
    ::close(descriptor);
    if (reason != nullptr) raise(ErrorCode::kIo, path, ": cannot read: ", reason);
  }
  MappedFile(MappedFile&& other) noexcept
      : path_(std::move(other.path_)),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  MappedFile& operator=(MappedFile&& other) noexcept {
    std::swap(path_, other.path_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<unsigned char*>(data_), size_);
  }

  const std::string& path() const { return path_; }
  const unsigned char* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::string_view text() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  std::string path_;
  const unsigned char* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Takes bytes of a file, in pieces of any size.
using ByteSink = std::function<void(const void* data, std::size_t size)>;

/// Whether a file name is that of an AtomicFileWriter's temporary: NAME.tmp-PID-COUNT.
inline bool is_temporary_file(std::string_view name) {
  const std::size_t mark = name.rfind(".tmp-");
  if (mark == name.npos || mark == 0) return false;
  const std::string_view numbers = name.substr(mark + 5);
  const std::size_t dash = numbers.find('-');
  return dash != numbers.npos && dash > 0 && dash + 1 < numbers.size() &&
         numbers.find_first_not_of("0123456789") == dash &&
         numbers.find_first_not_of("0123456789", dash + 1) == numbers.npos;
}

/// Writes to a temporary file in the target's directory; commit() makes it durable and gives it its name in one step.
/// Without commit() (an error on the way, say) the target is as before and the temporary is gone. A target that exists
/// and is no regular file (/dev/stdout, a pipe) is written directly.
class AtomicFileWriter {
 public:
  explicit AtomicFileWriter(const std::string& path) : path_(path) {
    struct stat status;
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
      if (S_ISDIR(status.st_mode)) raise(ErrorCode::kIo, path, ": cannot write: is a directory");
      descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    } else {
      static std::atomic<unsigned> counter{0};
      temporary_ = path + ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
      descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (descriptor_ < 0) temporary_.clear();
    }
    if (descriptor_ < 0) raise(ErrorCode::kIo, path, ": cannot write: ", std::strerror(errno));
  }
  AtomicFileWriter(const AtomicFileWriter&) = delete;
  AtomicFileWriter& operator=(const AtomicFileWriter&) = delete;
  ~AtomicFileWriter() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!temporary_.empty()) ::unlink(temporary_.c_str());
  }

  void write(const void* data, std::size_t size) {
    const char* from = static_cast<const char*>(data);
    while (size > 0) {
      const std::size_t part = size < kBufferSize - buffer_.size() ? size : kBufferSize - buffer_.size();
      buffer_.append(from, part);
      from += part;
      size -= part;
      if (buffer_.size() == kBufferSize) write_pages();
    }
  }
  void write(std::string_view text) { write(text.data(), text.size()); }

  void commit() {
    flush();
    if (temporary_.empty()) return;
    if (::fsync(descriptor_) != 0) fail();
    const int closed = ::close(std::exchange(descriptor_, -1));
    if (closed != 0 || ::rename(temporary_.c_str(), path_.c_str()) != 0) fail();
    temporary_.clear();
    sync_directory(parent_directory(path_));
  }

 private:
  static constexpr std::size_t kBufferSize = std::size_t{1} << 17, kPage = 4096;
  static constexpr off_t kWritebackSize = off_t{1} << 23;

  [[noreturn]] void fail() { raise(ErrorCode::kIo, path_, ": cannot write: ", std::strerror(errno)); }
  /// Whole pages of the file, which take half the time that parts of pages do.
  void write_pages() {
    const std::size_t whole = buffer_.size() - (static_cast<std::size_t>(position_) + buffer_.size()) % kPage;
    write_through(buffer_.data(), whole);
    buffer_.erase(0, whole);
  }
  void flush() {
    write_through(buffer_.data(), buffer_.size());
    buffer_.clear();
  }
  void write_through(const char* data, std::size_t size) {
    while (size > 0) {
      const ssize_t written = ::write(descriptor_, data, size);
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) fail();
      data += written;
      size -= static_cast<std::size_t>(written);
      position_ += written;
    }
    start_writeback();
  }
  /// Lets the disk write what is there while more is made, so that commit() waits for the rest only. A hint.
  void start_writeback() {
#if defined(SYNC_FILE_RANGE_WRITE)
    if (temporary_.empty() || position_ - handed_over_ < kWritebackSize) return;
    (void)::sync_file_range(descriptor_, handed_over_, position_ - handed_over_, SYNC_FILE_RANGE_WRITE);
    handed_over_ = position_;
#endif
  }

  std::string path_;
  std::string temporary_;
  std::string buffer_;
  int descriptor_ = -1;
  off_t position_ = 0, handed_over_ = 0;  ///< bytes written, bytes that the disk has been told of
};

/// Has write(sink) hand over the bytes of a part of the file.
/// @throws qat::Error (kInvalidArgument) naming `part` if they are not `size`
template <class Write>
void write_all_of(AtomicFileWriter& writer, std::size_t size, const std::string& part, const Write& write) {
  std::size_t left = size;
  write([&](const void* data, std::size_t bytes) {
    QAT_CHECK(bytes <= left, kInvalidArgument, part, " hands over more than its ", size, " bytes");
    writer.write(data, bytes);
    left -= bytes;
  });
  QAT_CHECK(left == 0, kInvalidArgument, part, " hands over ", size - left, " of its ", size, " bytes");
}

/// Replaces the file by `text`, completely or not at all.
inline void write_file(const std::string& path, std::string_view text) {
  AtomicFileWriter writer(path);
  writer.write(text);
  writer.commit();
}

}  // namespace qat::inline v0
