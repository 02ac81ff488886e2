// Matrix products with packed integer weights: int8 activations (exact integer sums), and fp32 activations through
// gemm().
#pragma once

#include "qat/kernels/cpu/gemm.hpp"
#include "qat/kernels/reference/qgemm.hpp"
#include "qat/pack/packed_weight.hpp"

namespace qat::inline v0::kernels {

/// A run of columns that shares the scales of its rows: a group, or a part of a group of more than kLongestRun columns.
struct QgemmSegment {
  index_t begin, count, quads;
};

struct QgemmCall {
  QuantizedActivations x;
  const PackedWeight* weight;
  float* c;
  index_t ldc;
  const float* bias;
  const QgemmSegment* segment;
  index_t segments, quads;
  bool general;                // zero points of activations, or per group of weights
  std::int32_t constant_zero;  // of all u codes, if not general
};

/// Unpacked weights of one strip: codes [quad][row][4], and [segment][row] of the rest.
struct QgemmStrip {
  std::uint8_t* codes;
  float* scales;
  std::int32_t* zeros;  // zero point of u
  std::int32_t* sums;   // sum of (u - zero point)
};

struct QgemmKernels {
  index_t tile_rows, strip_rows;
  void (*pack_rows)(const QgemmCall&, index_t row, index_t rows, std::uint8_t* out);
  void (*unpack)(const QgemmCall&, index_t row, const QgemmStrip&);
  void (*tile)(const QgemmCall&, const QgemmStrip&, const std::uint8_t* a, index_t row, index_t rows, index_t column);
};

}  // namespace qat::inline v0::kernels

#define QAT_TARGET_WITH_DOT8
#define QAT_TARGET_INCLUDE "qat/kernels/cpu/qgemm-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

/// Packed weights as an operand of gemm(): elements are dequantized while packing, with the rounding of
/// quant/affine.hpp, so gemm(x, PackedOperand) equals gemm(x, fake-quantized fp32 weights) bit for bit.
class PackedOperand {
 public:
  explicit PackedOperand(const PackedWeight& weight) : weight_(&weight) {}

  void load(index_t row, index_t k0, index_t count, float* out) const {
    for (index_t i = 0; i < count; ++i) out[i] = weight_->dequantized(row, k0 + i);
  }
  void load_panel(index_t row, index_t, index_t k0, index_t count, index_t width, float* out) const {
    QAT_DISPATCH(kernels, dequantize_panel(*weight_, row, k0, count, width, out));
  }

 private:
  const PackedWeight* weight_;
};

namespace detail {

inline const QgemmKernels& qgemm_kernels() { return QAT_DISPATCH_DOT8(kernels, kQgemmKernels); }

struct QgemmWorkspace {
  AlignedBuffer<std::uint8_t> rows, strip;
  AlignedBuffer<QgemmSegment> segments;

  static QgemmWorkspace& of_this_thread() {
    static thread_local QgemmWorkspace workspace;
    return workspace;
  }
  template <class T>
  static T* reserve(AlignedBuffer<T>& buffer, index_t size) {
    if (buffer.size() < size) buffer = AlignedBuffer<T>(size);
    return buffer.data();
  }
};

/// Cuts the columns into segments; returns how many, and writes them if `out` is not null.
inline index_t make_segments(const PackedWeight& w, QgemmSegment* out) {
  index_t n = 0;
  for (index_t k = 0; k < w.columns(); ++n) {
    const index_t group_end = (k / w.groups().tile_columns + 1) * w.groups().tile_columns;
    index_t end = group_end < w.columns() ? group_end : w.columns();
    const index_t group_begin = k / w.groups().tile_columns * w.groups().tile_columns;
    const index_t run_end = group_begin + ((k - group_begin) / kLongestRun + 1) * kLongestRun;
    if (run_end < end) end = run_end;
    if (out != nullptr) out[n] = {k, end - k, (end - k + 3) / 4};
    k = end;
  }
  return n;
}

}  // namespace detail

