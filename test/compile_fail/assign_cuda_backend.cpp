// expect: for CudaBackend include qat/ops/assign.cuh
#include "qat/backend/cpu.hpp"
#include "qat/backend/cuda.hpp"
#include "qat/expr/assign.hpp"

void f(qat::View<float, 1> y) {
#if defined(QAT_SHOULD_FAIL)
  const qat::CudaBackend backend;
#else
  const qat::CpuBackend backend(1);
#endif
  assign(backend, y, y * 2.0f);
}
