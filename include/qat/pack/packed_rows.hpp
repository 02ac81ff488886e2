// Packed weights a row at a time: for files, which keep codes row-major. Layout: pack/packed_weight.hpp.
#pragma once

#include <bit>
#include <cstring>
#include <vector>

#include "qat/pack/packed_weight.hpp"
#include "qat/simd/region.hpp"

namespace qat::inline v0 {

namespace detail {

static_assert(std::endian::native == std::endian::little, "qat: strings of bits are words of little-endian machines");

/// The lower `width` bits of each lane of `lane` bits.
constexpr std::uint64_t low_bits(int width, int lane) {
  std::uint64_t mask = 0;
  for (int i = 0; i < 64; i += lane) mask |= ((std::uint64_t{1} << width) - 1) << i;
  return mask;
}
/// 8 codes of w bits are w bytes of a bit string: as the 8 bytes of a word, and back. Halves, quarters and eighths
/// move.
template <int w>
constexpr std::uint64_t spread_codes(std::uint64_t y) {
  if constexpr (w == 8) return y;
  constexpr std::uint64_t four = low_bits(4 * w, 64), two = low_bits(2 * w, 32), one = low_bits(w, 16);
  y = (y & four) | (y & four << 4 * w) << (8 - w) * 4;
  y = (y & two) | (y & two << 2 * w) << (8 - w) * 2;
  return (y & one) | (y & one << w) << (8 - w);
}
template <int w>
constexpr std::uint64_t join_codes(std::uint64_t y) {
  if constexpr (w == 8) return y;
  constexpr std::uint64_t four = low_bits(4 * w, 64), two = low_bits(2 * w, 32), one = low_bits(w, 16);
  y = (y & one) | (y >> (8 - w) & one << w);
  y = (y & two) | (y >> (8 - w) * 2 & two << 2 * w);
  return (y & four) | (y >> (8 - w) * 4 & four << 4 * w);
}

QAT_TARGET_BASELINE_BEGIN
/// The same for pairs of 4 bits, in a form that is vectorized.
inline void join_nibbles(const std::uint8_t* u, index_t pairs, std::uint8_t* bytes) {
  for (index_t i = 0; i < pairs; ++i) bytes[i] = static_cast<std::uint8_t>(u[2 * i] | u[2 * i + 1] << 4);
}
inline void spread_nibbles(const std::uint8_t* bytes, index_t pairs, std::uint8_t* u) {
  for (index_t i = 0; i < pairs; ++i) {
    u[2 * i] = bytes[i] & 15;
    u[2 * i + 1] = static_cast<std::uint8_t>(bytes[i] >> 4);
  }
}
QAT_TARGET_BASELINE_END

/// Codes of `bits` bits as a bit string, the first in the least significant bits; the last byte is filled with zeros.
inline void pack_bits(const std::uint8_t* u, index_t count, int bits, std::uint8_t* bytes) {
  if (bits == 4 && count % 2 == 0) return join_nibbles(u, count / 2, bytes);
  visit_width(bits, [&]<int w>(std::integral_constant<int, w>) {
    index_t i = 0;
    std::uint64_t codes;
    for (; i + 8 <= count; i += 8, bytes += w) {
      std::memcpy(&codes, u + i, 8);
      codes = join_codes<w>(codes);
      std::memcpy(bytes, &codes, w);
    }
    if (i == count) return;
    codes = 0;
    std::memcpy(&codes, u + i, static_cast<std::size_t>(count - i));
    codes = join_codes<w>(codes);
    std::memcpy(bytes, &codes, static_cast<std::size_t>(((count - i) * w + 7) / 8));
  });
}
inline void unpack_bits(const std::uint8_t* bytes, index_t count, int bits, std::uint8_t* u) {
  if (bits == 4 && count % 2 == 0) return spread_nibbles(bytes, count / 2, u);
  visit_width(bits, [&]<int w>(std::integral_constant<int, w>) {
    index_t i = 0;
    std::uint64_t codes = 0;
    for (; i + 8 <= count; i += 8, bytes += w) {
      std::memcpy(&codes, bytes, w);
      const std::uint64_t eight = spread_codes<w>(codes);
      std::memcpy(u + i, &eight, 8);
    }
    if (i == count) return;
    codes = 0;
    std::memcpy(&codes, bytes, static_cast<std::size_t>(((count - i) * w + 7) / 8));
    codes = spread_codes<w>(codes);
    std::memcpy(u + i, &codes, static_cast<std::size_t>(count - i));
  });
}

/// f(column, byte, shift) for columns from `first` on of a row's chunk in one plane: their parts are in bits
/// [shift, shift + w) of the bytes.
template <int w, class Byte, class F>
void for_each_in_chunk(Byte* chunk, index_t first, index_t columns, const F& f) {
  for (index_t i = 0; i < columns - first && i < PanelLayout::chunk_columns(w); ++i)
    f(first + i, chunk[i % 4], static_cast<int>(i / 4) * w);
}

/// In each of the four bytes of a word, the w lowest bits.
template <int w>
inline constexpr std::uint32_t kFourOf = 0x01010101u * ((1u << w) - 1);

/// u = (u << w) | part, for the parts of a row in one plane; four columns at a time, as the bytes of a word.
template <int w>
void unpack_plane(const std::uint8_t* plane, index_t row, index_t columns, bool is_first, std::uint8_t* u) {
  constexpr index_t kColumns = PanelLayout::chunk_columns(w);
  const std::uint8_t* chunk = plane + row % PanelLayout::kPanelRows * 4;
  const std::uint32_t kept = is_first ? 0 : ~0u;
  index_t first = 0;
  for (; columns - first >= kColumns; first += kColumns, chunk += PanelLayout::kChunkBytes) {
    std::uint32_t parts, four;
    std::memcpy(&parts, chunk, 4);
    for (int i = 0; i < 8 / w; ++i) {
      std::memcpy(&four, u + first + 4 * i, 4);
      four = ((four & kept) << (w % 8)) | ((parts >> (w * i)) & kFourOf<w>);
      std::memcpy(u + first + 4 * i, &four, 4);
    }
  }
  for_each_in_chunk<w>(chunk, first, columns, [&](index_t k, std::uint8_t byte, int shift) {
    u[k] = static_cast<std::uint8_t>((is_first ? 0 : u[k] << w) | ((byte >> shift) & ((1 << w) - 1)));
  });
}
/// The bits [below, below + w) of the codes of a row into one plane, which holds zeros there.
template <int w>
void pack_plane(const std::uint8_t* u, index_t row, index_t columns, int below, std::uint8_t* plane) {
  constexpr index_t kColumns = PanelLayout::chunk_columns(w);
  std::uint8_t* chunk = plane + row % PanelLayout::kPanelRows * 4;
  index_t first = 0;
  for (; columns - first >= kColumns; first += kColumns, chunk += PanelLayout::kChunkBytes) {
    std::uint32_t parts = 0, four;
    for (int i = 0; i < 8 / w; ++i) {
      std::memcpy(&four, u + first + 4 * i, 4);
      parts |= ((four >> below) & kFourOf<w>) << (w * i);
    }
    std::memcpy(chunk, &parts, 4);
  }
  for_each_in_chunk<w>(chunk, first, columns, [&](index_t k, std::uint8_t& byte, int shift) {
    byte = static_cast<std::uint8_t>(byte | ((u[k] >> below) & ((1 << w) - 1)) << shift);
  });
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
  bool is_first = true;
  detail::for_each_plane(weight.layout(), weight.data(), row,
                         [&]<int w>(std::integral_constant<int, w>, const std::uint8_t* plane) {
                           detail::unpack_plane<w>(plane, row, weight.columns(), is_first, u);
                           is_first = false;
                         });
}

/// Throws unless the storage of such weights holds every scale and zero point exactly. zero_points: null if they are
/// constant.
inline void check_qparams(const QuantSpec& spec, index_t count, const float* scales, const float* zero_points) {
  const AffineScheme scheme(spec, FloatType::kFloat32);
  const ScaleType type = scheme.spec.scale_type;
  const bool is_bfloat16 = type == ScaleType::kBfloat16 || type == ScaleType::kBfloat16Safe;
  std::uint32_t rare = is_bfloat16 || type == ScaleType::kFloat32 ? 0 : 1;  // most files: decided without a conversion
  for (index_t i = 0; rare == 0 && i < count; ++i) {
    const std::uint32_t bits = qat::bit_cast<std::uint32_t>(scales[i]);
    rare = (is_bfloat16 ? bits & 0xFFFFu : 0) | ((bits & 0x7F800000u) + 0x00800000u) >> 31;
  }
  for (index_t i = 0; rare != 0 && i < count; ++i) {
    const float held = held_scale(scheme.spec.scale_type, scales[i]);
    QAT_CHECK(held == scales[i], kInvalidArgument, "packed weight: scale ", i, " is ", scales[i],
              ", the scale type of ", to_string(spec), " holds ", held, " instead");
  }
  if (has_constant_zero_point(spec.mapping)) return;
  QAT_CHECK(zero_points != nullptr || count == 0, kInvalidArgument, "packed weight: ", to_string(spec),
            " needs zero points, found none");
  for (index_t i = 0; i < count; ++i) {
    const float z = zero_points[i];
    const bool fits = has_float_zero_point(spec.mapping)
                          ? round_to(scheme.scale, z) == z
                          : z >= scheme.qmin && z <= scheme.qmax && z == static_cast<float>(static_cast<int>(z));
    QAT_CHECK(fits, kInvalidArgument, "packed weight: zero point ", i, " is ", z, "; accepted: a value that ",
              to_string(spec), " can store");
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
  check_qparams(spec, out.groups().count(), scales, zero_points);
  for (index_t n = 0; n < rows; ++n) {
    row_codes(n, u.data());
    int below = spec.bits;
    detail::for_each_plane(out.layout(), out.mutable_data(), n,
                           [&]<int w>(std::integral_constant<int, w>, std::uint8_t* plane) {
                             below -= w;
                             detail::pack_plane<w>(u.data(), n, columns, below, plane);
                           });
  }
  const index_t tiles = out.groups().tiles_per_row;
  for (index_t n = 0; n < rows; n += PanelLayout::kPanelRows) {
    const index_t count = rows - n < PanelLayout::kPanelRows ? rows - n : PanelLayout::kPanelRows;
    out.put_qparams_of_rows(n, count, scales + n * tiles, zero_points == nullptr ? nullptr : zero_points + n * tiles);
  }
  return out;
}

}  // namespace qat::inline v0
