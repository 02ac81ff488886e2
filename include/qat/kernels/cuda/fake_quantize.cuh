// The launchers of fake_quantize.hpp.
#pragma once

#include "qat/kernels/cuda/fake_quantize.hpp"
#include "qat/kernels/cuda/quantize_launch.cuh"

namespace qat::inline v0::cuda {

namespace detail {

template <class T>
void set_extras(QuantizeCall<T>& call, const QuantizeExtras& extras) {
  call.pass_mask = extras.pass_mask;
  call.mask = extras.mask;
  call.nonfinite = extras.nonfinite;
  call.seed = extras.seed;
}

/// from_mask: pass_mask holds the mask, else x does.
template <class T>
void run_backward(const CudaBackend& backend, const char* operation, const QuantSpec& spec, const T* dy, const T* x,
                  const std::uint8_t* pass_mask, index_t rows, index_t columns, const float* scale,
                  const float* zero_point, SteMask mask, T* dx, bool accumulate, std::uint64_t seed) {
  validate_on_device(spec);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  if (layout.count() == 0) return;
  const bool from_mask = pass_mask != nullptr;
  const bool passes = !from_mask && mask == SteMask::kPassThrough;
  if (!passes) check_parameters(operation, spec, scale, zero_point);
  const AffineScheme scheme(spec, kFloatTypeOf<T>);
  QuantizeJob<T> job;
  job.group_vectors = vectors_of_group<T>(spec, layout);
  // The masks of a stochastic forward pass serve as well: no rounding here.
  if (!passes && job.group_vectors > 0 && is_aligned(dy, 16) && is_aligned(x, 16) && is_aligned(dx, 16)) {
    job.scheme = scheme;
    job.x = x;
    job.y = dx;
    job.scale = scale;
    job.zero_point = zero_point;
    job.set_mask(const_cast<std::uint8_t*>(pass_mask), mask);
    job.group_shift = log2_of(job.group_vectors);
    job.vectors = layout.count() * job.group_vectors;
    job.in_place = dy == dx;
    QuantizeCall<T> call{operation, spec, x, rows, columns};
    const auto run = [&](auto kernel) { launch_job(backend, call, grid_of(job), kernel); };
    if (spec.mapping == MappingKind::kFloatZeroPoint)
      return from_mask ? run(QuantizeBackward<T, true, true>{job, dy, accumulate})
                       : run(QuantizeBackward<T, true, false>{job, dy, accumulate});
    return from_mask ? run(QuantizeBackward<T, false, true>{job, dy, accumulate})
                     : run(QuantizeBackward<T, false, false>{job, dy, accumulate});
  }
  EachElement<T> each{scheme, layout, from_mask ? ElementOp::kBackwardMasked : ElementOp::kBackward};
  each.x = x;
  each.dy = dy;
  each.y = dx;
  each.scale = scale;
  each.zero_point = zero_point;
  each.mask = mask;
  each.pass_mask = const_cast<std::uint8_t*>(pass_mask);
  each.accumulate = accumulate;
  each.seed = seed;
  run_each(backend, operation, each);
}

}  // namespace detail

template <class T>
void choose_qparams(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
                    float* scale, float* zero_point, unsigned* nonfinite) {
  QuantizeCall<T> call{"cuda choose_qparams", spec, x, rows, columns};
  call.scale_out = scale;
  call.zero_point_out = zero_point;
  call.nonfinite = nonfinite;
  run_quantize(backend, call);
}

template <class T>
void fake_quantize_dynamic(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
                           T* y, float* scale, float* zero_point, const QuantizeExtras& extras) {
  QuantizeCall<T> call{"cuda fake_quantize_dynamic", spec, x, rows, columns, y};
  call.scale_out = scale;
  call.zero_point_out = zero_point;
  detail::set_extras(call, extras);
  run_quantize(backend, call);
}

template <class T>
void fake_quantize(const CudaBackend& backend, const QuantSpec& spec, const T* x, index_t rows, index_t columns,
                   const float* scale, const float* zero_point, T* y, const QuantizeExtras& extras) {
  if (rows == 0 || columns == 0) return;
  check_parameters("cuda fake_quantize", spec, scale, zero_point);
  QuantizeCall<T> call{"cuda fake_quantize", spec, x, rows, columns, y};
  call.scale = scale;
  call.zero_point = zero_point;
  detail::set_extras(call, extras);
  run_quantize(backend, call);
}

template <class T>
void fake_quantize_backward(const CudaBackend& backend, const QuantSpec& spec, const T* dy, const T* x, index_t rows,
                            index_t columns, const float* scale, const float* zero_point, SteMask mask, T* dx,
                            bool accumulate, std::uint64_t seed) {
  detail::run_backward<T>(backend, "cuda fake_quantize_backward", spec, dy, x, nullptr, rows, columns, scale,
                          zero_point, mask, dx, accumulate, seed);
}

template <class T>
void fake_quantize_backward_masked(const CudaBackend& backend, const QuantSpec& spec, const T* dy,
                                   const std::uint8_t* pass_mask, index_t rows, index_t columns, const float* scale,
                                   const float* zero_point, T* dx, bool accumulate) {
  QAT_CHECK(pass_mask != nullptr || rows == 0 || columns == 0, kInvalidArgument,
            "cuda fake_quantize_backward_masked: pass_mask is null");
  detail::run_backward<T>(backend, "cuda fake_quantize_backward_masked", spec, dy, nullptr, pass_mask, rows, columns,
                          scale, zero_point, SteMask::kInclusive, dx, accumulate, 0);
}

}  // namespace qat::inline v0::cuda
