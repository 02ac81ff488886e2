// Registers of w4a8_gemm: int8 activations against int4 weights, exact integer sums of each group.
#pragma once

#include "qat/kernels/cuda/int4_operands.cuh"

namespace qat::inline v0::cuda {
namespace detail {

/// Registers of the weight operand of one step of mma.m16n8k32, u - zero as int8, from the two words of Int4Tiles that
/// hold half a tile. zero: the zero point in each byte. The columns of a word are c, c+2, c+1, c+3.
template <class Context>
QAT_HOST_DEVICE void w4a8_operand(const Context& c, std::uint32_t word0, std::uint32_t word1,
                                  const std::uint32_t (&zero)[2], std::uint32_t (&a)[4]) {
  const std::uint32_t words[2] = {c.permute_bytes(word0, 0x3120), c.permute_bytes(word1, 0x3120)};
  QAT_CUDA_UNROLL
  for (int i = 0; i < 4; ++i)  // 128 + u - zero never borrows from the next byte
    a[i] = (c.and_or(words[i / 2] >> 4 * (i % 2), 0x0F0F0F0Fu, 0x80808080u) - zero[i % 2]) ^ 0x80808080u;
}

/// Sums of a warp: kRows tiles of 16 weight rows x kTokens tiles of 8 tokens. `part` holds the exact sums of the
/// current group, or of kernels::kLongestRun columns of it, `total` those before it times their scales.
///
/// The conversion of int32 to float runs at a quarter of the rate of an addition. So sums start at the bits of
/// 1.5 * 2^23, where adding an integer to the bits adds it to the float, if no group is so long that one could leave
/// (-2^22, 2^22): |qa - za| <= 255 and |qw - zw| <= 15 allow 1024 columns.
template <int kRows, int kTokens>
struct W4A8Sums {
  static constexpr std::int32_t kMagic = 0x4B400000;
  static constexpr unsigned kMagicColumns = 1024, kLongestRun = 16384;  // the latter as in kernels/reference/qgemm.hpp

  float total[kRows][kTokens][4];
  std::int32_t part[kRows][kTokens][4];
  std::int32_t weight_sum[kRows][4];  ///< of the group's weights, only where activations have zero points
  float scale[kRows][2];              ///< of rows g and g + 8
  std::uint32_t zero[kRows][2];
  unsigned end;         ///< first column behind the current run
  std::int32_t origin;  ///< what a part starts at

  QAT_HOST_DEVICE void clear(const Int4Operands& w) {
    end = 0;
    origin = w.group.group <= kMagicColumns ? kMagic : 0;
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      scale[i][0] = scale[i][1] = 0.0f;
      zero[i][0] = zero[i][1] = 0x08080808u;
      QAT_CUDA_UNROLL
      for (int j = 0; j < 4; ++j) weight_sum[i][j] = 0;
      QAT_CUDA_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        QAT_CUDA_UNROLL
        for (int j = 0; j < 4; ++j) {
          total[i][t][j] = 0.0f;
          part[i][t][j] = origin;
        }
      }
    }
  }

