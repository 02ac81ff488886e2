// expect: deleted
// A view of a temporary tensor would dangle.
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

qat::Tensor<float> make() { return qat::Tensor<float>({4, 4}); }
void f(qat::View<float, 2> y) {
#ifdef QAT_SHOULD_FAIL
  assign(Serial{}, y, make().view<2>() * 2.0f);
#else
  const qat::Tensor<float> a = make();
  assign(Serial{}, y, a.view<2>() * 2.0f);
#endif
}
