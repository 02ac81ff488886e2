// expect: quantization takes float elements: use cast<float>()
// Quantization is defined on float.
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

void f(qat::View<float, 2> y, qat::View<qat::bfloat16, 2> a, const qat::QuantSpec& s) {
#ifdef QAT_SHOULD_FAIL
  assign(Serial{}, y, fake_quantize(a, s));
#else
  assign(Serial{}, y, fake_quantize(cast<float>(a), s));
#endif
}
