// Kernel of kernels/cuda/sum_rows.hpp.
#pragma once

#include "qat/kernels/cuda/column_sums.hpp"
#include "qat/kernels/cuda/device.hpp"
#include "qat/kernels/cuda/lanes.hpp"
#include "qat/kernels/cuda/launch.cuh"
#include "qat/kernels/cuda/sum_rows.hpp"

namespace qat::inline v0::cuda {

/// partial[p] = the sum of part p of the rows, in ascending order; a thread takes four columns.
template <class T>
struct SumRowsOfPart {
  static constexpr int kThreads = 128;
  const T* y;
  index_t rows, columns, rows_of_part;
  bool aligned;
  float* partial;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t column = (index_t{c.block()} * kThreads + c.thread()) * 4, part = c.block_y();
    if (column >= columns) return;
    const index_t begin = part * rows_of_part, end = begin + rows_of_part < rows ? begin + rows_of_part : rows;
    float sum[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    for (index_t r = begin; r < end; ++r) {
      float v[4];
      load4<Access::kStream>(c, y + r * columns + column, columns - column, aligned, v);
      QAT_CUDA_UNROLL
      for (int i = 0; i < 4; ++i) sum[i] = c.add(sum[i], v[i]);
    }
    store4(c, partial + part * columns + column, columns - column, columns % 4 == 0, sum);
  }
};

template <class T>
void sum_rows(const CudaBackend& backend, const T* y, index_t rows, index_t columns, float* sum, bool accumulate) {
  if (columns == 0) return;
  check_workspace(backend, "sum_rows", sum_rows_bytes(rows, columns));
  float* const partial = static_cast<float*>(backend.workspace);
  const index_t rows_of_part = (rows + 63) / 64, parts = rows == 0 ? 0 : (rows + rows_of_part - 1) / rows_of_part;
  const index_t blocks = (columns + 4 * SumRowsOfPart<T>::kThreads - 1) / (4 * SumRowsOfPart<T>::kThreads);
  launch(backend, Grid{static_cast<unsigned>(blocks), static_cast<unsigned>(parts)},
         SumRowsOfPart<T>{y, rows, columns, rows_of_part, columns % 4 == 0 && is_aligned4(y), partial}, "sum_rows of ",
         rows, " x ", columns);
  launch(backend, Grid{static_cast<unsigned>((columns + 31) / 32), 1, ColumnSums::kSharedBytes},
         ColumnSums{partial, parts, columns, sum, accumulate}, "sum_rows of ", rows, " x ", columns);
}

}  // namespace qat::inline v0::cuda
