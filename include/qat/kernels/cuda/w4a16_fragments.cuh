// What the int4 matrix kernels do in registers: a lane's bytes of Int4Tiles to operands of mma, group by group.
#pragma once

#include "qat/kernels/cuda/launch.cuh"
#include "qat/kernels/cuda/prepack_int4.cuh"

namespace qat::inline v0::cuda {

/// Operands of w4a16_gemm as its kernels take them: types as flags, so that one kernel serves all of them.
struct W4A16Operands {
  const bfloat16* x;
  index_t x_stride;
  const std::uint8_t* codes;
  const std::uint8_t* scales;
  const std::uint8_t* zero_points;
  const float* bias;
  void* y;
  index_t y_stride;
  int tokens, rows, columns;
  int row_tiles, column_tiles, groups;
  detail::GroupOf group;
  int scale_bytes;  ///< 2: bfloat16, 4: fp32
  bool y_is_float;
  bool x_aligned, y_aligned;  ///< rows start at multiples of 16 bytes
};

namespace detail {

/// Scale i of a run of scales in shared memory.
template <class Context>
QAT_HOST_DEVICE float shared_scale(const Context& c, std::size_t offset, unsigned i, int scale_bytes) {
  return scale_bytes == 2 ? low_bf16(c.template shared<std::uint16_t>(offset).load(i))
                          : c.template shared<float>(offset).load(i);
}
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

QAT_HOST_DEVICE inline Bytes16 to_bytes(const float (&v)[4]) {
  Bytes16 out;
  QAT_CUDA_UNROLL
  for (int i = 0; i < 4; ++i) out.word[i] = bit_cast<std::uint32_t>(v[i]);
  return out;
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

  QAT_HOST_DEVICE void clear() {
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
  QAT_HOST_DEVICE void end_group(const Context& c) {
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
  /// Starts the group of `column` unless the current one holds it. Its scale of row r of tile i is element
  /// `first(group) + i * pitch + r` at `scales`, its zero point likewise at `zeros` where there are any.
  template <class Context, class First>
  QAT_HOST_DEVICE void enter(const Context& c, const W4A16Operands& w, unsigned column, std::size_t scales,
                             std::size_t zeros, const First& first, unsigned pitch) {
    if (column < end || column >= static_cast<unsigned>(w.columns)) return;
    end_group(c);
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
  /// Half a tile: two steps. b: 8 neighbours of a token each.
  template <class Context>
  QAT_HOST_DEVICE void multiply(const Context& c, int half, const Bytes16 (&a)[kRows], const Bytes16 (&b)[kTokens]) {
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

/// Stores 8 neighbours of a row of y, as many as there are, with the bias added.
template <class Context>
QAT_HOST_DEVICE void store_outputs(const Context& c, const W4A16Operands& w, int token, int n, float (&v)[8]) {
  if (w.bias != nullptr) {
    QAT_CUDA_UNROLL
    for (int i = 0; i < 8; ++i)
      if (n + i < w.rows) v[i] = c.add(v[i], c.load_cached(w.bias + n + i));
  }
  const bool whole = w.y_aligned && n + 8 <= w.rows;
  if (w.y_is_float) {
    float* y = static_cast<float*>(w.y) + token * w.y_stride + n;
    if (whole) {
      QAT_CUDA_UNROLL
      for (int i = 0; i < 2; ++i) {
        Bytes16 out;
        QAT_CUDA_UNROLL
        for (int j = 0; j < 4; ++j) out.word[j] = bit_cast<std::uint32_t>(v[4 * i + j]);
        c.store(reinterpret_cast<Bytes16*>(y) + i, out);
      }
    } else {
      QAT_CUDA_UNROLL
      for (int i = 0; i < 8; ++i)
        if (n + i < w.rows) c.store(y + i, v[i]);
    }
  } else {
    bfloat16* y = static_cast<bfloat16*>(w.y) + token * w.y_stride + n;
    Bytes16 out;
    QAT_CUDA_UNROLL
    for (int i = 0; i < 4; ++i) out.word[i] = c.bf16_pair(v[2 * i], v[2 * i + 1]);
    store_8(c, y, 0, w.rows - n, w.y_aligned, out);
  }
}

/// Columns [k, k + 8) of a token to 16 bytes of shared memory, zeros where there are none.
template <class Context>
QAT_HOST_DEVICE void copy_activations(const Context& c, const W4A16Operands& w, unsigned chunk, index_t token, int k) {
  const auto to = c.template shared<Bytes16>(0);
  const bool inside = token < w.tokens && k < w.columns;
  const bfloat16* from = inside ? w.x + token * w.x_stride + k : w.x;
  if (w.x_aligned && (!inside || k + 8 <= w.columns)) return c.cp_async16(to.at(chunk), from, inside);
  Bytes16 v = {};
  QAT_CUDA_LOOP
  for (int i = 0; i < 8; ++i)
    shift_element(v, inside && k + i < w.columns ? c.load_cached(from + i).bits : std::uint32_t{0});
  to.store(chunk, v);
}

}  // namespace detail
}  // namespace qat::inline v0::cuda
