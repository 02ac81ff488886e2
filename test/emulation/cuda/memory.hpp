// The global memory that emulated kernels may use: buffers made or allowed by a test. Everything else is out of bounds.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

#include "order.hpp"

namespace qat::emulation {

/// A range of bytes that kernels may use.
struct Region {
  const std::byte* begin;
  const std::byte* end;
  bool writable;
  std::vector<std::uint8_t> written;  ///< by byte, for a buffer without initial contents; else empty
  std::size_t red_zone = 0;           ///< bytes before begin and after end that hold kRedByte
  std::uint64_t loaded_bytes = 0, stored_bytes = 0;

  static constexpr std::uint8_t kRedByte = 0xA5;

  /// False if something has written beside it.
  bool intact() const {
    for (std::size_t i = 1; i <= red_zone; ++i)
      if (std::to_integer<int>(begin[-static_cast<std::ptrdiff_t>(i)]) != kRedByte ||
          std::to_integer<int>(end[i - 1]) != kRedByte)
        return false;
    return true;
  }

  Region(const void* p, std::size_t bytes, bool can_write)
      : begin(static_cast<const std::byte*>(p)), end(begin + bytes), writable(can_write) {}

  std::size_t bytes() const { return static_cast<std::size_t>(end - begin); }
  /// Made at the first access: pages of it that no access touches cost nothing.
  Cell* cells() {
    if (!cells_) {
      cells_.reset(static_cast<Cell*>(std::calloc(bytes(), sizeof(Cell))));
      if (!cells_) throw std::bad_alloc();
    }
    return cells_.get();
  }
  void forget() { cells_.reset(); }

 private:
  struct Free {
    void operator()(Cell* p) const { std::free(p); }
  };
  std::unique_ptr<Cell[], Free> cells_;
};

/// All regions. Tests launch from one thread.
class Memory {
 public:
  static Memory& instance() {
    static Memory memory;
    return memory;
  }

  void add(Region& region) {
    const auto at = std::upper_bound(regions_.begin(), regions_.end(), region.begin,
                                     [](const std::byte* p, const Region* r) { return p < r->begin; });
    if ((at != regions_.end() && region.end > (*at)->begin) ||
        (at != regions_.begin() && (*(at - 1))->end > region.begin))
      throw std::logic_error("emulation: a buffer overlaps one that is registered");
    regions_.insert(at, &region);
    recent_.fill(nullptr);
  }
  void remove(Region& region) {
    regions_.erase(std::find(regions_.begin(), regions_.end(), &region));
    recent_.fill(nullptr);
  }

  /// The region that holds all n bytes at p; null if none does.
  Region* find(const void* address, std::size_t n) {
    const std::byte* p = static_cast<const std::byte*>(address);
    const std::uintptr_t bits = reinterpret_cast<std::uintptr_t>(p);
    Region*& recent = recent_[(bits >> 8 ^ bits >> 14) % recent_.size()];
    if (recent != nullptr && p >= recent->begin && p < recent->end && n <= static_cast<std::size_t>(recent->end - p))
      return recent;
    Region* r = nearest(p);
    if (r == nullptr || p < r->begin || p >= r->end || n > static_cast<std::size_t>(r->end - p)) return nullptr;
    return recent = r;
  }
  /// The last region that begins at or before p, else the first; null without regions. For messages.
  Region* nearest(const std::byte* p) const {
    const auto at = std::upper_bound(regions_.begin(), regions_.end(), p,
                                     [](const std::byte* q, const Region* r) { return q < r->begin; });
    if (at != regions_.begin()) return *(at - 1);
    return regions_.empty() ? nullptr : regions_.front();
  }
  const std::vector<Region*>& regions() const { return regions_; }

 private:
  std::vector<Region*> regions_;  // by address
  std::array<Region*, 64> recent_{};
};

/// Lets kernels use bytes that something else owns, for as long as it lives; only read them if they are const.
class Allowed {
 public:
  Allowed(const void* p, std::size_t bytes, bool writable) : region_(p, bytes, writable) {
    Memory::instance().add(region_);
  }
  Allowed(const Allowed&) = delete;
  Allowed& operator=(const Allowed&) = delete;
  ~Allowed() { Memory::instance().remove(region_); }
  const Region& region() const { return region_; }

