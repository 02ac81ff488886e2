// assign(backend, destination, expression): the single evaluation loop of expressions.
#pragma once

#include "qat/expr/assignment.hpp"
#include "qat/simd/target.hpp"

namespace qat::inline v0::expr {

/// Indices of the leading dimensions of row r, rows counted in row-major order.
template <int Rank>
QAT_INLINE Position row_position(const index_t* leading, index_t r) {
  Position at;
  for (int d = Rank - 2; d > 0; --d) {
    at.row[d] = r % leading[d];
    r /= leading[d];
  }
  if constexpr (Rank > 1) at.row[0] = r;
  return at;
}

/// Elements a chunk of work aims at. A constant, so that chunks depend on sizes alone.
inline constexpr index_t kChunkElements = 16384;

}  // namespace qat::inline v0::expr

#define QAT_TARGET_INCLUDE "qat/expr/assign-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0 {

namespace expr {

template <bool Unit, class Backend, class E, class D>
void run(const Backend& backend, const E& e, const D& destination, const index_t* leading, index_t rows,
         index_t columns) {
  // The strided form gathers; it is compiled for the baseline alone, which halves what a user compiles.
  auto evaluate_rows = &expr::baseline::evaluate_rows<Unit, E, D>;
  if constexpr (Unit) evaluate_rows = QAT_DISPATCH(expr, evaluate_rows<Unit, E, D>);
  index_t rows_per_chunk = rows, columns_per_chunk = columns;
  const index_t granule = destination.granule();
  if (granule != kUnlimited) {
    const bool rows_are_whole = rows == 1 || columns % granule == 0;  // a row begins where a chunk may begin
    const index_t step = common_granule(e.granule(), granule);
    if (columns < kChunkElements || !rows_are_whole) {
      rows_per_chunk = columns < kChunkElements ? kChunkElements / columns : 1;
      if (!rows_are_whole) rows_per_chunk = (rows_per_chunk + granule - 1) / granule * granule;
    } else {
      rows_per_chunk = 1;
      if (step < columns) columns_per_chunk = (kChunkElements + step - 1) / step * step;
    }
  }
  const index_t row_chunks = (rows + rows_per_chunk - 1) / rows_per_chunk;
  const index_t column_chunks = (columns + columns_per_chunk - 1) / columns_per_chunk;
  backend.parallel_for(row_chunks * column_chunks, [&](index_t chunk) {
    const index_t r = chunk / column_chunks * rows_per_chunk;
    const index_t c = chunk % column_chunks * columns_per_chunk;
    evaluate_rows(e, destination, leading, r, smaller(r + rows_per_chunk, rows), c,
                  smaller(c + columns_per_chunk, columns));
  });
}

}  // namespace expr

/// Evaluates the expression into every element of the destination: one pass, no allocation.
///
/// Shapes:   every operand has the destination's extent or 1 in each dimension; checked once, before anything is
/// written Exact:    same bits on every CPU target, for any number of threads and under any compiler flags Aliasing: an
/// operand may be the destination itself, element for element (y = y * 2); any other overlap is not detected
///           and gives unspecified values
/// Cost:     each operand element is loaded once, each destination element is stored once
/// @throws qat::Error (kShapeMismatch) naming the dimension and both extents
template <class Backend, class D, class E>
void assign(const Backend& backend, const D& destination_view, const E& expression) {
  static_assert(
      requires(void (*chunk)(index_t)) { backend.parallel_for(index_t{}, chunk); },
      "qat: this backend has no loop for processors; for CudaBackend include qat/ops/assign.cuh in a file that nvcc "
      "compiles");
  if constexpr (expr::check_assignable<D, E>()) {
    const auto a = expr::checked_assignment(destination_view, expression);
    if (a.empty()) return;
    if (a.e.unit() && a.destination.unit()) {
      expr::run<true>(backend, a.e, a.destination, a.shape, a.rows, a.columns);
    } else {
      expr::run<false>(backend, a.e, a.destination, a.shape, a.rows, a.columns);
    }
  }
}

}  // namespace qat::inline v0
