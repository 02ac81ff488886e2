// Sums of the columns of a matrix of partial results, in an order that depends on its shape alone.
#pragma once

#include "qat/kernels/cuda/context.hpp"

namespace qat::inline v0::cuda {

/// out[c] (+)= sum of partial[r, c]. A block sums 32 columns: eight threads take every eighth row each, in ascending
/// order, and are added as a tree.
struct ColumnSums {
  static constexpr int kThreads = 256;
  static constexpr std::size_t kSharedBytes = 256 * sizeof(float);
  const float* partial;  // (rows, columns)
  index_t rows, columns;
  float* out;
  bool accumulate;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const unsigned slice = c.thread() / 32, lane = c.thread() % 32;
    const index_t column = index_t{c.block()} * 32 + lane;
    float sum = 0.0f;
    if (column < columns) {
      for (index_t r = slice; r < rows; r += 8) sum = c.add(sum, c.load(partial + r * columns + column));
    }
    const auto sums = c.template shared<float>(0);
    sums.store(slice * 32 + lane, sum);
    for (unsigned width = 4; width > 0; width /= 2) {
      c.sync();
      if (slice < width)
        sums.store(slice * 32 + lane, c.add(sums.load(slice * 32 + lane), sums.load((slice + width) * 32 + lane)));
    }
    if (slice == 0 && column < columns) {
      const float total = sums.load(lane);
      c.store(out + column, accumulate ? c.add(c.load(out + column), total) : total);
    }
  }
};

}  // namespace qat::inline v0::cuda
