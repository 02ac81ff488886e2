// What assign() writes to: strided and packed views, or any type that satisfies Destination.
#pragma once

#include "qat/expr/nodes.hpp"

namespace qat::inline v0 {

namespace expr {

template <class T>
struct StridedOut {
  static constexpr bool kIndependentStores = true;
  T* data;
  index_t step;
  QAT_INLINE StridedOut advanced(index_t n) const { return {data + n * step, step}; }
  QAT_INLINE void store(index_t j, T value) const { data[j * step] = value; }
};

template <class T, int Rank>
struct ViewDestination {
  using value_type = T;
  static constexpr int kRank = Rank;

  View<T, Rank> view;

  constexpr index_t dim(int d) const { return view.shape[d]; }
  constexpr bool unit() const { return view.stride[Rank - 1] == 1; }
  constexpr bool contiguous() const { return view.is_contiguous(); }
  constexpr void flatten() { view.stride[Rank - 1] = 1; }
  constexpr index_t granule() const { return 1; }

  template <bool Unit>
  QAT_INLINE auto bind(const Position& at) const {
    const index_t step = Unit ? 1 : view.stride[Rank - 1];
    T* p = view.data + at.column * step;
    for (int d = 0; d + 1 < Rank; ++d) p += at.row[d] * view.stride[d];
    if constexpr (Unit) {
      return PointerOut<T>{p};
    } else {
      return StridedOut<T>{p, step};
    }
  }
};

template <class T, int Rank>
struct PackedDestination {
  using value_type = T;
  static constexpr int kRank = Rank;
  struct Out {
    std::uint8_t* bytes;
    index_t first, step;
    QAT_INLINE Out advanced(index_t n) const { return {bytes, first + n * step, step}; }
    QAT_INLINE void store(index_t j, T code) const {
      detail::store_packed(bytes, first + j * step, T::kBits, code.bits());
    }
  };

  PackedView<T, Rank> view;

  constexpr index_t dim(int d) const { return view.shape[d]; }
  constexpr bool unit() const { return true; }
  constexpr bool contiguous() const { return view.is_contiguous(); }
  constexpr void flatten() { view.stride[Rank - 1] = 1; }
  /// Eight elements fill whole bytes, so threads that begin at multiples of eight share none.
  constexpr index_t granule() const { return view.is_contiguous() && view.offset * T::kBits % 8 == 0 ? 8 : kUnlimited; }

  template <bool Unit>
  QAT_INLINE Out bind(const Position& at) const {
    index_t first = view.offset + at.column * view.stride[Rank - 1];
    for (int d = 0; d + 1 < Rank; ++d) first += at.row[d] * view.stride[d];
    return {view.bytes, first, view.stride[Rank - 1]};
  }
};

}  // namespace expr

/// A destination of one's own (a counting or converting one): bind gives an output with store(j, value) and
/// advanced(n).
template <class D>
concept Destination = std::is_trivially_copyable_v<D> &&
    requires(const D& d, D& mutable_d, const expr::Position& at, int i) {
  typename D::value_type;
  { D::kRank } -> std::convertible_to<int>;
  { d.dim(i) } -> std::same_as<index_t>;
  { d.unit() } -> std::same_as<bool>;        // contiguous along the last dimension
  { d.contiguous() } -> std::same_as<bool>;  // row-major without gaps
  mutable_d.flatten();                       // called if contiguous(): from now on one row of all elements
  { d.granule() } -> std::same_as<index_t>;  // threads may begin at multiples of this many elements
  d.template bind<true>(at);
  d.template bind<false>(at);
};

namespace expr {
template <class T>
inline constexpr bool kIsConstView = false;
template <class T, int Rank>
inline constexpr bool kIsConstView<View<const T, Rank>> = true;
template <class T, int Rank>
inline constexpr bool kIsConstView<PackedView<const T, Rank>> = true;

template <class T, int Rank>
constexpr auto destination(const View<T, Rank>& v) {
  return ViewDestination<T, Rank>{v};
}
template <class T, int Rank>
constexpr auto destination(const PackedView<T, Rank>& v) {
  return PackedDestination<T, Rank>{v};
}
template <class D>
requires Destination<D>
constexpr auto destination(const D& d) { return d; }
}  // namespace expr

}  // namespace qat::inline v0
