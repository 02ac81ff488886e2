// Reductions over a warp or a block in an order that depends on its shape alone. A team is a warp (32 threads) or the
// whole block (a multiple of 32); all its threads call, and all get the result.
#pragma once

#include "qat/kernels/cuda/group_quantize.hpp"

namespace qat::inline v0::cuda {

template <unsigned kTeam, class Context>
QAT_HOST_DEVICE void sync_team(const Context& c) {
  if constexpr (kTeam == 32) {
    c.sync_warp();
  } else {
    c.sync();
  }
}

/// The value of the team's first thread. Blocks use 16 bytes of shared memory at 240.
template <unsigned kTeam, class Context>
QAT_HOST_DEVICE float broadcast_team(const Context& c, float value) {
  if constexpr (kTeam == 32) {
    return c.shuffle(value, 0);
  } else {
    const auto word = c.template shared<float>(240);
    if (c.thread() == 0) word.store(0, value);
    c.sync();
    return word.load(0);
  }
}

/// Sum over a warp: a tree of lanes whose numbers differ in bit 4, 3, ... 0.
template <class Context, class T>
QAT_HOST_DEVICE T sum_of_warp(const Context& c, T x) {
  for (unsigned mask = 16; mask > 0; mask /= 2) x = x + c.shuffle_xor(x, mask);
  return x;
}
/// Sum over a block: its warps', in ascending order. Uses kThreads / 32 elements of shared memory at byte `offset`,
/// which no thread may be reading.
template <unsigned kThreads, class Context, class T>
QAT_HOST_DEVICE T sum_of_block(const Context& c, T x, std::size_t offset) {
  const auto sums = c.template shared<T>(offset);
  x = sum_of_warp(c, x);
  if (c.lane() == 0) sums.store(c.warp(), x);
  c.sync();
  T total = sums.load(0);
  for (unsigned w = 1; w < kThreads / 32; ++w) total = total + sums.load(w);
  return total;
}

/// LaneRange for elements in any order: of equal extrema the one at the lowest position wins.
struct PositionedRange {
  LaneRange own;
  unsigned position = 0;

  QAT_HOST_DEVICE void observe(float x, unsigned at, MappingKind mapping) {
    const float before = own.extremum;
    own.observe(x, mapping);  // a thread's own elements ascend
    if (mapping == MappingKind::kSignedExtremum &&
        bit_cast<std::uint32_t>(before) != bit_cast<std::uint32_t>(own.extremum))
      position = at;
  }
  QAT_HOST_DEVICE void take_extremum(float other, unsigned at) {
    const bool wins =
        magnitude(other) > magnitude(own.extremum) || (magnitude(other) == magnitude(own.extremum) && at < position);
    own.extremum = wins ? other : own.extremum;
    position = wins ? at : position;
  }
  /// Over a warp, or over a block with 20 bytes of shared memory a warp, which no thread may be reading.
  template <unsigned kTeam, class Context>
  QAT_HOST_DEVICE PositionedRange merge_team(const Context& c, MappingKind mapping) const {
    PositionedRange r = *this;
    if (mapping == MappingKind::kSignedExtremum) {
      for (unsigned mask = 16; mask > 0; mask /= 2) {
        const float other = c.shuffle_xor(r.own.extremum, mask);
        const unsigned at = c.shuffle_xor(r.position, mask);
        r.take_extremum(other, at);
      }
    } else {
      r.own = merge_lanes(c, r.own, 32, mapping);
    }
    if constexpr (kTeam > 32) {
      constexpr unsigned kWarps = kTeam / 32;
      const auto parts = c.template shared<float>(0);
      const auto positions = c.template shared<unsigned>(kWarps * 4 * sizeof(float));
      if (c.lane() == 0) {
        parts.store(4 * c.warp(), r.own.low);
        parts.store(4 * c.warp() + 1, r.own.high);
        parts.store(4 * c.warp() + 2, r.own.extremum);
        positions.store(c.warp(), r.position);
      }
      c.sync();
      for (unsigned w = 0; w < kWarps; ++w) {
        r.own.low = smaller(r.own.low, parts.load(4 * w));
        r.own.high = larger(r.own.high, parts.load(4 * w + 1));
        r.take_extremum(parts.load(4 * w + 2), positions.load(w));
      }
    }
    return r;
  }
  QAT_HOST_DEVICE GroupRange range() const { return own.range(); }
};

}  // namespace qat::inline v0::cuda
