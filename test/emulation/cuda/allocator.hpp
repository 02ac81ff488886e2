// Device memory of the emulator for code that allocates as it does on a GPU: pointers in place of Buffer objects.
#pragma once

#include <cstdio>
#include <map>

#include "memory.hpp"

namespace qat::emulation {

namespace detail {
inline std::map<void*, Buffer<std::uint8_t>>& allocations() {
  static std::map<void*, Buffer<std::uint8_t>> map;
  return map;
}
}  // namespace detail

/// Of all allocations that are not freed.
inline std::size_t allocated_bytes() {
  std::size_t sum = 0;
  for (const auto& [p, buffer] : detail::allocations()) sum += buffer.size();
  return sum;
}
/// Memory for kernels, every byte `fill`.
inline void* allocate(std::size_t bytes, std::uint8_t fill) {
  Buffer<std::uint8_t> buffer(bytes, fill);
  void* const p = buffer.data();
  detail::allocations().emplace(p, std::move(buffer));
  return p;
}
/// Frees what allocate() gave, or null.
inline void release(void* p) noexcept {
  if (p == nullptr) return;
  if (detail::allocations().erase(p) == 0) {
    std::fprintf(stderr, "emulation: %p was not allocated, or was freed twice\n", p);
    std::abort();
  }
}
inline bool is_device_memory(const void* p) { return Memory::instance().find(p, 1) != nullptr; }

}  // namespace qat::emulation
