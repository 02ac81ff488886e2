// expect: operands of an expression have different ranks
// A vector says whether it is a row or a column.
#include "qat/expr/assign.hpp"
#include "qat/expr/gemm_operand.hpp"
#include "qat/expr/quantize.hpp"

namespace {
struct Serial {  // the least a backend must be
  template <class F>
  void parallel_for(qat::index_t chunks, F&& f) const {
    for (qat::index_t chunk = 0; chunk < chunks; ++chunk) f(chunk);
  }
};
}  // namespace

void f(qat::View<float, 2> y, qat::View<float, 2> a, qat::View<float, 1> bias) {
#ifdef QAT_SHOULD_FAIL
  assign(Serial{}, y, a + bias);
#else
  assign(Serial{}, y, a + as_row(bias));
#endif
}
