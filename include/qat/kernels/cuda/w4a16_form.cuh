// Registers of w4a16_gemm: a lane's bytes of Int4Tiles and of the activations to operands of mma, group by group.
#pragma once

#include "qat/kernels/cuda/int4_operands.cuh"

namespace qat::inline v0::cuda {
namespace detail {

/// -(128 + zero) twice, as bfloat16: what takes the offset off a code of w4a16_operand.
QAT_HOST_DEVICE constexpr std::uint32_t zero_pair(std::uint32_t zero) { return 0xC300C300u + zero * 0x00010001u; }

/// Registers of the weight operand of one step of mma.m16n8k16, u - zero in bfloat16, from a word of Int4Tiles. OR-ing
/// a nibble into the last bits of 128.0 gives 128 + u.
template <class Context>
QAT_HOST_DEVICE void w4a16_operand(const Context& c, std::uint32_t word, const std::uint32_t (&zero)[2],
                                   std::uint32_t (&a)[4]) {
  QAT_CUDA_UNROLL
  for (int i = 0; i < 4; ++i)
    a[i] = c.fma_bf16x2(c.and_or(word >> 4 * i, 0x000F000Fu, 0x43004300u), 0x3F803F80u, zero[i % 2]);
}

/// Sums of a warp: kRows tiles of 16 weight rows x kTokens tiles of 8 tokens. `part` holds the sums of the current
/// group, `total` those of the groups before it times their scales.
template <int kRows, int kTokens>
struct W4A16Sums {
  float total[kRows][kTokens][4];
  float part[kRows][kTokens][4];
  float scale[kRows][2];  ///< of rows g and g + 8
  std::uint32_t zero[kRows][2];
  unsigned end;  ///< first column behind the current group

  QAT_HOST_DEVICE void clear(const Int4Operands&) {
    end = 0;
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      scale[i][0] = scale[i][1] = 0.0f;
      zero[i][0] = zero[i][1] = zero_pair(8);
      QAT_CUDA_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        QAT_CUDA_UNROLL
        for (int j = 0; j < 4; ++j) total[i][t][j] = part[i][t][j] = 0.0f;
      }
    }
  }
  template <class Context>
  QAT_HOST_DEVICE void end_group(const Context& c, const Int4Operands&, int) {
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      QAT_CUDA_UNROLL
      for (int t = 0; t < kTokens; ++t) {
        QAT_CUDA_UNROLL
        for (int j = 0; j < 4; ++j) {
          total[i][t][j] = c.fma(scale[i][j / 2], part[i][t][j], total[i][t][j]);
          part[i][t][j] = 0.0f;
        }
      }
    }
  }
  /// token: that of element 0 of the lane's first tile. Starts the group of `column` unless the current one holds it.
  /// Its scale of row r of tile i is element `first(group) + i * pitch + r` at `scales`, its zero point likewise at
  /// `zeros` where there are any.
  template <class Context, class First>
  QAT_HOST_DEVICE void enter(const Context& c, const Int4Operands& w, unsigned column, std::size_t scales,
                             std::size_t zeros, const First& first, unsigned pitch, int token) {
    if (column < end || column >= static_cast<unsigned>(w.columns)) return;
    end_group(c, w, token);
    const unsigned group = w.group(column);
    end = (group + 1) * w.group.group;
    QAT_CUDA_UNROLL
    for (int i = 0; i < kRows; ++i) {
      QAT_CUDA_UNROLL
      for (int r = 0; r < 2; ++r) {
        const unsigned at =
            first(group) + static_cast<unsigned>(i) * pitch + c.lane() / 4 + 8 * static_cast<unsigned>(r);
        scale[i][r] = shared_scale(c, scales, at, w.scale_bytes);
        if (w.zero_points != nullptr) zero[i][r] = zero_pair(c.template shared<std::uint8_t>(zeros).load(at));
      }
    }
  }
  /// Half a tile, from `column`: two steps. b: 8 neighbours of a token each.
  template <class Context>
  QAT_HOST_DEVICE void multiply(const Context& c, const Int4Operands&, unsigned, int half, const Bytes16 (&a)[kRows],
                                const Bytes16 (&b)[kTokens]) {
    QAT_CUDA_UNROLL
    for (int step = 0; step < 2; ++step) {
      QAT_CUDA_UNROLL
      for (int i = 0; i < kRows; ++i) {
        std::uint32_t operand[4];
        w4a16_operand(c, a[i].word[2 * half + step], zero[i], operand);
        QAT_CUDA_UNROLL
        for (int t = 0; t < kTokens; ++t) {
          const std::uint32_t tokens[2] = {b[t].word[2 * step], b[t].word[2 * step + 1]};
          c.mma_bf16(part[i][t], operand, tokens);
        }
      }
    }
  }
};

/// Columns [k, k + 8) of a token to 16 bytes of shared memory, zeros where there are none.
template <class Context>
QAT_HOST_DEVICE void copy_activations(const Context& c, const Int4Operands& w, unsigned chunk, index_t token, int k) {
  const auto to = c.template shared<Bytes16>(0);
  const bool inside = token < w.tokens && k < w.columns;
  const bfloat16* const x = static_cast<const bfloat16*>(w.x);
  const bfloat16* const from = inside ? x + token * w.x_stride + k : x;
  if (w.x_aligned && (!inside || k + 8 <= w.columns)) return c.cp_async16(to.at(chunk), from, inside);
  Bytes16 v = {};
  QAT_CUDA_LOOP
  for (int i = 0; i < 8; ++i)
    shift_element(v, inside && k + i < w.columns ? c.load_cached(from + i).bits : std::uint32_t{0});
  to.store(chunk, v);
}

}  // namespace detail

/// The activations of w4a16_gemm in shared memory: rows of 16-byte chunks of 8 elements; chunk i of token t at
/// i ^ 4 (t & 1): two neighbouring tokens, which a quarter of a warp reads at once, lie in different banks.
struct W4A16Form {
  static constexpr unsigned kElementBytes = 2;
  static constexpr bool kTokenOffsets = false;
  static constexpr bool kGroupsOfSlices = true;  ///< sums of a group are in floating point and may be of any length
  template <int kRows, int kTokens>
  using Sums = detail::W4A16Sums<kRows, kTokens>;
  using Operand = Bytes16;  ///< 8 neighbours of a token
  QAT_HOST_DEVICE static constexpr unsigned swizzle(unsigned chunk, unsigned token) {
    return chunk ^ (token & 1u) << 2;
  }
  template <class Context>
  QAT_HOST_DEVICE static void copy(const Context& c, const Int4Operands& w, unsigned to, index_t token, int chunk) {
    detail::copy_activations(c, w, to, token, chunk * 8);
  }
  /// What lane (g, q) multiplies of half of tile first + i: `row` is the first chunk of token g, offset and i are
  /// constants.
  template <class Context>
  QAT_HOST_DEVICE static Operand load(const Context& c, unsigned row, unsigned offset, unsigned first, unsigned i,
                                      unsigned half, unsigned g, unsigned q) {
    return c.template shared<Bytes16>((row + first * 8 + swizzle(half * 4 + q, g)) * 16).load(offset + i * 8);
  }
};

}  // namespace qat::inline v0::cuda
