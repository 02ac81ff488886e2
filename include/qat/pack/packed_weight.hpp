// Integer weights as a program that only infers holds them: b bits per weight, scales in the scheme's scale type.
#pragma once

#include "qat/quant/affine.hpp"
#include "qat/tensor/tensor.hpp"  // Tensor: storage that memory_stats() counts

namespace qat::inline v0 {

/// Where the codes of a matrix (rows, columns) lie: panels of 16 rows, each cut into bit planes. The same bytes on
/// every instruction set; a 64-byte read is one operand of a 4-way int8 dot product, and unpacking needs no shuffles.
///
///   code of (row n, column k):   u = q - QuantSpec::lowest(), in [0, 2^bits - 1]
///   plane of w bits              w runs over the powers of two in `bits`, largest first: 4 -> {4}, 3 -> {2, 1},
///                                7 -> {4, 2, 1}, 8 -> {8}; the first plane holds the top bits of u
///   chunk of a plane             32/w columns of the 16 rows in 64 bytes: with c = n % 16, k = chunk * 32/w + 4 * i +
///   j,
///                                bits [w*i, w*i + w) of byte 4*c + j
///   panel n / 16                 its planes one after the other; ceil(columns / (32/w)) chunks each
/// Padding rows and columns hold u = 0. So 4-bit codes are nibbles: column 8*t + j low, column 8*t + 4 + j high.
struct PanelLayout {
  static constexpr index_t kPanelRows = 16;
  static constexpr index_t kChunkBytes = 64;

  int bits = 4;
  index_t rows = 0, columns = 0;

  static constexpr index_t chunk_columns(int plane_bits) { return 32 / plane_bits; }
  constexpr index_t plane_bytes(int plane_bits) const {
    return (columns + chunk_columns(plane_bits) - 1) / chunk_columns(plane_bits) * kChunkBytes;
  }
  constexpr index_t panel_bytes() const {
    index_t bytes = 0;
    for (int w = 8; w >= 1; w /= 2)
      if (bits & w) bytes += plane_bytes(w);
    return bytes;
  }
  constexpr index_t panels() const { return (rows + kPanelRows - 1) / kPanelRows; }
  constexpr index_t bytes() const { return panels() * panel_bytes(); }

  /// The code u of one weight.
  constexpr int get(const std::uint8_t* data, index_t row, index_t column) const {
    const std::uint8_t* plane = data + row / kPanelRows * panel_bytes();
    int u = 0;
    for (int w = 8; w >= 1; w /= 2) {
      if (!(bits & w)) continue;
      u = (u << w) | ((plane[byte_of(row, column, w)] >> shift_of(column, w)) & ((1 << w) - 1));
      plane += plane_bytes(w);
    }
    return u;
  }
  /// Sets the code of one weight whose bits are zero.
  constexpr void put(std::uint8_t* data, index_t row, index_t column, int u) const {
    std::uint8_t* plane = data + row / kPanelRows * panel_bytes();
    int below = bits;
    for (int w = 8; w >= 1; w /= 2) {
      if (!(bits & w)) continue;
      below -= w;
      std::uint8_t& byte = plane[byte_of(row, column, w)];
      byte = static_cast<std::uint8_t>(byte | (((u >> below) & ((1 << w) - 1)) << shift_of(column, w)));
      plane += plane_bytes(w);
    }
  }

 private:
  static constexpr index_t byte_of(index_t row, index_t column, int w) {
    return column / chunk_columns(w) * kChunkBytes + row % kPanelRows * 4 + column % 4;
  }
  static constexpr int shift_of(index_t column, int w) { return static_cast<int>(column % chunk_columns(w) / 4) * w; }
};

/// f(std::integral_constant<int, bits>) for a width known at run time, 1 to 8.
template <class F>
constexpr void visit_width(int bits, const F& f) {
  switch (bits) {
    case 1:
      return f(std::integral_constant<int, 1>{});
    case 2:
      return f(std::integral_constant<int, 2>{});
    case 3:
      return f(std::integral_constant<int, 3>{});
    case 4:
      return f(std::integral_constant<int, 4>{});
    case 5:
      return f(std::integral_constant<int, 5>{});
    case 6:
      return f(std::integral_constant<int, 6>{});
    case 7:
      return f(std::integral_constant<int, 7>{});
    default:
      return f(std::integral_constant<int, 8>{});
  }
}

/// What the storage of a scale gives back.
constexpr float held_scale(ScaleType type, float s) {
  switch (type) {
    case ScaleType::kFloat16:
    case ScaleType::kGgmlHalf:
      return static_cast<float>(half(s));
    case ScaleType::kBfloat16:
    case ScaleType::kBfloat16Safe:
      return static_cast<float>(bfloat16(s));
    case ScaleType::kE8M0:
      return static_cast<float>(float8_e8m0(s));
    case ScaleType::kE4M3:
      return static_cast<float>(float8_e4m3(s));
    default:
      return s;
  }
}

/// Packed weights (rows, columns) of one QuantSpec: codes in a PanelLayout, scales in the spec's scale type, zero
/// points as one byte (integer) or in the scale's float type (FloatZeroPoint), none where every group has the same.
/// Owning, movable.
class PackedWeight {
 public:
  PackedWeight() = default;

