// Which accesses of a launch are ordered. Each byte of memory that kernels use has a cell that remembers who wrote it
// last and who has read it since; an access that conflicts with what the cell remembers, with nothing that orders the
// two, is a race, whatever order this run happened to execute them in.
//
//   sync()        orders all accesses of a block before it with all after it
//   sync_warp()   the same within a warp; shuffles and votes order no memory
//   fence(), then an atomic; an atomic on the same word elsewhere, then fence()    orders blocks (the "last block to
//                 arrive reduces" pattern): what the first thread had done, or seen through barriers, before what the
//                 second thread, or those behind its next barrier, do
//   the end of a launch orders everything
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <map>
#include <unordered_map>
#include <vector>

namespace qat::emulation {

/// An interval of a warp's execution between two points that order it, and a lane: who made an access, and when.
/// 24 bits and 5 bits; the upper three are flags of cells.
using Stamp = std::uint32_t;

/// What is remembered of one byte. 0 is nothing.
struct Cell {
  static constexpr Stamp kWho = (1u << 29) - 1;
  // flags of write
  static constexpr Stamp kAtomic = 1u << 29;
  static constexpr Stamp kInFlight = 1u << 30;  // a cp.async that has not landed
  // flags of read: whether it is one thread, or several of a warp, a block, the grid
  static constexpr Stamp kWarp = 1u << 29, kBlock = 2u << 29, kGrid = 3u << 29;
  static constexpr Stamp kNonCoherent = 1u << 31;

  Stamp write = 0, read = 0;
  friend bool operator==(const Cell& a, const Cell& b) { return a.write == b.write && a.read == b.read; }
};

/// An access that must not be: what[0] is null if there is none.
struct Conflict {
  const char* what = nullptr;  ///< what is wrong, after the name of the other thread
  Stamp other = 0;
  unsigned byte = 0;  ///< of the access
  bool non_coherent = false;
};

class Order {
 public:
  /// Numbers of intervals go on from launch to launch, so that cells need no clearing; a caller clears all cells and
  /// calls forget() when exhausted() says so.
  static constexpr std::uint32_t kIntervals = 1u << 24;
  bool exhausted() const { return next_ > kIntervals / 2; }
  void forget() { next_ = 1; }

  void begin_launch(unsigned blocks) {
    first_ = next_ << 5;
    base_ = next_;
    blocks_ = blocks;
    intervals_.clear();
    run_.clear();
    words_.clear();
  }
  void begin_block(unsigned block, unsigned warps) {
    block_ = block;
    epoch_ = 1;
    warps_.assign(warps, {});
    dirty_.assign(warps * 32, 0);
    block_dirty_ = false;
    known_.clear();
    own_.clear();
    seen_.clear();
    block_first_ = next_ << 5;
    for (unsigned w = 0; w < warps; ++w) open(w);
  }
  void end_block() { run_.push_back(block_); }

  void barrier() {
    ++epoch_;
    for (unsigned w = 0; w < warps_.size(); ++w) open(w);
    for (auto& d : dirty_) {
      block_dirty_ |= d != 0;
      d = 0;
    }
    for (const auto& [thread, clock] : own_) merge(known_, clock);
    own_.clear();
    seen_.clear();
  }
  void sync_warp(unsigned warp) {
    ++warps_[warp].step;
    open(warp);
  }

  Stamp stamp(unsigned thread) const { return warps_[thread >> 5].interval << 5 | (thread & 31); }
  bool full() const { return next_ + 64 > kIntervals; }

