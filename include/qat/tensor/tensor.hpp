// Tensor<T>: owns contiguous row-major storage of run-time shape. Not usable inside an expression: say .view<Rank>().
#pragma once

#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include "qat/base/aligned.hpp"
#include "qat/base/check.hpp"
#include "qat/tensor/cache.hpp"
#include "qat/tensor/view.hpp"

namespace qat::inline v0 {

/// Up to four extents. Written as a braced list: {rows, cols}.
class Shape {
 public:
  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<index_t> extents) {
    QAT_CHECK(extents.size() <= static_cast<std::size_t>(kMaxRank), kInvalidArgument, "Shape: rank is ", extents.size(),
              ", at most ", kMaxRank, " is supported");
    for (const index_t n : extents) extent_[rank_++] = n;
  }
  constexpr int rank() const { return rank_; }
  constexpr index_t operator[](int d) const { return extent_[d]; }

  /// Number of elements; 0 for rank 0. Throws for a negative extent or a product beyond index_t.
  constexpr index_t size() const {
    if (rank_ == 0) return 0;
    index_t n = 1;
    bool empty = false;
    for (int d = 0; d < rank_; ++d) {
      QAT_CHECK(extent_[d] >= 0, kInvalidArgument, "Shape: extent ", d, " is ", extent_[d], ", must not be negative");
      empty = empty || extent_[d] == 0;
      QAT_CHECK(empty || !__builtin_mul_overflow(n, extent_[d], &n), kInvalidArgument,
                "Shape: the number of elements exceeds the address space");
    }
    return empty ? 0 : n;
  }
  friend constexpr bool operator==(const Shape& a, const Shape& b) {
    bool same = a.rank_ == b.rank_;
    for (int d = 0; d < kMaxRank; ++d) same = same && a.extent_[d] == b.extent_[d];
    return same;
  }

 private:
  int rank_ = 0;
  index_t extent_[kMaxRank] = {};
};

/// "(2, 3)" for messages.
inline FixedString<100> to_string(const Shape& shape) {
  FixedString<100> out("(");
  for (int d = 0; d < shape.rank(); ++d) {
    if (d > 0) out.append(", ");
    out.append(static_cast<long long>(shape[d]));
  }
  return out.append(")");
}

/// Owning tensor, 64-byte aligned. Moves are cheap and leave an empty tensor; copies are spelled clone().
/// A default-constructed tensor has rank 0 and no elements.
template <class T>
class Tensor {
  static_assert(std::is_trivially_copyable_v<T> && !std::is_const_v<T>,
                "qat::Tensor holds trivially copyable, non-const values");

 public:
  using value_type = T;

  Tensor() = default;
  /// Zero-initialized (all bits zero).
  explicit Tensor(const Shape& shape) : Tensor(shape, Uninitialized{}) {
    if (size() > 0) std::memset(static_cast<void*>(data()), 0, static_cast<std::size_t>(size_bytes()));
  }
  /// Contents unspecified until written.
  static Tensor uninitialized(const Shape& shape) { return Tensor(shape, Uninitialized{}); }

  Tensor(const Tensor&) = delete;
  Tensor& operator=(const Tensor&) = delete;
  Tensor(Tensor&& other) noexcept : buffer_(std::move(other.buffer_)), shape_(std::exchange(other.shape_, Shape())) {}
  Tensor& operator=(Tensor&& other) noexcept {
    if (this == &other) return *this;
    release();
    buffer_ = AlignedBuffer<T>();
    buffer_ = std::move(other.buffer_);
    shape_ = std::exchange(other.shape_, Shape());
    return *this;
  }
  ~Tensor() { release(); }

  /// A copy with storage of its own.
  Tensor clone() const {
    Tensor out = uninitialized(shape_);
    if (size() > 0) std::memcpy(static_cast<void*>(out.data()), data(), static_cast<std::size_t>(size_bytes()));
    return out;
  }

  int rank() const { return shape_.rank(); }
  index_t dim(int d) const { return shape_[d]; }
  const Shape& shape() const { return shape_; }
  index_t size() const { return buffer_.size(); }
  index_t size_bytes() const { return size() * static_cast<index_t>(sizeof(T)); }
  bool empty() const { return size() == 0; }

  T* data() { return buffer_.data(); }
  const T* data() const { return buffer_.data(); }
  T* begin() { return data(); }
  T* end() { return data() + size(); }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size(); }
  T& operator[](index_t i) { return data()[i]; }
  const T& operator[](index_t i) const { return data()[i]; }

  void fill(const T& value) {
    for (T& element : *this) element = value;
  }

  /// Gives the same elements another shape of the same size.
  void reshape(const Shape& shape) {
    QAT_CHECK(shape.size() == size(), kShapeMismatch, "Tensor::reshape: ", to_string(shape), " has ", shape.size(),
              " elements, the tensor ", to_string(shape_), " has ", size());
    shape_ = shape;
  }

  /// The whole tensor as a view of its own rank. Only of a named tensor: a temporary would not outlive its view.
  template <int Rank>
  View<T, Rank> view() & {
    return make_view<Rank>(data());
  }
  template <int Rank>
  View<const T, Rank> view() const& {
    return make_view<Rank>(data());
  }
  template <int Rank>
  void view() const&& = delete;  // a view of a temporary Tensor would dangle: name the tensor first

  /// All elements in order as one dimension.  // (N)
  View<T, 1> flat() & { return qat::view(data(), size()); }
  View<const T, 1> flat() const& { return qat::view(data(), size()); }
  void flat() const&& = delete;

  /// Leading dimensions folded into rows.  // (size / last, last)
  View<T, 2> matrix() & { return make_matrix(data()); }
  View<const T, 2> matrix() const& { return make_matrix(data()); }
  void matrix() const&& = delete;

 private:
  struct Uninitialized {};
  Tensor(const Shape& shape, Uninitialized) : buffer_(storage(shape.size())), shape_(shape) {
    if (size() > 0) record_allocation(size_bytes());
  }
  static AlignedBuffer<T> storage(index_t size) {
    const bool fits = size > 0 && size < (index_t{1} << 48);
    void* const kept = fits ? detail::tensor_cache.take(size * static_cast<index_t>(sizeof(T))) : nullptr;
    return kept != nullptr ? AlignedBuffer<T>::adopt(static_cast<T*>(kept), size) : AlignedBuffer<T>(size);
  }
  void release() {
    if (size() == 0) return;
    record_release(size_bytes());
    if (detail::tensor_cache.put(buffer_.data(), size_bytes())) buffer_.release();
  }
  template <int Rank, class Pointer>
  auto make_view(Pointer pointer) const {
    QAT_CHECK(rank() == Rank, kShapeMismatch, "Tensor::view<", Rank, ">: the tensor has shape ", to_string(shape_));
    return [&]<int... D>(std::integer_sequence<int, D...>) { return qat::view(pointer, shape_[D]...); }
    (std::make_integer_sequence<int, Rank>{});
  }
  template <class Pointer>
  auto make_matrix(Pointer pointer) const {
    QAT_CHECK(rank() >= 1, kShapeMismatch, "Tensor::matrix: the tensor has rank 0");
    index_t rows = 1;
    for (int d = 0; d + 1 < rank(); ++d) rows *= shape_[d];
    return qat::view(pointer, rows, shape_[rank() - 1]);
  }

  AlignedBuffer<T> buffer_;
  Shape shape_;
};

/// True for types that own their elements and therefore may not appear inside an expression.
template <class>
inline constexpr bool kOwnsElements = false;
template <class T>
inline constexpr bool kOwnsElements<Tensor<T>> = true;

}  // namespace qat::inline v0
