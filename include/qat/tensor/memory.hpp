// Counts the bytes owned by tensors, so that tests and reports can state allocations and peak memory.
#pragma once

#include "qat/base/config.hpp"

namespace qat::inline v0 {

/// A snapshot of what tensors hold. Only owning storage is counted; views and expressions own nothing.
struct MemoryStats {
  index_t current_bytes = 0;  ///< held now
  index_t peak_bytes = 0;     ///< largest current_bytes since the start or the last reset_peak()
  index_t allocations = 0;    ///< tensors made since the start of the program
  index_t cached_bytes = 0;   ///< of freed tensors, kept for new ones by a ScopedTensorCache; not in current_bytes
};

namespace detail {
inline MemoryStats memory_counters;  // every access below is atomic
inline index_t memory_most_held = 0;

inline void raise_to(index_t& most, index_t value) {
  index_t seen = __atomic_load_n(&most, __ATOMIC_RELAXED);
  while (value > seen && !__atomic_compare_exchange_n(&most, &seen, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}
inline void record_cached(index_t bytes) { __atomic_fetch_add(&memory_counters.cached_bytes, bytes, __ATOMIC_RELAXED); }
/// The largest current_bytes since the start of the program.
inline index_t most_held_bytes() { return __atomic_load_n(&memory_most_held, __ATOMIC_RELAXED); }
}  // namespace detail

/// Tells the counters about storage of `bytes` bytes; Tensor does it, other owners of model memory should too.
inline void record_allocation(index_t bytes) {
  MemoryStats& counters = detail::memory_counters;
  __atomic_fetch_add(&counters.allocations, 1, __ATOMIC_RELAXED);
  const index_t now = __atomic_add_fetch(&counters.current_bytes, bytes, __ATOMIC_RELAXED);
  detail::raise_to(counters.peak_bytes, now);
  detail::raise_to(detail::memory_most_held, now);
}

inline void record_release(index_t bytes) {
  __atomic_fetch_sub(&detail::memory_counters.current_bytes, bytes, __ATOMIC_RELAXED);
}

inline MemoryStats memory_stats() {
  const MemoryStats& counters = detail::memory_counters;
  return {__atomic_load_n(&counters.current_bytes, __ATOMIC_RELAXED),
          __atomic_load_n(&counters.peak_bytes, __ATOMIC_RELAXED),
          __atomic_load_n(&counters.allocations, __ATOMIC_RELAXED),
          __atomic_load_n(&counters.cached_bytes, __ATOMIC_RELAXED)};
}

/// Starts a new peak measurement from what is held now.
inline void reset_peak() {
  const index_t now = __atomic_load_n(&detail::memory_counters.current_bytes, __ATOMIC_RELAXED);
  __atomic_store_n(&detail::memory_counters.peak_bytes, now, __ATOMIC_RELAXED);
}

}  // namespace qat::inline v0
