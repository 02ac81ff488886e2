// An assignment that has been checked: what the evaluation loops (expr/assign.hpp, ops/assign.cuh) start from.
#pragma once

#include "qat/expr/destination.hpp"
#include "qat/expr/operators.hpp"

namespace qat::inline v0::expr {

/// A destination and an expression of its element type whose operands fit it. Seen as rows of the last dimension; what
/// is contiguous throughout is one row.
template <class D, class E>
struct Assignment {
  static constexpr int kRank = D::kRank;
  D destination;
  E e;
  index_t shape[kRank];
  index_t rows = 1, columns = 0;

  constexpr bool empty() const { return rows * columns == 0; }
};

template <class D, class E>
constexpr bool check_assignable() {
  static_assert(!kOwnsElements<D>, "qat: assign() writes to a view: write tensor.view<Rank>() for the destination");
  static_assert(!kIsConstView<D>, "qat: assign() cannot write to a view of const elements");
  static_assert(kOwnsElements<D> || kIsView<D> || Destination<D>,
                "qat: the destination of assign() must be a View, a PackedView or satisfy qat::Destination");
  static_assert(Operand<E>, "qat: assign() needs a view, a number or an expression to evaluate");
  return !kOwnsElements<D> && !kIsConstView<D> && Operand<E>;
}

/// @throws qat::Error (kShapeMismatch) naming the dimension and both extents
template <class D, class E>
auto checked_assignment(const D& destination_view, const E& expression) {
  using Out = decltype(expr::destination(destination_view));
  using Node = decltype(node<typename Out::value_type>(expression));
  constexpr int rank = Out::kRank;
  static_assert(Node::kRank == 0 || Node::kRank == rank,
                "qat: the expression and the destination of assign() have different ranks");
  static_assert(std::is_same_v<typename Node::value_type, typename Out::value_type>,
                "qat: the expression and the destination of assign() have different element types: use cast<T>()");
  Assignment<Out, Node> out{expr::destination(destination_view), node<typename Out::value_type>(expression), {}};
  for (int d = 0; d < rank; ++d) out.shape[d] = out.destination.dim(d);
  for (int d = 0; d + 1 < rank; ++d) out.rows *= out.shape[d];
  out.e.check_fit(out.shape);
  out.columns = out.shape[rank - 1];
  if (!out.empty() && out.destination.contiguous() && out.e.flat(out.shape)) {
    out.columns *= out.rows;
    out.rows = 1;
    out.destination.flatten();
    out.e.flatten();
  }
  return out;
}

}  // namespace qat::inline v0::expr
