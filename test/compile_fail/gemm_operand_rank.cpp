// expect: an operand of gemm() must have rank 2
// GEMM reads rows of K elements.
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

float f(qat::View<float, 2> w) {
  float out = 0;
#ifdef QAT_SHOULD_FAIL
  gemm_operand(w.row(0) * 2.0f).load(0, 0, 1, &out);
#else
  gemm_operand(w * 2.0f).load(0, 0, 1, &out);
#endif
  return out;
}
