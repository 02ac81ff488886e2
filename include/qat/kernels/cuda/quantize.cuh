// The launchers of quantize.hpp, and the kernel that dequantizes.
#pragma once

#include "qat/kernels/cuda/quantize.hpp"
#include "qat/kernels/cuda/quantize_launch.cuh"

namespace qat::inline v0::cuda {

/// Codes of kWidth bits (4 or 8) to values; a thread has the codes of four vectors in flight.
template <class T, bool kFloatZero, int kWidth>
struct DequantizeVectors {
  static constexpr int kThreads = 256, kMinBlocks = 4;
  QuantizeJob<T> job;  ///< codes, given parameters, y

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    constexpr int N = Vector<T>::kSize;
    const index_t first = (index_t{c.block()} * (kThreads / 32) + c.warp()) * kWarpVectors + c.lane();
    Bytes8 codes[4];
    float scale[4], zero_point[4];
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      const index_t vector = first + 32 * u < job.vectors ? first + 32 * u : 0;
      if constexpr (N * kWidth == 64)
        codes[u] = c.load_stream(reinterpret_cast<const Bytes8*>(job.codes) + vector);
      else if constexpr (N * kWidth == 32)
        codes[u].word[0] = c.load_stream(reinterpret_cast<const std::uint32_t*>(job.codes) + vector);
      else
        codes[u].word[0] = c.load_stream(reinterpret_cast<const std::uint16_t*>(job.codes) + vector);
      const index_t group = job.group_of(vector);
      scale[u] = c.load_cached(job.scale + group);
      zero_point[u] = job.zero_point != nullptr ? c.load_cached(job.zero_point + group) : job.constant_zero_point();
    }
    // A code in the low bits of the float 1.5 * 2^23, less that float: the code, with no conversion. Two's complement
    // becomes a distance from the smallest code by turning its sign bit over.
    constexpr std::uint32_t kCode = (1u << kWidth) - 1u, kSign = 1u << (kWidth - 1);
    const std::uint32_t flip = job.scheme.spec.is_signed ? kSign : 0u;
    const float origin = c.add(kRoundToInteger, job.scheme.spec.is_signed ? static_cast<float>(kSign) : 0.0f);
    const AffineVector<T, kFloatZero> a{job.scheme};
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      VectorGroup g{scale[u], zero_point[u], 0.0f, 0.0f};
      const float zero = kFloatZero ? origin : c.add(origin, zero_point[u]);
      float q[N];
      QAT_CUDA_UNROLL
      for (int i = 0; i < N; ++i) {
        const std::uint32_t code = (codes[u].word[i * kWidth / 32] >> (i * kWidth % 32)) & kCode;
        q[i] = c.sub(bit_cast<float>(bit_cast<std::uint32_t>(kRoundToInteger) | (code ^ flip)), zero);
      }
      a.values(c, q, g);
      const Bytes16 packed = Vector<T>::pack(c, q);
      if (first + 32 * u < job.vectors) c.store(reinterpret_cast<Bytes16*>(job.y) + first + 32 * u, packed);
    }
  }
};

