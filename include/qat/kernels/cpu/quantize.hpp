// CPU kernels of quantization: choose_qparams, quantize, dequantize, fake_quantize and its straight-through gradient.
//
// Tensors are (rows, columns), row-major, contiguous, at any alignment, of float, half or bfloat16. scale and
// zero_point hold one value per tile, in the order (tile_row_count, tiles_per_row) of group_layout(spec.granularity,
// rows, columns). Codes are bytes; an unsigned code above 127 is stored as the byte of the same low 8 bits.
//
// Same bits as quant/affine.hpp on every target, with any number of threads, whatever the caller's floating-point mode
// and compiler flags. Schemes without a vector kernel (has_kernel) run on kernels/reference/quantize.hpp, split over
// threads.
#pragma once

#include "qat/backend/cpu.hpp"
#include "qat/base/aligned.hpp"
#include "qat/kernels/cpu/tuning.hpp"
#include "qat/kernels/reference/quantize.hpp"
#include "qat/quant/affine.hpp"
#include "qat/simd/vec.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0::kernels {

/// True if `spec` on tensors of `type` runs on the vector kernels, false if on the reference kernel.
constexpr bool has_kernel(const QuantSpec& spec, [[maybe_unused]] FloatType type = FloatType::kFloat32) {
  if (spec.rounding != RoundingKind::kHalfToEven || spec.has_level_table()) return false;
  switch (spec.granularity.kind) {
    case GranularityKind::kPerAxis:
      return spec.granularity.axis == 0;
    case GranularityKind::kPerBlock:
      return spec.granularity.block_rows == 1;
    default:
      return true;
  }
}

enum class QuantizeOp {
  kChoose,
  kFakeQuantize,
  kFakeQuantizeMask,
  kQuantize,
  kQuantizeMask,
  kDequantize,
  kBackward,
  kBackwardMasked
};

namespace detail {

/// What one call works on. Parameters are given (scale not null) or chosen from x.
template <class D>
struct QuantizeJob {
  AffineScheme scheme;
  const D* x = nullptr;
  const D* dy = nullptr;
  D* y = nullptr;  ///< output of fake_quantize and dequantize; dx of the gradients
  const std::int8_t* codes = nullptr;
  std::int8_t* codes_out = nullptr;
  const float* scale = nullptr;
  const float* zero_point = nullptr;
  float* scale_out = nullptr;
  float* zero_point_out = nullptr;
  const std::uint8_t* mask = nullptr;
  std::uint8_t* mask_out = nullptr;
  float mask_low = 0.0f, mask_high = 0.0f;  ///< codes before clamping in [mask_low, mask_high] pass their gradient
  bool accumulate = false;
  bool stream = false;
};

/// Consecutive tiles in memory, from element `offset`: `count` of them, of `tile` elements, the last of `last`.
struct TileRun {
  index_t offset, first_tile, count, tile, last;
};

template <class D>
QAT_NOINLINE GroupRange range_of_run(const D* x, index_t length) {
  GroupRange range;
  for (index_t i = 0; i < length; ++i) range.observe(static_cast<float>(x[i]));
  return range;
}

/// The first element that is `magnitude` or its negative; there is one.
template <class D>
QAT_NOINLINE float first_of_magnitude(const D* x, float magnitude) {
  float value = static_cast<float>(*x);
  while (value != magnitude && value != -magnitude) value = static_cast<float>(*++x);
  return value;
}

}  // namespace detail
}  // namespace qat::inline v0::kernels

