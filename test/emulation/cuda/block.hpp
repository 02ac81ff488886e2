// A block of threads on fibres, one block at a time. A warp that can go on is chosen at random; its lanes run one after
// another, in random order, until each waits at something that needs the others.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "fault.hpp"
#include "fibre.hpp"
#include "memory.hpp"
#include "order.hpp"
#include "qat/kernels/cuda/context.hpp"
#include "report.hpp"
#include "warp_ops.hpp"

namespace qat::emulation {

/// Something that all threads of a warp, or of a block, reach together.
enum class Meeting : std::uint8_t { kBarrier, kSyncWarp, kShuffle, kBallot, kLdmatrix, kMmaBf16, kMmaS8 };
inline const char* name_of(Meeting m) {
  constexpr const char* kNames[] = {"sync", "sync_warp", "a shuffle", "ballot", "ldmatrix", "mma_bf16", "mma_s8"};
  return kNames[static_cast<int>(m)];
}

/// Runs the blocks of one launch.
class Block {
 public:
  using Body = void (*)(const void* kernel, Block& block, unsigned thread);
  static constexpr std::size_t kMaxShared = 227 * 1024;  // sm_90, sm_100
  /// Where shared memory begins in its window, as on sm_90. Offsets may be combined by XOR up to it.
  static constexpr unsigned kSharedBase = 1024;

  Block(const cuda::Grid& grid, unsigned threads, const void* kernel, Body body, std::string name)
      : grid_(grid), threads_(threads), kernel_(kernel), body_(body), name_(std::move(name)) {
    const auto refuse = [&](const std::string& why) {
      throw Fault(Rule::kLaunch, "cuda emulation: launch of " + name_ + ": " + why);
    };
    if (threads == 0 || threads % 32 != 0 || threads > 1024)
      refuse(std::to_string(threads) + " threads; a block has a multiple of 32, at most 1024");
    if (grid.x == 0 || grid.y == 0 || grid.x > 0x7FFFFFFFu || grid.y > 65535)
      refuse(std::to_string(grid.x) + " x " + std::to_string(grid.y) +
             " blocks; 1 to 2147483647 x 1 to 65535 are accepted");
    if (grid.shared_bytes > kMaxShared)
      refuse(std::to_string(grid.shared_bytes) + " bytes of shared memory; a block has at most " +
             std::to_string(kMaxShared));
    if (Order& o = order(); o.exhausted()) {
      for (Region* r : Memory::instance().regions()) r->forget();
      o.forget();
    }
    random_ = settings().seed * 0x9E3779B97F4A7C15u + 1;
  }

  void run() {
    const std::uint64_t count = std::uint64_t{grid_.x} * grid_.y;
    order().begin_launch(static_cast<unsigned>(count));
    FibrePool::instance().reserve(threads_);
    thread_ = std::vector<Thread>(threads_);
    shared_.resize((grid_.shared_bytes + 7) / 8);
    shared_cells_.assign(grid_.shared_bytes, {});
    std::vector<unsigned> blocks(static_cast<std::size_t>(count));
    for (unsigned i = 0; i < count; ++i) blocks[i] = i;
    for (std::size_t i = blocks.size(); i > 1; --i) std::swap(blocks[i - 1], blocks[below(static_cast<unsigned>(i))]);
    ++counters_.launches;
    if (launch_observer()) launch_observer()(name_);
    for (const unsigned b : blocks) run_block(b);
    for (const Region* r : Memory::instance().regions())
      if (!r->intact())
        throw Fault(Rule::kRedZone, "cuda emulation: " + name_ + " changed bytes beside the buffer " + text_of(*r) +
                                        ", not through the context");
  }

  const cuda::Grid& grid() const { return grid_; }
  unsigned threads() const { return threads_; }
  unsigned block_x() const { return block_ % grid_.x; }
  unsigned block_y() const { return block_ / grid_.x; }

  // Memory. t is the thread that asks.

