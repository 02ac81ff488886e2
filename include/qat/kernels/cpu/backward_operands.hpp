// What a quantized layer's backward products read: int8 activations and packed weights, dequantized while gemm() packs
// them, with the rounding of quant/affine.hpp. No fake-quantized copy of either is ever in memory.
#pragma once

#include "qat/kernels/cpu/gemm.hpp"
#include "qat/kernels/cpu/packed_operand.hpp"

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/backward_operands-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

/// The columns of int8 activations (tokens, columns) as rows of an operand whose k runs over tokens:
/// dW = dY^T X is gemm(backend, out, in, tokens, {dY, 1, out}, ActivationColumns{...}, dW, in).
struct ActivationColumns {
  const std::int8_t* codes = nullptr;  ///< (tokens, columns), row-major, signed
  index_t columns = 0;
  const float* scale = nullptr;       ///< (tokens)
  const float* zero_point = nullptr;  ///< (tokens), in steps

  void load(index_t row, index_t k0, index_t count, float* out) const {
    for (index_t i = 0; i < count; ++i) {
      const index_t t = k0 + i;
      out[i] = (static_cast<float>(codes[t * columns + row]) - zero_point[t]) * scale[t];
    }
  }
  template <class Lazy = void>
  void load_panel(index_t row, index_t rows, index_t k0, index_t count, index_t width, float* out) const;
};

template <class Lazy>
void ActivationColumns::load_panel(index_t row, index_t rows, index_t k0, index_t count, index_t width,
                                   float* out) const {
  QAT_DISPATCH(kernels, dequantize_rows(codes + k0 * columns + row, columns, scale + k0, zero_point + k0, count, rows,
                                        width, out));
}
QAT_INSTANCE(void ActivationColumns::load_panel<void>(index_t, index_t, index_t, index_t, index_t, float*) const);

/// The columns of packed weights (out, in) as rows of an operand whose k runs over out:
/// dX = dY W is gemm(backend, tokens, in, out, {dY, out, 1}, PackedColumns(W), dX, in).
class PackedColumns {
 public:
  explicit PackedColumns(const PackedWeight& weight) : weight_(&weight), rows_(weight) {}

  void load(index_t row, index_t k0, index_t count, float* out) const {
    for (index_t i = 0; i < count; ++i) out[i] = weight_->dequantized(k0 + i, row);
  }
  /// Panels of 16 weight rows, up to 64 columns at a time, decoded as PackedOperand does and transposed in the cache.
  template <class Lazy = void>
  void load_panel(index_t row, index_t rows, index_t k0, index_t count, index_t width, float* out) const;

 private:
  const PackedWeight* weight_;
  PackedOperand rows_;
};

template <class Lazy>
void PackedColumns::load_panel(index_t row, index_t rows, index_t k0, index_t count, index_t width, float* out) const {
  constexpr index_t kPanel = PanelLayout::kPanelRows, kColumns = 64;
  alignas(kAlignment) float block[kColumns * kPanel];  // (columns, 16)
  for (index_t c = 0; c < width; c += kColumns) {
    const index_t some = width - c < kColumns ? width - c : kColumns;
    const index_t valid = rows - c < 0 ? 0 : rows - c < some ? rows - c : some;
    for (index_t panel = k0 / kPanel * kPanel; panel < k0 + count; panel += kPanel) {
      const index_t begin = k0 > panel ? k0 - panel : 0;
      const index_t end = k0 + count - panel < kPanel ? k0 + count - panel : kPanel;
      rows_.load_panel<Lazy>(panel, kPanel, row + c, valid, kPanel, block);
      float* to = out + (panel + begin - k0) * width + c;
      QAT_DISPATCH(kernels, transpose_panel(block, begin, end, valid, some, width, to));
    }
  }
}
QAT_INSTANCE(void PackedColumns::load_panel<void>(index_t, index_t, index_t, index_t, index_t, float*) const);

}  // namespace qat::inline v0::kernels
