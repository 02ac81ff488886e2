// expect: write tensor.view<Rank>()
// Functions of expressions refuse owning tensors as operators do.
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

void f(const qat::Tensor<float>& a, qat::View<float, 2> y, const qat::QuantSpec& spec) {
#ifdef QAT_SHOULD_FAIL
  auto e = fake_quantize(a, spec);
#else
  auto e = fake_quantize(a.view<2>(), spec);
#endif
  assign(Serial{}, y, e);
}