  template <class T>
  T load(const T* p, bool non_coherent, unsigned t, Site site) {
    Region& r = global(p, sizeof(T), alignof_access<T>(), t, site);
    if (!r.written.empty())
      for (std::size_t i = 0; i < sizeof(T); ++i)
        if (r.written[offset_in(r, p) + i] == 0) fault_unwritten(r, p, i, t, site);
    note_load(r, p, sizeof(T), non_coherent, t, site);
    T v;
    std::memcpy(static_cast<void*>(&v), p, sizeof v);
    return v;
  }
  template <class T>
  void store(T* p, const T& v, unsigned t, Site site) {
    Region& r = global(p, sizeof(T), alignof_access<T>(), t, site);
    if (!r.writable) fault(Rule::kReadOnly, "a store to the const buffer " + text_of(r), t, site);
    if (!r.written.empty()) std::memset(&r.written[offset_in(r, p)], 1, sizeof(T));
    r.stored_bytes += sizeof(T);
    counters_.stored_bytes += sizeof(T);
    counters_.narrow_accesses += sizeof(T) < 16;
    if (races_) check(order().write(r.cells() + offset_in(r, p), sizeof(T), t), "stores to global memory", p, t, site);
    if (requests_) log(reinterpret_cast<std::uintptr_t>(p), sizeof(T), true, true, t, site);
    std::memcpy(static_cast<void*>(p), &v, sizeof v);
  }
  template <class T>
  T shared_load(std::size_t offset, unsigned t, Site site) {
    std::byte* p = shared(offset, sizeof(T), alignof(T), t, site);
    counters_.shared_loaded_bytes += sizeof(T);
    if (races_) check_shared(order().shared_read(&shared_cells_[offset], sizeof(T), t), "loads from", offset, t, site);
    if (requests_) log(offset, sizeof(T), false, false, t, site);
    T v;
    std::memcpy(static_cast<void*>(&v), p, sizeof v);
    return v;
  }
  template <class T>
  void shared_store(std::size_t offset, const T& v, unsigned t, Site site) {
    std::byte* p = shared(offset, sizeof(T), alignof(T), t, site);
    counters_.shared_stored_bytes += sizeof(T);
    if (races_) check_shared(order().shared_write(&shared_cells_[offset], sizeof(T), t), "stores to", offset, t, site);
    if (requests_) log(offset, sizeof(T), false, true, t, site);
    std::memcpy(p, &v, sizeof v);
  }
  template <class F>
  unsigned atomic(unsigned* p, F&& update, unsigned t, Site site) {
    Region& r = global(p, 4, 4, t, site);
    if (!r.writable) fault(Rule::kReadOnly, "an atomic on the const buffer " + text_of(r), t, site);
    if (!r.written.empty())
      for (std::size_t i = 0; i < 4; ++i)
        if (r.written[offset_in(r, p) + i] == 0) fault_unwritten(r, p, i, t, site);
    ++counters_.atomics;
    if (races_)
      check(order().atomic(r.cells() + offset_in(r, p), 4, t, p), "has an atomic on global memory", p, t, site);
    const unsigned before = *p;
    *p = update(before);
    return before;
  }
  void fence(unsigned t) { order().fence(t); }

  // Copies land at the wait and not before, which hardware may do as well.

  void cp_async16(unsigned shared_address, const void* from, bool valid, unsigned t, Site site) {
    const std::size_t offset = shared_address - std::size_t{kSharedBase};
    shared(offset, 16, 16, t, site);
    if (reinterpret_cast<std::uintptr_t>(from) % 16 != 0) fault_misaligned(from, 16, t, site);
    if (valid) {
      Region& r = global(from, 16, 16, t, site);
      if (!r.written.empty())
        for (std::size_t i = 0; i < 16; ++i)
          if (r.written[offset_in(r, from) + i] == 0) fault_unwritten(r, from, i, t, site);
      note_load(r, from, 16, false, t, site);
    }
    counters_.shared_stored_bytes += 16;
    if (races_)
      check_shared(order().shared_copy(&shared_cells_[offset], 16, t), "copies with cp.async to", offset, t, site);
    if (requests_) log(offset, 16, false, true, t, site);
    Thread& thread = thread_[t];
    thread.copies.push_back({offset, from, valid, thread.committed});
  }
  void cp_commit(unsigned t) { ++thread_[t].committed; }
  void cp_wait(unsigned pending, unsigned t) {
    Thread& thread = thread_[t];
    std::size_t done = 0;
    for (; done < thread.copies.size() && thread.copies[done].group + pending < thread.committed; ++done) {
      const Copy& copy = thread.copies[done];
      std::byte* to = reinterpret_cast<std::byte*>(shared_.data()) + copy.to;
      copy.valid ? std::memcpy(to, copy.from, 16) : std::memset(to, 0, 16);
      if (races_) order().land(&shared_cells_[copy.to], 16, t);
    }
    thread.copies.erase(thread.copies.begin(), thread.copies.begin() + static_cast<std::ptrdiff_t>(done));
  }

