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

inline void check_operand(const char* what, index_t rows, index_t columns, index_t rows_needed,
                          index_t columns_needed) {
  QAT_CHECK(rows == rows_needed && columns == columns_needed, kShapeMismatch, "gemm: ", what, " is (", rows, ", ",
            columns, "), must be (", rows_needed, ", ", columns_needed, ")");
}
inline void check_result(View<float, 2> y) {
  QAT_CHECK(y.stride[1] == 1 || y.shape[1] == 1, kShapeMismatch, "gemm: y has ", y.stride[1],
            " elements from column to column, adjacent columns are required");
}

template <class X, class W>
void gemm(const CpuBackend& backend, const X& x, const W& w, View<float, 2> y, const kernels::GemmEpilogue& epilogue) {
  const auto a = expr::node<float>(x);
  const auto b = expr::node<float>(w);
  const index_t M = y.shape[0], N = y.shape[1], K = a.dim(1);
  check_operand("x", a.dim(0), a.dim(1), M, K);
  check_operand("w", b.dim(0), b.dim(1), N, K);
  check_result(y);
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

/// product(epilogue) with none, or with an expression of y's shape.
template <class Product>
void with_epilogue(View<float, 2>, const Product& product) {
  product(kernels::GemmEpilogue{});
}
template <class Product, class Epilogue>
void with_epilogue(View<float, 2> y, const Product& product, const Epilogue& epilogue) {
  const auto e = expr::node<float>(epilogue);
  using E = std::remove_const_t<decltype(e)>;
  static_assert(E::kRank == 2 && std::is_same_v<typename E::value_type, float>,
                "qat: the epilogue of gemm() must be an expression of rank 2 with float elements");
  const BlockEpilogue<E> block{e, {y}};
  e.check_fit(y.shape);
  product(kernels::GemmEpilogue{&BlockEpilogue<E>::run, &block, e.granule()});
}

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
  detail::with_epilogue(
      y, [&](const kernels::GemmEpilogue& e) { detail::gemm(backend, x, w, y, e); }, epilogue);
}

}  // namespace qat::inline v0::ops
