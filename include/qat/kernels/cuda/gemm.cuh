// Definitions of kernels/cuda/gemm.hpp: cuBLASLt (link it: -lcublasLt), and plain loops on the emulator.
#pragma once

#include <map>
#include <memory>
#include <tuple>
#include <type_traits>

#include "qat/kernels/cuda/gemm.hpp"
#include "qat/kernels/cuda/launch.cuh"

#if defined(__CUDACC__)
#include <cublasLt.h>
#endif

namespace qat::inline v0::cuda {

namespace detail {
/// Leading dimensions with the defaults filled in.
template <class T>
GemmArgs<T> resolved(GemmArgs<T> args) {
  QAT_CHECK(args.m >= 0 && args.n >= 0 && args.k >= 0, kShapeMismatch, "gemm: m is ", args.m, ", n ", args.n, ", k ",
            args.k, "; accepted: 0 and more");
  QAT_CHECK(args.bias == nullptr || sizeof(T) == 2, kUnsupported, "gemm: bias is for a y of bfloat16");
  const auto fill = [](index_t& stride, index_t columns, const char* name) {
    if (stride == 0) stride = columns;
    QAT_CHECK(stride >= columns, kShapeMismatch, "gemm: ", name, " is ", stride, ", less than ", columns, " columns");
  };
  fill(args.a_stride, args.transpose_a ? args.m : args.k, "a_stride");
  fill(args.b_stride, args.transpose_b ? args.k : args.n, "b_stride");
  fill(args.y_stride, args.n, "y_stride");
  return args;
}
}  // namespace detail

#if defined(__CUDACC__)

struct BlasState {
  struct Destroy {
    void operator()(cublasLtMatmulDesc_t p) const { (void)cublasLtMatmulDescDestroy(p); }
    void operator()(cublasLtMatrixLayout_t p) const { (void)cublasLtMatrixLayoutDestroy(p); }
    void operator()(cublasLtMatmulPreference_t p) const { (void)cublasLtMatmulPreferenceDestroy(p); }
    void operator()(cublasLtHandle_t p) const { (void)cublasLtDestroy(p); }
  };
  template <class P>
  using Owned = std::unique_ptr<std::remove_pointer_t<P>, Destroy>;
  using Layout = Owned<cublasLtMatrixLayout_t>;
  /// A product as cuBLASLt describes it, with the algorithm its heuristic gave.
  struct Plan {
    Owned<cublasLtMatmulDesc_t> product;
    Layout first, second, result;
    cublasLtMatmulAlgo_t algorithm{};
    std::size_t workspace_bytes = 0;
  };
  using Key = std::tuple<index_t, index_t, index_t, index_t, index_t, index_t, int, std::size_t>;

  Owned<cublasLtHandle_t> handle;
  std::map<Key, Plan> plans;
};

namespace detail {
template <class... Where>
void check_blas(cublasStatus_t status, const Where&... where) {
  QAT_CHECK(status == CUBLAS_STATUS_SUCCESS, kDevice, where..., ": cuBLASLt: ", cublasLtGetStatusString(status));
}

inline void set_bias(cublasLtMatmulDesc_t product, const bfloat16* bias) {
  const void* const p = bias;
  check_blas(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p, sizeof p), "gemm");
}

/// cuBLASLt counts by columns: a row-major y = op(a) op(b) is its y^T = op(b)^T op(a)^T, with b as the first operand.
template <class T>
BlasState::Plan plan_gemm(cublasLtHandle_t handle, const GemmArgs<T>& g, std::size_t workspace_bytes) {
  BlasState::Plan plan;
  cublasLtMatmulDesc_t product = nullptr;
  check_blas(cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F), "gemm");
  plan.product.reset(product);
  const cublasOperation_t first = g.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N;
  const cublasOperation_t second = g.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N;
  check_blas(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof first), "gemm");
  check_blas(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSB, &second, sizeof second), "gemm");
  if (g.bias != nullptr) {  // along the columns of y, which are the rows of y^T
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    check_blas(cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue),
               "gemm");
    set_bias(product, g.bias);
  }
  const auto layout = [](cudaDataType type, index_t rows, index_t columns, index_t stride) {
    cublasLtMatrixLayout_t matrix = nullptr;
    check_blas(cublasLtMatrixLayoutCreate(&matrix, type, static_cast<std::uint64_t>(columns),
                                          static_cast<std::uint64_t>(rows), stride),
               "gemm");
    return BlasState::Layout(matrix);
  };
  plan.first = layout(CUDA_R_16BF, g.transpose_b ? g.n : g.k, g.transpose_b ? g.k : g.n, g.b_stride);
  plan.second = layout(CUDA_R_16BF, g.transpose_a ? g.k : g.m, g.transpose_a ? g.m : g.k, g.a_stride);
  plan.result = layout(sizeof(T) == 4 ? CUDA_R_32F : CUDA_R_16BF, g.m, g.n, g.y_stride);

  cublasLtMatmulPreference_t preference = nullptr;
  check_blas(cublasLtMatmulPreferenceCreate(&preference), "gemm");
  const BlasState::Owned<cublasLtMatmulPreference_t> owned(preference);
  check_blas(cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                  &workspace_bytes, sizeof workspace_bytes),
             "gemm");
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  check_blas(cublasLtMatmulAlgoGetHeuristic(handle, product, plan.first.get(), plan.second.get(), plan.result.get(),
                                            plan.result.get(), preference, 1, &found, &count),
             "gemm ", g.m, " x ", g.n, " x ", g.k);
  QAT_CHECK(count > 0, kUnsupported, "gemm ", g.m, " x ", g.n, " x ", g.k, ": cuBLASLt knows no algorithm for it");
  plan.algorithm = found.algo;
  plan.workspace_bytes = found.workspaceSize;
  return plan;
}
}  // namespace detail

