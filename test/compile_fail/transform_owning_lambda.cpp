// expect: transform() needs a trivially copyable function
// A function in an expression owns nothing.
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

struct Owner {
  Owner() = default;
  Owner(const Owner&) {}
  float operator()(float x) const { return x; }
};
struct Plain {
  float operator()(float x) const { return x; }
};
void f(qat::View<float, 1> y) {
#ifdef QAT_SHOULD_FAIL
  assign(Serial{}, y, transform(y, Owner{}));
#else
  assign(Serial{}, y, transform(y, Plain{}));
#endif
}
