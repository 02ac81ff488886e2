// Int4 weights for tensor cores: the layout that kernels/cuda/w4a16_gemm reads, how it is made of row-major packed
// codes, and the way back.
#pragma once

#include "qat/backend/cuda.hpp"
#include "qat/numeric/bfloat16.hpp"
#include "qat/quant/granularity.hpp"

namespace qat::inline v0::cuda {

/// Where codes and scales of a matrix (N rows, K columns, one scale per row and `group` columns) lie.
///
///   codes        tiles of 16 rows x 64 columns, 512 bytes, those of 16 rows one after the other. A tile is 32 lanes x
///                16 bytes, what a lane of mma.m16n8k16 holds of its weight operand for four steps; with g = lane / 4
///                and q = lane % 4, word s of the lane holds columns c .. c+3 of rows g and g + 8, where
///                c = 32 * (s / 2) + 8 * q + 4 * (s % 2), in nibbles (lowest first)
///
///                  row    g    g+8    g    g+8    g    g+8    g    g+8
///                  column c     c    c+2   c+2   c+1   c+1   c+3   c+3
///
///                so that (word >> 4i) & 0x000F000F is register i of the operand but for the offset, a step takes its
///                columns from one half of 32, a lane's columns of a half are 8 neighbours, and a lane's bytes of a
///                row are neighbours in row-major storage too.
///   a nibble     u = q + 8 of signed codes, u = q of unsigned ones
///   scales, zero points   slot ((n / 16) * groups + k / group) * 16 + n % 16, as in PackedWeight; a zero point is one
///                byte, in units of u; without zero points it is 8
/// Padding rows and columns hold u = 8 and scale 0: without zero points they add nothing; under zero points a row's
/// padding columns meet activations that the kernels take as 0.
struct Int4Tiles {
  static constexpr index_t kRows = 16, kColumns = 64, kBytes = 512;

  index_t rows = 0, columns = 0;
  index_t group = 0;  ///< columns per scale, at least 1; `columns` or more: one scale per row

  QAT_HOST_DEVICE constexpr index_t row_tiles() const { return (rows + kRows - 1) / kRows; }
  QAT_HOST_DEVICE constexpr index_t column_tiles() const { return (columns + kColumns - 1) / kColumns; }
  QAT_HOST_DEVICE constexpr index_t groups() const { return (columns + group - 1) / group; }
  /// Bytes of the codes.
  QAT_HOST_DEVICE constexpr index_t code_bytes() const { return row_tiles() * column_tiles() * kBytes; }
  /// Scales, and zero points.
  QAT_HOST_DEVICE constexpr index_t group_entries() const { return row_tiles() * groups() * kRows; }
  QAT_HOST_DEVICE constexpr index_t slot_of(index_t n, index_t g) const {
    return (n / kRows * groups() + g) * kRows + n % kRows;
  }
  /// The byte that holds the code of (n, k), and the bit its nibble starts at.
  QAT_HOST_DEVICE constexpr index_t byte_of(index_t n, index_t k) const {
    const index_t lane = n % 8 * 4 + k % 32 / 8, word = k % 64 / 32 * 2 + k % 8 / 4;
    return (n / kRows * column_tiles() + k / kColumns) * kBytes + lane * 16 + word * 4 + nibble_of(n, k) / 2;
  }
  QAT_HOST_DEVICE constexpr int shift_of(index_t n, index_t k) const {
    return static_cast<int>(nibble_of(n, k) % 2 * 4);
  }

 private:
  QAT_HOST_DEVICE static constexpr index_t nibble_of(index_t n, index_t k) {
    return k % 2 * 4 + k % 4 / 2 * 2 + n % kRows / 8;
  }
};

/// The canonical form, the same on every device: rows of 4-bit codes, two to a byte, the first in the low half.
/// Byte is std::uint8_t or const std::uint8_t, S float or bfloat16 or a const one.
template <class Byte, class S>
struct RowMajorInt4 {
  Byte* codes = nullptr;  ///< (rows, columns); two's complement or, if !is_signed, plain; nibbles beyond the end of
                          ///< a row are zero when written
  index_t row_bytes = 0;  ///< from row to row; 0: (columns + 1) / 2
  bool is_signed = true;
  S* scales = nullptr;          ///< (rows, groups)
  Byte* zero_points = nullptr;  ///< (rows, groups), code minus the smallest code (-8 or 0); null: 8 everywhere
  QAT_HOST_DEVICE constexpr index_t pitch(index_t columns) const {
    return row_bytes != 0 ? row_bytes : (columns + 1) / 2;
  }
};

/// Weights in Int4Tiles order.
template <class Byte, class S>
struct TiledInt4 {
  Byte* codes = nullptr;        ///< tiles.code_bytes(), aligned to 16
  S* scales = nullptr;          ///< tiles.group_entries(), aligned to 16
  Byte* zero_points = nullptr;  ///< tiles.group_entries(), aligned to 16; null: 8 everywhere
};

/// Row-major to tiles and back: every code, scale and zero point, exactly. S: float, bfloat16.
/// @throws qat::Error if tiled zero points are asked for of weights that have none or the other way round, or if a
/// tiled
///         pointer is not aligned to 16 bytes
template <class S>
void prepack_int4(const CudaBackend&, const Int4Tiles&, const RowMajorInt4<const std::uint8_t, const S>& from,
                  const TiledInt4<std::uint8_t, S>& to);
template <class S>
void unpack_int4(const CudaBackend&, const Int4Tiles&, const TiledInt4<const std::uint8_t, const S>& from,
                 const RowMajorInt4<std::uint8_t, S>& to);

/// y[n, k] = bfloat16((q - z) * s), dequantize() of quant/affine.hpp for bfloat16 weights: what a bfloat16 product
/// reads where it beats the int4 one (w4a16_gemm.hpp). From either form. y: (rows, columns), y_stride elements from row
/// to row (0: columns).
template <class S>
void dequantize_int4(const CudaBackend&, const Int4Tiles&, const RowMajorInt4<const std::uint8_t, const S>& from,
                     bfloat16* y, index_t y_stride = 0);
template <class S>
void dequantize_int4(const CudaBackend&, const Int4Tiles&, const TiledInt4<const std::uint8_t, const S>& from,
                     bfloat16* y, index_t y_stride = 0);

}  // namespace qat::inline v0::cuda
