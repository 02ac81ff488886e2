// The context of kernels/cuda/context.hpp for one emulated thread.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "block.hpp"
#include "qat/base/bit_cast.hpp"

namespace qat::emulation {

/// Part of a block's shared memory, as one thread sees it.
template <class T>
class Shared {
 public:
  Shared(Block& block, unsigned thread, std::size_t byte_offset)
      : block_(&block), thread_(thread), offset_(byte_offset) {}
  T load(unsigned i, QAT_EMULATION_SITE) const {
    return block_->template shared_load<T>(offset_ + std::size_t{i} * sizeof(T), thread_, {file, line});
  }
  void store(unsigned i, const T& v, QAT_EMULATION_SITE) const {
    block_->shared_store(offset_ + std::size_t{i} * sizeof(T), v, thread_, {file, line});
  }
  unsigned at(unsigned i) const {
    return static_cast<unsigned>(Block::kSharedBase + offset_ + std::size_t{i} * sizeof(T));
  }

 private:
  Block* block_;
  unsigned thread_;
  std::size_t offset_;
};

QAT_EXACT_BEGIN
namespace exact {
inline float mul(float a, float b) { return a * b; }
inline float add(float a, float b) { return a + b; }
inline float sub(float a, float b) { return a - b; }
inline float div(float a, float b) { return a / b; }

/// fp32 to bfloat16, half to even, as cvt.rn.bf16 does it: any NaN is 0x7FFF.
inline std::uint32_t to_bf16(float x) {
  const std::uint32_t u = bit_cast<std::uint32_t>(x);
  return x != x ? 0x7FFFu : (u + 0x7FFFu + (u >> 16 & 1u)) >> 16;
}
/// a * b + c of bfloat16, rounded once. The product is exact in double; what the sum loses there, and then in fp32, is
/// kept as an odd last bit, which the last rounding sees.
inline std::uint32_t fma_bf16(std::uint32_t a, std::uint32_t b, std::uint32_t c) {
  const auto wide = [](std::uint32_t bits) { return static_cast<double>(bit_cast<float>(bits << 16)); };
  const double p = wide(a) * wide(b), q = wide(c), sum = p + q;
  if (!(std::fabs(sum) < std::numeric_limits<double>::infinity())) return to_bf16(static_cast<float>(sum));
  const double q_part = sum - p, lost = (p - (sum - q_part)) + (q - q_part);
  double odd = sum;
  if (lost != 0 && (bit_cast<std::uint64_t>(sum) & 1) == 0)
    odd = std::nextafter(sum,
                         lost > 0 ? std::numeric_limits<double>::infinity() : -std::numeric_limits<double>::infinity());
  float f = static_cast<float>(odd);
  if (std::fabs(static_cast<double>(f)) > std::fabs(odd)) f = std::nextafter(f, 0.0f);
  if (static_cast<double>(f) != odd) f = bit_cast<float>(bit_cast<std::uint32_t>(f) | 1u);
  return to_bf16(f);
}
}  // namespace exact
QAT_EXACT_END

class Context {
 public:
  Context(Block& block, unsigned thread) : block_(&block), thread_(thread) {}

  unsigned thread() const { return thread_; }
  unsigned threads() const { return block_->threads(); }
  unsigned block() const { return block_->block_x(); }
  unsigned block_y() const { return block_->block_y(); }
  unsigned blocks() const { return block_->grid().x; }
  unsigned lane() const { return thread_ & 31u; }
  unsigned warp() const { return thread_ >> 5; }

  template <class T>
  T load(const T* p, QAT_EMULATION_SITE) const {
    return block_->load(p, false, thread_, {file, line});
  }
  template <class T>
  T load_stream(const T* p, QAT_EMULATION_SITE) const {
    return block_->load(p, true, thread_, {file, line});
  }
  template <class T>
  T load_cached(const T* p, QAT_EMULATION_SITE) const {
    return block_->load(p, true, thread_, {file, line});
  }
  template <class T>
  void store(T* p, const T& v, QAT_EMULATION_SITE) const {
    block_->store(p, v, thread_, {file, line});
  }
  template <class T>
  void store_stream(T* p, const T& v, QAT_EMULATION_SITE) const {
    block_->store(p, v, thread_, {file, line});
  }

  template <class T>
  Shared<T> shared(std::size_t byte_offset) const {
    return {*block_, thread_, byte_offset};
  }
  void cp_async16(unsigned shared_address, const void* global, bool valid = true, QAT_EMULATION_SITE) const {
    block_->cp_async16(shared_address, global, valid, thread_, {file, line});
  }
  void cp_commit() const { block_->cp_commit(thread_); }
  template <int N>
  void cp_wait() const {
    static_assert(N >= 0);
    block_->cp_wait(N, thread_);
  }

