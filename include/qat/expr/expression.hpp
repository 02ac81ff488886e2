// What an elementwise expression is: a trivially copyable tree of views that is bound to a run of elements and then
// loaded element by element. See expr/assign.hpp for the loop that evaluates it.
#pragma once

#include <concepts>
#include <type_traits>

#include "qat/tensor/packed_view.hpp"
#include "qat/tensor/tensor.hpp"
#include "qat/tensor/view.hpp"

namespace qat::inline v0 {

namespace expr {

/// Where a run of elements begins: the indices of the leading dimensions and the index in the last one.
struct Position {
  index_t row[kMaxRank - 1] = {};
  index_t column = 0;

  friend constexpr bool operator==(const Position&, const Position&) = default;
};

/// Longest run whose operands are gathered into the stack when some operand is not contiguous along the last dimension.
inline constexpr index_t kGather = 256;
/// "As long as the row": a run or granule without a limit of its own.
inline constexpr index_t kUnlimited = static_cast<index_t>(static_cast<std::size_t>(-1) >> 1);

constexpr index_t smaller(index_t a, index_t b) { return a < b ? a : b; }

/// Least common multiple of two granules; kUnlimited (the whole row) absorbs.
constexpr index_t common_granule(index_t a, index_t b) {
  if (a == kUnlimited || b == kUnlimited) return kUnlimited;
  index_t x = a, y = b;
  while (y != 0) {
    const index_t r = x % y;
    x = y;
    y = r;
  }
  return a / x * b;
}

}  // namespace expr

/// A node of an expression. Besides the members below it has
///   template <bool Unit> struct Scratch;                      stack memory of one evaluation
///   template <bool Unit> auto bind(const Position&, index_t count, Scratch<Unit>&) const;
/// where bind returns a cursor over `count` elements with `value_type load(index_t j) const`. Unit promises that unit()
/// is true; count is at most run(column), and at most expr::kGather where Unit is false. kRank 0 is a scalar, which has
/// any rank.
template <class E>
concept Expression = std::is_trivially_copyable_v<E> &&
    requires(const E& e, E& mutable_e, const index_t* shape, int d, index_t column) {
  typename E::value_type;
  typename E::template Scratch<true>;
  typename E::template Scratch<false>;
  { E::kRank } -> std::convertible_to<int>;
  { e.dim(d) } -> std::same_as<index_t>;         // extent; 1: the same element for every index
  { e.check_fit(shape) } -> std::same_as<void>;  // throws unless every operand fits a destination of this shape
  { e.unit() } -> std::same_as<bool>;            // every operand is contiguous along the last dimension
  {
    e.flat(shape)
    } -> std::same_as<bool>;  // may be evaluated as one row of all elements of a destination of this shape
  mutable_e.flatten();        // called if flat(): from now on one row of all elements
  { e.run(column) } -> std::same_as<index_t>;  // elements from column on that one bind may cover
  { e.granule() } -> std::same_as<index_t>;    // rows may be divided between threads at multiples of this
};

namespace expr {
template <class>
inline constexpr bool kIsView = false;
template <class T, int Rank>
inline constexpr bool kIsView<View<T, Rank>> = true;
template <class T, int Rank>
inline constexpr bool kIsView<PackedView<T, Rank>> = true;

/// What an operator takes. Owning tensors are matched too, so that the error can say what to write instead.
template <class T>
concept Lazy = Expression<T> || kIsView<T> || kOwnsElements<T>;
template <class T>
concept Operand = Lazy<T> || std::is_arithmetic_v<T>;

/// At least one operand is lazy; the others may be numbers.
template <class... T>
concept Operands = (Operand<T> && ...) && (Lazy<T> || ...);
}  // namespace expr

}  // namespace qat::inline v0
