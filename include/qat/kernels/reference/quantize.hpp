// Reference kernels of quantization: affine.hpp called once per element, for every granularity, element type and
// rounding. Slow and obvious on purpose. The fast kernels are tested against these bit for bit, and schemes outside
// their reach run here.
//
// Tensors are (rows, columns), row-major, contiguous. scale and zero_point hold one value per tile, in the order
// (tile_row_count, tiles_per_row) of GroupLayout.
#pragma once

#include "qat/backend/float_mode.hpp"
#include "qat/base/random.hpp"
#include "qat/quant/affine.hpp"

QAT_EXACT_BEGIN

namespace qat::inline v0::kernels::reference {

/// Tiles [begin, end) of a layout; end < 0 means all of them.
struct TileSpan {
  index_t begin = 0;
  index_t end = -1;
  constexpr index_t last(const GroupLayout& layout) const { return end < 0 ? layout.count() : end; }
};

/// Calls f(i) with the linear index of every element of a tile, row by row.
template <class F>
constexpr void for_each_element(const GroupLayout& layout, index_t tile, F&& f) {
  const index_t row0 = tile / layout.tiles_per_row * layout.tile_rows;
  const index_t column0 = tile % layout.tiles_per_row * layout.tile_columns;
  const index_t row1 = row0 + layout.tile_rows < layout.rows ? row0 + layout.tile_rows : layout.rows;
  const index_t column1 =
      column0 + layout.tile_columns < layout.columns ? column0 + layout.tile_columns : layout.columns;
  for (index_t row = row0; row < row1; ++row)
    for (index_t column = column0; column < column1; ++column) f(row * layout.columns + column);
}

/// The random word of stochastic rounding at a linear index: a function of (seed, index) alone.
constexpr std::uint32_t random_at(const AffineScheme& scheme, std::uint64_t seed, index_t i) {
  if (scheme.spec.rounding != RoundingKind::kStochastic) return 0;
  return CounterRandom(seed).at(static_cast<std::uint64_t>(i));
}

/// Parameters of a tile from the stored arrays. zero_point may be null where the mapping has a constant one.
constexpr QParams stored_qparams(const AffineScheme& scheme, const float* scale, const float* zero_point,
                                 index_t tile) {
  const float constant = scheme.spec.is_signed ? 0.0f : scheme.middle();
  return make_qparams(scale[tile], zero_point != nullptr ? zero_point[tile] : constant, scheme);
}

template <class D>
GroupRange range_of_tile(const D* x, const GroupLayout& layout, index_t tile) {
  GroupRange range;
  for_each_element(layout, tile, [&](index_t i) { range.observe(static_cast<float>(x[i])); });
  return range;
}

/// x -> scale, zero_point (either may be null). Returns how many elements are NaN or infinite.
template <class D>
index_t choose_qparams(const QuantSpec& spec, const D* x, index_t rows, index_t columns, float* scale,
                       float* zero_point, TileSpan tiles = {}) {
  const ScopedFloatMode mode;
  const AffineScheme scheme(spec, kFloatTypeOf<D>);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  index_t nonfinite = 0;
  for (index_t tile = tiles.begin; tile < tiles.last(layout); ++tile) {
    const GroupRange range = range_of_tile(x, layout, tile);
    const QParams p = qat::choose_qparams(range, scheme);
    if (scale != nullptr) scale[tile] = p.scale;
    if (zero_point != nullptr) zero_point[tile] = p.zero_point;
    nonfinite += range.nonfinite;
  }
  return nonfinite;
}

/// x -> codes, the low 8 bits of each.
template <class D>
void quantize(const QuantSpec& spec, const D* x, index_t rows, index_t columns, const float* scale,
              const float* zero_point, std::int8_t* codes, std::uint64_t seed = 0, TileSpan tiles = {}) {
  const ScopedFloatMode mode;
  const AffineScheme scheme(spec, kFloatTypeOf<D>);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  for (index_t tile = tiles.begin; tile < tiles.last(layout); ++tile) {
    const QParams p = stored_qparams(scheme, scale, zero_point, tile);
    for_each_element(layout, tile, [&](index_t i) {
      codes[i] =
          static_cast<std::int8_t>(qat::quantize(static_cast<float>(x[i]), p, scheme, random_at(scheme, seed, i)));
    });
  }
}

/// codes -> y.
template <class D>
void dequantize(const QuantSpec& spec, const std::int8_t* codes, index_t rows, index_t columns, const float* scale,
                const float* zero_point, D* y, TileSpan tiles = {}) {
  const ScopedFloatMode mode;
  const AffineScheme scheme(spec, kFloatTypeOf<D>);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  for (index_t tile = tiles.begin; tile < tiles.last(layout); ++tile) {
    const QParams p = stored_qparams(scheme, scale, zero_point, tile);
    for_each_element(layout, tile, [&](index_t i) {
      const int code = spec.is_signed ? codes[i] : static_cast<std::uint8_t>(codes[i]);
      y[i] = static_cast<D>(qat::dequantize(code, p, scheme));
    });
  }
}

/// y = dequantize(quantize(x)) with given parameters. y may be x.
template <class D>
void fake_quantize(const QuantSpec& spec, const D* x, index_t rows, index_t columns, const float* scale,
                   const float* zero_point, D* y, std::uint64_t seed = 0, TileSpan tiles = {}) {
  const ScopedFloatMode mode;
  const AffineScheme scheme(spec, kFloatTypeOf<D>);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  for (index_t tile = tiles.begin; tile < tiles.last(layout); ++tile) {
    const QParams p = stored_qparams(scheme, scale, zero_point, tile);
    for_each_element(layout, tile, [&](index_t i) {
      y[i] = static_cast<D>(qat::fake_quantize(static_cast<float>(x[i]), p, scheme, random_at(scheme, seed, i)));
    });
  }
}

/// y = fake_quantize(x) with parameters chosen from x, which are stored where scale and zero_point are not null. y may
/// be x. Returns how many elements of x are NaN or infinite.
template <class D>
index_t fake_quantize_dynamic(const QuantSpec& spec, const D* x, index_t rows, index_t columns, D* y,
                              float* scale = nullptr, float* zero_point = nullptr, std::uint64_t seed = 0,
                              TileSpan tiles = {}) {
  const ScopedFloatMode mode;
  const AffineScheme scheme(spec, kFloatTypeOf<D>);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  index_t nonfinite = 0;
  for (index_t tile = tiles.begin; tile < tiles.last(layout); ++tile) {
    const GroupRange range = range_of_tile(x, layout, tile);
    const QParams p = qat::choose_qparams(range, scheme);
    for_each_element(layout, tile, [&](index_t i) {
      y[i] = static_cast<D>(qat::fake_quantize(static_cast<float>(x[i]), p, scheme, random_at(scheme, seed, i)));
    });
    if (scale != nullptr) scale[tile] = p.scale;
    if (zero_point != nullptr) zero_point[tile] = p.zero_point;
    nonfinite += range.nonfinite;
  }
  return nonfinite;
}

/// Straight-through gradient: dx (+)= affine.hpp's fake_quantize_backward(dy, x). kPassThrough reads neither x nor
/// scale.
template <class D>
void fake_quantize_backward(const QuantSpec& spec, const D* dy, const D* x, index_t rows, index_t columns,
                            const float* scale, const float* zero_point, SteMask mask, D* dx, bool accumulate = false,
                            std::uint64_t seed = 0, TileSpan tiles = {}) {
  const ScopedFloatMode mode;
  const AffineScheme scheme(spec, kFloatTypeOf<D>);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  for (index_t tile = tiles.begin; tile < tiles.last(layout); ++tile) {
    const bool passes = mask == SteMask::kPassThrough;
    const QParams p = passes ? QParams{} : stored_qparams(scheme, scale, zero_point, tile);
    for_each_element(layout, tile, [&](index_t i) {
      const float g = qat::fake_quantize_backward(static_cast<float>(dy[i]), passes ? 0.0f : static_cast<float>(x[i]),
                                                  p, scheme, mask, random_at(scheme, seed, i));
      dx[i] = static_cast<D>(accumulate ? static_cast<float>(dx[i]) + g : g);
    });
  }
}

/// Bit i % 8 of byte i / 8 says whether element i passes its gradient. pass_mask: (rows * columns + 7) / 8 bytes.
template <class D>
void gradient_mask(const QuantSpec& spec, const D* x, index_t rows, index_t columns, const float* scale,
                   const float* zero_point, SteMask mask, std::uint8_t* pass_mask, std::uint64_t seed = 0) {
  const ScopedFloatMode mode;
  const AffineScheme scheme(spec, kFloatTypeOf<D>);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  for (index_t byte = 0; byte < (rows * columns + 7) / 8; ++byte) pass_mask[byte] = 0;
  for (index_t tile = 0; tile < layout.count(); ++tile) {
    const QParams p = stored_qparams(scheme, scale, zero_point, tile);
    for_each_element(layout, tile, [&](index_t i) {
      if (passes_gradient(static_cast<float>(x[i]), p, scheme, mask, random_at(scheme, seed, i)))
        pass_mask[i / 8] = static_cast<std::uint8_t>(pass_mask[i / 8] | (1u << (i % 8)));
    });
  }
}

/// The gradient from a mask written in the forward pass, so that x need not be kept: dx (+)= bit ? scale_gradient(dy) :
/// 0.
template <class D>
void fake_quantize_backward_masked(const QuantSpec& spec, const D* dy, const std::uint8_t* pass_mask, index_t rows,
                                   index_t columns, const float* scale, const float* zero_point, D* dx,
                                   bool accumulate = false, TileSpan tiles = {}) {
  const ScopedFloatMode mode;
  const AffineScheme scheme(spec, kFloatTypeOf<D>);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  for (index_t tile = tiles.begin; tile < tiles.last(layout); ++tile) {
    const QParams p = stored_qparams(scheme, scale, zero_point, tile);
    for_each_element(layout, tile, [&](index_t i) {
      const bool pass = (pass_mask[i / 8] >> (i % 8) & 1) != 0;
      const float g = pass ? scale_gradient(static_cast<float>(dy[i]), p, scheme) : 0.0f;
      dx[i] = static_cast<D>(accumulate ? static_cast<float>(dx[i]) + g : g);
    });
  }
}

/// Elements whose products one fp32 sum of lsq_scale_gradient takes in.
inline constexpr index_t kLsqPiece = 4096;

/// Gradient of the scales: dscale[tile] (+)= factor * sum of dy * lsq_derivative(x). The order of the sum is part of
/// the definition: element i of a piece of kLsqPiece, in the order of for_each_element, goes to lane i % 16; lanes are
/// added as a tree, i with i + 8, + 4, + 2, + 1; pieces in ascending order, in double.
inline void lsq_scale_gradient(const QuantSpec& spec, const float* dy, const float* x, index_t rows, index_t columns,
                               const float* scale, const float* zero_point, SteMask mask, float factor, float* dscale,
                               bool accumulate = false, std::uint64_t seed = 0, TileSpan tiles = {}) {
  const ScopedFloatMode mode;
  const AffineScheme scheme(spec, FloatType::kFloat32);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  for (index_t tile = tiles.begin; tile < tiles.last(layout); ++tile) {
    const QParams p = stored_qparams(scheme, scale, zero_point, tile);
    float lanes[16] = {};
    double total = 0.0;
    index_t n = 0;
    const auto end_piece = [&] {
      for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; ++i) lanes[i] += lanes[i + width];
      total += static_cast<double>(lanes[0]);
      for (float& lane : lanes) lane = 0.0f;
    };
    for_each_element(layout, tile, [&](index_t i) {
      const float derivative = lsq_derivative(x[i], p, scheme, mask, random_at(scheme, seed, i));
      lanes[n % 16] += qat::detail::rounded_product(dy[i], derivative);
      if (++n % kLsqPiece == 0) end_piece();
    });
    end_piece();
    const float g = static_cast<float>(total * static_cast<double>(factor));
    dscale[tile] = accumulate ? dscale[tile] + g : g;
  }
}

}  // namespace qat::inline v0::kernels::reference

QAT_EXACT_END