  /// Global memory; cells of n bytes.
  Conflict read(Cell* cells, unsigned n, unsigned thread, bool non_coherent) {
    return touch<false>(cells, n, stamp(thread), first_, non_coherent ? Cell::kNonCoherent : 0);
  }
  Conflict write(Cell* cells, unsigned n, unsigned thread) {
    dirty_[thread] = 1;
    return touch<true>(cells, n, stamp(thread), first_, 0);
  }
  /// An atomic on the word at p: what it releases and acquires, beside the access.
  Conflict atomic(Cell* cells, unsigned n, unsigned thread, const void* p) {
    const Conflict conflict = touch<true>(cells, n, stamp(thread), first_, Cell::kAtomic);
    Clock& word = words_[p];
    merge(seen_[thread], word);
    if (dirty_[thread] == 0 && !block_dirty_) {
      merge(word, known_);
      if (const auto own = own_.find(thread); own != own_.end()) merge(word, own->second);
      Release& mine = at(word, block_);
      mine = std::max(mine, Release{epoch_, thread});
    }
    return conflict;
  }
  void fence(unsigned thread) {
    dirty_[thread] = 0;
    block_dirty_ = false;
    if (const auto seen = seen_.find(thread); seen != seen_.end()) {
      merge(own_[thread], seen->second);
      seen_.erase(seen);
    }
  }

  /// Shared memory of the block that runs.
  Conflict shared_read(Cell* cells, unsigned n, unsigned thread) {
    return touch<false>(cells, n, stamp(thread), block_first_, 0);
  }
  Conflict shared_write(Cell* cells, unsigned n, unsigned thread) {
    return touch<true>(cells, n, stamp(thread), block_first_, 0);
  }
  /// From the issue of a cp.async until land() nobody may touch its destination.
  Conflict shared_copy(Cell* cells, unsigned n, unsigned thread) {
    return touch<true>(cells, n, stamp(thread), block_first_, Cell::kInFlight);
  }
  void land(Cell* cells, unsigned n, unsigned thread) const {
    for (unsigned i = 0; i < n; ++i) cells[i] = {stamp(thread), 0};
  }
  /// A row that a lane reads for its whole warp: its own writes are unordered with the other lanes' reads, too.
  Conflict shared_read_for_warp(Cell* cells, unsigned n, unsigned thread) {
    const Conflict conflict = touch<false>(cells, n, stamp(thread), block_first_, 0);
    return conflict.what ? conflict : touch<false>(cells, n, stamp(thread ^ 1), block_first_, 0);
  }

  unsigned block_of(Stamp who) const { return interval(who).block; }
  unsigned thread_of(Stamp who) const { return interval(who).warp * 32 + (who & 31); }

 private:
  struct Interval {
    std::uint32_t block, warp, epoch, step;
  };
  struct Warp {
    std::uint32_t interval = 0, step = 0;
  };
  /// What of a block is released: everything of earlier epochs, and that of one thread in this one. Epoch 0: nothing.
  struct Release {
    std::uint32_t epoch = 0, thread = 0;
    friend bool operator<(const Release& a, const Release& b) { return a.epoch < b.epoch; }
  };
  using Clock = std::vector<Release>;  // by block; empty: nothing

  const Interval& interval(Stamp who) const { return intervals_[((who & Cell::kWho) >> 5) - base_]; }

