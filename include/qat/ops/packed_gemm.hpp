// Matrix products with packed integer weights whose result passes through an expression: nothing but the result is
// written.
#pragma once

#include "qat/kernels/cpu/bf16_gemm.hpp"
#include "qat/kernels/cpu/packed_gemm.hpp"
#include "qat/ops/gemm.hpp"

namespace qat::inline v0::ops {

/// Rows of int8 codes: x[m,k] = (codes[m,k] - zero_points[m]) * scales[m]; or with a scale for every scale_columns
/// columns and without zero points.
struct Int8Rows {
  View<const std::int8_t, 2> codes;              ///< (M, K), adjacent columns
  View<const float, 1> scales;                   ///< (M), or (M * groups) row by row; adjacent
  View<const std::int32_t, 1> zero_points = {};  ///< (M), in [-128, 127], adjacent; empty: all zero
  index_t scale_columns = 0;                     ///< columns that share a scale; 0: all of a row
};

namespace detail {

/// The operand as the kernel reads it.
inline kernels::QuantizedActivations activations_of(const Int8Rows& x) {
  const index_t rows = x.codes.shape[0], columns = x.codes.shape[1];
  QAT_CHECK(x.codes.stride[1] == 1 || columns == 1, kShapeMismatch, "gemm: the codes of x have ", x.codes.stride[1],
            " elements from column to column, adjacent columns are required");
  QAT_CHECK(x.scale_columns >= 0, kInvalidArgument, "gemm: x has scales of ", x.scale_columns,
            " columns, must not be negative");
  const kernels::QuantizedActivations a{x.codes.data, x.codes.stride[0], x.scales.data, x.zero_points.data,
                                        x.scale_columns};
  const index_t scales = rows * a.groups(columns);
  QAT_CHECK(x.scales.shape[0] == scales && (x.scales.stride[0] == 1 || scales == 1), kShapeMismatch, "gemm: x has ",
            x.scales.shape[0], " scales, ", x.scales.stride[0], " apart; ", scales, " adjacent ones are required for ",
            rows, " rows");
  QAT_CHECK(a.zero_points == nullptr || (x.zero_points.shape[0] == rows && (x.zero_points.stride[0] == 1 || rows == 1)),
            kShapeMismatch, "gemm: x has ", x.zero_points.shape[0], " zero points, ", x.zero_points.stride[0],
            " apart; ", rows, " adjacent ones are required");
  return a;
}

}  // namespace detail

/// y = x w^T, then y = epilogue if one is given, an expression in which y is the product: gemm(cpu, x, w, y,
/// max(y + bias, 0.0f) + residual). The epilogue runs as in gemm() of floats: on each block of y while it is in the
/// cache. Same bits as assign(cpu, y, epilogue) after the product.
///
/// x is a view or expression of float: products in fp32, the bits of gemm(cpu, x, dequantized w, y). Or of bfloat16, as
/// cast<bfloat16>(x): products of bf16 activations (kernels::bf16_gemm, which states the error).
///
/// Shapes:   x (M, K), w (N, K), y (M, N) with adjacent columns and rows of any stride; y overlaps neither
/// Cost:     rows of an expression are evaluated once or, for a float one of many rows, once for each block of columns
/// @throws qat::Error (kShapeMismatch) naming the operand and both shapes
template <class X, class... Epilogue>
requires expr::Lazy<X> &&
    (sizeof...(Epilogue) <= 1) void gemm(const CpuBackend& backend, const X& x, const PackedWeight& w, View<float, 2> y,
                                         const Epilogue&... epilogue) {
  using Element = expr::Element<X>;
  static_assert(std::is_same_v<Element, float> || std::is_same_v<Element, bfloat16>,
                "qat: x of gemm() with packed weights must have float or bfloat16 elements, or be ops::Int8Rows");
  const auto a = expr::node<Element>(x);
  const index_t M = y.shape[0], N = y.shape[1], K = w.columns();
  detail::check_operand("x", a.dim(0), a.dim(1), M, K);
  detail::check_operand("w", w.rows(), K, N, K);
  detail::check_result(y);
  detail::with_epilogue(
      y,
      [&](const kernels::GemmEpilogue& e) {
        if constexpr (std::is_same_v<Element, bfloat16>) {
          kernels::bf16_gemm(backend, M, gemm_operand(expr::cast<float>(x)), w, y.data, y.stride[0], nullptr, e);
        } else {
          kernels::packed_gemm(backend, M, detail::product_operand(x), w, y.data, y.stride[0], nullptr, e);
        }
      },
      epilogue...);
}

/// The same for int8 activations: exact sums of integers, scaled group by group (kernels::qgemm); the bits are the same
/// on every target.
///
/// @throws qat::Error also if w has float zero points, or x has zero points and scales of columns (kUnsupported)
template <class... Epilogue>
requires(sizeof...(Epilogue) <= 1) void gemm(const CpuBackend& backend, const Int8Rows& x, const PackedWeight& w,
                                             View<float, 2> y, const Epilogue&... epilogue) {
  const index_t M = y.shape[0], N = y.shape[1], K = w.columns();
  detail::check_operand("x", x.codes.shape[0], x.codes.shape[1], M, K);
  detail::check_operand("w", w.rows(), K, N, K);
  detail::check_result(y);
  const kernels::QuantizedActivations a = detail::activations_of(x);
  detail::with_epilogue(
      y, [&](const kernels::GemmEpilogue& e) { kernels::qgemm(backend, M, a, w, y.data, y.stride[0], nullptr, e); },
      epilogue...);
}

}  // namespace qat::inline v0::ops
