// PackedView<Int<B>, Rank>: a window on elements of 1 to 8 bits stored without gaps, with proxy references.
#pragma once

#include <array>  // the lightest header that declares std::random_access_iterator_tag
#include <type_traits>

#include "qat/base/check.hpp"
#include "qat/numeric/int_subbyte.hpp"
#include "qat/tensor/view.hpp"

namespace qat::inline v0 {

/// Bytes that hold `count` packed elements of `bits` bits.
QAT_HOST_DEVICE constexpr index_t packed_bytes(index_t count, int bits) { return (count * bits + 7) / 8; }

namespace detail {
// Element i of `width` bits (1 to 8) occupies bits [i * width, (i + 1) * width) of the byte sequence, least significant
// bit first. Only bytes that hold a bit of the element are touched, so the last element may end at the last byte of an
// allocation.
QAT_HOST_DEVICE QAT_INLINE constexpr std::uint32_t load_packed(const std::uint8_t* bytes, index_t i, int width) {
  const index_t bit = i * width;
  const int shift = static_cast<int>(bit & 7);
  std::uint32_t word = bytes[bit >> 3];
  if (8 % width != 0 && shift + width > 8) word |= static_cast<std::uint32_t>(bytes[(bit >> 3) + 1]) << 8;
  return (word >> shift) & ((1u << width) - 1);
}

QAT_HOST_DEVICE QAT_INLINE constexpr void store_packed(std::uint8_t* bytes, index_t i, int width, std::uint32_t bits) {
  const index_t bit = i * width;
  const int shift = static_cast<int>(bit & 7);
  const std::uint32_t mask = ((1u << width) - 1) << shift;
  const std::uint32_t placed = (bits << shift) & mask;
  std::uint8_t* const p = bytes + (bit >> 3);
  p[0] = static_cast<std::uint8_t>((p[0] & ~mask) | placed);
  if (8 % width != 0 && shift + width > 8) p[1] = static_cast<std::uint8_t>((p[1] & ~(mask >> 8)) | (placed >> 8));
}
}  // namespace detail

/// Stands for one packed element: converts to the code, assigns to it, swaps with another. Copying a reference names
/// the same element; assigning one reference to another copies the code.
template <class T>
class PackedReference {
 public:
  QAT_HOST_DEVICE constexpr PackedReference(std::uint8_t* bytes, index_t index) : bytes_(bytes), index_(index) {}
  constexpr PackedReference(const PackedReference&) = default;

  QAT_HOST_DEVICE constexpr operator T() const { return T::from_bits(detail::load_packed(bytes_, index_, T::kBits)); }
  /// The code as an integer.
  QAT_HOST_DEVICE constexpr int value() const { return T(*this).value(); }

  // const: the reference does not change, what it names does (std::indirectly_writable asks for this form).
  QAT_HOST_DEVICE constexpr const PackedReference& operator=(T code) const {
    detail::store_packed(bytes_, index_, T::kBits, code.bits());
    return *this;
  }
  QAT_HOST_DEVICE constexpr const PackedReference& operator=(const PackedReference& other) const {
    return *this = T(other);
  }
  QAT_HOST_DEVICE constexpr PackedReference& operator=(const PackedReference& other) {
    detail::store_packed(bytes_, index_, T::kBits, T(other).bits());
    return *this;
  }
  QAT_HOST_DEVICE friend constexpr void swap(PackedReference a, PackedReference b) {
    const T old = a;
    a = T(b);
    b = old;
  }
  QAT_HOST_DEVICE friend constexpr bool operator==(PackedReference a, PackedReference b) { return T(a) == T(b); }

 private:
  std::uint8_t* bytes_;
  index_t index_;
};

/// Random-access iterator over packed elements `stride` apart; T may be const.
template <class T>
class PackedIterator {
  static constexpr bool kConst = std::is_const_v<T>;
  using Byte = std::conditional_t<kConst, const std::uint8_t, std::uint8_t>;

 public:
  using value_type = std::remove_const_t<T>;
  using difference_type = index_t;
  // const, or `const_view[i] = code` would assign to a temporary.
  using reference = std::conditional_t<kConst, const value_type, PackedReference<value_type>>;
  using pointer = void;
  using iterator_category = std::random_access_iterator_tag;

