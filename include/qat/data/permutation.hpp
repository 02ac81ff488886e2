// Orders drawn by the counter generator: shuffling, and which part of the data is held out.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "qat/base/check.hpp"
#include "qat/base/random.hpp"

namespace qat::inline v0 {

/// 0 .. count - 1 in an order that is a pure function of (seed, stream): Fisher and Yates' shuffle.
inline std::vector<index_t> permutation(index_t count, std::uint64_t seed, std::uint64_t stream) {
  QAT_CHECK(count >= 0 && count < (index_t{1} << 32), kInvalidArgument, "permutation: count is ", count,
            "; accepted: 0 to 2^32 - 1");
  std::vector<index_t> order(static_cast<std::size_t>(count));
  std::iota(order.begin(), order.end(), index_t{0});
  CounterRandom random(seed, stream);
  for (std::size_t i = order.size(); i > 1; --i)
    std::swap(order[i - 1], order[random.next_below(static_cast<std::uint32_t>(i))]);
  return order;
}

/// Which of `count` documents are held out: the nearest to `share` of them, but at least one on either side.
/// @throws qat::Error naming the source where there are fewer than two
inline std::vector<bool> held_out(index_t count, double share, std::uint64_t seed, const char* source) {
  constexpr std::uint64_t kStream = std::uint64_t{0x5B1D} << 48;  // apart from the streams of other users of the seed
  QAT_CHECK(count >= 2, kInvalidArgument, source, ": has ", count, " documents; a validation split needs two");
  QAT_CHECK(share > 0.0 && share < 1.0, kInvalidArgument, source, ": the share held out is ", share,
            "; accepted: more than 0 and less than 1");
  auto parts = static_cast<index_t>(share * static_cast<double>(count) + 0.5);
  parts = parts < 1 ? 1 : parts > count - 1 ? count - 1 : parts;
  std::vector<bool> out(static_cast<std::size_t>(count), false);
  const std::vector<index_t> order = permutation(count, seed, kStream);
  for (index_t i = 0; i < parts; ++i) out[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] = true;
  return out;
}

}  // namespace qat::inline v0