  // Meetings. A lane leaves its operands and waits; the last one to arrive finds them all.

  void meet(Meeting kind, unsigned t, Site site) {
    Thread& thread = thread_[t];
    thread.kind = kind;
    thread.site = site;
    thread.state = State::kWaiting;
    thread.fibre->suspend();
    if (abandoned_) throw Abandoned{};
  }
  template <class T>
  T shuffle(const T& v, unsigned source, unsigned t, Site site) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffle: 4 or 8 bytes");
    Thread& thread = thread_[t];
    std::memcpy(&thread.word, &v, sizeof v);
    thread.argument = source;
    meet(Meeting::kShuffle, t, site);
    T result;
    std::memcpy(&result, &thread.result, sizeof result);
    return result;
  }
  unsigned ballot(bool predicate, unsigned t, Site site) {
    thread_[t].argument = predicate;
    meet(Meeting::kBallot, t, site);
    return static_cast<unsigned>(thread_[t].result);
  }
  void ldmatrix(std::uint32_t* r, unsigned tiles, unsigned shared_address, bool transposed, unsigned t, Site site) {
    Thread& thread = thread_[t];
    thread.mma.d = r;
    thread.argument = tiles;
    thread.word = transposed;
    if (t % 32 < 8 * tiles) {
      const std::size_t offset = shared_address - std::size_t{kSharedBase};
      thread.row = shared(offset, 16, 16, t, site);
      counters_.shared_loaded_bytes += 16;
      if (races_)
        check_shared(order().shared_read_for_warp(&shared_cells_[offset], 16, t), "reads with ldmatrix from", offset, t,
                     site);
      if (requests_) log(offset, 16, false, false, t, site);
    }
    meet(Meeting::kLdmatrix, t, site);
  }
  void mma(Meeting kind, void* d, const std::uint32_t* a, const std::uint32_t* b, unsigned t, Site site) {
    thread_[t].mma = {d, a, b};
    meet(kind, t, site);
  }

 private:
  enum class State : std::uint8_t { kNew, kReady, kWaiting, kEnded };
  struct Abandoned {};  // unwinds the fibres of a block that has failed
  struct Copy {
    std::size_t to;
    const void* from;
    bool valid;
    std::uint64_t group;
  };
  struct alignas(64) Thread {
    Fibre* fibre = nullptr;
    Site site{"", 0};
    State state = State::kNew;
    Meeting kind = Meeting::kBarrier;
    unsigned argument = 0;
    std::uint64_t word = 0, result = 0;
    unsigned index = 0;  // up to here a cache line
    Block* block = nullptr;
    const std::byte* row = nullptr;
    MmaOperands mma{};
    std::vector<Copy> copies;
    std::uint64_t committed = 0;
    std::vector<detail::Access> accesses;
  };

