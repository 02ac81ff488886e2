// Which kernel quantizes a tensor: the one place that compares a scheme and a shape with what the kernels cover.
#pragma once

#include "qat/kernels/cuda/quantize_any.cuh"
#include "qat/kernels/cuda/quantize_vectors.cuh"

namespace qat::inline v0::cuda {

inline bool is_aligned(const void* p, std::size_t bytes) { return reinterpret_cast<std::uintptr_t>(p) % bytes == 0; }

/// Vectors of a group where every group is a run of whole vectors of T, else 0.
template <class T>
index_t vectors_of_group(const QuantSpec& spec, const GroupLayout& layout) {
  if (spec.rounding != RoundingKind::kHalfToEven || !layout.has_contiguous_tiles() || layout.count() == 0) return 0;
  const GroupLayout runs = layout.contiguous();
  const bool whole = runs.columns % runs.tile_columns == 0 && runs.tile_columns % Vector<T>::kSize == 0;
  return whole ? runs.tile_columns / Vector<T>::kSize : 0;
}
/// log2 of a power of two, else -1.
inline int log2_of(index_t n) {
  for (int i = 0; i < 62; ++i)
    if (n == index_t{1} << i) return i;
  return -1;
}

/// What one call quantizes: the tensor, where its results go (y, or codes of `width` bits), the parameters (given where
/// scale is not null, else chosen and written to scale_out and zero_point_out where those are not null).
template <class T>
struct QuantizeCall {
  const char* operation;
  const QuantSpec& spec;
  const T* x;
  index_t rows, columns;
  T* y = nullptr;
  std::uint8_t* codes = nullptr;
  int width = 8;
  const float *scale = nullptr, *zero_point = nullptr;
  float *scale_out = nullptr, *zero_point_out = nullptr;
  std::uint8_t* pass_mask = nullptr;
  SteMask mask = SteMask::kInclusive;
  unsigned* nonfinite = nullptr;
  std::uint64_t seed = 0;
};

namespace detail {

template <class T>
using JobLauncher = void (*)(const CudaBackend&, const QuantizeCall<T>&, const QuantizeJob<T>&, Output);

template <class T, class Kernel>
void launch_job(const CudaBackend& backend, const QuantizeCall<T>& call, const Grid& grid, const Kernel& kernel) {
  launch(backend, grid, kernel, call.operation, " ", to_string(call.spec), " (", call.rows, ", ", call.columns, ")");
}
template <class T>
Grid grid_of(const QuantizeJob<T>& job) {
  return {blocks_for(job.vectors, 8 * kWarpVectors)};
}

template <class T, RangeKind kRange, bool kFloatZero>
void launch_groups(const CudaBackend& backend, const QuantizeCall<T>& call, const QuantizeJob<T>& job, Output output) {
  const auto run = [&](auto kernel) { launch_job(backend, call, grid_of(job), kernel); };
  const bool masked = job.pass_mask != nullptr;
  switch (output) {
    case Output::kValues:
      if (masked) return run(QuantizeGroups<T, kRange, kFloatZero, Output::kValues, true>{job});
      return run(QuantizeGroups<T, kRange, kFloatZero, Output::kValues, false>{job});
    case Output::kCodes8:
      if (masked) return run(QuantizeGroups<T, kRange, kFloatZero, Output::kCodes8, true>{job});
      return run(QuantizeGroups<T, kRange, kFloatZero, Output::kCodes8, false>{job});
    case Output::kCodes4:
      return run(QuantizeGroups<T, kRange, kFloatZero, Output::kCodes4, false>{job});
    case Output::kNothing:
      return run(QuantizeGroups<T, kRange, kFloatZero, Output::kNothing, false>{job});
  }
}
template <class T, RangeKind kRange, bool kFloatZero>
void launch_rows(const CudaBackend& backend, const QuantizeCall<T>& call, const QuantizeJob<T>& job, Output output) {
  const auto run = [&](auto kernel) {
    using Kernel = decltype(kernel);
    const Grid grid{blocks_for(job.vectors / job.group_vectors, Kernel::kRowsOfBlock), 1, Kernel::kSharedBytes};
    launch_job(backend, call, grid, kernel);
  };
  // As few warps as hold a row with four or eight vectors a thread: rows wait for themselves only, so many at a time.
  if (job.group_vectors <= 128) return run(QuantizeRows<T, kRange, kFloatZero, 1, 4>{job, output});
  if (job.group_vectors <= 256) return run(QuantizeRows<T, kRange, kFloatZero, 2, 4>{job, output});
  if (job.group_vectors <= 512) return run(QuantizeRows<T, kRange, kFloatZero, 4, 4>{job, output});
  if (job.group_vectors <= 1024) return run(QuantizeRows<T, kRange, kFloatZero, 4, 8>{job, output});
  if (job.group_vectors <= 2048) return run(QuantizeRows<T, kRange, kFloatZero, 8, 8>{job, output});
  run(QuantizeRows<T, kRange, kFloatZero, 16, 8>{job, output});
}
template <class T, bool kFloatZero>
void launch_given(const CudaBackend& backend, const QuantizeCall<T>& call, const QuantizeJob<T>& job, Output output) {
  const auto run = [&](auto kernel) { launch_job(backend, call, grid_of(job), kernel); };
  const bool masked = job.pass_mask != nullptr;
  switch (output) {
    case Output::kValues:
      if (masked) return run(QuantizeGiven<T, kFloatZero, Output::kValues, true>{job});
      return run(QuantizeGiven<T, kFloatZero, Output::kValues, false>{job});
    case Output::kCodes8:
      if (masked) return run(QuantizeGiven<T, kFloatZero, Output::kCodes8, true>{job});
      return run(QuantizeGiven<T, kFloatZero, Output::kCodes8, false>{job});
    case Output::kCodes4:
      return run(QuantizeGiven<T, kFloatZero, Output::kCodes4, false>{job});
    case Output::kNothing:
      return;
  }
}

}  // namespace detail

inline constexpr index_t kLongestRow = 4096;  ///< vectors of a group that a block holds in registers

template <class T>
void run_quantize(const CudaBackend& backend, const QuantizeCall<T>& call) {
  validate_on_device(call.spec);
  const AffineScheme scheme(call.spec, kFloatTypeOf<T>);
  const GroupLayout layout = group_layout(call.spec.granularity, call.rows, call.columns);
  const index_t tiles = layout.count();
  if (tiles == 0) return;
  const Output output = call.y != nullptr       ? Output::kValues
                        : call.codes == nullptr ? Output::kNothing
                        : call.width == 4       ? Output::kCodes4
                                                : Output::kCodes8;
  QuantizeJob<T> job;
  job.scheme = scheme;
  job.x = call.x;
  job.y = call.y;
  job.codes = call.codes;
  job.scale = call.scale;
  job.zero_point = call.zero_point;
  job.scale_out = call.scale_out;
  job.zero_point_out = call.zero_point_out;
  job.set_mask(call.pass_mask, call.mask);
  job.nonfinite = call.nonfinite;
  job.group_vectors = vectors_of_group<T>(call.spec, layout);
  job.group_shift = log2_of(job.group_vectors);
  job.vectors = tiles * job.group_vectors;
  job.in_place = static_cast<const void*>(call.x) == static_cast<const void*>(call.y);
  const bool masked = call.pass_mask != nullptr;
  const bool by_vectors = job.group_vectors > 0 && is_aligned(call.x, 16) && is_aligned(call.y, 16) &&
                          is_aligned(call.codes, 8) && (call.width == 8 || call.width == 4) &&
                          !(masked && output == Output::kCodes4);
  const bool kFloatZero = call.spec.mapping == MappingKind::kFloatZeroPoint;
  const bool given = call.scale != nullptr;
  if (by_vectors && !given) {
    // Two rows of fp32 may share a byte of the mask, which is a matter of one warp in launch_groups only.
    const bool in_groups = job.group_shift >= 2 && job.group_shift <= 7;
    const bool in_rows = job.group_vectors >= 32 && job.group_vectors <= kLongestRow &&
                         !(masked && job.group_vectors * Vector<T>::kSize % 8 != 0);
    if (in_groups || in_rows) {
      detail::JobLauncher<T> run = nullptr;
      if (kFloatZero)
        run = in_groups ? detail::launch_groups<T, RangeKind::kMinMax, true>
                        : detail::launch_rows<T, RangeKind::kMinMax, true>;
      else if (range_kind(call.spec.mapping) == RangeKind::kMagnitude)
        run = in_groups ? detail::launch_groups<T, RangeKind::kMagnitude, false>
                        : detail::launch_rows<T, RangeKind::kMagnitude, false>;
      else if (range_kind(call.spec.mapping) == RangeKind::kExtremum)
        run = in_groups ? detail::launch_groups<T, RangeKind::kExtremum, false>
                        : detail::launch_rows<T, RangeKind::kExtremum, false>;
      else
        run = in_groups ? detail::launch_groups<T, RangeKind::kMinMax, false>
                        : detail::launch_rows<T, RangeKind::kMinMax, false>;
      return run(backend, call, job, output);
    }
  }
  if (!given) {
    ParameterOutputs chosen{call.scale_out, call.zero_point_out, call.nonfinite};
    std::size_t used = 0;
    if (output != Output::kNothing) {  // the second pass needs them
      const auto room = [&](float*& to) {
        if (to != nullptr) return;
        const std::size_t bytes = (static_cast<std::size_t>(tiles) * sizeof(float) + 255) / 256 * 256;
        check_workspace(backend, call.operation, used + bytes);
        to = reinterpret_cast<float*>(static_cast<char*>(backend.workspace) + used);
        used += bytes;
      };
      room(chosen.scale);
      if (!has_constant_zero_point(call.spec.mapping)) room(chosen.zero_point);
    }
    choose_any(backend, call.operation, scheme, layout, call.x, chosen, used);
    if (output == Output::kNothing) return;
    job.scale = chosen.scale;
    job.zero_point = chosen.zero_point;
  }
  if (by_vectors)
    return kFloatZero ? detail::launch_given<T, true>(backend, call, job, output)
                      : detail::launch_given<T, false>(backend, call, job, output);
  EachElement<T> each{scheme, layout, output == Output::kValues ? ElementOp::kFakeQuantize : ElementOp::kQuantize};
  each.x = call.x;
  each.y = call.y;
  each.codes = call.codes;
  each.width = call.width;
  each.scale = job.scale;
  each.zero_point = job.zero_point;
  each.mask = call.mask;
  each.pass_mask = call.pass_mask;
  each.seed = call.seed;
  run_each(backend, call.operation, each);
}

/// @throws qat::Error where a call needs parameters and has none
inline void check_parameters(const char* operation, const QuantSpec& spec, const float* scale,
                             const float* zero_point) {
  QAT_CHECK(scale != nullptr, kInvalidArgument, operation, ": scale is null, one value per tile is required");
  QAT_CHECK(zero_point != nullptr || has_constant_zero_point(spec.mapping), kInvalidArgument, operation,
            ": zero_point is null, which ", to_string(spec), " needs");
}

}  // namespace qat::inline v0::cuda
