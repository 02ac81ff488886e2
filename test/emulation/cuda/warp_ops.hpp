// What the 32 lanes of a warp do together, as plain loops over the fragments of the PTX manual.
#pragma once

#include <cstdint>
#include <cstring>

#include "qat/base/bit_cast.hpp"

namespace qat::emulation {

/// The registers of one lane that take part.
struct MmaOperands {
  void* d;  ///< 4 accumulators
  const std::uint32_t* a;
  const std::uint32_t* b;
};

/// d += a b of mma.sync m16n8k16, bfloat16 with fp32 accumulators. Products are exact; their sum and the accumulator
/// are added in double and rounded once (a device truncates some bits of the partial sums: compare within a bound).
inline void mma_bf16(const MmaOperands (&lane)[32]) {
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; ++l)
    for (int h = 0; h < 2; ++h) {
      const auto value = [h](std::uint32_t pair) { return bit_cast<float>(h ? pair & 0xFFFF0000u : pair << 16); };
      const int row = l / 4, pair = l % 4 * 2 + h;
      for (int r = 0; r < 4; ++r) a[row + r % 2 * 8][pair + r / 2 * 8] = value(lane[l].a[r]);
      for (int r = 0; r < 2; ++r) b[pair + r * 8][row] = value(lane[l].b[r]);
    }
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i) {
      const int row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
      float* d = static_cast<float*>(lane[l].d) + i;
      double sum = *d;
      for (int k = 0; k < 16; ++k) sum += static_cast<double>(a[row][k]) * b[k][column];
      *d = static_cast<float>(sum);
    }
}

/// The same of m16n8k32, int8 with int32 accumulators that wrap.
inline void mma_s8(const MmaOperands (&lane)[32]) {
  std::int8_t a[16][32], b[32][8];
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i) {
      const auto value = [i](std::uint32_t word) { return static_cast<std::int8_t>(word >> (8 * i) & 0xFFu); };
      const int row = l / 4, k = l % 4 * 4 + i;
      for (int r = 0; r < 4; ++r) a[row + r % 2 * 8][k + r / 2 * 16] = value(lane[l].a[r]);
      for (int r = 0; r < 2; ++r) b[k + r * 16][row] = value(lane[l].b[r]);
    }
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i) {
      const int row = l / 4 + i / 2 * 8, column = l % 4 * 2 + i % 2;
      std::int32_t* d = static_cast<std::int32_t*>(lane[l].d) + i;
      std::uint32_t sum = static_cast<std::uint32_t>(*d);
      for (int k = 0; k < 32; ++k) sum += static_cast<std::uint32_t>(a[row][k] * b[k][column]);
      *d = static_cast<std::int32_t>(sum);
    }
}

/// ldmatrix: row[8 t + i] is row i, of 8 16-bit elements, of tile t; word t of lane l is elements 2 (l % 4) and the
/// next of row l / 4, or of that column if transposed.
inline std::uint32_t ldmatrix_word(const std::byte* const* row, int tile, int lane, bool transposed) {
  std::uint16_t half[2];
  for (int h = 0; h < 2; ++h) {
    const int along = lane % 4 * 2 + h, across = lane / 4;
    std::memcpy(&half[h], row[8 * tile + (transposed ? along : across)] + 2 * (transposed ? across : along), 2);
  }
  return half[0] | static_cast<std::uint32_t>(half[1]) << 16;
}

}  // namespace qat::emulation
