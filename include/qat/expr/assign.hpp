// assign(backend, destination, expression): the single evaluation loop of expressions.
#pragma once

#include "qat/expr/destination.hpp"
#include "qat/expr/operators.hpp"
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

#if defined(__clang__)  // a user's transform() need not vectorize; clang would say so at every such loop
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif
#define QAT_TARGET_INCLUDE "qat/expr/assign-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"
#if defined(__clang__)
#pragma clang diagnostic pop
#endif

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
  static_assert(!kOwnsElements<D>, "qat: assign() writes to a view: write tensor.view<Rank>() for the destination");
  static_assert(!expr::kIsConstView<D>, "qat: assign() cannot write to a view of const elements");
  static_assert(kOwnsElements<D> || expr::kIsView<D> || Destination<D>,
                "qat: the destination of assign() must be a View, a PackedView or satisfy qat::Destination");
  static_assert(expr::Operand<E>, "qat: assign() needs a view, a number or an expression to evaluate");
  if constexpr (!kOwnsElements<D> && !expr::kIsConstView<D> && expr::Operand<E>) {
    auto destination = expr::destination(destination_view);
    using Out = decltype(destination);
    auto e = expr::node<typename Out::value_type>(expression);
    using Node = decltype(e);
    constexpr int rank = Out::kRank;
    static_assert(Node::kRank == 0 || Node::kRank == rank,
                  "qat: the expression and the destination of assign() have different ranks");
    static_assert(std::is_same_v<typename Node::value_type, typename Out::value_type>,
                  "qat: the expression and the destination of assign() have different element types: use cast<T>()");
    index_t shape[rank];
    index_t rows = 1;
    for (int d = 0; d < rank; ++d) shape[d] = destination.dim(d);
    for (int d = 0; d + 1 < rank; ++d) rows *= shape[d];
    e.check_fit(shape);
    index_t columns = shape[rank - 1];
    if (rows * columns == 0) return;
    if (destination.contiguous() && e.flat(shape)) {
      columns *= rows;
      rows = 1;
      destination.flatten();
      e.flatten();
    }
    if (e.unit() && destination.unit()) {
      expr::run<true>(backend, e, destination, shape, rows, columns);
    } else {
      expr::run<false>(backend, e, destination, shape, rows, columns);
    }
  }
}

}  // namespace qat::inline v0
