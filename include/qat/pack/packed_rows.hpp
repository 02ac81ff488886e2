// Packed weights a row at a time: for files, which keep codes row-major. Layout: pack/packed_weight.hpp.
#pragma once

#include <cstring>
#include <vector>

#include "qat/pack/packed_weight.hpp"

namespace qat::inline v0 {

namespace detail {

/// Codes of `bits` bits as a bit string, the first in the least significant bits; the last byte is filled with zeros.
inline void pack_bits(const std::uint8_t* u, index_t count, int bits, std::uint8_t* bytes) {
  index_t i = 0;
  if (8 % bits == 0)  // whole bytes first
    visit_width(bits, [&]<int w>(std::integral_constant<int, w>) {
      for (; i + 8 / w <= count; i += 8 / w, ++bytes) {
        unsigned byte = 0;
        for (int j = 0; j < 8 / w; ++j) byte |= static_cast<unsigned>(u[i + j]) << (w * j);
        *bytes = static_cast<std::uint8_t>(byte);
      }
    });
  std::uint32_t pending = 0;
  int held = 0;
  for (; i < count; ++i) {
    pending |= std::uint32_t{u[i]} << held;
    for (held += bits; held >= 8; held -= 8, pending >>= 8) *bytes++ = static_cast<std::uint8_t>(pending);
  }
  if (held > 0) *bytes = static_cast<std::uint8_t>(pending);
}
inline void unpack_bits(const std::uint8_t* bytes, index_t count, int bits, std::uint8_t* u) {
  index_t i = 0;
  if (8 % bits == 0)
    visit_width(bits, [&]<int w>(std::integral_constant<int, w>) {
      for (; i + 8 / w <= count; i += 8 / w, ++bytes)
        for (int j = 0; j < 8 / w; ++j) u[i + j] = static_cast<std::uint8_t>((*bytes >> (w * j)) & ((1 << w) - 1));
    });
  std::uint32_t pending = 0;
  int held = 0;
  for (; i < count; ++i) {
    if (held < bits) pending |= std::uint32_t{*bytes++} << held, held += 8;
    u[i] = static_cast<std::uint8_t>(pending & ((1u << bits) - 1));
    pending >>= bits;
    held -= bits;
  }
}

/// f(u, byte, shift) for each column of a row in one plane: u[k]'s part is in bits [shift, shift + w) of the byte.
template <int w, class Byte, class F>
void for_each_in_plane(Byte* plane, index_t row, index_t columns, const F& f) {
  constexpr index_t kColumns = PanelLayout::chunk_columns(w);
  Byte* chunk = plane + row % PanelLayout::kPanelRows * 4;
  for (index_t first = 0; first < columns; first += kColumns, chunk += PanelLayout::kChunkBytes) {
    if (columns - first >= kColumns) {
      for (index_t i = 0; i < kColumns; ++i) f(first + i, chunk[i % 4], static_cast<int>(i / 4) * w);
    } else {
      for (index_t i = 0; i < columns - first; ++i) f(first + i, chunk[i % 4], static_cast<int>(i / 4) * w);
    }
  }
}

/// f(std::integral_constant<int, w>, plane) for each plane of a panel, the highest bits first.
template <class Byte, class F>
void for_each_plane(const PanelLayout& layout, Byte* data, index_t row, const F& f) {
  Byte* plane = data + row / PanelLayout::kPanelRows * layout.panel_bytes();
  const auto one = [&]<int w>(std::integral_constant<int, w> width) {
    if ((layout.bits & w) == 0) return;
    f(width, plane);
    plane += layout.plane_bytes(w);
  };
  one(std::integral_constant<int, 8>{});
  one(std::integral_constant<int, 4>{});
  one(std::integral_constant<int, 2>{});
  one(std::integral_constant<int, 1>{});
}

}  // namespace detail

/// The codes u = q - lowest() of a row into u[columns].
inline void unpack_row(const PackedWeight& weight, index_t row, std::uint8_t* u) {
  std::memset(u, 0, static_cast<std::size_t>(weight.columns()));
  detail::for_each_plane(
      weight.layout(), weight.data(), row, [&]<int w>(std::integral_constant<int, w>, const std::uint8_t* plane) {
        detail::for_each_in_plane<w>(plane, row, weight.columns(), [&](index_t k, std::uint8_t byte, int shift) {
          u[k] = static_cast<std::uint8_t>((w == 8 ? 0 : u[k] << w) | ((byte >> shift) & ((1 << w) - 1)));
        });
      });
}

/// The weights of a row as every kernel computes them, into out[columns]: PackedWeight::dequantized().
inline void dequantize_row(const PackedWeight& weight, index_t row, std::uint8_t* scratch, float* out) {
  unpack_row(weight, row, scratch);
  const AffineScheme scheme(weight.spec(), FloatType::kFloat32);
  const int lowest = weight.spec().lowest();
  const index_t tile = weight.groups().tile_columns;
  for (index_t first = 0; first < weight.columns(); first += tile) {
    const QParams qparams = weight.qparams(weight.group_of(row, first));
    const index_t end = first + tile < weight.columns() ? first + tile : weight.columns();
    for (index_t k = first; k < end; ++k) out[k] = dequantize(scratch[k] + lowest, qparams, scheme);
  }
}

/// PackedWeight::pack of codes that come row by row: row_codes(n, u) writes the codes u = q - lowest(), each below
/// 2^bits, of row n into u[columns].
/// @throws qat::Error as PackedWeight::pack
template <class RowCodes>
PackedWeight pack_rows(const QuantSpec& spec, index_t rows, index_t columns, const RowCodes& row_codes,
                       const float* scales, const float* zero_points) {
  std::vector<std::uint8_t> u(static_cast<std::size_t>(columns));
  PackedWeight out;
  out.reset(spec, rows, columns);
  if (out.groups().tile_rows != 1) {  // groups of several rows: few scales, any order
    std::vector<std::int8_t> codes(static_cast<std::size_t>(rows * columns));
    for (index_t n = 0; n < rows; ++n) {
      row_codes(n, u.data());
      for (index_t k = 0; k < columns; ++k)
        codes[static_cast<std::size_t>(n * columns + k)] =
            static_cast<std::int8_t>(u[static_cast<std::size_t>(k)] + spec.lowest());
    }
    return PackedWeight::pack(spec, rows, columns, codes.data(), scales, zero_points);
  }
  for (index_t n = 0; n < rows; ++n) {
    row_codes(n, u.data());
    int below = spec.bits;
    detail::for_each_plane(
        out.layout(), out.mutable_data(), n, [&]<int w>(std::integral_constant<int, w>, std::uint8_t* plane) {
          below -= w;
          detail::for_each_in_plane<w>(plane, n, columns, [&](index_t k, std::uint8_t& byte, int shift) {
            const int part = (u[static_cast<std::size_t>(k)] >> below) & ((1 << w) - 1);
            byte = static_cast<std::uint8_t>(byte | (part << shift));
          });
        });
  }
  const index_t tiles = out.groups().tiles_per_row;
  for (index_t n = 0; n < rows; n += PanelLayout::kPanelRows) {
    const index_t count = rows - n < PanelLayout::kPanelRows ? rows - n : PanelLayout::kPanelRows;
    out.put_qparams_of_rows(n, count, scales + n * tiles, zero_points == nullptr ? nullptr : zero_points + n * tiles);
  }
  for (index_t i = 0; i < rows * tiles; ++i) {
    QAT_CHECK(out.scale(i) == scales[i], kInvalidArgument, "pack_rows: scale ", i, " is ", scales[i],
              ", the scale type of ", to_string(spec), " holds ", out.scale(i), " instead");
    QAT_CHECK(!out.has_zero_points() || (zero_points != nullptr && out.zero_point(i) == zero_points[i]),
              kInvalidArgument, "pack_rows: zero point ", i, " is ", zero_points == nullptr ? 0.0f : zero_points[i],
              "; accepted: a value that ", to_string(spec), " can store");
  }
  return out;
}

}  // namespace qat::inline v0
