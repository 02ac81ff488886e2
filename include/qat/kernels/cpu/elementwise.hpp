// Activations, gated or not, and sums of float arrays, on raw pointers.
#pragma once

#include "qat/backend/cpu.hpp"
#include "qat/kernels/activation_kind.hpp"
#include "qat/simd/math.hpp"

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/elementwise-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

namespace detail {
inline constexpr index_t kElementwiseChunk = 1 << 14;
template <class F>
void for_each_range(const CpuBackend& backend, index_t n, const F& f) {
  backend.parallel_for((n + kElementwiseChunk - 1) / kElementwiseChunk, [&](index_t chunk) {
    const index_t begin = chunk * kElementwiseChunk;
    f(begin, n - begin < kElementwiseChunk ? n - begin : kElementwiseChunk);
  });
}
}  // namespace detail

/// y = activation(gate) * up; up may be null: without it. y may be gate or up.
inline void activation(const CpuBackend& backend, Activation kind, const float* gate, const float* up, index_t n,
                       float* y) {
  detail::for_each_range(backend, n, [&](index_t i, index_t count) {
    const float* const u = up == nullptr ? nullptr : up + i;
    if (kind == Activation::kSilu) {
      QAT_DISPATCH(kernels, activation_range<Activation::kSilu>(gate + i, u, count, y + i));
    } else {
      QAT_DISPATCH(kernels, activation_range<Activation::kGeluTanh>(gate + i, u, count, y + i));
    }
  });
}

/// dup = dy * activation(gate),  dgate = dy * up * activation'(gate). up may be null: without it. dgate and dup may be
/// null, may be gate, up or dy themselves, and are added to what is there when the flag says so.
inline void activation_backward(const CpuBackend& backend, Activation kind, const float* gate, const float* up,
                                const float* dy, index_t n, float* dgate, bool accumulate_dgate, float* dup,
                                bool accumulate_dup) {
  detail::for_each_range(backend, n, [&](index_t i, index_t count) {
    const float* const u = up == nullptr ? nullptr : up + i;
    float *const dg = dgate == nullptr ? nullptr : dgate + i, *const du = dup == nullptr ? nullptr : dup + i;
    if (kind == Activation::kSilu) {
      QAT_DISPATCH(kernels, activation_backward_range<Activation::kSilu>(gate + i, u, dy + i, count, dg,
                                                                         accumulate_dgate, du, accumulate_dup));
    } else {
      QAT_DISPATCH(kernels, activation_backward_range<Activation::kGeluTanh>(gate + i, u, dy + i, count, dg,
                                                                             accumulate_dgate, du, accumulate_dup));
    }
  });
}

/// y = a + b; y may be either.
inline void add(const CpuBackend& backend, const float* a, const float* b, index_t n, float* y) {
  detail::for_each_range(
      backend, n, [&](index_t i, index_t count) { QAT_DISPATCH(kernels, add_range(a + i, b + i, count, y + i)); });
}

/// Sum of squares in double, in an order that depends on n alone.
inline double sum_of_squares(const CpuBackend& backend, const float* x, index_t n) {
  constexpr index_t kMaxChunks = 64;
  double partial[kMaxChunks] = {};
  index_t chunk_size = detail::kElementwiseChunk;
  if (n > kMaxChunks * chunk_size) chunk_size = ((n + kMaxChunks - 1) / kMaxChunks + 15) / 16 * 16;
  const index_t chunks = (n + chunk_size - 1) / chunk_size;
  backend.parallel_for(chunks, [&](index_t chunk) {
    const index_t begin = chunk * chunk_size, count = n - begin < chunk_size ? n - begin : chunk_size;
    partial[chunk] = QAT_DISPATCH(kernels, sum_of_squares_range(x + begin, count));
  });
  // In memory, so that no addition leaves the scope of the mode.
  const ScopedFloatMode mode;
  for (index_t chunk = 1; chunk < chunks; ++chunk) partial[0] += partial[chunk];
  return partial[0];
}

}  // namespace qat::inline v0::kernels
