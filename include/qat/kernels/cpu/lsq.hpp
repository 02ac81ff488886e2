// Learned step size quantization: the gradients of fake_quantize for its input and for its scales, in one pass.
#pragma once

#include "qat/kernels/cpu/quantize.hpp"
#include "qat/kernels/lsq_gradient_scale.hpp"
#include "qat/simd/math.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0::kernels::detail {

/// What one call works on. A piece is a tile, or kLsqPiece elements of a longer one: piece p lies in tile p / pieces.
struct LsqJob {
  AffineScheme scheme;
  GroupLayout layout;  ///< contiguous tiles
  index_t pieces;      ///< of a tile
  const float *dy, *x, *scale, *zero_point;
  float *dx, *dscale;  ///< dx may be null; dscale: one value a piece
  SteMask mask;
  float factor;
  bool accumulate_dx, accumulate_dscale;
  bool stream;  ///< dx is large, wanted and overwritten
};

}  // namespace qat::inline v0::kernels::detail

QAT_EXACT_END

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/lsq-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0::kernels {

/// dx (+)= fake_quantize_backward(dy) and dscale (+)= factor * sum over the tile of dy * lsq_derivative(x), for the
/// parameters that fake_quantize(x) was given. The bits of reference::fake_quantize_backward and
/// reference::lsq_scale_gradient on every target, with any number of threads.
///
/// @param dy, x, dx   (rows, columns), row-major; dx may be dy, or null where it is not wanted
/// @param zero_point  one per tile; null where has_constant_zero_point(mapping)
/// @param dscale      one per tile
/// @throws qat::Error (kUnsupported) under FloatZeroPoint, whose scale moves the zero of the codes too
template <class Lazy = void>
void lsq_backward(const CpuBackend& backend, const QuantSpec& spec, const float* dy, const float* x, index_t rows,
                  index_t columns, const float* scale, const float* zero_point, SteMask mask, float factor, float* dx,
                  bool accumulate_dx, float* dscale, bool accumulate_dscale, std::uint64_t seed = 0) {
  constexpr index_t kPiece = reference::kLsqPiece;
  GroupLayout layout = group_layout(spec.granularity, rows, columns);
  const AffineScheme scheme = detail::make_job<float>(spec, "lsq_backward", scale, zero_point, layout.count()).scheme;
  QAT_CHECK(has_learned_scale(spec), kUnsupported, "lsq_backward: ", to_string(spec),
            " has no learned scale; accepted are mappings with an integer zero point, without a table of levels");
  if (!detail::fits_kernel(spec, FloatType::kFloat32, layout)) {
    detail::run_reference(backend, spec, rows, columns, [&](reference::TileSpan span) {
      reference::lsq_scale_gradient(spec, dy, x, rows, columns, scale, zero_point, mask, factor, dscale,
                                    accumulate_dscale, seed, span);
      if (dx != nullptr)
        reference::fake_quantize_backward(spec, dy, x, rows, columns, scale, zero_point, mask, dx, accumulate_dx, seed,
                                          span);
      return index_t{0};
    });
    return;
  }
  layout = layout.contiguous();
  const index_t tiles = layout.count(), pieces = (layout.tile_columns + kPiece - 1) / kPiece;
  AlignedBuffer<float> partial(pieces > 1 ? tiles * pieces : 0);
  const bool stream = dx != nullptr && !accumulate_dx &&
                      rows * columns * static_cast<index_t>(sizeof(float)) >= cpu_tuning().stream_bytes;
  detail::LsqJob job{
      scheme, layout, pieces, dy, x, scale, zero_point, dx, dscale, mask, factor, accumulate_dx, accumulate_dscale,
      stream};
  if (pieces > 1) {
    job.dscale = partial.data();
    job.factor = 1.0f;
    job.accumulate_dscale = false;
  }
  const index_t piece = layout.tile_columns < kPiece ? layout.tile_columns : kPiece;
  const index_t per_chunk = tiles == 0 ? 16 : (detail::kQuantizeChunk / piece + 15) / 16 * 16;
  backend.parallel_for((tiles * pieces + per_chunk - 1) / per_chunk, [&](index_t chunk) {
    const index_t first = chunk * per_chunk, left = tiles * pieces - first;
    QAT_DISPATCH(kernels, quantization::lsq_pieces(job, first, left < per_chunk ? left : per_chunk));
  });
  if (pieces == 1) return;
  backend.parallel_for(1, [&](index_t) {
    for (index_t tile = 0; tile < tiles; ++tile) {
      double total = 0.0;
      for (index_t i = 0; i < pieces; ++i) total += static_cast<double>(partial[tile * pieces + i]);
      const float g = static_cast<float>(total * static_cast<double>(factor));
      dscale[tile] = accumulate_dscale ? dscale[tile] + g : g;
    }
  });
}
QAT_INSTANCE(void lsq_backward<void>(const CpuBackend&, const QuantSpec&, const float*, const float*, index_t, index_t,
                                     const float*, const float*, SteMask, float, float*, bool, float*, bool,
                                     std::uint64_t));

}  // namespace qat::inline v0::kernels

QAT_EXACT_END
