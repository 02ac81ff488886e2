// Linear layer y = x W^T + b and its three gradients.
#pragma once

#include "qat/kernels/cpu/gemm.hpp"
#include "qat/kernels/cpu/row_sums.hpp"
#include "qat/ops/grad_mode.hpp"

namespace qat::inline v0::ops {

/// Sum of rows:  out[c] (+)= sum_r x[r, c], over chunks of rows whose number depends on rows alone, in ascending order.
inline void sum_rows(const CpuBackend& backend, View<const float, 2> x, View<float, 1> out, GradMode mode) {
  if (mode == GradMode::kSkip) return;
  const index_t rows = x.shape[0], cols = x.shape[1];
  detail::check_vector("sum_rows", "out", out, cols);
  kernels::detail::sum_over_row_chunks(backend, rows, cols, out.data, mode == GradMode::kAccumulate,
                                       [&](index_t begin, index_t count, float* sums) {
                                         for (index_t r = begin; r < begin + count; ++r)
                                           for (index_t c = 0; c < cols; ++c) sums[c] += x(r, c);
                                       });
}

namespace detail {
inline kernels::MatrixOperand rows_of(const View<const float, 2>& v) { return {v.data, v.stride[0], v.stride[1]}; }
inline kernels::MatrixOperand columns_of(const View<const float, 2>& v) { return {v.data, v.stride[1], v.stride[0]}; }
}  // namespace detail

/// y = x W^T + b
///
/// Shapes:   x (N, C), weight (O, C), bias (O) or null, y (N, O) with rows of any stride
/// Exact:    each output is one fma chain over ascending c: its bits depend on its own row of x alone
inline void linear(const CpuBackend& backend, View<const float, 2> x, View<const float, 2> weight, const float* bias,
                   View<float, 2> y) {
  QAT_CHECK(x.shape[1] == weight.shape[1], kShapeMismatch, "linear: x has ", x.shape[1], " features, weight takes ",
            weight.shape[1]);
  QAT_CHECK(y.shape[0] == x.shape[0] && y.shape[1] == weight.shape[0] && (y.stride[1] == 1 || y.shape[1] == 1),
            kShapeMismatch, "linear: y is (", y.shape[0], ", ", y.shape[1], "), must be (", x.shape[0], ", ",
            weight.shape[0], ") with adjacent columns");
  kernels::gemm(backend, x.shape[0], weight.shape[0], x.shape[1], detail::rows_of(x), detail::rows_of(weight), y.data,
                y.stride[0], false, bias);
}

/// dx (+)= dy W,  dweight (+)= dy^T x,  dbias (+)= sum of the rows of dy
///
/// Shapes:   dy (N, O), dx (N, C), dweight (O, C), dbias (O)
/// Saved:    x and weight
inline void linear_backward(const CpuBackend& backend, View<const float, 2> x, View<const float, 2> weight,
                            View<const float, 2> dy, View<float, 2> dx, GradMode dx_mode, View<float, 2> dweight,
                            GradMode dweight_mode, View<float, 1> dbias = {}, GradMode dbias_mode = GradMode::kSkip) {
  const index_t rows = dy.shape[0], outputs = dy.shape[1], inputs = x.shape[1];
  QAT_CHECK(x.shape[0] == rows && weight.shape[0] == outputs && weight.shape[1] == inputs, kShapeMismatch,
            "linear_backward: x is (", x.shape[0], ", ", inputs, ") and weight (", weight.shape[0], ", ",
            weight.shape[1], "), which does not fit dy (", rows, ", ", outputs, ")");
  if (dx_mode != GradMode::kSkip) {
    detail::check_rows("linear_backward", "dx", dx, rows, inputs);
    kernels::gemm(backend, rows, inputs, outputs, detail::rows_of(dy), detail::columns_of(weight), dx.data,
                  dx.stride[0], dx_mode == GradMode::kAccumulate);
  }
  if (dweight_mode != GradMode::kSkip) {
    detail::check_rows("linear_backward", "dweight", dweight, outputs, inputs);
    kernels::gemm(backend, outputs, inputs, rows, detail::columns_of(dy), detail::columns_of(x), dweight.data,
                  dweight.stride[0], dweight_mode == GradMode::kAccumulate);
  }
  sum_rows(backend, dy, dbias, dbias_mode);
}

}  // namespace qat::inline v0::ops
