// A packed weight as files hold it: codes in rows, scales and zero points by group. What exporters read, from a weight
// in memory or from the file of another, without bringing codes into panels in between.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "qat/io/file.hpp"
#include "qat/pack/packed_rows.hpp"
#include "qat/simd/region.hpp"
#include "qat/tensor/packed_view.hpp"

namespace qat::inline v0 {

namespace detail {
QAT_TARGET_BASELINE_BEGIN
/// (u + lowest - zero_point) * scale: dequantize() of quant/affine.hpp for fp32 input and an integer zero point.
inline void dequantize_codes(const std::uint8_t* u, index_t count, int lowest, float zero_point, float scale,
                             float* out) {
  for (index_t i = 0; i < count; ++i) out[i] = (static_cast<float>(u[i] + lowest) - zero_point) * scale;
}
inline void add_to_codes(std::uint8_t* codes, index_t count, int offset) {
  for (index_t i = 0; i < count; ++i) codes[i] = static_cast<std::uint8_t>(codes[i] + offset);
}
QAT_TARGET_BASELINE_END
}  // namespace detail

/// Scales and zero points are in memory, codes where they came from.
class StoredWeight {
 public:
  /// Codes as rows of bit strings: u = q - lowest() of column k in bits [k * bits, (k + 1) * bits) of its row of
  /// packed_bytes(columns, bits) bytes. scales, zero_points: as PackedWeight::pack takes them; no zero points where
  /// they are constant. owner: of the strings, kept as long as this; null if somebody else keeps them
  /// @throws qat::Error naming a scale or zero point that weights of this scheme cannot have
  StoredWeight(const QuantSpec& spec, index_t rows, index_t columns, const std::uint8_t* strings,
               std::vector<float> scales, std::vector<float> zero_points, std::shared_ptr<const void> owner = {})
      : scheme_(spec, FloatType::kFloat32),
        groups_(group_layout(spec.granularity, rows, columns)),
        owner_(std::move(owner)),
        strings_(strings),
        scales_(std::move(scales)),
        zero_points_(std::move(zero_points)) {
    check_qparams(spec, groups_.count(), scales_.data(), zero_points_.empty() ? nullptr : zero_points_.data());
  }
  /// A weight in memory, which must stay there.
  explicit StoredWeight(const PackedWeight& weight, std::shared_ptr<const void> owner = {})
      : scheme_(weight.spec(), FloatType::kFloat32),
        groups_(weight.groups()),
        owner_(std::move(owner)),
        packed_(&weight),
        scales_(static_cast<std::size_t>(groups_.count())),
        zero_points_(weight.has_zero_points() ? scales_.size() : 0) {
    weight.read_qparams(scales_.data(), zero_points_.data());
  }

  const QuantSpec& spec() const { return scheme_.spec; }
  index_t rows() const { return groups_.rows; }
  index_t columns() const { return groups_.columns; }
  const GroupLayout& groups() const { return groups_; }
  index_t row_bytes() const { return packed_bytes(columns(), spec().bits); }

  /// The codes u = q - lowest() of a row into u[columns].
  void codes(index_t row, std::uint8_t* u) const {
    if (packed_ != nullptr) return unpack_row(*packed_, row, u);
    detail::unpack_bits(strings_ + row * row_bytes(), columns(), spec().bits, u);
  }
  /// The same as a bit string of row_bytes(), the last byte filled with zeros. scratch: columns bytes
  void bits(index_t row, std::uint8_t* scratch, std::uint8_t* string) const {
    if (packed_ == nullptr) {
      std::memcpy(string, strings_ + row * row_bytes(), static_cast<std::size_t>(row_bytes()));
      const int used = static_cast<int>(columns() * spec().bits % 8);
      if (used != 0) string[row_bytes() - 1] &= static_cast<std::uint8_t>((1 << used) - 1);
      return;
    }
    unpack_row(*packed_, row, scratch);
    detail::pack_bits(scratch, columns(), spec().bits, string);
  }
  /// The weights of a row as every kernel computes them, PackedWeight::dequantized(), into out[columns]. scratch:
  /// columns bytes
  void values(index_t row, std::uint8_t* scratch, float* out) const {
    codes(row, scratch);
    const int lowest = spec().lowest();
    for (index_t first = 0, group = group_of(row, 0); first < columns(); first += groups_.tile_columns, ++group) {
      const index_t count = groups_.tile_columns < columns() - first ? groups_.tile_columns : columns() - first;
      if (!has_float_zero_point()) {
        detail::dequantize_codes(scratch + first, count, lowest, zero_point(group), scale(group), out + first);
        continue;
      }
      const QParams qparams{scale(group), zero_point(group), 0.0f};
      for (index_t k = first; k < first + count; ++k) out[k] = dequantize(scratch[k] + lowest, qparams, scheme_);
    }
  }

  /// In panels, as kernels read it.
  PackedWeight packed() const {
    return pack_rows(
        spec(), rows(), columns(), [this](index_t row, std::uint8_t* u) { codes(row, u); }, scales_.data(),
        zero_points_.empty() ? nullptr : zero_points_.data());
  }

  bool has_float_zero_point() const { return qat::has_float_zero_point(spec().mapping); }
  index_t group_of(index_t row, index_t column) const {
    return row / groups_.tile_rows * groups_.tiles_per_row + column / groups_.tile_columns;
  }
  /// In the order of groups().
  const std::vector<float>& scales() const { return scales_; }
  float scale(index_t group) const { return scales_[static_cast<std::size_t>(group)]; }
  /// In steps, or in weight units if has_float_zero_point().
  float zero_point(index_t group) const {
    if (!zero_points_.empty()) return zero_points_[static_cast<std::size_t>(group)];
    return spec().is_signed ? 0.0f : scheme_.middle();
  }
  /// Empty if they are constant.
  const std::vector<float>& zero_points() const { return zero_points_; }

  /// The same scheme, shape, codes and parameters.
  friend bool operator==(const StoredWeight& a, const StoredWeight& b) {
    if (a.spec() != b.spec() || a.rows() != b.rows() || a.columns() != b.columns() || a.scales_ != b.scales_ ||
        a.zero_points_ != b.zero_points_)
      return false;
    std::vector<std::uint8_t> x(static_cast<std::size_t>(a.columns())), y(x.size());
    for (index_t row = 0; row < a.rows(); ++row) {
      a.codes(row, x.data());
      b.codes(row, y.data());
      if (x != y) return false;
    }
    return true;
  }

 private:
  AffineScheme scheme_;
  GroupLayout groups_;
  std::shared_ptr<const void> owner_;
  const std::uint8_t* strings_ = nullptr;
  const PackedWeight* packed_ = nullptr;
  std::vector<float> scales_, zero_points_;
};

/// Hands over all codes as rows of bit strings, each filled up with zeros to `stride` bytes.
inline void write_bit_rows(const StoredWeight& weight, index_t stride, const ByteSink& sink) {
  constexpr index_t kPiece = index_t{1} << 18;
  const index_t rows = stride < kPiece ? kPiece / stride : 1;
  std::vector<std::uint8_t> piece(static_cast<std::size_t>((std::min)(rows, weight.rows()) * stride)),
      scratch(static_cast<std::size_t>(weight.columns()));
  for (index_t first = 0; first < weight.rows(); first += rows) {
    const index_t count = (std::min)(rows, weight.rows() - first);
    for (index_t n = 0; n < count; ++n) weight.bits(first + n, scratch.data(), piece.data() + n * stride);
    sink(piece.data(), static_cast<std::size_t>(count * stride));
  }
}

}  // namespace qat::inline v0