  constexpr PackedIterator() = default;
  QAT_HOST_DEVICE constexpr PackedIterator(Byte* bytes, index_t index, index_t stride)
      : bytes_(bytes), index_(index), stride_(stride) {}

  QAT_HOST_DEVICE constexpr reference operator*() const {
    if constexpr (kConst) {
      return value_type::from_bits(detail::load_packed(bytes_, index_, value_type::kBits));
    } else {
      return reference(bytes_, index_);
    }
  }
  QAT_HOST_DEVICE constexpr reference operator[](index_t n) const { return *(*this + n); }

  QAT_HOST_DEVICE constexpr PackedIterator& operator+=(index_t n) {
    index_ += n * stride_;
    return *this;
  }
  QAT_HOST_DEVICE constexpr PackedIterator& operator-=(index_t n) { return *this += -n; }
  QAT_HOST_DEVICE constexpr PackedIterator& operator++() { return *this += 1; }
  QAT_HOST_DEVICE constexpr PackedIterator& operator--() { return *this += -1; }
  QAT_HOST_DEVICE constexpr PackedIterator operator++(int) {
    const PackedIterator old = *this;
    ++*this;
    return old;
  }
  QAT_HOST_DEVICE constexpr PackedIterator operator--(int) {
    const PackedIterator old = *this;
    --*this;
    return old;
  }
  QAT_HOST_DEVICE friend constexpr PackedIterator operator+(PackedIterator it, index_t n) { return it += n; }
  QAT_HOST_DEVICE friend constexpr PackedIterator operator+(index_t n, PackedIterator it) { return it += n; }
  QAT_HOST_DEVICE friend constexpr PackedIterator operator-(PackedIterator it, index_t n) { return it -= n; }
  QAT_HOST_DEVICE friend constexpr index_t operator-(const PackedIterator& a, const PackedIterator& b) {
    return (a.index_ - b.index_) / a.stride_;
  }
  QAT_HOST_DEVICE friend constexpr bool operator==(const PackedIterator& a, const PackedIterator& b) {
    return a.index_ == b.index_;
  }
  QAT_HOST_DEVICE friend constexpr bool operator!=(const PackedIterator& a, const PackedIterator& b) {
    return a.index_ != b.index_;
  }
  QAT_HOST_DEVICE friend constexpr bool operator<(const PackedIterator& a, const PackedIterator& b) {
    return b - a > 0;
  }
  QAT_HOST_DEVICE friend constexpr bool operator>(const PackedIterator& a, const PackedIterator& b) {
    return a - b > 0;
  }
  QAT_HOST_DEVICE friend constexpr bool operator<=(const PackedIterator& a, const PackedIterator& b) {
    return b - a >= 0;
  }
  QAT_HOST_DEVICE friend constexpr bool operator>=(const PackedIterator& a, const PackedIterator& b) {
    return a - b >= 0;
  }

 private:
  Byte* bytes_ = nullptr;
  index_t index_ = 0;
  index_t stride_ = 1;
};

/// Strided view of packed codes. Element (i0, i1, ...) is packed element offset + i0 * stride[0] + i1 * stride[1] + ...
/// of the byte sequence; offset and strides count elements, so a sub-view may begin in the middle of a byte. Two
/// threads must not write elements that share a byte.
template <class T, int Rank = 1>
struct PackedView {
  static_assert(Rank >= 1 && Rank <= kMaxRank, "qat::PackedView: rank must be 1, 2, 3 or 4");
  using value_type = std::remove_const_t<T>;
  using Byte = std::conditional_t<std::is_const_v<T>, const std::uint8_t, std::uint8_t>;
  using iterator = PackedIterator<T>;
  using reference = typename iterator::reference;
  static constexpr int kRank = Rank;
  static constexpr int kBits = value_type::kBits;

  Byte* bytes;
  index_t offset;
  index_t shape[Rank];
  index_t stride[Rank];

  template <class... Index>
  QAT_HOST_DEVICE constexpr reference operator()(Index... index) const {
    static_assert(sizeof...(Index) == Rank, "qat::PackedView: give one index per dimension");
    index_t at = offset;
    int d = 0;
    ((at += static_cast<index_t>(index) * stride[d++]), ...);
    return *iterator(bytes, at, 1);
  }
  QAT_HOST_DEVICE constexpr reference operator[](index_t i) const requires(Rank == 1) { return (*this)(i); }