  void sync(QAT_EMULATION_SITE) const { block_->meet(Meeting::kBarrier, thread_, {file, line}); }
  void sync_warp(QAT_EMULATION_SITE) const { block_->meet(Meeting::kSyncWarp, thread_, {file, line}); }
  template <class T>
  T shuffle(T v, unsigned lane, QAT_EMULATION_SITE) const {
    return exchange(v, lane & 31u, {file, line});
  }
  template <class T>
  T shuffle_xor(T v, unsigned mask, QAT_EMULATION_SITE) const {
    const unsigned from = lane() ^ mask;
    return exchange(v, from < 32 ? from : lane(), {file, line});
  }
  template <class T>
  T shuffle_down(T v, unsigned n, QAT_EMULATION_SITE) const {
    return exchange(v, n < 32 - lane() ? lane() + n : lane(), {file, line});
  }
  unsigned ballot(bool predicate, QAT_EMULATION_SITE) const { return block_->ballot(predicate, thread_, {file, line}); }

  void ldmatrix_x4(std::uint32_t (&r)[4], unsigned shared_address, QAT_EMULATION_SITE) const {
    block_->ldmatrix(r, 4, shared_address, false, thread_, {file, line});
  }
  void ldmatrix_x4_trans(std::uint32_t (&r)[4], unsigned shared_address, QAT_EMULATION_SITE) const {
    block_->ldmatrix(r, 4, shared_address, true, thread_, {file, line});
  }
  void ldmatrix_x2(std::uint32_t (&r)[2], unsigned shared_address, QAT_EMULATION_SITE) const {
    block_->ldmatrix(r, 2, shared_address, false, thread_, {file, line});
  }
  void mma_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2], QAT_EMULATION_SITE) const {
    block_->mma(Meeting::kMmaBf16, d, a, b, thread_, {file, line});
  }
  void mma_s8(std::int32_t (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
              QAT_EMULATION_SITE) const {
    block_->mma(Meeting::kMmaS8, d, a, b, thread_, {file, line});
  }

  std::uint32_t bf16_pair(float low, float high) const { return exact::to_bf16(low) | exact::to_bf16(high) << 16; }
  std::uint32_t fma_bf16x2(std::uint32_t a, std::uint32_t b, std::uint32_t c) const {
    return exact::fma_bf16(a & 0xFFFFu, b & 0xFFFFu, c & 0xFFFFu) | exact::fma_bf16(a >> 16, b >> 16, c >> 16) << 16;
  }
  std::uint32_t permute_bytes(std::uint32_t a, std::uint32_t selector) const {
    std::uint32_t out = 0;
    for (int i = 0; i < 4; ++i) out |= (a >> 8 * (selector >> 4 * i & 3u) & 0xFFu) << 8 * i;
    return out;
  }
  std::uint32_t and_or(std::uint32_t a, std::uint32_t b, std::uint32_t c) const { return (a & b) | c; }

  unsigned atomic_add(unsigned* p, unsigned v, QAT_EMULATION_SITE) const {
    return block_->atomic(p, [v](unsigned old) { return old + v; }, thread_, {file, line});
  }
  unsigned atomic_max(unsigned* p, unsigned v, QAT_EMULATION_SITE) const {
    return block_->atomic(p, [v](unsigned old) { return old < v ? v : old; }, thread_, {file, line});
  }
  void fence() const { block_->fence(thread_); }

  float mul(float a, float b) const { return exact::mul(a, b); }
  float add(float a, float b) const { return exact::add(a, b); }
  float sub(float a, float b) const { return exact::sub(a, b); }
  float div(float a, float b) const { return exact::div(a, b); }
  float fma(float a, float b, float c) const { return std::fma(a, b, c); }
  float sqrt(float a) const { return std::sqrt(a); }
  float rint(float a) const { return std::nearbyint(a); }
  float exp(float a) const { return std::exp(a); }
  float log(float a) const { return std::log(a); }
  float reciprocal(float a) const {
    const float y = 1.0f / (std::fabs(a) < std::numeric_limits<float>::min() ? std::copysign(0.0f, a) : a);
    return std::fabs(y) < std::numeric_limits<float>::min() ? std::copysign(0.0f, y) : y;
  }
  float exp2(float a) const {
    const float y = std::exp2(a);
    return y < std::numeric_limits<float>::min() ? 0.0f : y;
  }

 private:
  template <class T>
  T exchange(const T& v, unsigned from, Site site) const {
    static_assert(std::is_arithmetic_v<T>, "shuffles move what the hardware's do: 4 or 8 byte integers and floats");
    return block_->shuffle(v, from, thread_, site);
  }

  Block* block_;
  unsigned thread_;
};

}  // namespace qat::emulation