  template <class Context>
  QAT_HOST_DEVICE void end_group(const Context& c, const Int4Operands& w, int token) {
    if (w.token_zero_points != nullptr) {
      QAT_CUDA_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        std::int32_t shift[2];
        QAT_CUDA_UNROLL
        for (int j = 0; j < 2; ++j)
          shift[j] = token + t * 8 + j < w.tokens ? c.load_cached(w.token_zero_points + token + t * 8 + j) : 0;
        QAT_CUDA_UNROLL
        for (int i = 0; i < kRows; ++i) {
          QAT_CUDA_UNROLL
          for (int j = 0; j < 4; ++j) part[i][t][j] -= shift[j % 2] * weight_sum[i][j];
        }
      }
      QAT_CUDA_UNROLL
      for (int i = 0; i < kRows; ++i) {
        QAT_CUDA_UNROLL
        for (int j = 0; j < 4; ++j) weight_sum[i][j] = 0;
      }
    }
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      QAT_CUDA_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        QAT_CUDA_UNROLL
        for (int j = 0; j < 4; ++j) {
          const float sum =
              origin != 0 ? c.sub(bit_cast<float>(part[i][t][j]), 0x1.8p23f) : static_cast<float>(part[i][t][j]);
          total[i][t][j] = c.fma(scale[i][j / 2], sum, total[i][t][j]);
          part[i][t][j] = origin;
        }
      }
    }
  }

  /// As W4A16Sums::enter.
  template <class Context, class First>
  QAT_HOST_DEVICE void enter(const Context& c, const Int4Operands& w, unsigned column, std::size_t scales,
                             std::size_t zeros, const First& first, unsigned pitch, int token) {
    if (column < end || column >= static_cast<unsigned>(w.columns)) return;
    end_group(c, w, token);
    const unsigned group = w.group(column);
    end = (group + 1) * w.group.group;
    if (end > column + kLongestRun) end = column + kLongestRun;
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      QAT_CUDA_UNROLL
      for (int r = 0; r < 2; ++r) {
        const unsigned at =
            first(group) + static_cast<unsigned>(i) * pitch + c.lane() / 4 + 8 * static_cast<unsigned>(r);
        scale[i][r] = shared_scale(c, scales, at, w.scale_bytes);
        if (w.zero_points != nullptr) zero[i][r] = 0x01010101u * c.template shared<std::uint8_t>(zeros).load(at);
      }
    }
  }

  /// Half a tile, from `column`: one step. b: 8 neighbours of a token each.
  template <class Context>
  QAT_HOST_DEVICE void multiply(const Context& c, const Int4Operands& w, unsigned column, int half,
                                const Bytes16 (&a)[kRows], const Bytes8 (&b)[kTokens]) {
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      std::uint32_t operand[4];
      w4a8_operand(c, a[i].word[2 * half], a[i].word[2 * half + 1], zero[i], operand);
      QAT_CUDA_UNROLL
      for (int t = 0; t < kTokens; ++t) c.mma_s8(part[i][t], operand, b[t].word);
      if (w.token_zero_points != nullptr) {
        std::uint32_t ones[2];  // in columns that are there
        QAT_CUDA_UNROLL
        for (int j = 0; j < 2; ++j) {
          const int n = w.columns - static_cast<int>(column + c.lane() % 4 * 8) - 4 * j;
          ones[j] = n >= 4 ? 0x01010101u : n <= 0 ? 0u : 0x01010101u & ((1u << 8 * n) - 1);
        }
        c.mma_s8(weight_sum[i], operand, ones);
      }
    }
  }
};

/// Columns [k, k + 16) of a token to 16 bytes of shared memory, zeros where there are none.
template <class Context>
QAT_HOST_DEVICE void copy_bytes(const Context& c, const Int4Operands& w, unsigned chunk, index_t token, int k) {
  const auto to = c.template shared<Bytes16>(0);
  const bool inside = token < w.tokens && k < w.columns;
  const std::uint8_t* const x = static_cast<const std::uint8_t*>(w.x);
  const std::uint8_t* const from = inside ? x + token * w.x_stride + k : x;
  if (w.x_aligned && (!inside || k + 16 <= w.columns)) return c.cp_async16(to.at(chunk), from, inside);
  Bytes16 v = {};
  QAT_CUDA_LOOP
  for (int i = 0; i < 16; ++i) {
    const std::uint32_t byte = inside && k + i < w.columns ? c.load_cached(from + i) : std::uint8_t{0};
    QAT_CUDA_UNROLL
    for (int j = 0; j < 3; ++j) v.word[j] = v.word[j] >> 8 | v.word[j + 1] << 24;
    v.word[3] = v.word[3] >> 8 | byte << 24;
  }
  to.store(chunk, v);
}

}  // namespace detail

/// The activations of w4a8_gemm in shared memory: rows of 16-byte chunks of 16 elements, 8 or more; chunk i of token t
/// at i ^ 2 (t & 3): four neighbouring tokens, which half a warp reads at once, lie in different banks.
struct W4A8Form {
  static constexpr unsigned kElementBytes = 1;
  static constexpr bool kTokenOffsets = true;
  static constexpr bool kGroupsOfSlices = false;  ///< sums of integers end before they can overflow
  template <int kRows, int kTokens>
  using Sums = detail::W4A8Sums<kRows, kTokens>;
  using Operand = Bytes8;  ///< 8 neighbours of a token
  QAT_HOST_DEVICE static constexpr unsigned swizzle(unsigned chunk, unsigned token) {
    return chunk ^ (token & 3u) << 1;
  }
  template <class Context>
  QAT_HOST_DEVICE static void copy(const Context& c, const Int4Operands& w, unsigned to, index_t token, int chunk) {
    detail::copy_bytes(c, w, to, token, chunk * 16);
  }
  /// What lane (g, q) multiplies of half of tile first + i: `row` + offset is the first chunk of token g.
  template <class Context>
  QAT_HOST_DEVICE static Operand load(const Context& c, unsigned row, unsigned offset, unsigned first, unsigned i,
                                      unsigned half, unsigned g, unsigned q) {
    const unsigned chunk = row + swizzle((first + i) * 4 + half * 2 + q / 2, g);
    return c.template shared<Bytes8>(chunk * 16 + q % 2 * 8).load(offset * 2);
  }
};

}  // namespace qat::inline v0::cuda
