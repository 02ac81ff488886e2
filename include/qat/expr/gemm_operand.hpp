// A matrix expression as an operand of GEMM: evaluated while the operand is packed, never written to memory.
#pragma once

#include "qat/expr/assign.hpp"

namespace qat::inline v0 {

/// Rows x K of a rank-2 expression, in the form kernels::gemm loads its operands. Holds views: their owners must
/// outlive it.
template <class E>
class ExpressionOperand {
 public:
  explicit ExpressionOperand(const E& e)
      : e_(e), load_(e.unit() ? QAT_DISPATCH(expr, load_row<true, E>) : expr::baseline::load_row<false, E>) {
    const index_t shape[] = {rows(), columns()};
    e.check_fit(shape);
  }
  index_t rows() const { return e_.dim(0); }
  index_t columns() const { return e_.dim(1); }

  /// out[0 .. count) = elements [k0, k0 + count) of row `row`. For dynamic groups it is cheapest when k0 and count are
  /// multiples of the group size; other calls evaluate the whole groups they touch.
  void load(index_t row, index_t k0, index_t count, float* out) const { load_(e_, row, k0, count, out); }

 private:
  E e_;
  void (*load_)(const E&, index_t, index_t, index_t, float*);
};

/// gemm(backend, M, N, K, x, gemm_operand(fake_quantize(w, spec)), ...): w is a view or expression of shape (N, K).
template <class X>
requires expr::Lazy<X>
auto gemm_operand(const X& x) {
  const auto e = expr::node<expr::Element<X>>(x);
  using E = std::remove_const_t<decltype(e)>;
  static_assert(E::kRank == 2, "qat: an operand of gemm() must have rank 2: (rows, K)");
  static_assert(std::is_same_v<typename E::value_type, float>,
                "qat: an operand of gemm() must have float elements: use cast<float>() or dequantize()");
  return ExpressionOperand<E>(e);
}

namespace expr {
using v0::gemm_operand;
}  // namespace expr

}  // namespace qat::inline v0
