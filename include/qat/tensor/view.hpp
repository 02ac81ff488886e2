// View<T, Rank>: a strided window on memory somebody else owns. Trivially copyable, so it travels by value into
// expressions, threads and kernels.
#pragma once

#include <type_traits>

#include "qat/base/check.hpp"

namespace qat::inline v0 {

inline constexpr int kMaxRank = 4;

/// shape and stride in elements; element (i0, i1, ...) is data[i0 * stride[0] + i1 * stride[1] + ...].
/// A stride may be 0 (broadcast) or negative. The owner must outlive every use of the view.
template <class T, int Rank>
struct View {
  static_assert(Rank >= 1 && Rank <= kMaxRank, "qat::View: rank must be 1, 2, 3 or 4");
  using value_type = std::remove_cv_t<T>;
  static constexpr int kRank = Rank;

  T* data;
  index_t shape[Rank];
  index_t stride[Rank];

  template <class... Index>
  QAT_HOST_DEVICE constexpr T& operator()(Index... index) const {
    static_assert(sizeof...(Index) == Rank, "qat::View: give one index per dimension");
    index_t offset = 0;
    int d = 0;
    ((offset += static_cast<index_t>(index) * stride[d++]), ...);
    return data[offset];
  }
  QAT_HOST_DEVICE constexpr T& operator[](index_t i) const requires(Rank == 1) { return data[i * stride[0]]; }

  QAT_HOST_DEVICE constexpr index_t dim(int d) const { return shape[d]; }
  QAT_HOST_DEVICE constexpr index_t size() const {
    index_t n = 1;
    for (int d = 0; d < Rank; ++d) n *= shape[d];
    return n;
  }
  QAT_HOST_DEVICE constexpr bool empty() const { return size() == 0; }

  /// Row-major without gaps, so that data[0 .. size()) are the elements in order.
  QAT_HOST_DEVICE constexpr bool is_contiguous() const {
    index_t expected = 1;
    for (int d = Rank - 1; d >= 0; --d) {
      if (shape[d] == 0) return true;
      if (shape[d] != 1 && stride[d] != expected) return false;
      expected *= shape[d];
    }
    return true;
  }

  /// Elements [begin, begin + count) of dimension d; all of the others.
  constexpr View slice(int d, index_t begin, index_t count) const {
    QAT_CHECK(d >= 0 && d < Rank, kInvalidArgument, "View::slice: dimension is ", d, ", the view has rank ", Rank);
    QAT_CHECK(begin >= 0 && count >= 0 && count <= shape[d] - begin, kInvalidArgument, "View::slice: elements [", begin,
              ", ", begin + count, ") of dimension ", d, ", which has ", shape[d]);
    View out = *this;
    out.data = count == 0 ? data : data + begin * stride[d];
    out.shape[d] = count;
    return out;
  }

  /// The view at index i of the first dimension, one rank lower.
  constexpr View<T, (Rank > 1 ? Rank - 1 : 1)> row(index_t i) const requires(Rank >= 2) {
    QAT_CHECK(i >= 0 && i < shape[0], kInvalidArgument, "View::row: index is ", i, ", dimension 0 has ", shape[0]);
    View<T, (Rank > 1 ? Rank - 1 : 1)> out{};
    out.data = data + i * stride[0];
    for (int d = 1; d < Rank; ++d) {
      out.shape[d - 1] = shape[d];
      out.stride[d - 1] = stride[d];
    }
    return out;
  }

  /// The same elements with dimensions d0 and d1 exchanged.
  constexpr View transpose(int d0, int d1) const {
    QAT_CHECK(d0 >= 0 && d0 < Rank && d1 >= 0 && d1 < Rank, kInvalidArgument, "View::transpose: dimensions are ", d0,
              " and ", d1, ", the view has rank ", Rank);
    View out = *this;
    out.shape[d0] = shape[d1];
    out.stride[d0] = stride[d1];
    out.shape[d1] = shape[d0];
    out.stride[d1] = stride[d0];
    return out;
  }
  constexpr View transpose() const requires(Rank == 2) { return transpose(0, 1); }

  /// A mutable view is also a read-only one. A template, because nvcc warns of one that can never be called.
  template <class To, class = std::enable_if_t<!std::is_const_v<T> && std::is_same_v<To, View<const T, Rank>>>>
  QAT_HOST_DEVICE constexpr operator To() const {
    To out{};
    out.data = data;
    for (int d = 0; d < Rank; ++d) {
      out.shape[d] = shape[d];
      out.stride[d] = stride[d];
    }
    return out;
  }
};

/// Row-major view of n0 * n1 * ... elements at data.
template <class T, class... Extent>
requires(sizeof...(Extent) >= 1 && sizeof...(Extent) <= kMaxRank &&
         (std::is_convertible_v<Extent, index_t> && ...)) QAT_HOST_DEVICE
    constexpr View<T, static_cast<int>(sizeof...(Extent))> view(T* data, Extent... extent) {
  constexpr int rank = static_cast<int>(sizeof...(Extent));
  View<T, rank> out{data, {static_cast<index_t>(extent)...}, {}};
  index_t step = 1;
  for (int d = rank - 1; d >= 0; --d) {
    out.stride[d] = step;
    step *= out.shape[d];
  }
  return out;
}

/// Matrix view whose rows start row_stride elements apart.
template <class T>
QAT_HOST_DEVICE constexpr View<T, 2> strided_view(T* data, index_t rows, index_t cols, index_t row_stride) {
  return {data, {rows, cols}, {row_stride, 1}};
}

}  // namespace qat::inline v0
