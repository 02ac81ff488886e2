// Sums over the rows of a matrix in one order, whatever the number of threads.
#pragma once

#include "qat/backend/cpu.hpp"
#include "qat/base/aligned.hpp"

namespace qat::inline v0::kernels {

namespace detail {

/// out[c] (+)= the sum over all rows: rows are cut into chunks whose number depends on rows alone,
/// f(first row, rows of the chunk, sums (cols)) adds a chunk's to sums of zero, and the chunks are added in ascending
/// order. out may be null: f then runs with null sums.
template <class F>
void sum_over_row_chunks(const CpuBackend& backend, index_t rows, index_t cols, float* out, bool accumulate,
                         const F& f) {
  const index_t chunk_rows = rows > 64 * 64 ? (rows + 63) / 64 : 64;
  const index_t chunks = (rows + chunk_rows - 1) / chunk_rows;
  AlignedBuffer<float> partial(out == nullptr ? 0 : chunks * cols);
  backend.parallel_for(chunks, [&](index_t chunk) {
    const index_t begin = chunk * chunk_rows;
    float* const sums = out == nullptr ? nullptr : partial.data() + chunk * cols;
    if (sums != nullptr)
      for (index_t c = 0; c < cols; ++c) sums[c] = 0.0f;
    f(begin, rows - begin < chunk_rows ? rows - begin : chunk_rows, sums);
  });
  if (out == nullptr) return;
  const ScopedFloatMode mode;
  for (index_t c = 0; c < cols; ++c) {
    float total = 0.0f;
    for (index_t chunk = 0; chunk < chunks; ++chunk) total += partial[chunk * cols + c];
    out[c] = accumulate ? out[c] + total : total;
  }
}

}  // namespace detail

}  // namespace qat::inline v0::kernels
