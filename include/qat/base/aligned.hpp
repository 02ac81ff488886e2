// Storage aligned to a cache line, so that vector loads and non-temporal stores need no prologue.
#pragma once

#include <cstdlib>
#include <new>
#include <type_traits>
#include <utility>

#include "qat/base/check.hpp"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace qat::inline v0 {

inline constexpr std::size_t kAlignment = 64;

/// Uninitialized memory aligned to 64 bytes, to be freed with std::free. Large blocks ask for huge pages: weights then
/// stream past the hardware prefetcher without a stop at every 4 KiB, and a fresh tensor costs one page fault instead
/// of 512.
/// @throws std::bad_alloc
inline void* aligned_allocate(std::size_t bytes) {
  constexpr std::size_t kHugePage = std::size_t{1} << 21;
  const std::size_t alignment = bytes >= 2 * kHugePage ? kHugePage : kAlignment;
  void* const memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc();
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (alignment == kHugePage) madvise(memory, bytes / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return memory;
}

/// Uninitialized array of n trivially copyable values, aligned to 64 bytes; movable, not copyable.
template <class T>
class AlignedBuffer {
  static_assert(std::is_trivially_copyable_v<T>, "AlignedBuffer holds trivially copyable values only");

 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(index_t size) : size_(size) {
    QAT_CHECK(size >= 0, kInvalidArgument, "AlignedBuffer: size is ", size, ", must not be negative");
    if (size == 0) return;
    if (static_cast<std::size_t>(size) > static_cast<std::size_t>(PTRDIFF_MAX) / sizeof(T)) throw std::bad_alloc();
    data_ = static_cast<T*>(aligned_allocate(static_cast<std::size_t>(size) * sizeof(T)));
  }
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~AlignedBuffer() { std::free(data_); }

  /// Takes over memory of std::aligned_alloc that holds `size` values.
  static AlignedBuffer adopt(T* data, index_t size) {
    AlignedBuffer buffer;
    buffer.data_ = data;
    buffer.size_ = size;
    return buffer;
  }
  /// Gives the memory up, to be freed with std::free; the buffer is empty afterwards.
  T* release() {
    size_ = 0;
    return std::exchange(data_, nullptr);
  }

  /// At least `size` values, for scratch that is kept between calls: what it held is lost when it grows.
  T* reserve(index_t size) {
    if (size_ < size) *this = AlignedBuffer(size);
    return data_;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  index_t size() const { return size_; }
  T& operator[](index_t i) { return data_[i]; }
  const T& operator[](index_t i) const { return data_[i]; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }

 private:
  T* data_ = nullptr;
  index_t size_ = 0;
};

}  // namespace qat::inline v0