  QAT_HOST_DEVICE constexpr iterator begin() const requires(Rank == 1) { return iterator(bytes, offset, stride[0]); }
  QAT_HOST_DEVICE constexpr iterator end() const requires(Rank == 1) {
    return iterator(bytes, offset + shape[0] * stride[0], stride[0]);
  }

  QAT_HOST_DEVICE constexpr index_t dim(int d) const { return shape[d]; }
  QAT_HOST_DEVICE constexpr index_t size() const {
    index_t n = 1;
    for (int d = 0; d < Rank; ++d) n *= shape[d];
    return n;
  }
  QAT_HOST_DEVICE constexpr bool empty() const { return size() == 0; }
  QAT_HOST_DEVICE constexpr bool is_contiguous() const {
    return View<const std::uint8_t, Rank>(layout()).is_contiguous();
  }

  /// Elements [begin, begin + count) of dimension d; all of the others.
  constexpr PackedView slice(int d, index_t begin, index_t count) const {
    QAT_CHECK(d >= 0 && d < Rank, kInvalidArgument, "PackedView::slice: dimension is ", d, ", the view has rank ",
              Rank);
    QAT_CHECK(begin >= 0 && count >= 0 && count <= shape[d] - begin, kInvalidArgument, "PackedView::slice: elements [",
              begin, ", ", begin + count, ") of dimension ", d, ", which has ", shape[d]);
    PackedView out = *this;
    out.offset += begin * stride[d];
    out.shape[d] = count;
    return out;
  }

  /// The view at index i of the first dimension, one rank lower.
  constexpr PackedView<T, (Rank > 1 ? Rank - 1 : 1)> row(index_t i) const requires(Rank >= 2) {
    QAT_CHECK(i >= 0 && i < shape[0], kInvalidArgument, "PackedView::row: index is ", i, ", dimension 0 has ",
              shape[0]);
    PackedView<T, (Rank > 1 ? Rank - 1 : 1)> out{};
    out.bytes = bytes;
    out.offset = offset + i * stride[0];
    for (int d = 1; d < Rank; ++d) {
      out.shape[d - 1] = shape[d];
      out.stride[d - 1] = stride[d];
    }
    return out;
  }

  /// A mutable view is also a read-only one. A template, because nvcc warns of one that can never be called.
  template <class To, class = std::enable_if_t<!std::is_const_v<T> && std::is_same_v<To, PackedView<const T, Rank>>>>
  QAT_HOST_DEVICE constexpr operator To() const {
    To out{};
    out.bytes = bytes;
    out.offset = offset;
    for (int d = 0; d < Rank; ++d) {
      out.shape[d] = shape[d];
      out.stride[d] = stride[d];
    }
    return out;
  }

 private:
  QAT_HOST_DEVICE constexpr View<const std::uint8_t, Rank> layout() const {
    View<const std::uint8_t, Rank> out{};
    for (int d = 0; d < Rank; ++d) {
      out.shape[d] = shape[d];
      out.stride[d] = stride[d];
    }
    return out;
  }
};

/// Row-major view of n0 * n1 * ... packed elements that begin at the first bit of `bytes`:
/// packed_view<Int4>(bytes, rows, cols).
template <class T, class Byte, class... Extent>
requires(sizeof...(Extent) >= 1 && sizeof...(Extent) <= kMaxRank) QAT_HOST_DEVICE
    constexpr auto packed_view(Byte* bytes, Extent... extent) {
  static_assert(std::is_same_v<std::remove_const_t<Byte>, std::uint8_t>, "qat::packed_view: storage must be uint8_t");
  constexpr int rank = static_cast<int>(sizeof...(Extent));
  using Element = std::conditional_t<std::is_const_v<Byte>, const T, T>;
  PackedView<Element, rank> out{};
  out.bytes = bytes;
  const index_t extents[] = {static_cast<index_t>(extent)...};
  index_t step = 1;
  for (int d = rank - 1; d >= 0; --d) {
    out.shape[d] = extents[d];
    out.stride[d] = step;
    step *= extents[d];
  }
  return out;
}

}  // namespace qat::inline v0
