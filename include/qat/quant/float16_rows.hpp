// Rows of half and bfloat16 from and to fp32, value for value as the types convert: loops that compilers vectorize,
// with the types themselves for what is rare.
#pragma once

#include <cstring>

#include "qat/base/bit_cast.hpp"
#include "qat/base/config.hpp"
#include "qat/numeric/bfloat16.hpp"
#include "qat/numeric/half.hpp"
#include "qat/simd/region.hpp"

namespace qat::inline v0 {

namespace detail {

inline constexpr index_t kFloat16Block = 16;

QAT_TARGET_BASELINE_BEGIN
/// One block to half; false, and nothing is written, if an element's half is no normal number or zero.
inline bool normal_halves(const float* x, std::uint16_t* out) {
  std::uint32_t bits[kFloat16Block], rare = 0;
  std::memcpy(bits, x, sizeof bits);
  for (const std::uint32_t b : bits) {  // 2^-14 up to where rounding gives infinity
    const std::uint32_t beyond = (b & 0x7FFFFFFFu) - 0x38800000u;
    rare |= (beyond | (0x477FEFFFu - 0x38800000u - beyond)) >> 31;
  }
  if (rare != 0) return false;
  for (index_t i = 0; i < kFloat16Block; ++i) {
    const std::uint32_t magnitude = (bits[i] & 0x7FFFFFFFu) - 0x38000000u;
    out[i] =
        static_cast<std::uint16_t>((bits[i] >> 16 & 0x8000u) | (magnitude + 0xFFFu + (magnitude >> 13 & 1u)) >> 13);
  }
  return true;
}
/// One block to bfloat16; false if an element is infinite or NaN.
inline bool finite_bfloat16(const float* x, std::uint16_t* out) {
  std::uint32_t bits[kFloat16Block], rare = 0;
  std::memcpy(bits, x, sizeof bits);
  for (const std::uint32_t b : bits) rare |= ((b & 0x7F800000u) + 0x00800000u) >> 31;
  if (rare != 0) return false;
  for (index_t i = 0; i < kFloat16Block; ++i)
    out[i] = static_cast<std::uint16_t>((bits[i] + 0x7FFFu + (bits[i] >> 16 & 1u)) >> 16);
  return true;
}
/// One block from half; false if an element is subnormal, infinite or NaN.
inline bool floats_of_normal_halves(const std::uint16_t* x, float* out) {
  std::uint32_t bits[kFloat16Block], rare = 0;
  for (index_t i = 0; i < kFloat16Block; ++i) {
    const std::uint32_t magnitude = x[i] & 0x7FFFu;
    rare |= ((magnitude - 0x0400u) | (0x7BFFu - magnitude)) >> 31;
    bits[i] = (x[i] & 0x8000u) << 16 | ((magnitude << 13) + 0x38000000u);
  }
  if (rare != 0) return false;
  std::memcpy(out, bits, sizeof bits);
  return true;
}
inline void floats_of_bfloat16(const std::uint16_t* x, index_t n, float* out) {
  for (index_t i = 0; i < n; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(x[i]) << 16;
    std::memcpy(out + i, &bits, sizeof bits);
  }
}
QAT_TARGET_BASELINE_END

/// The bits of elements of a two-byte type, at `out` in any alignment. block(x, bits): sixteen at once, or false.
template <class Float16, class Block>
void float16_bits(const float* x, index_t n, void* out, const Block& block) {
  std::uint16_t bits[kFloat16Block];
  auto* p = static_cast<unsigned char*>(out);
  for (index_t first = 0; first < n; first += kFloat16Block) {
    const index_t count = n - first < kFloat16Block ? n - first : kFloat16Block;
    if (count < kFloat16Block || !block(x + first, bits))
      for (index_t i = 0; i < count; ++i) bits[i] = Float16(x[first + i]).bits;
    std::memcpy(p + 2 * first, bits, static_cast<std::size_t>(2 * count));
  }
}

}  // namespace detail

/// Bits of n halves, rounded half to even, at `out` in any alignment.
inline void to_half_bits(const float* x, index_t n, void* out) {
  detail::float16_bits<half>(x, n, out, detail::normal_halves);
}
/// The same of bfloat16.
inline void to_bfloat16_bits(const float* x, index_t n, void* out) {
  detail::float16_bits<bfloat16>(x, n, out, detail::finite_bfloat16);
}

/// Values of n halves whose bits are at `bits` in any alignment.
inline void from_half_bits(const void* bits, index_t n, float* out) {
  std::uint16_t block[detail::kFloat16Block];
  for (index_t first = 0; first < n; first += detail::kFloat16Block) {
    const index_t count = n - first < detail::kFloat16Block ? n - first : detail::kFloat16Block;
    std::memcpy(block, static_cast<const unsigned char*>(bits) + 2 * first, static_cast<std::size_t>(2 * count));
    if (count == detail::kFloat16Block && detail::floats_of_normal_halves(block, out + first)) continue;
    for (index_t i = 0; i < count; ++i) out[first + i] = static_cast<float>(half::from_bits(block[i]));
  }
}
/// The same of bfloat16.
inline void from_bfloat16_bits(const void* bits, index_t n, float* out) {
  constexpr index_t kPiece = 256;
  std::uint16_t piece[kPiece];
  for (index_t first = 0; first < n; first += kPiece) {
    const index_t count = n - first < kPiece ? n - first : kPiece;
    std::memcpy(piece, static_cast<const unsigned char*>(bits) + 2 * first, static_cast<std::size_t>(2 * count));
    detail::floats_of_bfloat16(piece, count, out + first);
  }
}

}  // namespace qat::inline v0
