// expect: expression and the destination of assign() have different element types
// Nothing is narrowed in silence.
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

void f(qat::View<float, 1> y, qat::View<double, 1> a) {
#ifdef QAT_SHOULD_FAIL
  assign(Serial{}, y, a * 2.0);
#else
  assign(Serial{}, y, cast<float>(a * 2.0));
#endif
}
