// expect: operator+
// Int<4> has no arithmetic of its own.
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

int f(qat::Int4 a, qat::Int4 b) {
#ifdef QAT_SHOULD_FAIL
  return (a + b).value();
#else
  return a.value() + b.value();
#endif
}