  /// @param codes        (rows, columns), row-major, in [qmin, qmax]; unsigned types keep their low 8 bits
  /// @param scales       one per tile of group_layout(spec.granularity, rows, columns), in its order; values that the
  /// scale
  ///                     type holds exactly
  /// @param zero_points  one per tile, in steps (in weight units under FloatZeroPoint); may be null where the mapping's
  /// zero
  ///                     point is constant, and is not read there
  /// @throws qat::Error (kInvalidArgument) naming the element: a code out of range, a scale or zero point that its
  /// storage
  ///         cannot hold exactly
  static PackedWeight pack(const QuantSpec& spec, index_t rows, index_t columns, const std::int8_t* codes,
                           const float* scales, const float* zero_points = nullptr) {
    PackedWeight w;
    w.reset(spec, rows, columns);
    const int qmin = spec.qmin(), qmax = spec.qmax();
    for (index_t n = 0; n < rows; ++n) {
      for (index_t k = 0; k < columns; ++k) {
        const std::int8_t raw = codes[n * columns + k];
        const int q = spec.is_signed ? int{raw} : int{static_cast<std::uint8_t>(raw)};
        QAT_CHECK(q >= qmin && q <= qmax, kInvalidArgument, "PackedWeight: code (", n, ", ", k, ") is ", q,
                  ", must be in [", qmin, ", ", qmax, "]");
        w.layout_.put(w.codes_.data(), n, k, q - spec.lowest());
      }
    }
    for (index_t i = 0; i < w.groups_.count(); ++i) {
      w.put_scale(w.slot_of(i), scales[i]);
      QAT_CHECK(w.scale(i) == scales[i], kInvalidArgument, "PackedWeight: scale ", i, " is ", scales[i],
                ", the scale type of ", to_string(spec), " holds ", w.scale(i), " instead");
      if (w.zero_point_bytes() == 0) continue;
      QAT_CHECK(zero_points != nullptr, kInvalidArgument, "PackedWeight: ", to_string(spec),
                " needs zero points, found none");
      w.put_zero_point(w.slot_of(i), zero_points[i]);
      QAT_CHECK(w.zero_point(i) == zero_points[i], kInvalidArgument, "PackedWeight: zero point ", i, " is ",
                zero_points[i], ", must be ",
                w.has_float_zero_point() ? "a value of the scale's float type" : "an integer in [qmin, qmax]");
    }
    return w;
  }

  // --- for kernels that quantize and pack at once -------------------------------------------------------------------

  /// Makes this the storage of such weights. If it was already, nothing happens; else all bytes are zero afterwards.
  void reset(const QuantSpec& spec, index_t rows, index_t columns) {
    validate(spec);
    QAT_CHECK(rows >= 0 && columns >= 0, kShapeMismatch, "PackedWeight: shape is ", rows, " x ", columns,
              ", must not be negative");
    const AffineScheme scheme(spec, FloatType::kFloat32);
    if (layout_.rows == rows && layout_.columns == columns && scheme_.spec == scheme.spec && !codes_.empty()) return;
    scheme_ = scheme;
    groups_ = group_layout(spec.granularity, rows, columns);
    layout_ = {spec.bits, rows, columns};
    codes_ = Tensor<std::uint8_t>({layout_.bytes()});
    const index_t scale_slots =
        groups_.tile_rows == 1 ? layout_.panels() * PanelLayout::kPanelRows * groups_.tiles_per_row : groups_.count();
    scales_ = Tensor<std::uint8_t>({scale_slots * scale_bits(scheme_.spec.scale_type) / 8});
    zero_points_ = Tensor<std::uint8_t>({scale_slots * zero_point_bytes()});
  }
  std::uint8_t* mutable_data() { return codes_.data(); }
  std::uint8_t* mutable_scale_data() { return scales_.data(); }
  /// Stores scales and zero points (either may be null: it is left alone) of the rows [row, row + count), one per tile
  /// in the order of groups(). row: the first of a panel; groups().tile_rows must be 1. The values must be what the
  /// storage holds: pack() checks that, this does not.
  void put_qparams_of_rows(index_t row, index_t count, const float* scales, const float* zero_points) {
    const index_t tiles = groups_.tiles_per_row, first = row * tiles;
    if (zero_point_bytes() == 0) zero_points = nullptr;
    if (scales == nullptr && zero_points == nullptr) return;
    for (index_t r = 0; r < count; ++r)
      for (index_t t = 0; t < tiles; ++t) {
        const index_t slot = first + t * PanelLayout::kPanelRows + r;
        if (scales != nullptr) put_scale(slot, scales[r * tiles + t]);
        if (zero_points != nullptr) put_zero_point(slot, zero_points[r * tiles + t]);
      }
  }