namespace detail {

/// codes of `width` bits from x: with given parameters where scale is not null.
template <class T>
void run_quantize_codes(const CudaBackend& backend, const char* operation, const QuantSpec& spec, const T* x,
                        index_t rows, index_t columns, std::uint8_t* codes, int width, const float* scale,
                        const float* zero_point, float* scale_out, float* zero_point_out,
                        const QuantizeExtras& extras) {
  if (rows == 0 || columns == 0) return;
  QAT_CHECK(codes != nullptr, kInvalidArgument, operation, ": the pointer for codes is null");
  QuantizeCall<T> call{operation, spec, x, rows, columns};
  call.codes = codes;
  call.width = width;
  call.scale = scale;
  call.zero_point = zero_point;
  call.scale_out = scale_out;
  call.zero_point_out = zero_point_out;
  call.pass_mask = extras.pass_mask;
  call.mask = extras.mask;
  call.nonfinite = extras.nonfinite;
  call.seed = extras.seed;
  run_quantize(backend, call);
}

template <class T>
void run_dequantize(const CudaBackend& backend, const char* operation, const QuantSpec& spec, const std::uint8_t* codes,
                    int width, index_t rows, index_t columns, const float* scale, const float* zero_point, T* y) {
  validate_on_device(spec);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  if (layout.count() == 0) return;
  check_parameters(operation, spec, scale, zero_point);
  const AffineScheme scheme(spec, kFloatTypeOf<T>);
  QuantSpec deterministic = spec;  // rounding is a matter of quantize
  deterministic.rounding = RoundingKind::kHalfToEven;
  QuantizeJob<T> job;
  job.group_vectors = vectors_of_group<T>(deterministic, layout);
  if (job.group_vectors > 0 && (width == 4 || width == 8) && is_aligned(codes, 8) && is_aligned(y, 16)) {
    job.scheme = scheme;
    job.codes = const_cast<std::uint8_t*>(codes);
    job.y = y;
    job.scale = scale;
    job.zero_point = zero_point;
    job.group_shift = log2_of(job.group_vectors);
    job.vectors = layout.count() * job.group_vectors;
    const QuantizeCall<T> call{operation, spec, nullptr, rows, columns};
    const auto run = [&](auto kernel) { launch_job(backend, call, grid_of(job), kernel); };
    if (spec.mapping == MappingKind::kFloatZeroPoint)
      return width == 4 ? run(DequantizeVectors<T, true, 4>{job}) : run(DequantizeVectors<T, true, 8>{job});
    return width == 4 ? run(DequantizeVectors<T, false, 4>{job}) : run(DequantizeVectors<T, false, 8>{job});
  }
  EachElement<T> each{scheme, layout, ElementOp::kDequantize};
  each.codes = const_cast<std::uint8_t*>(codes);
  each.width = width;
  each.y = y;
  each.scale = scale;
  each.zero_point = zero_point;
  run_each(backend, operation, each);
}

}  // namespace detail

template <class T>
void quantize_dynamic(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
                      std::int8_t* codes, float* scale, float* zero_point, const QuantizeExtras& extras) {
  detail::run_quantize_codes<T>(backend, "cuda quantize_dynamic", spec, x, rows, columns,
                                reinterpret_cast<std::uint8_t*>(codes), 8, nullptr, nullptr, scale, zero_point, extras);
}
template <class T>
void quantize_packed_dynamic(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows,
                             index_t columns, std::uint8_t* packed, float* scale, float* zero_point,
                             const QuantizeExtras& extras) {
  detail::run_quantize_codes<T>(backend, "cuda quantize_packed_dynamic", spec, x, rows, columns, packed, spec.bits,
                                nullptr, nullptr, scale, zero_point, extras);
}
template <class T>
void quantize(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
              const float* scale, const float* zero_point, std::int8_t* codes, const QuantizeExtras& extras) {
  if (rows == 0 || columns == 0) return;
  check_parameters("cuda quantize", spec, scale, zero_point);
  detail::run_quantize_codes<T>(backend, "cuda quantize", spec, x, rows, columns,
                                reinterpret_cast<std::uint8_t*>(codes), 8, scale, zero_point, nullptr, nullptr, extras);
}
template <class T>
void quantize_packed(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
                     const float* scale, const float* zero_point, std::uint8_t* packed, const QuantizeExtras& extras) {
  if (rows == 0 || columns == 0) return;
  check_parameters("cuda quantize_packed", spec, scale, zero_point);
  detail::run_quantize_codes<T>(backend, "cuda quantize_packed", spec, x, rows, columns, packed, spec.bits, scale,
                                zero_point, nullptr, nullptr, extras);
}
template <class T>
void dequantize(const CudaBackend& backend, const QuantSpec& spec, const std::int8_t* codes, index_t rows,
                index_t columns, const float* scale, const float* zero_point, T* y) {
  detail::run_dequantize<T>(backend, "cuda dequantize", spec, reinterpret_cast<const std::uint8_t*>(codes), 8, rows,
                            columns, scale, zero_point, y);
}
template <class T>
void dequantize_packed(const CudaBackend& backend, const QuantSpec& spec, const std::uint8_t* packed, index_t rows,
                       index_t columns, const float* scale, const float* zero_point, T* y) {
  detail::run_dequantize<T>(backend, "cuda dequantize_packed", spec, packed, spec.bits, rows, columns, scale,
                            zero_point, y);
}

}  // namespace qat::inline v0::cuda