  void open(unsigned warp) {
    warps_[warp].interval = next_++;
    intervals_.push_back({block_, warp, epoch_, warps_[warp].step});
  }
  Release& at(Clock& clock, unsigned block) const {
    if (clock.empty()) clock.resize(blocks_);
    return clock[block];
  }
  void merge(Clock& into, const Clock& from) const {
    if (from.empty()) return;
    if (into.empty()) into.resize(blocks_);
    for (std::size_t i = 0; i < from.size(); ++i) into[i] = std::max(into[i], from[i]);
  }
  /// True if the access `other` of another block happened before everything `me` does now.
  bool acquired(Stamp other, Stamp me) const {
    const Interval& a = interval(other);
    const unsigned thread = a.warp * 32 + (other & 31);
    const auto covers = [&](const Clock& clock) {
      if (clock.empty()) return false;
      const Release& r = clock[a.block];
      return r.epoch > a.epoch || (r.epoch == a.epoch && r.thread == thread);
    };
    if (covers(known_)) return true;
    const auto own = own_.find(thread_of(me));
    return own != own_.end() && covers(own->second);
  }
  bool acquired_all(Stamp me) const {
    const auto own = own_.find(thread_of(me));
    for (const unsigned block : run_)
      if ((known_.empty() || known_[block].epoch == 0) &&
          (own == own_.end() || own->second.empty() || own->second[block].epoch == 0))
        return false;
    return true;
  }
  /// True if `other` (several threads, says scope) is ordered before what `me` does now.
  bool before(Stamp other, Stamp scope, Stamp me) const {
    if (scope == Cell::kGrid) return acquired_all(me);
    const Interval& a = interval(other);
    if (a.block != block_) return acquired(other, me);
    if (a.epoch != epoch_) return true;
    if (scope == Cell::kBlock) return false;
    const unsigned warp = interval(me).warp;
    if (a.warp != warp) return false;
    if (a.step != warps_[warp].step) return true;
    return scope == 0 && ((other ^ me) & Cell::kWho) == 0;
  }
  Stamp merged_read(Stamp read, Stamp me) const {
    constexpr Stamp kScope = Cell::kGrid;
    const Stamp scope = read & kScope, flags = read & Cell::kNonCoherent;
    if (scope == Cell::kGrid) return me | flags | Cell::kGrid;
    const Interval& a = interval(read);
    if (a.block != block_) return me | flags | Cell::kGrid;
    if (a.epoch != epoch_) return me | flags;
    if (scope == Cell::kBlock) return me | flags | Cell::kBlock;
    const unsigned warp = interval(me).warp;
    if (a.warp != warp) return me | flags | Cell::kBlock;
    if (a.step != warps_[warp].step) return me | flags;
    if (scope == 0 && ((read ^ me) & Cell::kWho) == 0) return read;
    return me | flags | Cell::kWarp;
  }

  const char* against_write(Stamp write, Stamp me, bool writes, Stamp flags) const {
    if (write & Cell::kInFlight) return "is copying to it with cp.async and has not waited for the copy";
    if (!writes && flags & Cell::kNonCoherent) return "writes it in this launch, and this load bypasses that";
    if (writes && flags & Cell::kAtomic && write & Cell::kAtomic) return nullptr;
    return before(write, 0, me) ? nullptr : "writes it, and nothing orders the two";
  }

  template <bool kWrite>
  Conflict touch(Cell* cells, unsigned n, Stamp me, Stamp first, Stamp flags) {
    Cell last, next;
    for (unsigned i = 0; i < n; ++i) {
      Cell& cell = cells[i];
      if (i != 0 && cell == last) {
        cell = next;
        continue;
      }
      last = cell;
      if ((cell.write & Cell::kWho) >= first)
        if (const char* what = against_write(cell.write, me, kWrite, flags))
          return {what, cell.write, i, !kWrite && (flags & Cell::kNonCoherent) != 0};
      const bool was_read = (cell.read & Cell::kWho) >= first;
      if constexpr (kWrite) {
        if (was_read) {
          if (cell.read & Cell::kNonCoherent)
            return {"reads it in this launch with a load that is for memory the kernel does not write", cell.read, i,
                    true};
          if (!before(cell.read, cell.read & Cell::kGrid, me))
            return {"reads it, and nothing orders the two", cell.read, i, false};
        }
        cell = {me | flags, 0};
      } else {
        cell.read = (was_read ? merged_read(cell.read, me) : me) | flags;
      }
      next = cell;
    }
    return {};
  }

  std::uint32_t next_ = 1, base_ = 1;
  Stamp first_ = 0, block_first_ = 0;
  unsigned blocks_ = 0, block_ = 0;
  std::uint32_t epoch_ = 1;
  bool block_dirty_ = false;         // writes the block has seen through a barrier and no thread has fenced
  std::vector<std::uint8_t> dirty_;  // by thread: it has written global memory since its last fence
  std::vector<Warp> warps_;
  std::vector<Interval> intervals_;
  std::vector<unsigned> run_;  // blocks that have ended
  std::unordered_map<const void*, Clock> words_;
  Clock known_;                     // what all threads of the block have acquired
  std::map<unsigned, Clock> own_;   // what one thread has since the last barrier
  std::map<unsigned, Clock> seen_;  // what an atomic has shown a thread that has not fenced since
};

}  // namespace qat::emulation