  // -----------------------------------------------------------------------------------------------------------------

  /// The codes as pack took them.
  void unpack(std::int8_t* codes) const {
    for (index_t n = 0; n < rows(); ++n)
      for (index_t k = 0; k < columns(); ++k) codes[n * columns() + k] = static_cast<std::int8_t>(code(n, k));
  }

  const QuantSpec& spec() const { return scheme_.spec; }
  index_t rows() const { return layout_.rows; }
  index_t columns() const { return layout_.columns; }
  const PanelLayout& layout() const { return layout_; }
  const GroupLayout& groups() const { return groups_; }
  /// Codes in PanelLayout.
  const std::uint8_t* data() const { return codes_.data(); }
  /// All bytes held: codes, scales and zero points.
  index_t resident_bytes() const { return codes_.size() + scales_.size() + zero_points_.size(); }
  /// The same scheme, shape, codes and parameters.
  friend bool operator==(const PackedWeight& a, const PackedWeight& b) {
    const auto same = [](const Tensor<std::uint8_t>& x, const Tensor<std::uint8_t>& y) {
      return x.size() == y.size() &&
             (x.empty() || std::memcmp(x.data(), y.data(), static_cast<std::size_t>(x.size())) == 0);
    };
    return a.spec() == b.spec() && a.rows() == b.rows() && a.columns() == b.columns() && same(a.codes_, b.codes_) &&
           same(a.scales_, b.scales_) && same(a.zero_points_, b.zero_points_);
  }

  bool has_float_zero_point() const { return qat::has_float_zero_point(spec().mapping); }
  /// Every group has zero point 0 (signed) or 2^(bits-1) (unsigned).
  bool has_zero_points() const { return zero_point_bytes() != 0; }

  /// In steps, of every group, where has_zero_points() is false.
  float constant_zero_point() const { return spec().is_signed ? 0.0f : scheme_.middle(); }
  /// The code whose value is the zero point, where that is floating point.
  float middle() const { return scheme_.middle(); }

  /// Where the scale of a group lies among the stored ones. If every row has its own (groups().tile_rows is 1), 16 rows
  /// of a panel lie side by side: slot (n / 16 * tiles_per_row + column group) * 16 + n % 16; padding rows hold zero
  /// bits. Else groups keep their order.
  index_t slot_of(index_t group) const {
    if (groups_.tile_rows != 1) return group;
    const index_t row = group / groups_.tiles_per_row, tile = group % groups_.tiles_per_row;
    return (row / PanelLayout::kPanelRows * groups_.tiles_per_row + tile) * PanelLayout::kPanelRows +
           row % PanelLayout::kPanelRows;
  }
  /// Scales in their storage type, by slot.
  const std::uint8_t* scale_data() const { return scales_.data(); }
  /// Zero points by slot: one byte, code minus lowest(), or the scale's float type if has_float_zero_point().
  const std::uint8_t* zero_point_data() const { return zero_points_.data(); }

  index_t group_of(index_t row, index_t column) const {
    return row / groups_.tile_rows * groups_.tiles_per_row + column / groups_.tile_columns;
  }
  int code(index_t row, index_t column) const { return layout_.get(codes_.data(), row, column) + spec().lowest(); }
  float scale(index_t group) const { return scale_at(slot_of(group)); }
  /// In steps, or in weight units if has_float_zero_point().
  float zero_point(index_t group) const {
    return has_zero_points() ? zero_point_at(slot_of(group)) : constant_zero_point();
  }
  QParams qparams(index_t group) const { return {scale(group), zero_point(group), 0.0f}; }
  /// All of them in the order of groups(): scales[groups().count()] and, if has_zero_points(), as many zero points.
  void read_qparams(float* scales, float* zero_points) const {
    for (index_t row = 0, i = 0; row < groups_.tile_row_count; ++row)
      for (index_t slot = slot_of(i), end = i + groups_.tiles_per_row; i < end; ++i) {
        scales[i] = scale_at(slot);
        if (has_zero_points()) zero_points[i] = zero_point_at(slot);
        slot += groups_.tile_rows == 1 ? PanelLayout::kPanelRows : 1;
      }
  }

