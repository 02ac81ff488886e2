// expect: cannot write to a view of const elements
// A view of const elements is not a destination.
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

void f(const qat::Tensor<float>& y, qat::Tensor<float>& z, qat::View<float, 2> a) {
#ifdef QAT_SHOULD_FAIL
  assign(Serial{}, y.view<2>(), a + 1.0f);
#else
  assign(Serial{}, z.view<2>(), a + static_cast<float>(y.size()));
#endif
}
