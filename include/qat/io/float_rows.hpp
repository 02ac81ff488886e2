// Tensors of floats that are read some rows at a time: from memory, from a file, or made from packed codes. What is
// converted from format to format passes through the cache in pieces and is never in memory whole.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <utility>

#include "qat/tensor/tensor.hpp"

namespace qat::inline v0 {

/// A matrix, or a vector, which is one row.
struct FloatRows {
  Shape shape;
  /// Writes `count` rows from `row` on. What it reads from must live as long, unless it was opened by path.
  std::function<void(index_t row, index_t count, float* out)> read;

  explicit operator bool() const { return read != nullptr; }
  index_t columns() const { return shape[shape.rank() - 1]; }
  index_t rows() const { return shape.rank() == 2 ? shape[0] : 1; }

  /// All of it.
  Tensor<float> tensor() const {
    Tensor<float> out = Tensor<float>::uninitialized(shape);
    for_each_piece([&](index_t row, index_t count) { read(row, count, out.data() + row * columns()); });
    return out;
  }
  /// f(values, n) for all elements in order, a piece of whole rows at a time.
  template <class F>
  void for_each(const F& f) const {
    Tensor<float> piece = Tensor<float>::uninitialized({(std::min)(rows_of_piece(), rows()), columns()});
    for_each_piece([&](index_t row, index_t count) {
      read(row, count, piece.data());
      f(static_cast<const float*>(piece.data()), count * columns());
    });
  }

 private:
  static constexpr index_t kPiece = 1 << 16;  ///< elements that stay in the cache from reading to writing

  index_t rows_of_piece() const { return columns() < kPiece ? kPiece / (std::max)(columns(), index_t{1}) : 1; }
  template <class F>
  void for_each_piece(const F& f) const {
    for (index_t row = 0; row < rows(); row += rows_of_piece()) f(row, (std::min)(rows_of_piece(), rows() - row));
  }
};

/// The same, keeping what it reads from.
inline FloatRows kept(FloatRows rows, std::shared_ptr<const void> owner) {
  rows.read = [read = std::move(rows.read), owner = std::move(owner)](index_t row, index_t count, float* out) {
    read(row, count, out);
  };
  return rows;
}

/// Floats in memory, which must stay there.
inline FloatRows borrowed(const Tensor<float>& values) {
  FloatRows rows{values.shape(), {}};
  rows.read = [data = values.data(), columns = rows.columns()](index_t row, index_t count, float* out) {
    std::memcpy(out, data + row * columns, static_cast<std::size_t>(count * columns) * sizeof(float));
  };
  return rows;
}

}  // namespace qat::inline v0
