// expect: write tensor.view<Rank>() for the destination
// assign() writes to views.
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

void f(qat::Tensor<float>& y, qat::View<float, 1> a) {
#ifdef QAT_SHOULD_FAIL
  assign(Serial{}, y, a + 1.0f);
#else
  assign(Serial{}, y.view<1>(), a + 1.0f);
#endif
}
