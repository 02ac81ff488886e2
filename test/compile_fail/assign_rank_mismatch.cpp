// expect: expression and the destination of assign() have different ranks
// The destination has the rank of the expression.
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

void f(qat::View<float, 2> y, qat::View<float, 2> a) {
#ifdef QAT_SHOULD_FAIL
  assign(Serial{}, y.row(0), a + 1.0f);
#else
  assign(Serial{}, y, a + 1.0f);
#endif
}
