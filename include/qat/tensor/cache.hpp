// Storage of freed tensors, kept for the next tensor of the same size while somebody asks for it.
//
// A training step allocates and frees the same sizes again and again. Fresh memory costs a page fault every 4 KiB,
// which at some hundred megabytes a step is as much time as all element-wise operations together.
#pragma once

#include <atomic>
#include <cstdlib>

#include "qat/tensor/memory.hpp"

namespace qat::inline v0 {
namespace detail {

/// Blocks of std::aligned_alloc by size, in lists that run through the blocks themselves. All functions are safe to
/// call from several threads.
class TensorCache {
 public:
  static constexpr index_t kSmallestBytes = 1 << 16;  ///< the heap serves smaller blocks without new pages

  constexpr TensorCache() = default;

  /// A kept block of exactly `bytes`, or null. If null, kept blocks are freed until a new one fits below the most that
  /// tensors have ever held: so keeping blocks never raises the peak of the program.
  void* take(index_t bytes) {
    if (bytes < kSmallestBytes || users_.load(std::memory_order_relaxed) == 0) return nullptr;
    const Lock lock(*this);
    for (Block** link = &list_of(bytes); *link != nullptr; link = &(*link)->next) {
      if ((*link)->bytes != bytes) continue;
      Block* const found = *link;
      *link = found->next;
      record_cached(-bytes);
      return found;
    }
    const MemoryStats now = memory_stats();
    index_t excess = now.current_bytes + now.cached_bytes + bytes - most_held_bytes();
    for (Block*& list : lists_)
      while (excess > 0 && list != nullptr) excess -= free_first(list);
    return nullptr;
  }
  /// Keeps a block; false if nobody asks for it, and the caller frees it.
  bool put(void* memory, index_t bytes) {
    if (bytes < kSmallestBytes || users_.load(std::memory_order_relaxed) == 0) return false;
    const Lock lock(*this);
    if (users_.load(std::memory_order_relaxed) == 0) return false;  // the last user has just freed everything
    Block* const block = static_cast<Block*>(memory);
    *block = {list_of(bytes), bytes};
    list_of(bytes) = block;
    record_cached(bytes);
    return true;
  }
  void add_user() { users_.fetch_add(1); }
  /// The last one frees what is kept.
  void remove_user() {
    const Lock lock(*this);
    if (users_.fetch_sub(1) != 1) return;
    for (Block*& list : lists_)
      while (list != nullptr) free_first(list);
  }

 private:
  struct Block {
    Block* next;
    index_t bytes;
  };
  struct Lock {
    explicit Lock(TensorCache& c) : cache(c) {
      while (cache.locked_.exchange(true, std::memory_order_acquire)) {
      }
    }
    ~Lock() { cache.locked_.store(false, std::memory_order_release); }
    TensorCache& cache;
  };

  Block*& list_of(index_t bytes) {
    return lists_[(static_cast<std::uint64_t>(bytes) * 0x9E3779B97F4A7C15u) >> (64 - kListBits)];
  }
  index_t free_first(Block*& list) {
    Block* const block = list;
    const index_t bytes = block->bytes;
    list = block->next;
    record_cached(-bytes);
    std::free(block);
    return bytes;
  }

  static constexpr int kListBits = 6;
  Block* lists_[1 << kListBits] = {};
  std::atomic<int> users_{0};
  std::atomic<bool> locked_{false};
};

inline constinit TensorCache tensor_cache;

}  // namespace detail

/// While one lives, the storage of freed tensors of 64 KiB and more is kept for new ones of the same size. Bounded:
/// never more than tensors held at their peak, together with the tensors that live. memory_stats().cached_bytes tells
/// how much; the end of the last scope frees it. Does nothing under AddressSanitizer, which it would blind.
class ScopedTensorCache {
 public:
#if defined(QAT_ADDRESS_SANITIZER)
  ScopedTensorCache() {}
  ~ScopedTensorCache() {}
#else
  ScopedTensorCache() { detail::tensor_cache.add_user(); }
  ~ScopedTensorCache() { detail::tensor_cache.remove_user(); }
#endif
  ScopedTensorCache(const ScopedTensorCache&) = delete;
  ScopedTensorCache& operator=(const ScopedTensorCache&) = delete;
};

}  // namespace qat::inline v0
