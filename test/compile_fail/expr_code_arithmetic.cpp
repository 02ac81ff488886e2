// expect: codes (Int<4>...) need dequantize()
// A quantized integer is not an integer.
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

void f(qat::View<float, 2> y, qat::PackedView<const qat::Int4, 2> a, const qat::GroupQParams& p,
       const qat::QuantSpec& s) {
#ifdef QAT_SHOULD_FAIL
  (void)p, (void)s;
  assign(Serial{}, y, cast<float>(a + a));
#else
  assign(Serial{}, y, dequantize(a, p, s) + dequantize(a, p, s));
#endif
}