template <class>
BlasState* blas_create() {
  auto state = std::make_unique<BlasState>();
  cublasLtHandle_t handle = nullptr;
  detail::check_blas(cublasLtCreate(&handle), "starting cuBLASLt");
  state->handle.reset(handle);
  return state.release();
}
template <class>
void blas_destroy(BlasState* state) noexcept {
  delete state;
}

template <class T>
void gemm(const CudaBackend& backend, const Blas& blas, const GemmArgs<T>& args) {
  const GemmArgs<T> g = detail::resolved(args);
  if (g.m == 0 || g.n == 0) return;
  QAT_CHECK(g.k > 0, kShapeMismatch, "gemm: k is 0");
  BlasState& state = blas.state();
  const int form =
      (g.transpose_a ? 1 : 0) + (g.transpose_b ? 2 : 0) + (sizeof(T) == 4 ? 4 : 0) + (g.bias != nullptr ? 8 : 0);
  const BlasState::Key key{g.m, g.n, g.k, g.a_stride, g.b_stride, g.y_stride, form, backend.workspace_bytes};
  auto at = state.plans.find(key);
  if (at == state.plans.end())
    at = state.plans.emplace(key, detail::plan_gemm(state.handle.get(), g, backend.workspace_bytes)).first;
  const BlasState::Plan& plan = at->second;
  if (g.bias != nullptr) detail::set_bias(plan.product.get(), g.bias);
  detail::check_blas(cublasLtMatmul(state.handle.get(), plan.product.get(), &g.alpha, g.b, plan.first.get(), g.a,
                                    plan.second.get(), &g.beta, g.y, plan.result.get(), g.y, plan.result.get(),
                                    &plan.algorithm, backend.workspace, plan.workspace_bytes, backend.stream),
                     "gemm ", g.m, " x ", g.n, " x ", g.k);
}

#else

struct BlasState {};
template <class>
BlasState* blas_create() {
  return new BlasState;
}
template <class>
void blas_destroy(BlasState* state) noexcept {
  delete state;
}
template <class T>
void gemm(const CudaBackend&, const Blas&, const GemmArgs<T>& args) {
  emulation::queue([g = detail::resolved(args)] {
    for (index_t i = 0; i < g.m; ++i)
      for (index_t j = 0; j < g.n; ++j) {
        float sum = 0.0f;
        for (index_t k = 0; k < g.k; ++k) {
          const bfloat16 a = g.transpose_a ? g.a[k * g.a_stride + i] : g.a[i * g.a_stride + k];
          const bfloat16 b = g.transpose_b ? g.b[j * g.b_stride + k] : g.b[k * g.b_stride + j];
          sum += static_cast<float>(a) * static_cast<float>(b);
        }
        T& y = g.y[i * g.y_stride + j];
        y = static_cast<T>(g.alpha * sum + (g.beta != 0.0f ? g.beta * static_cast<float>(y) : 0.0f) +
                           (g.bias != nullptr ? static_cast<float>(g.bias[j]) : 0.0f));
      }
  });
}

#endif

}  // namespace qat::inline v0::cuda
