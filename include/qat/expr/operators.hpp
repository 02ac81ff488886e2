// How expressions are written: operators and functions over views, numbers and other expressions.
#pragma once

#include "qat/expr/nodes.hpp"

namespace qat::inline v0 {

namespace expr {

/// The node for an operand whose sibling has element type Sibling (numbers take that type).
template <class Sibling, class T>
constexpr auto node(const T& x) {
  static_assert(
      !kOwnsElements<T>,
      "qat: a Tensor owns its elements, so an expression that held it could dangle: write tensor.view<Rank>()");
  if constexpr (kOwnsElements<T>) {
    return ScalarNode<typename T::value_type>{};  // keeps the compiler from reporting more than the line above
  } else if constexpr (std::is_arithmetic_v<T>) {
    if constexpr (std::is_arithmetic_v<Sibling>) {
      return ScalarNode<Sibling>{static_cast<Sibling>(x)};
    } else {
      return ScalarNode<T>{x};
    }
  } else {
    return x;
  }
}
template <class Sibling, class T, int Rank>
constexpr auto node(const View<T, Rank>& x) {
  return ViewNode<std::remove_const_t<T>, Rank>(x);
}
template <class Sibling, class T, int Rank>
constexpr auto node(const PackedView<T, Rank>& x) {
  return PackedNode<std::remove_const_t<T>, Rank>(x);
}

template <class T>
struct ElementOf {
  using type = T;  // a number
};
template <class T>
requires Lazy<T>
struct ElementOf<T> {
  using type = typename T::value_type;
};
template <class T>
using Element = typename ElementOf<T>::type;

/// Element type that numbers among the operands convert to: that of the first lazy operand.
template <class A, class... More>
struct FirstElement {
  using type = typename FirstElement<More...>::type;
};
template <class A, class... More>
requires Lazy<A>
struct FirstElement<A, More...> {
  using type = Element<A>;
};

template <class... Node>
constexpr bool ranks_agree() {
  int rank = 0;
  bool agree = true;
  ((agree = agree && (Node::kRank == 0 || rank == 0 || Node::kRank == rank),
    rank = Node::kRank > rank ? Node::kRank : rank),
   ...);
  return agree;
}

template <class F, class... Node>
constexpr void check_operands() {
  static_assert(ranks_agree<Node...>(),
                "qat: operands of an expression have different ranks: use as_row(), as_column(), slice() or row()");
  if constexpr (kTakesNumbersOnly<F>) {
    static_assert(
        kNumbers<typename Node::value_type...>,
        "qat: arithmetic needs elements that are numbers; codes (Int<4>...) need dequantize(), storage formats "
        "(half, bfloat16...) need cast<float>()");
  }
}
template <class T, class... More>
constexpr void check_same_element() {
  static_assert((std::is_same_v<T, More> && ...), "qat: operands have different element types: use cast<T>()");
}

template <class F, class A>
constexpr auto make_unary(F f, const A& a) {
  using NodeA = decltype(node<Element<A>>(a));
  check_operands<F, NodeA>();
  return UnaryNode<F, NodeA>{f, node<Element<A>>(a)};
}
template <class F, class A, class B>
constexpr auto make_binary(F f, const A& a, const B& b) {
  using T = typename FirstElement<A, B>::type;
  using NodeA = decltype(node<T>(a));
  using NodeB = decltype(node<T>(b));
  check_operands<F, NodeA, NodeB>();
  return BinaryNode<F, NodeA, NodeB>{f, node<T>(a), node<T>(b)};
}
template <class F, class A, class B, class C>
constexpr auto make_ternary(F f, const A& a, const B& b, const C& c) {
  using T = typename FirstElement<A, B, C>::type;
  using NodeA = decltype(node<T>(a));
  using NodeB = decltype(node<T>(b));
  using NodeC = decltype(node<T>(c));
  check_operands<F, NodeA, NodeB, NodeC>();
  return TernaryNode<F, NodeA, NodeB, NodeC>{f, node<T>(a), node<T>(b), node<T>(c)};
}
/// Binary function of two operands of the same element type.
template <class F, class A, class B>
constexpr auto make_arithmetic(F f, const A& a, const B& b) {
  using T = typename FirstElement<A, B>::type;
  if constexpr (Lazy<A> && Lazy<B>) check_same_element<T, Element<A>, Element<B>>();
  return make_binary(f, a, b);
}

}  // namespace expr

template <class A, class B>
requires expr::Operands<A, B>
constexpr auto operator+(const A& a, const B& b) { return expr::make_arithmetic(expr::Add{}, a, b); }
template <class A, class B>
requires expr::Operands<A, B>
constexpr auto operator-(const A& a, const B& b) { return expr::make_arithmetic(expr::Subtract{}, a, b); }
template <class A, class B>
requires expr::Operands<A, B>
constexpr auto operator*(const A& a, const B& b) { return expr::make_arithmetic(expr::Multiply{}, a, b); }
template <class A, class B>
requires expr::Operands<A, B>
constexpr auto operator/(const A& a, const B& b) { return expr::make_arithmetic(expr::Divide{}, a, b); }
template <class A>
requires expr::Operands<A>
constexpr auto operator-(const A& a) { return expr::make_unary(expr::Negate{}, a); }

/// Comparisons give masks for where().
template <class A, class B>
requires expr::Operands<A, B>
constexpr auto operator<(const A& a, const B& b) { return expr::make_arithmetic(expr::Less{}, a, b); }
template <class A, class B>
requires expr::Operands<A, B>
constexpr auto operator>(const A& a, const B& b) { return expr::make_arithmetic(expr::Less{}, b, a); }
template <class A, class B>
requires expr::Operands<A, B>
constexpr auto operator<=(const A& a, const B& b) { return expr::make_arithmetic(expr::LessEqual{}, a, b); }
template <class A, class B>
requires expr::Operands<A, B>
constexpr auto operator>=(const A& a, const B& b) { return expr::make_arithmetic(expr::LessEqual{}, b, a); }

/// Smaller (larger) of two elements; the first where they are unordered. The parentheses guard against min/max macros.
template <class A, class B>
requires expr::Operands<A, B>
constexpr auto(min)(const A& a, const B& b) { return expr::make_arithmetic(expr::Min{}, a, b); }
template <class A, class B>
requires expr::Operands<A, B>
constexpr auto(max)(const A& a, const B& b) { return expr::make_arithmetic(expr::Max{}, a, b); }
template <class A>
requires expr::Operands<A>
constexpr auto abs(const A& a) { return expr::make_unary(expr::Abs{}, a); }
/// low where x < low, high where x > high; NaN stays NaN.
template <class X, class Low, class High>
requires(expr::Lazy<X>&& expr::Operands<X, Low, High>) constexpr auto clamp(const X& x, const Low& low,
                                                                            const High& high) {
  using T = expr::Element<X>;
  if constexpr (expr::Lazy<Low>) expr::check_same_element<T, expr::Element<Low>>();
  if constexpr (expr::Lazy<High>) expr::check_same_element<T, expr::Element<High>>();
  return expr::make_ternary(expr::Clamp{}, x, low, high);
}
/// a where the mask holds, b elsewhere; both are evaluated.
template <class Mask, class A, class B>
requires(expr::Lazy<Mask>&& expr::Operand<A>&& expr::Operand<B>) constexpr auto where(const Mask& mask, const A& a,
                                                                                      const B& b) {
  static_assert(std::is_same_v<expr::Element<Mask>, bool>, "qat: where() needs a mask: a comparison or a view of bool");
  if constexpr (expr::Lazy<A> && expr::Lazy<B>) expr::check_same_element<expr::Element<A>, expr::Element<B>>();
  using T = expr::Element<std::conditional_t<expr::Lazy<A>, A, B>>;
  using NodeM = decltype(expr::node<bool>(mask));
  using NodeA = decltype(expr::node<T>(a));
  using NodeB = decltype(expr::node<T>(b));
  expr::check_operands<expr::Where, NodeM, NodeA, NodeB>();
  return expr::TernaryNode<expr::Where, NodeM, NodeA, NodeB>{
      {}, expr::node<bool>(mask), expr::node<T>(a), expr::node<T>(b)};
}
/// To the nearest integer value, ties to even. fp32.
template <class A>
requires expr::Operands<A>
constexpr auto round(const A& a) {
  static_assert(std::is_same_v<expr::Element<A>, float>, "qat: round() takes float elements: use cast<float>()");
  return expr::make_unary(expr::Round{}, a);
}
/// Elements converted by static_cast: cast<float>(bfloat16 view), cast<int>(mask)...
template <class To, class A>
requires expr::Operands<A>
constexpr auto cast(const A& a) { return expr::make_unary(expr::Cast<To>{}, a); }

/// The escape hatch: any function of the elements of one, two or three operands, transform(a, b, f). f is copied into
/// the expression, so it must be trivially copyable (capture numbers and views, not owners), and must not throw. Under
/// a compiler that contracts a * b + c (clang does by default), f gives the same bits on every processor only when its
/// author forbids that (-ffp-contract=off).
template <class A, class F>
requires(expr::Operands<A> && !expr::Operand<F>) constexpr auto transform(const A& a, F f) {
  static_assert(std::is_trivially_copyable_v<F>, "qat: transform() needs a trivially copyable function");
  return expr::make_unary(f, a);
}
template <class A, class B, class F>
requires(expr::Operands<A, B> && !expr::Operand<F>) constexpr auto transform(const A& a, const B& b, F f) {
  static_assert(std::is_trivially_copyable_v<F>, "qat: transform() needs a trivially copyable function");
  return expr::make_binary(f, a, b);
}
template <class A, class B, class C, class F>
requires(expr::Operands<A, B, C> && !expr::Operand<F>) constexpr auto transform(const A& a, const B& b, const C& c,
                                                                                F f) {
  static_assert(std::is_trivially_copyable_v<F>, "qat: transform() needs a trivially copyable function");
  return expr::make_ternary(f, a, b, c);
}

/// Elements computed from their indices: generate(f, rows, cols) has element f(i, j). f as for transform().
template <class F, class... Extent>
requires(sizeof...(Extent) >= 1 && sizeof...(Extent) <= kMaxRank &&
         (std::is_convertible_v<Extent, index_t> && ...)) constexpr auto generate(F f, Extent... extent) {
  static_assert(std::is_trivially_copyable_v<F>, "qat: generate() needs a trivially copyable function");
  return expr::IndexNode<F, static_cast<int>(sizeof...(Extent))>{f, {static_cast<index_t>(extent)...}};
}

/// A vector as a row that is repeated along rows, or as a column that is repeated along columns.
template <class T>
constexpr View<T, 2> as_row(const View<T, 1>& v) {  // (C) -> (1, C)
  return {v.data, {1, v.shape[0]}, {0, v.stride[0]}};
}
template <class T>
constexpr View<T, 2> as_column(const View<T, 1>& v) {  // (R) -> (R, 1)
  return {v.data, {v.shape[0], 1}, {v.stride[0], 0}};
}

namespace expr {
// Nodes live in this namespace: argument-dependent lookup finds the functions through it.
using v0::operator+;
using v0::operator-;
using v0::operator*;
using v0::operator/;
using v0::operator<;
using v0::operator>;
using v0::operator<=;
using v0::operator>=;
using v0::abs;
using v0::cast;
using v0::clamp;
using v0::max;
using v0::min;
using v0::round;
using v0::transform;
using v0::where;
}  // namespace expr

}  // namespace qat::inline v0