  /// The weight as every kernel computes it: dequantize() of quant/affine.hpp for an fp32 input.
  float dequantized(index_t row, index_t column) const {
    return dequantize(code(row, column), qparams(group_of(row, column)), scheme_);
  }

 private:
  template <class T>
  static T read(const std::uint8_t* p) {
    T value;
    std::memcpy(&value, p, sizeof value);
    return value;
  }
  float scale_at(index_t slot) const {
    const std::uint8_t* p = scales_.data() + slot * scale_bits(spec().scale_type) / 8;
    switch (spec().scale_type) {
      case ScaleType::kFloat16:
      case ScaleType::kGgmlHalf:
        return static_cast<float>(half::from_bits(read<std::uint16_t>(p)));
      case ScaleType::kBfloat16:
      case ScaleType::kBfloat16Safe:
        return static_cast<float>(bfloat16::from_bits(read<std::uint16_t>(p)));
      case ScaleType::kE8M0:
        return static_cast<float>(float8_e8m0::from_bits(*p));
      case ScaleType::kE4M3:
        return static_cast<float>(float8_e4m3::from_bits(*p));
      default:
        return read<float>(p);
    }
  }
  float zero_point_at(index_t slot) const {
    const std::uint8_t* p = zero_points_.data() + slot * zero_point_bytes();
    if (!has_float_zero_point()) return static_cast<float>(*p) + scheme_.qmin;
    switch (scheme_.scale) {
      case FloatType::kFloat16:
        return static_cast<float>(half::from_bits(read<std::uint16_t>(p)));
      case FloatType::kBfloat16:
        return static_cast<float>(bfloat16::from_bits(read<std::uint16_t>(p)));
      default:
        return read<float>(p);
    }
  }
  index_t zero_point_bytes() const {
    if (has_constant_zero_point(spec().mapping)) return 0;
    if (!has_float_zero_point()) return 1;
    return scheme_.scale == FloatType::kFloat32 ? 4 : 2;
  }
  void put_scale(index_t slot, float s) {
    std::uint8_t* p = scales_.data() + slot * scale_bits(spec().scale_type) / 8;
    switch (spec().scale_type) {
      case ScaleType::kFloat16:
      case ScaleType::kGgmlHalf:
        write(p, half(s).bits);
        break;
      case ScaleType::kBfloat16:
      case ScaleType::kBfloat16Safe:
        write(p, bfloat16(s).bits);
        break;
      case ScaleType::kE8M0:
        write(p, float8_e8m0(s).bits);
        break;
      case ScaleType::kE4M3:
        write(p, float8_e4m3(s).bits);
        break;
      default:
        write(p, s);
        break;
    }
  }
  void put_zero_point(index_t slot, float z) {
    std::uint8_t* p = zero_points_.data() + slot * zero_point_bytes();
    if (!has_float_zero_point()) {
      const float u = z - scheme_.qmin;
      *p = static_cast<std::uint8_t>(u >= 0.0f && u <= scheme_.qmax - scheme_.qmin ? u : 0.0f);
      return;
    }
    switch (scheme_.scale) {
      case FloatType::kFloat16:
        write(p, half(z).bits);
        break;
      case FloatType::kBfloat16:
        write(p, bfloat16(z).bits);
        break;
      default:
        write(p, z);
        break;
    }
  }
  template <class T>
  static void write(std::uint8_t* p, T value) {
    std::memcpy(p, &value, sizeof value);
  }

  AffineScheme scheme_;
  GroupLayout groups_{0, 0, 1, 1, 0, 0};
  PanelLayout layout_;
  Tensor<std::uint8_t> codes_, scales_, zero_points_;
};

/// The weights that it stands for.
inline Tensor<float> dequantized_weight(const PackedWeight& weight) {
  Tensor<float> value = Tensor<float>::uninitialized({weight.rows(), weight.columns()});  // (R, C)
  for (index_t n = 0; n < weight.rows(); ++n)
    for (index_t k = 0; k < weight.columns(); ++k) value[n * weight.columns() + k] = weight.dequantized(n, k);
  return value;
}

}  // namespace qat::inline v0
