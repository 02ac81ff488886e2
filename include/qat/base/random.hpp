// Philox4x32-10: a counter generator. The n-th number of a stream is a pure function of (seed, stream, n), so any
// thread, any device and any resumed run draws the same bits.
#pragma once

#include "qat/base/config.hpp"

namespace qat::inline v0 {

struct PhiloxBlock {
  std::uint32_t word[4];
};

/// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011 (Philox4x32, 10 rounds).
QAT_HOST_DEVICE constexpr PhiloxBlock philox4x32(std::uint64_t counter_low, std::uint64_t counter_high,
                                                 std::uint64_t key) {
  std::uint32_t c0 = static_cast<std::uint32_t>(counter_low), c1 = static_cast<std::uint32_t>(counter_low >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(counter_high), c3 = static_cast<std::uint32_t>(counter_high >> 32);
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c2;
    const std::uint32_t n0 = static_cast<std::uint32_t>(p1 >> 32) ^ c1 ^ k0;
    const std::uint32_t n2 = static_cast<std::uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c1 = static_cast<std::uint32_t>(p1);
    c3 = static_cast<std::uint32_t>(p0);
    c0 = n0;
    c2 = n2;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return {{c0, c1, c2, c3}};
}

/// A position in one stream of one seed; copying it copies the position.
class CounterRandom {
 public:
  constexpr explicit CounterRandom(std::uint64_t seed, std::uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  /// The n-th 32-bit word of the stream, whatever was drawn before.
  QAT_HOST_DEVICE constexpr std::uint32_t at(std::uint64_t n) const {
    return philox4x32(n / 4, stream_, seed_).word[n % 4];
  }

  QAT_HOST_DEVICE constexpr std::uint32_t next_u32() { return at(position_++); }
  /// Uniform in [0, 1), a multiple of 2^-24.
  QAT_HOST_DEVICE constexpr float next_float() { return static_cast<float>(next_u32() >> 8) * 0x1p-24f; }
  /// Uniform in [0, bound), bound > 0 (Lemire's multiply-shift; bias below 2^-32 * bound).
  QAT_HOST_DEVICE constexpr std::uint32_t next_below(std::uint32_t bound) {
    return static_cast<std::uint32_t>((std::uint64_t{next_u32()} * bound) >> 32);
  }

  constexpr std::uint64_t position() const { return position_; }
  constexpr void seek(std::uint64_t position) { position_ = position; }

 private:
  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t position_ = 0;
};

}  // namespace qat::inline v0