  static Order& order() {
    static Order order;
    return order;
  }
  unsigned below(unsigned n) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return static_cast<unsigned>((random_ >> 32) * n >> 32);
  }

  void run_block(unsigned b) {
    block_ = b;
    const unsigned warps = threads_ / 32;
    ++counters_.blocks;
    order().begin_block(b, warps);
    for (auto& word : shared_) {
      below(1);
      word = random_;
    }
    for (unsigned t = 0; t < threads_; ++t) {
      Thread& thread = thread_[t];
      thread.block = this;
      thread.index = t;
      thread.state = State::kNew;
      thread.copies.clear();
      thread.committed = 0;
      thread.fibre = &FibrePool::instance()[t];
      thread.fibre->start(&enter, &thread);
    }
    try {
      schedule(warps);
    } catch (...) {
      abandon();
      throw;
    }
    order().end_block();
  }

  void schedule(unsigned warps) {
    std::vector<unsigned> ready(warps), waiting;
    for (unsigned w = 0; w < warps; ++w) ready[w] = w;
    unsigned ended = 0;
    for (;;) {
      while (!ready.empty()) {
        const unsigned at = below(static_cast<unsigned>(ready.size())), warp = ready[at];
        run_lanes(warp);
        const Thread& first = thread_[warp * 32];
        for (unsigned l = 1; l < 32; ++l) {
          const Thread& lane = thread_[warp * 32 + l];
          if (lane.state != first.state ||
              (lane.state == State::kWaiting && (lane.kind != first.kind || lane.site != first.site)))
            fault(Rule::kDivergence,
                  "the lanes of a warp part: this thread " + doing(first) + ", lane " + std::to_string(l) + " " +
                      doing(lane),
                  first.index, first.site);
        }
        if (requests_) converge(warp);
        if (first.state == State::kWaiting && first.kind != Meeting::kBarrier) {
          complete(warp);
          continue;
        }
        if (first.state == State::kEnded)
          ++ended;
        else
          waiting.push_back(warp);
        ready.erase(ready.begin() + at);
      }
      if (waiting.empty()) return;
      const Thread& one = thread_[waiting.front() * 32];
      if (ended != 0) {
        unsigned warp = 0;
        while (thread_[warp * 32].state != State::kEnded) ++warp;
        fault(Rule::kDivergence, "a barrier not reached by all threads: warp " + std::to_string(warp) + " has ended",
              one.index, one.site);
      }
      for (const unsigned w : waiting)
        if (const Thread& other = thread_[w * 32]; other.site != one.site)
          fault(Rule::kDivergence,
                "a barrier not reached by all threads: warp " + std::to_string(w) + " is at the one at " +
                    text_of(other.site),
                one.index, one.site);
      ++counters_.barriers;
      order().barrier();
      check_length();
      for (Thread& t : thread_) t.state = State::kReady;
      ready.swap(waiting);
    }
  }

  void run_lanes(unsigned warp) {
    // A random odd step visits all lanes: cheaper than a shuffle.
    unsigned lane = below(32);
    const unsigned step = below(16) * 2 + 1;
    for (unsigned i = 0; i < 32; ++i, lane = (lane + step) % 32) {
      thread_[warp * 32 + lane].fibre->resume();
      if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
    }
  }

  static void enter(void* argument) {
    Thread& thread = *static_cast<Thread*>(argument);
    Block& block = *thread.block;
    try {
      block.body_(block.kernel_, block, thread.index);
      if (!thread.copies.empty())
        block.fault(Rule::kPendingCopy,
                    "ends with " + std::to_string(thread.copies.size()) + " cp.async copies it has not waited for",
                    thread.index, {"its end", 0});
    } catch (const Abandoned&) {
    } catch (...) {
      block.failure_ = std::current_exception();
    }
    thread.state = State::kEnded;
  }

  void abandon() {
    abandoned_ = true;
    for (Thread& t : thread_)
      if (t.state != State::kNew && t.state != State::kEnded) t.fibre->resume();
  }

  void complete(unsigned warp) {
    Thread* lane = &thread_[warp * 32];
    switch (lane->kind) {
      case Meeting::kBarrier:
        break;
      case Meeting::kSyncWarp:
        order().sync_warp(warp);
        check_length();
        break;
      case Meeting::kShuffle:
        for (unsigned l = 0; l < 32; ++l) lane[l].result = lane[lane[l].argument].word;
        break;
      case Meeting::kBallot: {
        unsigned votes = 0;
        for (unsigned l = 0; l < 32; ++l) votes |= lane[l].argument << l;
        for (unsigned l = 0; l < 32; ++l) lane[l].result = votes;
        break;
      }
      case Meeting::kLdmatrix: {
        const std::byte* row[32];
        for (unsigned l = 0; l < 32; ++l) row[l] = lane[l].row;
        for (int l = 0; l < 32; ++l)
          for (int i = 0; i < static_cast<int>(lane[l].argument); ++i)
            static_cast<std::uint32_t*>(lane[l].mma.d)[i] = ldmatrix_word(row, i, l, lane[l].word != 0);
        break;
      }
      case Meeting::kMmaBf16:
      case Meeting::kMmaS8: {
        MmaOperands operands[32];
        for (unsigned l = 0; l < 32; ++l) operands[l] = lane[l].mma;
        lane->kind == Meeting::kMmaBf16 ? mma_bf16(operands) : mma_s8(operands);
        ++counters_.mma;
        break;
      }
    }
    for (unsigned l = 0; l < 32; ++l) lane[l].state = State::kReady;
  }

  void converge(unsigned warp) {
    std::vector<detail::Access> accesses[32];
    for (unsigned l = 0; l < 32; ++l) accesses[l].swap(thread_[warp * 32 + l].accesses);
    detail::count_requests(accesses);
  }

  // Checks.

  template <class T>
  static constexpr std::size_t alignof_access() {
    static_assert(sizeof(T) == 1 || sizeof(T) == 2 || sizeof(T) == 4 || sizeof(T) == 8 || sizeof(T) == 16,
                  "global memory is accessed in 1, 2, 4, 8 or 16 bytes");
    return sizeof(T);
  }
  static std::size_t offset_in(const Region& r, const void* p) {
    return static_cast<std::size_t>(static_cast<const std::byte*>(p) - r.begin);
  }
  Region& global(const void* p, std::size_t bytes, std::size_t alignment, unsigned t, Site site) {
    if (reinterpret_cast<std::uintptr_t>(p) % alignment != 0) fault_misaligned(p, alignment, t, site);
    Region* r = Memory::instance().find(p, bytes);
    if (r == nullptr) fault_outside(p, bytes, t, site);
    return *r;
  }
  std::byte* shared(std::size_t offset, std::size_t bytes, std::size_t alignment, unsigned t, Site site) {
    if (offset % alignment != 0)
      fault(Rule::kMisaligned,
            "byte " + std::to_string(offset) + " of shared memory for an access of " + std::to_string(bytes) +
                " bytes; a multiple of " + std::to_string(alignment) + " is accepted",
            t, site);
    if (offset > grid_.shared_bytes || bytes > grid_.shared_bytes - offset)
      fault(Rule::kOutOfBounds,
            "bytes " + std::to_string(static_cast<std::ptrdiff_t>(offset)) + " to " +
                std::to_string(static_cast<std::ptrdiff_t>(offset + bytes) - 1) + " of shared memory; the launch has " +
                std::to_string(grid_.shared_bytes) + " bytes",
            t, site);
    return reinterpret_cast<std::byte*>(shared_.data()) + offset;
  }
  void note_load(Region& r, const void* p, unsigned bytes, bool non_coherent, unsigned t, Site site) {
    r.loaded_bytes += bytes;
    counters_.loaded_bytes += bytes;
    counters_.narrow_accesses += bytes < 16;
    if (races_)
      check(order().read(r.cells() + offset_in(r, p), bytes, t, non_coherent), "loads from global memory", p, t, site);
    if (requests_) log(reinterpret_cast<std::uintptr_t>(p), bytes, true, false, t, site);
  }
  void log(std::uint64_t address, std::size_t bytes, bool global, bool store, unsigned t, Site site) {
    thread_[t].accesses.push_back({site, address, static_cast<std::uint8_t>(bytes), global, store});
  }
  void check(const Conflict& conflict, const char* what, const void* p, unsigned t, Site site) {
    if (conflict.what != nullptr) [[unlikely]]
      fault_race(conflict, what, static_cast<const std::byte*>(p), t, site);
  }
  void check_shared(const Conflict& conflict, const char* what, std::size_t offset, unsigned t, Site site) {
    if (conflict.what != nullptr) [[unlikely]]
      fault(Rule::kRace,
            std::string(what) + " byte " + std::to_string(offset + conflict.byte) + " of shared memory; thread " +
                std::to_string(order().thread_of(conflict.other)) + " " + conflict.what,
            t, site);
  }
  void check_length() {
    if (order().full())
      throw Fault(Rule::kLaunch, "cuda emulation: " + name_ + ": too many barriers in a launch to tell races");
  }

  std::string text_of(const Region& r) const { return "of " + std::to_string(r.bytes()) + " bytes at " + hex(r.begin); }
  using Text = std::string;
  static std::string text_of(const Site& site) { return emulation::text_of(site); }
  static std::string hex(const void* p) {
    char text[32];
    std::snprintf(text, sizeof text, "%p", p);
    return text;
  }
  static std::string doing(const Thread& t) {
    return t.state == State::kEnded ? std::string("has ended")
                                    : std::string("is at ") + name_of(t.kind) + ", " + text_of(t.site);
  }
  [[noreturn]] QAT_NOINLINE void fault(Rule rule, const std::string& what, unsigned t, Site site) const {
    throw Fault(rule, "cuda emulation: " + name_ + ", block (" + std::to_string(block_x()) + ", " +
                          std::to_string(block_y()) + ") of " + std::to_string(grid_.x) + " x " +
                          std::to_string(grid_.y) + ", thread " + std::to_string(t) + " of " +
                          std::to_string(threads_) + ", " + text_of(site) + ": " + what + " (seed " +
                          std::to_string(settings().seed) + ")");
  }
  [[noreturn]] QAT_NOINLINE void fault_misaligned(const void* p, std::size_t alignment, unsigned t, Site site) const {
    fault(Rule::kMisaligned, "address " + hex(p) + "; a multiple of " + std::to_string(alignment) + " is accepted", t,
          site);
  }
  [[noreturn]] QAT_NOINLINE void fault_outside(const void* p, std::size_t bytes, unsigned t, Site site) const {
    const Region* closest = Memory::instance().nearest(static_cast<const std::byte*>(p));
    std::string where = "no buffer is registered";
    if (closest != nullptr)
      where = "byte " + std::to_string(static_cast<const std::byte*>(p) - closest->begin) + " of the buffer " +
              text_of(*closest);
    fault(Rule::kOutOfBounds,
          "an access of " + std::to_string(bytes) + " bytes of global memory outside all buffers: " + where, t, site);
  }
  [[noreturn]] QAT_NOINLINE void fault_unwritten(const Region& r, const void* p, std::size_t i, unsigned t,
                                                 Site site) const {
    fault(Rule::kUninitialized,
          "a read of byte " + std::to_string(offset_in(r, p) + i) + " of the buffer " + text_of(r) +
              ", which nobody has written",
          t, site);
  }
  [[noreturn]] QAT_NOINLINE void fault_race(const Conflict& c, const char* what, const std::byte* p, unsigned t,
                                            Site site) const {
    const Region& r = *Memory::instance().find(p, 1);
    const unsigned block = order().block_of(c.other);
    fault(c.non_coherent ? Rule::kNonCoherent : Rule::kRace,
          std::string(what) + ", byte " + std::to_string(offset_in(r, p) + c.byte) + " of the buffer " + text_of(r) +
              "; thread " + std::to_string(order().thread_of(c.other)) + " of block (" +
              std::to_string(block % grid_.x) + ", " + std::to_string(block / grid_.x) + ") " + c.what,
          t, site);
  }

  const cuda::Grid grid_;
  const unsigned threads_;
  const void* const kernel_;
  const Body body_;
  const std::string name_;
  const bool races_ = settings().races, requests_ = settings().requests;
  Counters& counters_ = detail::report().counters;
  std::uint64_t random_ = 1;
  unsigned block_ = 0;
  bool abandoned_ = false;
  std::exception_ptr failure_;
  std::vector<Thread> thread_;
  std::vector<std::uint64_t> shared_;
  std::vector<Cell> shared_cells_;
};

}  // namespace qat::emulation
