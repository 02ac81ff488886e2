// Kernel of kernels/cuda/average.hpp.
#pragma once

#include "qat/kernels/cuda/average.hpp"
#include "qat/kernels/cuda/lanes.hpp"
#include "qat/kernels/cuda/launch.cuh"

namespace qat::inline v0::cuda {

/// Four elements a thread.
struct AverageUpdate {
  static constexpr int kThreads = 256;
  const float* x;
  float* average;
  index_t n;
  float weight;
  bool aligned;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t at = (index_t{c.block()} * kThreads + c.thread()) * 4;
    if (at >= n) return;
    float value[4], mean[4];
    load4<Access::kStream>(c, x + at, n - at, aligned, value);
    load4(c, average + at, n - at, aligned, mean);
    QAT_CUDA_UNROLL
    for (int i = 0; i < 4; ++i)
      mean[i] = weight == 1.0f ? value[i] : c.add(mean[i], c.mul(c.sub(value[i], mean[i]), weight));
    store4(c, average + at, n - at, aligned, mean);
  }
};

template <class>
void update_average(const CudaBackend& backend, const float* x, float* average, index_t n, float weight) {
  const index_t blocks = (n + 4 * AverageUpdate::kThreads - 1) / (4 * AverageUpdate::kThreads);
  launch(backend, Grid{static_cast<unsigned>(blocks)},
         AverageUpdate{x, average, n, weight, is_aligned4(x) && is_aligned4(average)}, "update_average of ", n);
}

}  // namespace qat::inline v0::cuda
