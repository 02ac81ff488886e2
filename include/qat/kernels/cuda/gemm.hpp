// Matrix products of bfloat16 operands on the GPU's tensor cores, by cuBLASLt. Plain C++; gemm.cuh defines it.
#pragma once

#include <utility>

#include "qat/backend/cuda.hpp"
#include "qat/base/check.hpp"
#include "qat/numeric/bfloat16.hpp"

namespace qat::inline v0::cuda {

/// y = alpha op(a) op(b) + beta y + bias, rounded once. All row-major; T (of y): float or bfloat16.
template <class T>
struct GemmArgs {
  index_t m = 0, n = 0, k = 0;
  const bfloat16* a = nullptr;  ///< (m, k), or (k, m) under transpose_a
  const bfloat16* b = nullptr;  ///< (k, n), or (n, k) under transpose_b
  T* y = nullptr;               ///< (m, n)
  bool transpose_a = false, transpose_b = false;
  index_t a_stride = 0, b_stride = 0, y_stride = 0;  ///< elements from row to row; 0: the columns of the matrix
  float alpha = 1.0f, beta = 0.0f;
  const bfloat16* bias = nullptr;  ///< (n), for a y of bfloat16
};

struct BlasState;
template <class = void>
BlasState* blas_create();
template <class = void>
void blas_destroy(BlasState* state) noexcept;

/// cuBLASLt's handle, and the algorithm of every shape met so far. Of the device that is current when it is made.
class Blas {
 public:
  Blas() : state_(blas_create()) {}
  Blas(Blas&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  Blas& operator=(Blas&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
  }
  ~Blas() { blas_destroy(state_); }
  BlasState& state() const { return *state_; }

 private:
  BlasState* state_;
};

/// Sums are fp32, in an order that cuBLASLt chooses by shape, so the same from run to run on one kind of device.
/// Workspace: what the backend has is offered to cuBLASLt; 32 MiB is what it likes on Hopper, none will do.
/// @throws qat::Error if shapes do not fit or cuBLASLt knows no algorithm
template <class T>
void gemm(const CudaBackend& backend, const Blas& blas, const GemmArgs<T>& args);

}  // namespace qat::inline v0::cuda
