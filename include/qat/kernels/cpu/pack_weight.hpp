// Float weights to packed integer weights in one pass over memory: what a quantization-aware step does to every weight.
#pragma once

#include "qat/kernels/cpu/quantize.hpp"
#include "qat/pack/packed_weight.hpp"

#define QAT_TARGET_INCLUDE "qat/kernels/cpu/pack_weight-inl.hpp"
#include "qat/simd/foreach_target-inl.hpp"

namespace qat::inline v0::kernels {

namespace detail {
/// Codes of whole rows with chosen parameters, which s and z receive. Returns how many elements of w are not finite.
inline index_t quantize_rows(const CpuBackend& backend, const QuantSpec& spec, const float* w, index_t rows,
                             index_t columns, std::int8_t* codes, float* s, float* z) {
  return quantize_dynamic(backend, spec, w, rows, columns, codes, s, z);
}
/// The same with given parameters.
inline index_t quantize_rows(const CpuBackend& backend, const QuantSpec& spec, const float* w, index_t rows,
                             index_t columns, std::int8_t* codes, const float* s, const float* z) {
  quantize(backend, spec, w, rows, columns, s, z, codes);
  return range_of(w, rows * columns).nonfinite;
}

/// Param: float where parameters are chosen, const float where they are given.
template <class Param>
index_t quantize_and_pack(const CpuBackend& backend, const QuantSpec& spec, const float* w, index_t rows,
                          index_t columns, PackedWeight& packed, Param* scale, Param* zero_point) {
  constexpr index_t kPanel = PanelLayout::kPanelRows;
  constexpr bool kGiven = std::is_const_v<Param>;
  const GroupLayout groups = group_layout(spec.granularity, rows, columns);
  if (groups.tile_rows != 1 || !has_kernel(spec)) {  // tiles that span rows, or a random stream over the whole tensor
    AlignedBuffer<std::int8_t> codes(rows * columns);
    AlignedBuffer<float> params(2 * groups.count());
    Param* const s = scale != nullptr ? scale : kGiven ? nullptr : params.data();
    Param* const z = zero_point != nullptr ? zero_point : kGiven ? nullptr : params.data() + groups.count();
    const index_t nonfinite = quantize_rows(backend, spec, w, rows, columns, codes.data(), s, z);
    if (nonfinite == 0) packed = PackedWeight::pack(spec, rows, columns, codes.data(), s, z);
    return nonfinite;
  }
  packed.reset(spec, rows, columns);
  const AffineScheme scheme(spec, FloatType::kFloat32);
  const ScaleType type = packed.spec().scale_type;
  const FloatType storage = type == ScaleType::kFloat16 || type == ScaleType::kGgmlHalf ? FloatType::kFloat16
                            : scale_bits(type) == 16                                    ? FloatType::kBfloat16
                                                                                        : FloatType::kFloat32;
  const bool stream = packed.layout().bytes() >= cpu_tuning().stream_bytes;
  const index_t panels = packed.layout().panels(), part = panels / 64, per_chunk = part < 1 ? 1 : part < 16 ? part : 16;
  const index_t prefetch = cpu_tuning().prefetch_bytes / static_cast<index_t>(sizeof(float));
  std::atomic<index_t> nonfinite{0};
  backend.parallel_for((panels + per_chunk - 1) / per_chunk, [&](index_t chunk) {
    static thread_local AlignedBuffer<std::int8_t> codes;  // (16, columns)
    static thread_local AlignedBuffer<float> params;       // scales, zero points
    const index_t begin = chunk * per_chunk, end = panels - begin < per_chunk ? panels : begin + per_chunk;
    for (index_t panel = begin; panel < end; ++panel) {
      const index_t row = panel * kPanel, count = rows - row < kPanel ? rows - row : kPanel;
      const index_t tiles = count * groups.tiles_per_row, first = row * groups.tiles_per_row;
      codes.reserve(kPanel * columns);
      params.reserve(2 * tiles);
      // Parameters that the caller takes are written past the caches where weights are, once the panel has them.
      Param* const s = scale != nullptr && (kGiven || !stream) ? scale + first : kGiven ? nullptr : params.data();
      Param* const z = zero_point != nullptr && (kGiven || !stream) ? zero_point + first
                       : kGiven                                     ? nullptr
                                                                    : params.data() + tiles;
      const auto give_params = [&] {
        if constexpr (!kGiven) {
          if (stream && scale != nullptr) QAT_DISPATCH(kernels, stream_params(s, tiles, scale + first));
          if (stream && zero_point != nullptr) QAT_DISPATCH(kernels, stream_params(z, tiles, zero_point + first));
        }
      };
      const float* const from = w + row * columns;
      std::uint8_t* const to = packed.mutable_data() + panel * packed.layout().panel_bytes();
      bool done = false;
      if constexpr (!kGiven) {
        const float* const ahead = panel + 1 < end ? from + kPanel * columns : nullptr;
        if (count == kPanel)
          done = QAT_DISPATCH(kernels, quantize_panel(scheme, from, columns, groups.tile_columns, ahead, prefetch,
                                                      stream, reinterpret_cast<float*>(codes.data()), s, z, to));
      }
      if (!done) {
        const index_t found = quantize_rows(backend, spec, from, count, columns, codes.data(), s, z);
        if (found != 0) {
          nonfinite.fetch_add(found, std::memory_order_relaxed);
          give_params();
          continue;
        }
        QAT_DISPATCH(kernels, pack_panel_codes(packed.layout(), spec.is_signed, codes.data(), count, to));
      }
      if (scale_bits(type) < 16) {
        packed.put_qparams_of_rows(row, count, s, z);
        give_params();
        continue;
      }
      QAT_DISPATCH(kernels, pack_panel_params(storage, s, count, groups.tiles_per_row, stream,
                                              packed.mutable_scale_data() + first * scale_bits(type) / 8));
      packed.put_qparams_of_rows(row, count, nullptr, z);
      give_params();
    }
    if (stream) QAT_DISPATCH(kernels, fence_streams());
  });
  return nonfinite.load();
}
QAT_INSTANCE(index_t quantize_and_pack(const CpuBackend&, const QuantSpec&, const float*, index_t, index_t,
                                       PackedWeight&, float*, float*));
QAT_INSTANCE(index_t quantize_and_pack(const CpuBackend&, const QuantSpec&, const float*, index_t, index_t,
                                       PackedWeight&, const float*, const float*));
}  // namespace detail

/// packed = quantize(w), the bytes that quantize_dynamic and PackedWeight::pack give one after the other. Sixteen rows
/// at a time: their codes stay in the first-level cache until they are packed.
///
/// @param w       (rows, columns), row-major
/// @param packed  its storage is used again if it held weights of this shape and scheme
/// @param scale, zero_point  receive the parameters, one per tile; null where they are not wanted
/// @returns how many elements of w are NaN or infinite
template <class Lazy = void>
index_t quantize_and_pack(const CpuBackend& backend, const QuantSpec& spec, const float* w, index_t rows,
                          index_t columns, PackedWeight& packed, float* scale = nullptr, float* zero_point = nullptr) {
  return detail::quantize_and_pack(backend, spec, w, rows, columns, packed, scale, zero_point);
}

/// The same with given parameters, which the scheme's storage must hold exactly (stored_scale). zero_point may be null
/// where has_constant_zero_point(mapping).
template <class Lazy = void>
index_t quantize_and_pack_static(const CpuBackend& backend, const QuantSpec& spec, const float* w, index_t rows,
                                 index_t columns, PackedWeight& packed, const float* scale, const float* zero_point) {
  return detail::quantize_and_pack(backend, spec, w, rows, columns, packed, scale, zero_point);
}

}  // namespace qat::inline v0::kernels
