// Matrix products whose operands are expressions and whose result passes through one: nothing but the result is
// written.
#pragma once

#include "qat/expr/gemm_operand.hpp"
#include "qat/kernels/cpu/gemm.hpp"
#include "qat/ops/linear.hpp"

namespace qat::inline v0::ops {

namespace detail {

/// Views are read where they lie, expressions evaluated while they are packed.
template <class X>
auto product_operand(const X& x) {
  if constexpr (Expression<X>) {
    return gemm_operand(x);
  } else {
    return rows_of(x);
  }
}

template <class Operand>
void check_product(const char* what, const Operand& x, index_t rows, index_t columns) {
  const auto a = expr::node<float>(x);
  QAT_CHECK(a.dim(0) == rows && a.dim(1) == columns, kShapeMismatch, "gemm: ", what, " is (", a.dim(0), ", ", a.dim(1),
            "), must be (", rows, ", ", columns, ")");
}

template <class X, class W>
void gemm(const CpuBackend& backend, const X& x, const W& w, View<float, 2> y, const kernels::GemmEpilogue& epilogue) {
  const index_t M = y.shape[0], N = y.shape[1], K = expr::node<float>(x).dim(1);
  check_product("x", x, M, K);
  check_product("w", w, N, K);
  QAT_CHECK(y.stride[1] == 1 || N == 1, kShapeMismatch, "gemm: y has ", y.stride[1],
            " elements from column to column, adjacent columns are required");
  kernels::gemm(backend, M, N, K, product_operand(x), product_operand(w), y.data, y.stride[0], false, nullptr,
                epilogue);
}

/// An expression of the result's shape, evaluated into a block of it.
template <class E>
struct BlockEpilogue {
  E e;
  expr::ViewDestination<float, 2> y;

  static void run(const void* self, index_t row, index_t rows, index_t column, index_t columns) {
    const BlockEpilogue& me = *static_cast<const BlockEpilogue*>(self);
    const index_t leading[] = {me.y.dim(0)};
    auto evaluate = &expr::baseline::evaluate_rows<false, E, expr::ViewDestination<float, 2>>;
    if (me.e.unit() && me.y.unit())
      evaluate = QAT_DISPATCH(expr, evaluate_rows<true, E, expr::ViewDestination<float, 2>>);
    evaluate(me.e, me.y, leading, row, row + rows, column, column + columns);
  }
};

}  // namespace detail

/// y = x w^T, where x and w are views or expressions, evaluated while they are packed: gemm(cpu, x, fake_quantize(w,
/// spec), y) writes no fake-quantized copy.
///
/// Shapes:   x (M, K), w (N, K), y (M, N) with adjacent columns; y overlaps neither
/// Exact:    each element is one chain of fused multiply-adds over ascending k (plain ones on the baseline), as
/// linear()
/// @throws qat::Error (kShapeMismatch) naming the operand and both shapes
template <class X, class W>
requires expr::Lazy<X> && expr::Lazy<W>
void gemm(const CpuBackend& backend, const X& x, const W& w, View<float, 2> y) { detail::gemm(backend, x, w, y, {}); }

/// The same, then y = epilogue, an expression in which y is the product: gemm(cpu, x, w, y, y * 0.5f + residual). Each
/// block of y is taken while it is in the cache, unless the epilogue quantizes groups of columns that a block would
/// cut: then it runs when the product is done. Same bits as assign(cpu, y, epilogue) after gemm(cpu, x, w, y).
///
/// Shapes:   operands of the epilogue fit (M, N) as in assign(); none but y itself may overlap y
template <class X, class W, class Epilogue>
requires expr::Lazy<X> && expr::Lazy<W>
void gemm(const CpuBackend& backend, const X& x, const W& w, View<float, 2> y, const Epilogue& epilogue) {
  const auto e = expr::node<float>(epilogue);
  using E = std::remove_const_t<decltype(e)>;
  static_assert(E::kRank == 2 && std::is_same_v<typename E::value_type, float>,
                "qat: the epilogue of gemm() must be an expression of rank 2 with float elements");
  const detail::BlockEpilogue<E> block{e, {y}};
  e.check_fit(y.shape);
  detail::gemm(backend, x, w, y, {&detail::BlockEpilogue<E>::run, &block, e.granule()});
}

}  // namespace qat::inline v0::ops