/// C[m,n] = sum_k x[m,k] * w[n,k] (+ bias[n]) for int8 activations and packed weights, row-major C with ldc elements a
/// row. Integer sums are exact, and each output is the chain kernels/reference/qgemm.hpp defines: the same bits on
/// every target and for any number of threads, equal to that reference.
///
/// @param bias  weight.rows() values added last, or null
/// @throws qat::Error (kUnsupported) if the weights have float zero points (use gemm with PackedOperand)
inline void qgemm(const CpuBackend& backend, index_t M, const QuantizedActivations& x, const PackedWeight& weight,
                  float* C, index_t ldc, const float* bias = nullptr) {
  QAT_CHECK(M >= 0, kShapeMismatch, "qgemm: M is ", M, ", must not be negative");
  QAT_CHECK(!weight.has_float_zero_point(), kUnsupported, "qgemm: weights of ", to_string(weight.spec()),
            " have float zero points, integer ones are required");
  const index_t N = weight.rows(), K = weight.columns();
  if (M == 0 || N == 0) return;
  const QgemmKernels& kernels = detail::qgemm_kernels();
  detail::QgemmWorkspace& space = detail::QgemmWorkspace::of_this_thread();

  const index_t segments = detail::make_segments(weight, nullptr);
  QgemmSegment* segment = detail::QgemmWorkspace::reserve(space.segments, segments);
  detail::make_segments(weight, segment);
  index_t quads = 0;
  for (index_t s = 0; s < segments; ++s) quads += segment[s].quads;
  const bool general = x.zero_points != nullptr || weight.has_zero_points();
  const QgemmCall call{x, &weight, C, ldc, bias, segment, segments, quads, general, 1 << (weight.spec().bits - 1)};

  // Row tiles of even height: 8 rows are 4 + 4, not 7 + 1.
  const index_t tiles = (M + kernels.tile_rows - 1) / kernels.tile_rows;
  const index_t row_bytes = 4 * (quads + segments);
  std::uint8_t* a = detail::QgemmWorkspace::reserve(space.rows, M * row_bytes);
  const auto first_row = [&](index_t tile) { return M * tile / tiles; };

  const index_t tiles_per_pack = 1 + (index_t{1} << 16) / (kernels.tile_rows * (K + 1));
  backend.parallel_for((tiles + tiles_per_pack - 1) / tiles_per_pack, [&](index_t chunk) {
    const index_t end = (chunk + 1) * tiles_per_pack < tiles ? (chunk + 1) * tiles_per_pack : tiles;
    for (index_t t = chunk * tiles_per_pack; t < end; ++t)
      kernels.pack_rows(call, first_row(t), first_row(t + 1) - first_row(t), a + first_row(t) * row_bytes);
  });

  const index_t strips = (N + kernels.strip_rows - 1) / kernels.strip_rows;
  const index_t most_tiles = 256 / kernels.tile_rows;
  const index_t row_blocks = (tiles + most_tiles - 1) / most_tiles;
  const index_t block_work = (M / row_blocks + 1) * kernels.strip_rows * (K + 1);
  const index_t strips_per_block = 1 + (index_t{1} << 19) / block_work;
  const index_t strip_blocks = (strips + strips_per_block - 1) / strips_per_block;
  backend.parallel_for(row_blocks * strip_blocks, [&](index_t chunk) {
    const index_t row_block = chunk % row_blocks, strip_block = chunk / row_blocks;
    const index_t tile_begin = tiles * row_block / row_blocks, tile_end = tiles * (row_block + 1) / row_blocks;
    const index_t strip_end =
        (strip_block + 1) * strips_per_block < strips ? (strip_block + 1) * strips_per_block : strips;
    const index_t code_bytes = (quads * kernels.strip_rows * 4 + 63) / 64 * 64;
    const index_t value_bytes = segments * kernels.strip_rows * 4;
    std::uint8_t* memory =
        detail::QgemmWorkspace::reserve(detail::QgemmWorkspace::of_this_thread().strip, code_bytes + 3 * value_bytes);
    const QgemmStrip strip{memory, reinterpret_cast<float*>(memory + code_bytes),
                           reinterpret_cast<std::int32_t*>(memory + code_bytes + value_bytes),
                           reinterpret_cast<std::int32_t*>(memory + code_bytes + 2 * value_bytes)};
    for (index_t s = strip_block * strips_per_block; s < strip_end; ++s) {
      kernels.unpack(call, s * kernels.strip_rows, strip);
      for (index_t t = tile_begin; t < tile_end; ++t)
        kernels.tile(call, strip, a + first_row(t) * row_bytes, first_row(t), first_row(t + 1) - first_row(t),
                     s * kernels.strip_rows);
    }
  });
}

}  // namespace qat::inline v0::kernels
