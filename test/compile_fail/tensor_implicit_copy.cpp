// expect: deleted
// Copying a tensor is spelled clone().
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

qat::Tensor<float> f(const qat::Tensor<float>& a) {
#ifdef QAT_SHOULD_FAIL
  qat::Tensor<float> b = a;
#else
  qat::Tensor<float> b = a.clone();
#endif
  return b;
}
