// The nodes of an expression: views, numbers, functions of one to three operands. Children are held by value.
#pragma once

#include <utility>

#include "qat/expr/expression.hpp"
#include "qat/expr/functors.hpp"

// Elementwise loops have no dependences between iterations: an output may be the same element as an input, never
// another.
#if defined(__clang__)
#define QAT_ELEMENTWISE_LOOP _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define QAT_ELEMENTWISE_LOOP _Pragma("GCC ivdep")
#else
#define QAT_ELEMENTWISE_LOOP
#endif

QAT_EXACT_BEGIN

namespace qat::inline v0 {

namespace expr {

template <class T>
struct PointerCursor {
  const T* data;
  QAT_HOST_DEVICE QAT_INLINE T load(index_t j) const { return data[j]; }
};
template <class T>
struct ValueCursor {
  T value;
  QAT_HOST_DEVICE QAT_INLINE T load(index_t) const { return value; }
};

/// Throws unless an operand with these extents fits a destination of this shape.
template <int Rank>
void check_extents(const index_t* extents, const index_t* shape) {
  for (int d = 0; d < Rank; ++d) {
    QAT_CHECK(extents[d] == shape[d] || extents[d] == 1, kShapeMismatch, "assign: dimension ", d, " of an operand has ",
              extents[d], " elements, the destination has ", shape[d], " (an operand must have as many, or 1)");
  }
}

/// A strided view of plain elements. Dimensions of extent 1 are repeated.
template <class T, int Rank>
struct ViewNode {
  using value_type = T;
  static constexpr int kRank = Rank;
  template <bool Unit>
  struct Scratch {};
  template <bool Unit>
  requires(!Unit) struct Scratch<Unit> {
    T gathered[kGather];
  };

  View<const T, Rank> view;

  constexpr explicit ViewNode(const View<const T, Rank>& v) : view(v) {
    for (int d = 0; d < Rank; ++d)
      if (view.shape[d] == 1) view.stride[d] = 0;
  }
  constexpr index_t dim(int d) const { return view.shape[d]; }
  void check_fit(const index_t* shape) const { check_extents<Rank>(view.shape, shape); }
  constexpr bool unit() const { return view.stride[Rank - 1] == 1; }
  constexpr bool flat(const index_t* shape) const {
    for (int d = 0; d < Rank; ++d)
      if (view.shape[d] != shape[d]) return false;
    return view.is_contiguous();
  }
  constexpr void flatten() { view.stride[Rank - 1] = 1; }
  constexpr index_t run(index_t) const { return kUnlimited; }
  constexpr index_t granule() const { return 1; }

  template <bool Unit>
  QAT_INLINE PointerCursor<T> bind(const Position& at, index_t count, Scratch<Unit>& scratch) const {
    const index_t step = Unit ? 1 : view.stride[Rank - 1];
    const T* p = view.data + at.column * step;
    for (int d = 0; d + 1 < Rank; ++d) p += at.row[d] * view.stride[d];
    if constexpr (!Unit) {
      if (step != 1) {
        for (index_t j = 0; j < count; ++j) scratch.gathered[j] = p[j * step];
        return {scratch.gathered};
      }
    }
    return {p};
  }
};

/// A view of packed codes.
template <class T, int Rank>
struct PackedNode {
  using value_type = T;
  static constexpr int kRank = Rank;
  template <bool>
  struct Scratch {};
  struct Cursor {
    const std::uint8_t* bytes;
    index_t first, step;
    QAT_INLINE T load(index_t j) const { return T::from_bits(detail::load_packed(bytes, first + j * step, T::kBits)); }
  };

  PackedView<const T, Rank> view;

  constexpr explicit PackedNode(const PackedView<const T, Rank>& v) : view(v) {
    for (int d = 0; d < Rank; ++d)
      if (view.shape[d] == 1) view.stride[d] = 0;
  }
  constexpr index_t dim(int d) const { return view.shape[d]; }
  void check_fit(const index_t* shape) const { check_extents<Rank>(view.shape, shape); }
  constexpr bool unit() const { return true; }
  constexpr bool flat(const index_t* shape) const {
    for (int d = 0; d < Rank; ++d)
      if (view.shape[d] != shape[d]) return false;
    return view.is_contiguous();
  }
  constexpr void flatten() { view.stride[Rank - 1] = 1; }
  constexpr index_t run(index_t) const { return kUnlimited; }
  constexpr index_t granule() const { return 1; }

  template <bool Unit>
  QAT_INLINE Cursor bind(const Position& at, index_t, Scratch<Unit>&) const {
    index_t first = view.offset + at.column * view.stride[Rank - 1];
    for (int d = 0; d + 1 < Rank; ++d) first += at.row[d] * view.stride[d];
    return {view.bytes, first, view.stride[Rank - 1]};
  }
};

/// One number for every element.
template <class T>
struct ScalarNode {
  using value_type = T;
  static constexpr int kRank = 0;
  template <bool>
  struct Scratch {};

