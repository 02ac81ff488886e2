// expect: write tensor.view<Rank>()
// A temporary tensor dies before the expression is evaluated.
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

void f(qat::View<float, 1> b, qat::View<float, 1> y) {
#ifdef QAT_SHOULD_FAIL
  auto e = qat::Tensor<float>({8}) * b;
#else
  const qat::Tensor<float> a({8});
  auto e = a.view<1>() * b;
#endif
  assign(Serial{}, y, e);
}
