// What the kernels of products with int4 weights share: their operands, and how results are stored.
#pragma once

#include "qat/kernels/cuda/launch.cuh"
#include "qat/kernels/cuda/prepack_int4.cuh"

namespace qat::inline v0::cuda {

/// Operands of a product as its kernels take them: types as flags, so that one kernel serves all of them.
struct Int4Operands {
  detail::GroupOf group;
  const void* x = nullptr;  ///< bfloat16 (W4A16) or int8 (W4A8)
  index_t x_stride = 0;
  const std::uint8_t* codes = nullptr;
  const std::uint8_t* scales = nullptr;
  const std::uint8_t* zero_points = nullptr;
  const float* bias = nullptr;
  const float* token_scales = nullptr;              ///< W4A8: (tokens)
  const std::int32_t* token_zero_points = nullptr;  ///< W4A8: (tokens), null: 0
  void* y = nullptr;
  index_t y_stride = 0;
  int tokens = 0, rows = 0, columns = 0;
  int row_tiles = 0, column_tiles = 0, groups = 0;
  int scale_bytes = 4;  ///< 2: bfloat16, 4: fp32
  bool y_is_float = false;
  bool x_aligned = false, y_aligned = false;  ///< rows start at multiples of 16 bytes
};

namespace detail {

/// Scale i of a run of scales in shared memory.
template <class Context>
QAT_HOST_DEVICE float shared_scale(const Context& c, std::size_t offset, unsigned i, int scale_bytes) {
  return scale_bytes == 2 ? low_bf16(c.template shared<std::uint16_t>(offset).load(i))
                          : c.template shared<float>(offset).load(i);
}
QAT_HOST_DEVICE inline Bytes16 to_bytes(const float (&v)[4]) {
  Bytes16 out;
  QAT_CUDA_UNROLL
  for (int i = 0; i < 4; ++i) out.word[i] = bit_cast<std::uint32_t>(v[i]);
  return out;
}

/// Stores 8 neighbours of a row of y, as many as there are, times the token's scale and plus the bias where there are.
template <class Context>
QAT_HOST_DEVICE void store_outputs(const Context& c, const Int4Operands& w, int token, int n, float (&v)[8]) {
  if (w.token_scales != nullptr) {
    const float scale = c.load_cached(w.token_scales + token);
    QAT_CUDA_UNROLL
    for (int i = 0; i < 8; ++i) v[i] = c.mul(v[i], scale);
  }
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

}  // namespace detail
}  // namespace qat::inline v0::cuda