QAT_EXACT_END

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/quantize-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0::kernels {
namespace detail {

inline constexpr index_t kQuantizeChunk = 1 << 15;  ///< elements of a parallel chunk: 128 KiB of float

template <QuantizeOp kOp, class D>
index_t run_tiles(const QuantizeJob<D>& job, const TileRun& run) {
  return QAT_DISPATCH(kernels, quantization::run_tiles<kOp, D>(job, run));
}
template <class D>
GroupRange range_of(const D* x, index_t length) {
  return QAT_DISPATCH(kernels, quantization::range_of<D>(x, length));
}
#define QAT_QUANTIZE_INSTANCES(D)                                                                           \
  QAT_INSTANCE(GroupRange range_of<D>(const D*, index_t));                                                  \
  QAT_INSTANCE(index_t run_tiles<QuantizeOp::kChoose, D>(const QuantizeJob<D>&, const TileRun&));           \
  QAT_INSTANCE(index_t run_tiles<QuantizeOp::kFakeQuantize, D>(const QuantizeJob<D>&, const TileRun&));     \
  QAT_INSTANCE(index_t run_tiles<QuantizeOp::kFakeQuantizeMask, D>(const QuantizeJob<D>&, const TileRun&)); \
  QAT_INSTANCE(index_t run_tiles<QuantizeOp::kQuantize, D>(const QuantizeJob<D>&, const TileRun&));         \
  QAT_INSTANCE(index_t run_tiles<QuantizeOp::kQuantizeMask, D>(const QuantizeJob<D>&, const TileRun&));     \
  QAT_INSTANCE(index_t run_tiles<QuantizeOp::kDequantize, D>(const QuantizeJob<D>&, const TileRun&));       \
  QAT_INSTANCE(index_t run_tiles<QuantizeOp::kBackward, D>(const QuantizeJob<D>&, const TileRun&));         \
  QAT_INSTANCE(index_t run_tiles<QuantizeOp::kBackwardMasked, D>(const QuantizeJob<D>&, const TileRun&))
QAT_QUANTIZE_INSTANCES(float);
QAT_QUANTIZE_INSTANCES(half);
QAT_QUANTIZE_INSTANCES(bfloat16);
#undef QAT_QUANTIZE_INSTANCES

/// Tiles longer than a chunk: each is split, its range reduced in order, then its elements run with given parameters.
template <QuantizeOp kOp, class D>
index_t run_long_tiles(const CpuBackend& backend, QuantizeJob<D> job, const GroupLayout& layout) {
  constexpr index_t piece = kQuantizeChunk;
  const index_t pieces = (layout.tile_columns + piece - 1) / piece;
  const auto piece_run = [&](index_t chunk) -> TileRun {
    const index_t tile = chunk / pieces, column = tile % layout.tiles_per_row * layout.tile_columns;
    const index_t length =
        layout.columns - column < layout.tile_columns ? layout.columns - column : layout.tile_columns;
    const index_t begin = chunk % pieces * piece;
    const index_t count = length - begin < piece ? length - begin : piece;
    return {tile / layout.tiles_per_row * layout.columns + column + begin, tile, count > 0 ? 1 : 0, piece, count};
  };
  index_t nonfinite = 0;
  AlignedBuffer<float> params;
  if (job.scale == nullptr) {
    AlignedBuffer<GroupRange> ranges(layout.count() * pieces);
    params = AlignedBuffer<float>(2 * layout.count());
    backend.parallel_for(layout.count() * pieces, [&](index_t chunk) {
      const TileRun run = piece_run(chunk);
      ranges[chunk] = run.count > 0 ? range_of(job.x + run.offset, run.last) : GroupRange{};
    });
    backend.parallel_for(1, [&](index_t) {
      for (index_t tile = 0; tile < layout.count(); ++tile) {
        GroupRange& range = ranges[tile * pieces];
        for (index_t i = 1; i < pieces; ++i) range.merge(ranges[tile * pieces + i]);
        const QParams p = qat::choose_qparams(range, job.scheme);
        params[tile] = p.scale;
        params[layout.count() + tile] = p.zero_point;
        if (job.scale_out != nullptr) job.scale_out[tile] = p.scale;
        if (job.zero_point_out != nullptr) job.zero_point_out[tile] = p.zero_point;
        nonfinite += range.nonfinite;
      }
    });
    job.scale = params.data();
    job.zero_point = params.data() + layout.count();
  }
  if constexpr (kOp != QuantizeOp::kChoose) {
    backend.parallel_for(layout.count() * pieces, [&](index_t chunk) {
      const TileRun run = piece_run(chunk);
      if (run.count > 0) run_tiles<kOp>(job, run);
    });
  }
  return nonfinite;
}

/// Runs a job whose tiles are contiguous. Returns the number of non-finite elements where parameters are chosen.
template <QuantizeOp kOp, class D>
index_t run_job(const CpuBackend& backend, QuantizeJob<D>& job, GroupLayout layout) {
  layout = layout.contiguous();
  if (layout.count() == 0) return 0;
  if (layout.columns % layout.tile_columns == 0)  // no ragged tile: one tile a row, whatever the rows were
    layout = {layout.count(), layout.tile_columns, 1, layout.tile_columns, layout.count(), 1};
  const index_t size = layout.rows * layout.columns;
  job.stream = size * static_cast<index_t>(sizeof(D)) >= cpu_tuning().stream_bytes && !job.accumulate;
  // Bits of a mask share bytes: chunks must begin at multiples of 8 elements.
  constexpr bool kWritesMask = kOp == QuantizeOp::kFakeQuantizeMask || kOp == QuantizeOp::kQuantizeMask;
  if (layout.tile_columns > 2 * kQuantizeChunk) {
    const bool shares_bytes = layout.columns % 8 != 0 || layout.tile_columns % 8 != 0;
    if (!(kWritesMask && shares_bytes && layout.count() > 1)) return run_long_tiles<kOp>(backend, job, layout);
  }
  const index_t granule = kWritesMask ? 8 * layout.tiles_per_row : 1;
  // Chunks grow with the tensor, to 4 MiB: each ends in a fence that waits for its non-temporal stores.
  const index_t part = size / 64, most = 32 * kQuantizeChunk;
  const index_t target = part < kQuantizeChunk ? kQuantizeChunk : part < most ? part : most;
  index_t tiles_per_chunk = (target / layout.tile_columns + granule - 1) / granule * granule;
  if (tiles_per_chunk < granule) tiles_per_chunk = granule;
  const index_t chunks = (layout.count() + tiles_per_chunk - 1) / tiles_per_chunk;
  const index_t tail = layout.columns - (layout.tiles_per_row - 1) * layout.tile_columns;  // last tile of a row
  std::atomic<index_t> nonfinite{0};
  backend.parallel_for(chunks, [&](index_t chunk) {
    index_t tile = chunk * tiles_per_chunk;
    const index_t end = layout.count() - tile < tiles_per_chunk ? layout.count() : tile + tiles_per_chunk;
    index_t found = 0;
    if (layout.tiles_per_row == 1 && layout.columns == layout.tile_columns) {
      found = run_tiles<kOp>(job, {tile * layout.columns, tile, end - tile, layout.tile_columns, layout.tile_columns});
    } else {
      while (tile < end) {
        const index_t row = tile / layout.tiles_per_row, column_tile = tile % layout.tiles_per_row;
        const index_t row_left = layout.tiles_per_row - column_tile;
        const index_t count = end - tile < row_left ? end - tile : row_left;
        found += run_tiles<kOp>(job, {row * layout.columns + column_tile * layout.tile_columns, tile, count,
                                      layout.tile_columns, count == row_left ? tail : layout.tile_columns});
        tile += count;
      }
    }
    if (found != 0) nonfinite.fetch_add(found, std::memory_order_relaxed);
  });
  return nonfinite.load();
}

/// f(span) -> non-finite elements, over all tiles, on the reference kernel.
template <class F>
index_t run_reference(const CpuBackend& backend, const QuantSpec& spec, index_t rows, index_t columns, F&& f) {
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  const index_t per_tile = layout.tile_rows * layout.tile_columns;
  const index_t tiles = per_tile < 2048 ? 2048 / per_tile : 1;
  std::atomic<index_t> nonfinite{0};
  backend.parallel_for((layout.count() + tiles - 1) / tiles, [&](index_t chunk) {
    const index_t begin = chunk * tiles, end = layout.count() - begin < tiles ? layout.count() : begin + tiles;
    nonfinite.fetch_add(f(reference::TileSpan{begin, end}), std::memory_order_relaxed);
  });
  return nonfinite.load();
}

template <class D>
QuantizeJob<D> make_job(const QuantSpec& spec) {
  validate(spec);
  QuantizeJob<D> job;
  job.scheme = AffineScheme(spec, kFloatTypeOf<D>);
  return job;
}
template <class D>
QuantizeJob<D> make_job(const QuantSpec& spec, const char* who, const float* scale, const float* zero_point,
                        index_t tiles) {
  QuantizeJob<D> job = make_job<D>(spec);
  QAT_CHECK(scale != nullptr || tiles == 0, kInvalidArgument, who, ": scale is null, one value per tile is required");
  QAT_CHECK(zero_point != nullptr || tiles == 0 || has_constant_zero_point(spec.mapping), kInvalidArgument, who,
            ": zero_point is null, which ", to_string(spec), " needs");
  job.scale = scale;
  job.zero_point = zero_point;
  return job;
}
inline bool fits_kernel(const QuantSpec& spec, FloatType type, const GroupLayout& layout) {
  return has_kernel(spec, type) && layout.has_contiguous_tiles();
}
/// The closed interval of codes before clamping that passes: these are integers, so the strict mask is the next one
/// inside.
template <class D>
void set_mask(QuantizeJob<D>& job, SteMask mask) {
  const float inset = mask == SteMask::kStrict ? 1.0f : 0.0f;
  job.mask_low = mask == SteMask::kPassThrough ? -0x1.FFFFFEp127f : job.scheme.qmin + inset;
  job.mask_high = mask == SteMask::kPassThrough ? 0x1.FFFFFEp127f : job.scheme.qmax - inset;
}

}  // namespace detail

/// Chooses scale and zero_point (either may be null) from x.
/// Returns how many elements of x are NaN or infinite; they are left out of the ranges.
template <class D>
index_t choose_qparams(const CpuBackend& backend, const QuantSpec& spec, const D* x, index_t rows, index_t columns,
                       float* scale, float* zero_point) {
  detail::QuantizeJob<D> job = detail::make_job<D>(spec);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  if (!detail::fits_kernel(spec, kFloatTypeOf<D>, layout)) {
    return detail::run_reference(backend, spec, rows, columns, [&](reference::TileSpan span) {
      return reference::choose_qparams(spec, x, rows, columns, scale, zero_point, span);
    });
  }
  job.x = x;
  job.scale_out = scale;
  job.zero_point_out = zero_point;
  return detail::run_job<QuantizeOp::kChoose>(backend, job, layout);
}

/// y = fake_quantize(x) with parameters chosen from x, in one pass over memory; y may be x. scale and zero_point
/// receive the parameters, either may be null. seed: of stochastic rounding, which draws word i for element i. Returns
/// how many elements of x are NaN or infinite.
template <class D>
index_t fake_quantize_dynamic(const CpuBackend& backend, const QuantSpec& spec, const D* x, index_t rows,
                              index_t columns, D* y, float* scale = nullptr, float* zero_point = nullptr,
                              std::uint64_t seed = 0) {
  detail::QuantizeJob<D> job = detail::make_job<D>(spec);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  if (!detail::fits_kernel(spec, kFloatTypeOf<D>, layout)) {
    return detail::run_reference(backend, spec, rows, columns, [&](reference::TileSpan span) {
      return reference::fake_quantize_dynamic(spec, x, rows, columns, y, scale, zero_point, seed, span);
    });
  }
  job.x = x;
  job.y = y;
  job.scale_out = scale;
  job.zero_point_out = zero_point;
  return detail::run_job<QuantizeOp::kFakeQuantize>(backend, job, layout);
}

/// y = fake_quantize(x) with given parameters; y may be x. zero_point may be null where
/// has_constant_zero_point(mapping).
template <class D>
void fake_quantize(const CpuBackend& backend, const QuantSpec& spec, const D* x, index_t rows, index_t columns,
                   const float* scale, const float* zero_point, D* y, std::uint64_t seed = 0) {
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  detail::QuantizeJob<D> job = detail::make_job<D>(spec, "fake_quantize", scale, zero_point, layout.count());
  if (!detail::fits_kernel(spec, kFloatTypeOf<D>, layout)) {
    detail::run_reference(backend, spec, rows, columns, [&](reference::TileSpan span) {
      return reference::fake_quantize(spec, x, rows, columns, scale, zero_point, y, seed, span), index_t{0};
    });
    return;
  }
  job.x = x;
  job.y = y;
  detail::run_job<QuantizeOp::kFakeQuantize>(backend, job, layout);
}

namespace detail {
/// Parameters and gradient mask of schemes that no fused kernel covers.
template <class D>
index_t choose_with_mask(const char* who, const CpuBackend& backend, const QuantSpec& spec, const D* x, index_t rows,
                         index_t columns, float* scale, float* zero_point, SteMask mask, std::uint8_t* pass_mask,
                         std::uint64_t seed) {
  make_job<D>(spec, who, scale, zero_point, group_layout(spec.granularity, rows, columns).count());  // checks pointers
  const index_t nonfinite = choose_qparams(backend, spec, x, rows, columns, scale, zero_point);
  backend.parallel_for(
      1, [&](index_t) { reference::gradient_mask(spec, x, rows, columns, scale, zero_point, mask, pass_mask, seed); });
  return nonfinite;
}
}  // namespace detail

/// fake_quantize_dynamic that also writes which elements pass their gradient, so that backward needs no x: bit i % 8 of
/// byte i / 8 of pass_mask, (rows * columns + 7) / 8 bytes, for linear index i. scale: not null unless empty.
/// Fused where has_kernel(spec), else in a second pass; y may be x if fused.
template <class D>
index_t fake_quantize_dynamic_masked(const CpuBackend& backend, const QuantSpec& spec, const D* x, index_t rows,
                                     index_t columns, D* y, float* scale, float* zero_point, SteMask mask,
                                     std::uint8_t* pass_mask, std::uint64_t seed = 0) {
  detail::QuantizeJob<D> job = detail::make_job<D>(spec);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  if (mask == SteMask::kPassThrough || !detail::fits_kernel(spec, kFloatTypeOf<D>, layout)) {
    const index_t nonfinite = detail::choose_with_mask("fake_quantize_dynamic_masked", backend, spec, x, rows, columns,
                                                       scale, zero_point, mask, pass_mask, seed);
    fake_quantize(backend, spec, x, rows, columns, scale, zero_point, y, seed);
    return nonfinite;
  }
  job.x = x;
  job.y = y;
  job.scale_out = scale;
  job.zero_point_out = zero_point;
  job.mask_out = pass_mask;
  detail::set_mask(job, mask);
  return detail::run_job<QuantizeOp::kFakeQuantizeMask>(backend, job, layout);
}

/// codes = quantize(x) with given parameters.
template <class D>
void quantize(const CpuBackend& backend, const QuantSpec& spec, const D* x, index_t rows, index_t columns,
              const float* scale, const float* zero_point, std::int8_t* codes, std::uint64_t seed = 0) {
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  detail::QuantizeJob<D> job = detail::make_job<D>(spec, "quantize", scale, zero_point, layout.count());
  if (!detail::fits_kernel(spec, kFloatTypeOf<D>, layout)) {
    detail::run_reference(backend, spec, rows, columns, [&](reference::TileSpan span) {
      return reference::quantize(spec, x, rows, columns, scale, zero_point, codes, seed, span), index_t{0};
    });
    return;
  }
  job.x = x;
  job.codes_out = codes;
  detail::run_job<QuantizeOp::kQuantize>(backend, job, layout);
}

/// Ranges, parameters and codes in one pass over x. scale and zero_point receive the parameters; they may be null.
/// Returns how many elements of x are NaN or infinite.
template <class D>
index_t quantize_dynamic(const CpuBackend& backend, const QuantSpec& spec, const D* x, index_t rows, index_t columns,
                         std::int8_t* codes, float* scale, float* zero_point, std::uint64_t seed = 0) {
  detail::QuantizeJob<D> job = detail::make_job<D>(spec);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  if (!detail::fits_kernel(spec, kFloatTypeOf<D>, layout)) {
    AlignedBuffer<float> unwanted(2 * layout.count());  // parameters that the caller does not take
    float* const s = scale != nullptr ? scale : unwanted.data();
    float* const z = zero_point != nullptr ? zero_point : unwanted.data() + layout.count();
    const index_t nonfinite = choose_qparams(backend, spec, x, rows, columns, s, z);
    quantize(backend, spec, x, rows, columns, s, z, codes, seed);
    return nonfinite;
  }
  job.x = x;
  job.codes_out = codes;
  job.scale_out = scale;
  job.zero_point_out = zero_point;
  return detail::run_job<QuantizeOp::kQuantize>(backend, job, layout);
}

/// quantize_dynamic that also writes which elements pass their gradient, as fake_quantize_dynamic_masked does.
template <class D>
index_t quantize_dynamic_masked(const CpuBackend& backend, const QuantSpec& spec, const D* x, index_t rows,
                                index_t columns, std::int8_t* codes, float* scale, float* zero_point, SteMask mask,
                                std::uint8_t* pass_mask, std::uint64_t seed = 0) {
  detail::QuantizeJob<D> job = detail::make_job<D>(spec);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  if (mask == SteMask::kPassThrough || !detail::fits_kernel(spec, kFloatTypeOf<D>, layout)) {
    const index_t nonfinite = detail::choose_with_mask("quantize_dynamic_masked", backend, spec, x, rows, columns,
                                                       scale, zero_point, mask, pass_mask, seed);
    quantize(backend, spec, x, rows, columns, scale, zero_point, codes, seed);
    return nonfinite;
  }
  job.x = x;
  job.codes_out = codes;
  job.scale_out = scale;
  job.zero_point_out = zero_point;
  job.mask_out = pass_mask;
  detail::set_mask(job, mask);
  return detail::run_job<QuantizeOp::kQuantizeMask>(backend, job, layout);
}

/// y = dequantize(codes) in the dtype the scheme was quantized from.
template <class D>
void dequantize(const CpuBackend& backend, const QuantSpec& spec, const std::int8_t* codes, index_t rows,
                index_t columns, const float* scale, const float* zero_point, D* y) {
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  detail::QuantizeJob<D> job = detail::make_job<D>(spec, "dequantize", scale, zero_point, layout.count());
  if (!layout.has_contiguous_tiles()) {  // rounding does not matter here
    detail::run_reference(backend, spec, rows, columns, [&](reference::TileSpan span) {
      return reference::dequantize(spec, codes, rows, columns, scale, zero_point, y, span), index_t{0};
    });
    return;
  }
  job.codes = codes;
  job.y = y;
  detail::run_job<QuantizeOp::kDequantize>(backend, job, layout);
}

/// Straight-through gradient of fake_quantize with the parameters of the forward pass: dx = 0 where the mask of x says
/// so, else scale_gradient(dy); added to dx if accumulate. dx may be dy. kPassThrough copies dy and reads neither x nor
/// scale.
template <class D>
void fake_quantize_backward(const CpuBackend& backend, const QuantSpec& spec, const D* dy, const D* x, index_t rows,
                            index_t columns, const float* scale, const float* zero_point, SteMask mask, D* dx,
                            bool accumulate = false, std::uint64_t seed = 0) {
  if (mask == SteMask::kPassThrough) {
    const index_t size = rows * columns, chunk_size = detail::kQuantizeChunk;
    backend.parallel_for((size + chunk_size - 1) / chunk_size, [&](index_t chunk) {
      const index_t begin = chunk * chunk_size, end = size - begin < chunk_size ? size : begin + chunk_size;
      if (accumulate) {
        for (index_t i = begin; i < end; ++i)
          dx[i] = static_cast<D>(static_cast<float>(dx[i]) + static_cast<float>(dy[i]));
      } else if (dx != dy) {
        for (index_t i = begin; i < end; ++i) dx[i] = dy[i];
      }
    });
    return;
  }
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  detail::QuantizeJob<D> job = detail::make_job<D>(spec, "fake_quantize_backward", scale, zero_point, layout.count());
  if (!detail::fits_kernel(spec, kFloatTypeOf<D>, layout)) {
    detail::run_reference(backend, spec, rows, columns, [&](reference::TileSpan span) {
      reference::fake_quantize_backward(spec, dy, x, rows, columns, scale, zero_point, mask, dx, accumulate, seed,
                                        span);
      return index_t{0};
    });
    return;
  }
  job.x = x;
  job.dy = dy;
  job.y = dx;
  job.accumulate = accumulate;
  detail::set_mask(job, mask);
  detail::run_job<QuantizeOp::kBackward>(backend, job, layout);
}

/// The same from the mask that fake_quantize_dynamic_masked wrote.
template <class D>
void fake_quantize_backward_masked(const CpuBackend& backend, const QuantSpec& spec, const D* dy,
                                   const std::uint8_t* pass_mask, index_t rows, index_t columns, const float* scale,
                                   const float* zero_point, D* dx, bool accumulate = false) {
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  detail::QuantizeJob<D> job =
      detail::make_job<D>(spec, "fake_quantize_backward_masked", scale, zero_point, layout.count());
  if (!layout.has_contiguous_tiles()) {
    detail::run_reference(backend, spec, rows, columns, [&](reference::TileSpan span) {
      reference::fake_quantize_backward_masked(spec, dy, pass_mask, rows, columns, scale, zero_point, dx, accumulate,
                                               span);
      return index_t{0};
    });
    return;
  }
  job.dy = dy;
  job.mask = pass_mask;
  job.y = dx;
  job.accumulate = accumulate;
  detail::run_job<QuantizeOp::kBackwardMasked>(backend, job, layout);
}

}  // namespace qat::inline v0::kernels

QAT_EXACT_END
