// One instance of each CUDA kernel, or of each form that is code of its own, as training uses it:
// checks/machine_code.py compiles this file for three architectures and reads what ptxas made of it.
#include "qat/expr/operators.hpp"
#include "qat/kernels/cuda/activation.cuh"
#include "qat/kernels/cuda/adamw.cuh"
#include "qat/kernels/cuda/attention.cuh"
#include "qat/kernels/cuda/average.cuh"
#include "qat/kernels/cuda/cross_entropy.cuh"
#include "qat/kernels/cuda/embedding.cuh"
#include "qat/kernels/cuda/fake_quantize.cuh"
#include "qat/kernels/cuda/lsq.cuh"
#include "qat/kernels/cuda/prepack_int4.cuh"
#include "qat/kernels/cuda/quantize.cuh"
#include "qat/kernels/cuda/rmsnorm.cuh"
#include "qat/kernels/cuda/rope.cuh"
#include "qat/kernels/cuda/scaled_float.cuh"
#include "qat/kernels/cuda/sum_rows.cuh"
#include "qat/kernels/cuda/w4a16_gemm.cuh"
#include "qat/kernels/cuda/w4a8_gemm.cuh"
#include "qat/ops/assign.cuh"
#include "qat/tensor/packed_view.hpp"

namespace qat::inline v0::cuda {

#define QAT_REPRESENTATIVE(...) template __global__ void run_kernel<__VA_ARGS__>(const __grid_constant__ __VA_ARGS__);

// Fake quantization: groups with their range found, with scales given, a row by a warp and by a block, backward.
QAT_REPRESENTATIVE(QuantizeGroups<bfloat16, RangeKind::kMagnitude, false, Output::kValues, false>)
QAT_REPRESENTATIVE(QuantizeGroups<float, RangeKind::kExtremum, false, Output::kCodes4, true>)
QAT_REPRESENTATIVE(QuantizeGroups<bfloat16, RangeKind::kMinMax, true, Output::kValues, true>)
QAT_REPRESENTATIVE(QuantizeGiven<bfloat16, false, Output::kValues, true>)
QAT_REPRESENTATIVE(QuantizeRows<bfloat16, RangeKind::kMagnitude, false, 1, 4>)
QAT_REPRESENTATIVE(QuantizeRows<bfloat16, RangeKind::kMagnitude, false, 8, 8>)
QAT_REPRESENTATIVE(QuantizeBackward<bfloat16, false, true>)
QAT_REPRESENTATIVE(DequantizeVectors<bfloat16, false, 4>)
QAT_REPRESENTATIVE(RangeOfTiles<bfloat16>)
QAT_REPRESENTATIVE(ParametersOfTiles)
QAT_REPRESENTATIVE(EachElement<bfloat16>)
QAT_REPRESENTATIVE(LsqGroups)
QAT_REPRESENTATIVE(LsqPieces)
QAT_REPRESENTATIVE(LsqTotals)
QAT_REPRESENTATIVE(LsqAny)

// Small floats under shared scales.
QAT_REPRESENTATIVE(ScaledFloatBlocks<bfloat16, FloatKind::kNvfp4, false>)
QAT_REPRESENTATIVE(ScaledFloatBlocks<bfloat16, FloatKind::kAmax, true>)
QAT_REPRESENTATIVE(ScaledFloatRows<bfloat16, FloatKind::kAmax, 4, 4>)
QAT_REPRESENTATIVE(ScaledFloatAny<bfloat16>)
QAT_REPRESENTATIVE(AmaxOfTensor<bfloat16>)
QAT_REPRESENTATIVE(SetZero)
QAT_REPRESENTATIVE(MaskGradient<bfloat16>)

// Producers with their output's fake quantization folded in.
QAT_REPRESENTATIVE(detail::RmsNormForward<bfloat16, RowTeam<bfloat16, 128, 4>, true>)
QAT_REPRESENTATIVE(detail::RmsNormForwardAny<bfloat16>)
QAT_REPRESENTATIVE(detail::RmsNormBackward<bfloat16, RowTeam<bfloat16, 128, 4>>)
QAT_REPRESENTATIVE(detail::RmsNormBackwardAny<bfloat16>)
QAT_REPRESENTATIVE(detail::RmsNormWeightAny<bfloat16>)
QAT_REPRESENTATIVE(ColumnSums)
QAT_REPRESENTATIVE(detail::ActivationForward<bfloat16, RowTeam<bfloat16, 256, 4>, Activation::kSwiglu>)
QAT_REPRESENTATIVE(detail::ActivationForwardAny<bfloat16, Activation::kSwiglu>)
QAT_REPRESENTATIVE(detail::ActivationBackward<bfloat16, Activation::kSwiglu>)
QAT_REPRESENTATIVE(detail::ActivationBackwardAny<bfloat16, Activation::kSwiglu>)

// The optimizer: with and without learned scales, and the norm of the gradient.
QAT_REPRESENTATIVE(detail::AdamWPass<bfloat16, bfloat16, false, false>)
QAT_REPRESENTATIVE(detail::AdamWPass<bfloat16, bfloat16, true, false>)
QAT_REPRESENTATIVE(detail::AdamWPass<bfloat16, bfloat16, false, true>)
QAT_REPRESENTATIVE(detail::NormOfParts)

// Int4 weights.
QAT_REPRESENTATIVE(detail::PrepackCodes)
QAT_REPRESENTATIVE(detail::UnpackCodes)
QAT_REPRESENTATIVE(detail::PrepackGroups<bfloat16>)
QAT_REPRESENTATIVE(detail::UnpackGroups<bfloat16>)
QAT_REPRESENTATIVE(detail::DequantizeTiles<bfloat16>)
QAT_REPRESENTATIVE(detail::DequantizeRows<bfloat16>)
QAT_REPRESENTATIVE(W4A16StreamKernel<2, 1, 8, 256, 2>)
QAT_REPRESENTATIVE(Int4TilesKernel<Int4Shape<2, 2, 4, 1, 2, 4, 4, 2>, W4A16Form>)
QAT_REPRESENTATIVE(Int4TilesKernel<Int4Shape<2, 8, 4, 2, 1, 1, 6, 1>, W4A16Form>)
QAT_REPRESENTATIVE(Int4TilesKernel<Int4Shape<4, 4, 2, 2, 1, 2, 3, 2>, W4A16Form>)
QAT_REPRESENTATIVE(Int4TilesKernel<Int4Shape<2, 8, 4, 2, 1, 2, 4, 1>, W4A8Form>)
QAT_REPRESENTATIVE(detail::ClearCounters)

// Attention.
QAT_REPRESENTATIVE(AttentionForward<64, 2, 4, 64, 2, false>)
QAT_REPRESENTATIVE(AttentionForward<128, 2, 4, 32, 2, false>)
QAT_REPRESENTATIVE(AttentionBackwardQueries<64, 2, 4, 32, 32, 2>)
QAT_REPRESENTATIVE(AttentionBackwardKeys<64, 2, 4, 64, 16, 2>)

// Losses and tables.
QAT_REPRESENTATIVE(detail::CrossEntropyRow<bfloat16, true>)
QAT_REPRESENTATIVE(detail::SumOfFloats)
QAT_REPRESENTATIVE(detail::RopePairs<bfloat16, true>)
QAT_REPRESENTATIVE(SumRowsOfPart<bfloat16>)
QAT_REPRESENTATIVE(AverageUpdate)
QAT_REPRESENTATIVE(detail::EmbeddingRows<bfloat16>)
QAT_REPRESENTATIVE(detail::EmbeddingGradient<bfloat16, 4>)
QAT_REPRESENTATIVE(detail::ClearWords)
QAT_REPRESENTATIVE(detail::CountTokens)
QAT_REPRESENTATIVE(detail::StartsOfCounts)
QAT_REPRESENTATIVE(detail::PlacePositions)
QAT_REPRESENTATIVE(detail::OrderPositions)

// Expressions: y = a * b + 1, and a copy between packed views whose rows share bytes.
template <class D, class E>
using AssignmentOf = decltype(expr::checked_assignment(std::declval<const D&>(), std::declval<const E&>()));
using Sum = AssignmentOf<View<float, 2>,
                         decltype(std::declval<View<const float, 2>>() * std::declval<View<const float, 2>>() + 1.0f)>;
using Copy = AssignmentOf<PackedView<Int4, 2>, PackedView<const Int4, 2>>;
QAT_REPRESENTATIVE(expr::AssignKernel<decltype(Sum::e), decltype(Sum::destination), 4, true, false>)
QAT_REPRESENTATIVE(expr::AssignStretchesKernel<decltype(Copy::e), decltype(Copy::destination)>)

}  // namespace qat::inline v0::cuda
