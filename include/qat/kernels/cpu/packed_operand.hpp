// Packed weights as an operand of gemm(): fp32 activations times integer weights.
#pragma once

#include "qat/kernels/cpu/gemm.hpp"
#include "qat/pack/packed_weight.hpp"

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/packed_operand-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"
namespace qat::inline v0::panels {
QAT_ALIAS_DOT_TARGETS
}

namespace qat::inline v0::kernels {

/// Packed weights as an operand of gemm(): elements are dequantized while packing, with the rounding of
/// quant/affine.hpp, so gemm(x, PackedOperand) equals gemm(x, fake-quantized fp32 weights) bit for bit.
class PackedOperand {
 public:
  explicit PackedOperand(const PackedWeight& weight) : weight_(&weight) {}

  void load(index_t row, index_t k0, index_t count, float* out) const {
    for (index_t i = 0; i < count; ++i) out[i] = weight_->dequantized(row, k0 + i);
  }
  template <class Lazy = void>
  void load_panel(index_t row, index_t rows, index_t k0, index_t count, index_t width, float* out) const;

 private:
  const PackedWeight* weight_;
};

template <class Lazy>
void PackedOperand::load_panel(index_t row, index_t, index_t k0, index_t count, index_t width, float* out) const {
  QAT_DISPATCH(panels, dequantize_panel_of<Lazy>(*weight_, row, k0, count, width, out));
}
QAT_INSTANCE(void PackedOperand::load_panel<void>(index_t, index_t, index_t, index_t, index_t, float*) const);

}  // namespace qat::inline v0::kernels
