// expect: const
// A const packed view gives codes, not references.
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

void f(qat::PackedView<qat::Int4> v, qat::PackedView<const qat::Int4> c) {
#ifdef QAT_SHOULD_FAIL
  c[0] = v[0];
#else
  v[0] = c[0];
#endif
}