 private:
  Region region_;
};
[[nodiscard]] inline Allowed allow(void* p, std::size_t bytes) { return {p, bytes, true}; }
[[nodiscard]] inline Allowed allow(const void* p, std::size_t bytes) { return {p, bytes, false}; }

/// n elements of memory for kernels, aligned to 256 bytes as cudaMalloc's is, or `offset` elements behind that. Kernels
/// may not write a Buffer<const T>. Bytes that a test sets through data() of an uninitialized buffer count as unwritten
/// until initialized().
template <class T>
class Buffer {
  using Value = std::remove_const_t<T>;
  static_assert(std::is_trivially_copyable_v<Value>);

 public:
  /// Holds `value` n times.
  explicit Buffer(std::size_t n, const Value& value = Value{}, std::size_t offset = 0) : Buffer(n, offset, Raw{}) {
    std::fill_n(values(), n, value);
  }
  Buffer(const std::vector<Value>& from, std::size_t offset = 0) : Buffer(from.size(), offset, Raw{}) {  // NOLINT
    if (!from.empty()) std::memcpy(values(), from.data(), from.size() * sizeof(Value));
  }
  /// For results: a kernel must write before it reads. Every byte is 0xFF: NaN as a float.
  static Buffer uninitialized(std::size_t n, std::size_t offset = 0) {
    Buffer buffer(n, offset, Raw{});
    std::memset(static_cast<void*>(buffer.values()), 0xFF, n * sizeof(Value));
    buffer.region_->written.assign(n * sizeof(Value), 0);
    return buffer;
  }
  Buffer(Buffer&& other) noexcept = default;
  Buffer& operator=(Buffer&&) = delete;
  ~Buffer() {
    if (region_) Memory::instance().remove(*region_);
  }

  T* data() const { return values(); }
  std::size_t size() const { return size_; }
  T& operator[](std::size_t i) const { return values()[i]; }
  T* begin() const { return values(); }
  T* end() const { return values() + size_; }
  std::vector<Value> to_vector() const { return std::vector<Value>(begin(), end()); }

  void initialized() { std::fill(region_->written.begin(), region_->written.end(), std::uint8_t{1}); }
  /// Elements of an uninitialized buffer with a byte that no kernel has written.
  std::size_t unwritten() const {
    std::size_t count = 0;
    const auto& w = region_->written;
    for (std::size_t i = 0; i < w.size(); i += sizeof(Value))
      count += std::find(w.begin() + static_cast<std::ptrdiff_t>(i),
                         w.begin() + static_cast<std::ptrdiff_t>(i + sizeof(Value)),
                         0) != w.begin() + static_cast<std::ptrdiff_t>(i + sizeof(Value));
    return count;
  }
  /// What kernels have loaded from and stored to it since it was made, in bytes.
  std::uint64_t loaded_bytes() const { return region_->loaded_bytes; }
  std::uint64_t stored_bytes() const { return region_->stored_bytes; }

 private:
  static constexpr std::size_t kRedZone = 256;
  struct Raw {};
  struct Release {
    void operator()(std::byte* p) const { ::operator delete (p, std::align_val_t{256}); }
  };

  Buffer(std::size_t n, std::size_t offset, Raw) : size_(n) {
    const std::size_t bytes = n * sizeof(Value), start = kRedZone + offset * sizeof(Value);
    const std::size_t all = start + bytes + kRedZone;
    memory_.reset(static_cast<std::byte*>(::operator new (all, std::align_val_t{256})));
    std::memset(memory_.get(), Region::kRedByte, all);
    data_ = memory_.get() + start;
    region_ = std::make_unique<Region>(data_, bytes, !std::is_const_v<T>);
    region_->red_zone = kRedZone;
    Memory::instance().add(*region_);
  }
  Value* values() const { return reinterpret_cast<Value*>(data_); }

  std::size_t size_;
  std::unique_ptr<std::byte[], Release> memory_;
  std::byte* data_ = nullptr;
  std::unique_ptr<Region> region_;
};

}  // namespace qat::emulation
