// The loop over rows of assign(), compiled once per target (simd/target.hpp). Includes nothing.
#if defined(__clang__)  // evaluate() is inlined here, and with it what clang says of its loop (expr/nodes.hpp)
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif
namespace qat::inline v0::expr::QAT_TARGET {

/// Rows [row_begin, row_end), columns [column_begin, column_end) of a destination of the given leading extents.
template <bool Unit, class E, class D>
void evaluate_rows(const E& e, const D& destination, const index_t* leading, index_t row_begin, index_t row_end,
                   index_t column_begin, index_t column_end) {
  typename E::template Scratch<Unit> scratch;
  for (index_t r = row_begin; r < row_end; ++r) {
    Position at = row_position<D::kRank>(leading, r);
    at.column = column_begin;
    evaluate<Unit>(e, at, column_end - column_begin, scratch, destination.template bind<Unit>(at));
  }
}

/// Columns [column, column + count) of one row of a matrix expression.
template <bool Unit, class E>
void load_row(const E& e, index_t row, index_t column, index_t count, float* out) {
  typename E::template Scratch<Unit> scratch;
  Position at;
  at.row[0] = row;
  at.column = column;
  evaluate<Unit>(e, at, count, scratch, PointerOut<float>{out});
}

}  // namespace qat::inline v0::expr::QAT_TARGET
#if defined(__clang__)
#pragma clang diagnostic pop
#endif