  T value;

  constexpr index_t dim(int) const { return 1; }
  void check_fit(const index_t*) const {}
  constexpr bool unit() const { return true; }
  constexpr bool flat(const index_t*) const { return true; }
  constexpr void flatten() {}
  constexpr index_t run(index_t) const { return kUnlimited; }
  constexpr index_t granule() const { return 1; }

  template <bool Unit>
  QAT_INLINE ValueCursor<T> bind(const Position&, index_t, Scratch<Unit>&) const {
    return {value};
  }
};

/// Elements computed from their indices: f(i), f(i, j), ... for rank 1, 2, ...
template <class F, int Rank>
struct IndexNode {
  static constexpr int kRank = Rank;
  template <bool>
  struct Scratch {};
  QAT_HOST_DEVICE QAT_INLINE static constexpr auto call(const F& f, const Position& at, index_t j) {
    if constexpr (Rank == 1) {
      return f(at.column + j);
    } else if constexpr (Rank == 2) {
      return f(at.row[0], at.column + j);
    } else if constexpr (Rank == 3) {
      return f(at.row[0], at.row[1], at.column + j);
    } else {
      return f(at.row[0], at.row[1], at.row[2], at.column + j);
    }
  }
  using value_type = decltype(call(std::declval<const F&>(), Position{}, index_t{}));
  struct Cursor {
    F f;
    Position at;
    QAT_INLINE value_type load(index_t j) const { return call(f, at, j); }
  };

  F f;
  index_t shape[Rank];

  constexpr index_t dim(int d) const { return shape[d]; }
  void check_fit(const index_t* destination) const {
    for (int d = 0; d < Rank; ++d) {
      QAT_CHECK(shape[d] == destination[d], kShapeMismatch, "assign: dimension ", d, " of generate() has ", shape[d],
                " elements, the destination has ", destination[d]);
    }
  }
  constexpr bool unit() const { return true; }
  constexpr bool flat(const index_t*) const { return Rank == 1; }
  constexpr void flatten() {}
  constexpr index_t run(index_t) const { return kUnlimited; }
  constexpr index_t granule() const { return 1; }

  template <bool Unit>
  QAT_INLINE Cursor bind(const Position& at, index_t, Scratch<Unit>&) const {
    return {f, at};
  }
};

constexpr index_t broadcast_dim(index_t a, index_t b) { return a == 1 ? b : a; }

template <class F, class A>
struct UnaryNode {
  using value_type = std::invoke_result_t<const F&, typename A::value_type>;
  static constexpr int kRank = A::kRank;
  template <bool Unit>
  struct Scratch {
    typename A::template Scratch<Unit> a;
  };
  template <class CursorA>
  struct Cursor {
    F f;
    CursorA a;
    QAT_HOST_DEVICE QAT_INLINE value_type load(index_t j) const { return f(a.load(j)); }
  };

  F f;
  A a;

  constexpr index_t dim(int d) const { return a.dim(d); }
  void check_fit(const index_t* shape) const { a.check_fit(shape); }
  constexpr bool unit() const { return a.unit(); }
  constexpr bool flat(const index_t* shape) const { return a.flat(shape); }
  constexpr void flatten() { a.flatten(); }
  constexpr index_t run(index_t column) const { return a.run(column); }
  constexpr index_t granule() const { return a.granule(); }

  template <bool Unit>
  QAT_INLINE auto bind(const Position& at, index_t count, Scratch<Unit>& scratch) const {
    const auto ca = a.template bind<Unit>(at, count, scratch.a);
    return Cursor<std::remove_const_t<decltype(ca)>>{f, ca};
  }
};

template <class F, class A, class B>
struct BinaryNode {
  using value_type = std::invoke_result_t<const F&, typename A::value_type, typename B::value_type>;
  static constexpr int kRank = A::kRank > B::kRank ? A::kRank : B::kRank;
  template <bool Unit>
  struct Scratch {
    typename A::template Scratch<Unit> a;
    typename B::template Scratch<Unit> b;
  };
  template <class CursorA, class CursorB>
  struct Cursor {
    F f;
    CursorA a;
    CursorB b;
    QAT_HOST_DEVICE QAT_INLINE value_type load(index_t j) const { return f(a.load(j), b.load(j)); }
  };

  F f;
  A a;
  B b;

  constexpr index_t dim(int d) const { return broadcast_dim(a.dim(d), b.dim(d)); }
  void check_fit(const index_t* shape) const {
    a.check_fit(shape);
    b.check_fit(shape);
  }
  constexpr bool unit() const { return a.unit() && b.unit(); }
  constexpr bool flat(const index_t* shape) const { return a.flat(shape) && b.flat(shape); }
  constexpr void flatten() {
    a.flatten();
    b.flatten();
  }
  constexpr index_t run(index_t column) const { return smaller(a.run(column), b.run(column)); }
  constexpr index_t granule() const { return common_granule(a.granule(), b.granule()); }

