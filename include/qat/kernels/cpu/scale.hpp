// Multiplies an array by a number: the smallest kernel of the library, and the pattern every other one follows.
#pragma once

#include "qat/backend/cpu.hpp"
#include "qat/simd/vec.hpp"

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/scale-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

/// out[i] = x[i] * factor for i in [0, size); out may be x itself. Same bits on every target and any number of threads.
inline void scale(const CpuBackend& backend, const float* x, float factor, float* out, index_t size) {
  constexpr index_t kChunk = 1 << 15;  // 128 KiB: worth a fork, and fits the caches of one core
  backend.parallel_for((size + kChunk - 1) / kChunk, [&](index_t chunk) {
    const index_t begin = chunk * kChunk;
    const index_t count = size - begin < kChunk ? size - begin : kChunk;
    QAT_DISPATCH(kernels, scale_chunk(x + begin, factor, out + begin, count));
  });
}

}  // namespace qat::inline v0::kernels
