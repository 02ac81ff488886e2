// Matrix products of bf16 activations with packed integer weights (W4A16).
#pragma once

#include "qat/kernels/cpu/qgemm.hpp"
#include "qat/numeric/bfloat16.hpp"

namespace qat::inline v0::kernels {

inline constexpr index_t kBf16RowBlock = 64, kBf16ManyRows = 24;

struct Bf16Rows {
  const float* x;
  index_t stride;
};

struct Bf16Call {
  const PackedWeight* weight;
  float* c;
  index_t ldc;
  const float* bias;
  index_t prefetch_bytes;
};

struct Bf16Kernels {
  void (*pack_rows)(const PackedWeight&, const Bf16Rows&, index_t rows, std::uint32_t* out, float* sums) = nullptr;
  void (*row_stream)(const Bf16Call&, const std::uint32_t* a, const float* sums, index_t row, index_t rows,
                     index_t panel) = nullptr;
  /// The same with another order of instructions, for blocks of at least kBf16ManyRows rows.
  decltype(row_stream) many_row_stream = nullptr;
};

}  // namespace qat::inline v0::kernels

#define QAT_TARGET_WITH_BF16
#define QAT_TARGET_INCLUDE "qat/kernels/cpu/bf16_gemm-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

namespace detail {

template <class Lazy>
Bf16Kernels bf16_kernels(int bits, bool zeros) {
  return QAT_DISPATCH_BF16(kernels, bf16_kernels<Lazy>(bits, zeros));
}
QAT_INSTANCE(Bf16Kernels bf16_kernels<void>(int, bool));

/// Activations, rounded to bf16 while a product packs them.
template <class Operand>
struct Bf16Operand {
  Operand x;

  void load(index_t row, index_t k0, index_t count, float* out) const {
    x.load(row, k0, count, out);
    for (index_t i = 0; i < count; ++i) out[i] = static_cast<float>(bfloat16(out[i]));
  }
};

struct Bf16Workspace {
  AlignedBuffer<std::uint32_t> rows;
  AlignedBuffer<float> sums, loaded;

  static Bf16Workspace& of_this_thread() {
    static thread_local Bf16Workspace workspace;
    return workspace;
  }
};

inline void bf16_gemm(const CpuBackend& backend, index_t M, const GemmOperand& x, const Bf16Kernels& kernels,
                      const Bf16Call& call, const GemmEpilogue& epilogue) {
  const index_t K = call.weight->columns(), blocks = (M + kBf16RowBlock - 1) / kBf16RowBlock;
  Bf16Workspace& space = Bf16Workspace::of_this_thread();
  std::uint32_t* a = space.rows.reserve(M * K / 2);
  float* sums = space.sums.reserve(M * K / 32);
  const auto first_row = [&](index_t block) { return M * block / blocks; };
  const bool in_place = x.load == nullptr && x.matrix.k_stride == 1;
  backend.parallel_for(blocks, [&](index_t block) {
    const index_t row = first_row(block), rows = first_row(block + 1) - row;
    Bf16Rows source{x.matrix.data + row * x.matrix.row_stride, x.matrix.row_stride};
    if (!in_place) {
      float* loaded = Bf16Workspace::of_this_thread().loaded.reserve(rows * K);
      for (index_t r = 0; r < rows; ++r) {
        if (x.load == nullptr) {
          x.matrix.load(row + r, 0, K, loaded + r * K);
        } else {
          x.load(x.self, row + r, 0, K, loaded + r * K);
        }
      }
      source = {loaded, K};
    }
    kernels.pack_rows(*call.weight, source, rows, a + row * K / 2, sums + row * K / 32);
  });
  const index_t panels = call.weight->layout().panels();
  for_each_block(backend,
                 {M, call.weight->rows(), blocks, panels, PanelLayout::kPanelRows, false,
                  blocks_by_work(PanelLayout::kPanelRows * (M / blocks) * (K + 1))},
                 first_row, epilogue, [&](index_t block, index_t panel) {
                   const index_t row = first_row(block), rows = first_row(block + 1) - row;
                   const auto stream = rows < kBf16ManyRows ? kernels.row_stream : kernels.many_row_stream;
                   stream(call, a + row * K / 2, sums + row * K / 32, row, rows, panel);
                 });
}

}  // namespace detail

/// C[m,n] = sum_k bf16(x[m,k]) * w[n,k] (+ bias[n]), x rounded to bf16 (nearest even), sums in fp32.
///
/// With the bf16 dot product (target avx512bf16, 2 to 4 bits, groups of whole blocks of 32 columns, integer zero
/// points): sums over 32 columns, of products of at most 143 * |x| and the same amount that takes the zero point off.
/// At most 23 roundings before the sum of a block is scaled and added, so that an output is within
///   2^-24 * ((25 + K / 32) * 286 * sum_k |bf16(x[m,k])| * |scale[n,group of k]| + |C[m,n]|)
/// of the exact one; subnormal products may count as zero. Everywhere else it is gemm() with PackedOperand on the
/// rounded activations, and its bound. The bits of an output depend on its row of x and its row of w, and on which of
/// the two forms runs; not on M, N or threads.
///
/// @param x     (M, K): MatrixOperand, or what gemm() takes
/// @param bias  weight.rows() values added last, or null
/// @param epilogue  done last, to each block of C
/// @throws qat::Error (kShapeMismatch) if M is negative
template <class Operand = MatrixOperand>
void bf16_gemm(const CpuBackend& backend, index_t M, const Operand& x, const PackedWeight& weight, float* C,
               index_t ldc, const float* bias = nullptr, const GemmEpilogue& epilogue = {}) {
  QAT_CHECK(M >= 0, kShapeMismatch, "bf16_gemm: M is ", M, ", must not be negative");
  const index_t N = weight.rows(), K = weight.columns();
  if (M == 0 || N == 0) return;
  const Bf16Kernels kernels = detail::bf16_kernels<void>(weight.spec().bits, weight.has_zero_points());
  const bool whole_blocks = K > 0 && K % 32 == 0 && weight.groups().tile_columns % 32 == 0;
  if (kernels.row_stream == nullptr || !whole_blocks || weight.has_float_zero_point() || !cpu_tuning().bf16_dot) {
    gemm(backend, M, N, K, detail::Bf16Operand<Operand>{x}, PackedOperand(weight), C, ldc, false, bias, epilogue);
    return;
  }
  detail::bf16_gemm(backend, M, detail::erase(x), kernels, {&weight, C, ldc, bias, cpu_tuning().prefetch_bytes},
                    epilogue);
}

}  // namespace qat::inline v0::kernels