  template <bool Unit>
  QAT_INLINE auto bind(const Position& at, index_t count, Scratch<Unit>& scratch) const {
    const auto ca = a.template bind<Unit>(at, count, scratch.a);
    const auto cb = b.template bind<Unit>(at, count, scratch.b);
    return Cursor<std::remove_const_t<decltype(ca)>, std::remove_const_t<decltype(cb)>>{f, ca, cb};
  }
};

template <class F, class A, class B, class C>
struct TernaryNode {
  using value_type =
      std::invoke_result_t<const F&, typename A::value_type, typename B::value_type, typename C::value_type>;
  static constexpr int kRankAB = A::kRank > B::kRank ? A::kRank : B::kRank;
  static constexpr int kRank = kRankAB > C::kRank ? kRankAB : C::kRank;
  template <bool Unit>
  struct Scratch {
    typename A::template Scratch<Unit> a;
    typename B::template Scratch<Unit> b;
    typename C::template Scratch<Unit> c;
  };
  template <class CursorA, class CursorB, class CursorC>
  struct Cursor {
    F f;
    CursorA a;
    CursorB b;
    CursorC c;
    QAT_HOST_DEVICE QAT_INLINE value_type load(index_t j) const { return f(a.load(j), b.load(j), c.load(j)); }
  };

  F f;
  A a;
  B b;
  C c;

  constexpr index_t dim(int d) const { return broadcast_dim(broadcast_dim(a.dim(d), b.dim(d)), c.dim(d)); }
  void check_fit(const index_t* shape) const {
    a.check_fit(shape);
    b.check_fit(shape);
    c.check_fit(shape);
  }
  constexpr bool unit() const { return a.unit() && b.unit() && c.unit(); }
  constexpr bool flat(const index_t* shape) const { return a.flat(shape) && b.flat(shape) && c.flat(shape); }
  constexpr void flatten() {
    a.flatten();
    b.flatten();
    c.flatten();
  }
  constexpr index_t run(index_t column) const { return smaller(smaller(a.run(column), b.run(column)), c.run(column)); }
  constexpr index_t granule() const { return common_granule(common_granule(a.granule(), b.granule()), c.granule()); }

  template <bool Unit>
  QAT_INLINE auto bind(const Position& at, index_t count, Scratch<Unit>& scratch) const {
    const auto ca = a.template bind<Unit>(at, count, scratch.a);
    const auto cb = b.template bind<Unit>(at, count, scratch.b);
    const auto cc = c.template bind<Unit>(at, count, scratch.c);
    return Cursor<std::remove_const_t<decltype(ca)>, std::remove_const_t<decltype(cb)>,
                  std::remove_const_t<decltype(cc)>>{f, ca, cb, cc};
  }
};

/// True for outputs whose stores touch no memory of another element. Packed elements share bytes, so theirs do.
template <class Out>
inline constexpr bool kStoresAreIndependent = requires {
  requires Out::kIndependentStores;
};

#if defined(__clang__)  // a user's transform() need not vectorize; clang would say so at every such loop
#pragma clang diagnostic push
#pragma clang diagnostic ignored "-Wpass-failed"
#endif
/// Evaluates `count` elements from `at` on into out.store(j, value), j in [0, count). The loop inside is the one that
/// gets vectorized; it is inlined into a function compiled for the processor (expr/assign-inl.hpp).
template <bool Unit, class E, class Out>
QAT_INLINE void evaluate(const E& e, Position at, index_t count, typename E::template Scratch<Unit>& scratch, Out out) {
  for (index_t done = 0; done < count;) {
    index_t n = smaller(count - done, e.run(at.column));
    if constexpr (!Unit) n = smaller(n, kGather);
    const auto cursor = e.template bind<Unit>(at, n, scratch);
    const Out target = out.advanced(done);
    if constexpr (kStoresAreIndependent<Out>) {
      QAT_ELEMENTWISE_LOOP
      for (index_t j = 0; j < n; ++j) target.store(j, cursor.load(j));
    } else {
      for (index_t j = 0; j < n; ++j) target.store(j, cursor.load(j));
    }
    done += n;
    at.column += n;
  }
}
#if defined(__clang__)
#pragma clang diagnostic pop
#endif

/// Output of evaluate: contiguous elements.
template <class T>
struct PointerOut {
  static constexpr bool kIndependentStores = true;
  T* data;
  QAT_INLINE PointerOut advanced(index_t n) const { return {data + n}; }
  QAT_INLINE void store(index_t j, T value) const { data[j] = value; }
};

}  // namespace expr

}  // namespace qat::inline v0

QAT_EXACT_END
