// A buffer beside an unmapped page: a kernel that touches one byte past that end dies of SIGSEGV, in any build.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "qat/base/config.hpp"

namespace qat::test {

/// Which end of a buffer lies at an unmapped page. The other end lies inside a page of its own, whose spare bytes hold
/// a pattern that intact() looks for; a page before and one behind are unmapped on either side.
enum class GuardedEnd { kFirst, kLast };

/// n elements of T. At the last end they are aligned to sizeof(T) alone, at the first end to a page.
template <class T>
class GuardedBuffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  GuardedBuffer(index_t n, GuardedEnd end) : size_(n) {
    const std::size_t page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = static_cast<std::size_t>(n) * sizeof(T);
    inside_ = (bytes + page - 1) / page * page;
    mapped_ = inside_ + 2 * page;
    void* base = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) throw std::runtime_error("GuardedBuffer: mmap failed");
    base_ = static_cast<std::uint8_t*>(base);
    first_ = base_ + page;
    protect(PROT_READ | PROT_WRITE);
    if (inside_ > 0) std::memset(first_, kSpare, inside_);
    data_ = reinterpret_cast<T*>(end == GuardedEnd::kFirst ? first_ : first_ + inside_ - bytes);
  }
  GuardedBuffer(const GuardedBuffer&) = delete;
  GuardedBuffer& operator=(const GuardedBuffer&) = delete;
  ~GuardedBuffer() { munmap(base_, mapped_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  index_t size() const { return size_; }
  std::size_t bytes() const { return static_cast<std::size_t>(size_) * sizeof(T); }

  /// From here on a write into the buffer dies too.
  void make_read_only() { protect(PROT_READ); }

  /// True if the spare bytes of its pages are what they were.
  bool intact() const {
    const std::uint8_t* own = reinterpret_cast<const std::uint8_t*>(data_);
    for (const std::uint8_t* p = first_; p < first_ + inside_; ++p)
      if ((p < own || p >= own + bytes()) && *p != kSpare) return false;
    return true;
  }

 private:
  static constexpr int kSpare = 0x5A;
  void protect(int access) {
    if (inside_ > 0 && mprotect(first_, inside_, access) != 0)
      throw std::runtime_error("GuardedBuffer: mprotect failed");
  }

  std::uint8_t* base_ = nullptr;
  std::uint8_t* first_ = nullptr;
  std::size_t inside_ = 0, mapped_ = 0;
  T* data_ = nullptr;
  index_t size_;
};

}  // namespace qat::test
