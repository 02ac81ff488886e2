// expect: operands have different element types: use cast<T>()
// Element types are converted in words only.
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

void f(qat::View<float, 1> y, qat::View<float, 1> a, qat::View<int, 1> n) {
#ifdef QAT_SHOULD_FAIL
  assign(Serial{}, y, a * n);
#else
  assign(Serial{}, y, a * cast<float>(n));
#endif
}
