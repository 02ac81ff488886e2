// The kernels of scaled_float.hpp.
#pragma once

#include "qat/kernels/cuda/quantize_launch.cuh"
#include "qat/kernels/cuda/scaled_float.hpp"
#include "qat/kernels/cuda/scaled_float_vector.hpp"

namespace qat::inline v0::cuda {

template <class T>
struct ScaledFloatJob {
  ScaledFloatSpec spec;
  const T* x = nullptr;
  T* y = nullptr;
  const float* tensor_amax = nullptr;
  float* scale = nullptr;
  std::uint8_t* pass_mask = nullptr;
  unsigned* nonfinite = nullptr;
  index_t vectors = 0, group_vectors = 1;
  int group_shift = 0;  ///< log2 of group_vectors
  bool in_place = false;

  template <class Context>
  QAT_HOST_DEVICE float tensor_scale(const Context& c) const {
    return spec.rule == ScaleRule::kNvfp4 ? nvfp4_tensor_scale(c.load_cached(tensor_amax)) : 1.0f;
  }
};

/// Quantizes a vector with the parameters of its block and stores it. All lanes of the warp call.
template <FloatKind kKind, class T, class Context>
QAT_HOST_DEVICE void put_floats(const Context& c, const ScaledFloatJob<T>& job, const SmallFloatRounding& rounding,
                                index_t vector, const Bytes16& v, unsigned nan, const VectorBlock& block, bool valid) {
  constexpr int N = Vector<T>::kSize;
  float x[N], a[N];
  unpack<T>(v, x);
  if constexpr (kKind != FloatKind::kAmax) {
    QAT_CUDA_UNROLL
    for (int i = 0; i < N; ++i) a[i] = cuda::magnitude(c.mul(x[i], block.factor));
  } else {
    QAT_CUDA_UNROLL
    for (int i = 0; i < N; ++i) {
      const float bounded = smaller(c.mul(cuda::magnitude(x[i]), block.power), VectorBlock::kBound);
      a[i] = quotient(c, bounded, block.divisor, block.factor);
    }
  }
  if (job.pass_mask != nullptr) {
    unsigned pass = 0;
    QAT_CUDA_UNROLL
    for (int i = 0; i < N; ++i) pass |= a[i] <= rounding.largest ? 1u << i : 0u;
    pass = valid ? pass & ~nan : 0u;
    if constexpr (N == 8) {
      if (valid) c.store(job.pass_mask + vector, static_cast<std::uint8_t>(pass));
    } else {
      const unsigned next = c.shuffle_xor(pass, 1);
      if (valid && vector % 2 == 0) c.store(job.pass_mask + vector / 2, static_cast<std::uint8_t>(pass | next << 4));
    }
  }
  QAT_CUDA_UNROLL
  for (int i = 0; i < N; ++i) {
    const float y = c.mul(rounding(c, a[i]), block.scale);
    x[i] = bit_cast<float>(bit_cast<std::uint32_t>(y) | (bit_cast<std::uint32_t>(x[i]) & 0x80000000u));
  }
  const Bytes16 packed = Vector<T>::pack(c, x);
  if (valid) c.store(reinterpret_cast<Bytes16*>(job.y) + vector, packed);
}

/// Blocks of 1 to 32 vectors, a power of two: neighbouring lanes. kGiven: one scale, of the tensor.
template <class T, FloatKind kKind, bool kGiven>
struct ScaledFloatBlocks {
  static constexpr int kThreads = 256, kMinBlocks = 4;
  ScaledFloatJob<T> job;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    using R = Range<RangeKind::kMagnitude>;
    const index_t first = (index_t{c.block()} * (kThreads / 32) + c.warp()) * kWarpVectors + c.lane();
    const int extent = extent_of<4, 32>(first, job.vectors);
    Bytes16 v[4];
    load_vectors<32>(c, job.x, first, extent, job.in_place, v);
    R r[4];
    NanBits nan;
    unsigned nonfinite = 0;
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      if constexpr (kGiven) continue;
      r[u] = R::template of<T>(v[u]);
      if (!r[u].finite()) nan.set(u, observe_finite<T>(v[u], false, r[u], nonfinite));
    }
    const SmallFloatRounding rounding(job.spec.element);
    const float tensor_scale = job.tensor_scale(c);
    const float inverse = kKind == FloatKind::kNvfp4 ? c.div(1.0f, tensor_scale) : 1.0f;
    VectorBlock block;
    if constexpr (kGiven) {
      block = choose_vector_block<T, kKind>(c, c.load_cached(job.tensor_amax), tensor_scale, inverse, job.spec);
      if (first == 0 && job.scale != nullptr) c.store(job.scale, block.scale);
    } else {
      if (nonfinite != 0 && job.nonfinite != nullptr) c.atomic_add(job.nonfinite, nonfinite);
      for (unsigned mask = 1; mask < job.group_vectors; mask *= 2) {
        QAT_CUDA_UNROLL
        for (int u = 0; u < 4; ++u) r[u].merge_lane(c, mask);
      }
    }
    const unsigned lanes = static_cast<unsigned>(job.group_vectors);
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      const index_t vector = first + 32 * u;
      const bool valid = 32 * u < extent;
      if constexpr (!kGiven) {
        block = choose_vector_block<T, kKind>(c, r[u].magnitude, tensor_scale, inverse, job.spec);
        if (valid && job.scale != nullptr && (c.lane() & (lanes - 1)) == 0)
          c.store(job.scale + (vector >> job.group_shift), block.scale);
      }
      unsigned nans = nan.of(u);
      if constexpr (kGiven) {
        QAT_CUDA_UNROLL
        for (int i = 0; i < Vector<T>::kSize; ++i) {
          const float x = Vector<T>::get(v[u], i);
          if (x == x) continue;
          Vector<T>::clear(v[u], i);
          nans |= 1u << i;
        }
      }
      put_floats<kKind>(c, job, rounding, vector, v[u], nans, block, valid);
    }
  }
};

/// Rows that a warp (kWarps 1) or a block holds in registers.
template <class T, FloatKind kKind, int kWarps, int kPerThread>
struct ScaledFloatRows {
  static constexpr int kThreads = kWarps == 1 ? 256 : 32 * kWarps;
  static constexpr int kMinBlocks = (kPerThread <= 4 ? 1280 : 1024) / kThreads;
  static constexpr int kRowsOfBlock = kThreads / (32 * kWarps);
  static constexpr std::size_t kSharedBytes = kWarps == 1 ? 0 : kWarps * sizeof(float);
  ScaledFloatJob<T> job;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    using R = Range<RangeKind::kMagnitude>;
    constexpr unsigned kStride = 32 * kWarps;
    const index_t row = kWarps == 1 ? index_t{c.block()} * kRowsOfBlock + c.warp() : index_t{c.block()};
    const unsigned thread = kWarps == 1 ? c.lane() : c.thread(), length = static_cast<unsigned>(job.group_vectors);
    const index_t base = row * job.group_vectors;
    const bool exists = base < job.vectors;
    Bytes16 v[kPerThread];
    const int extent = exists ? static_cast<int>(length) - static_cast<int>(thread) : 0;
    load_vectors<static_cast<int>(kStride)>(c, job.x, base + thread, extent, job.in_place, v);
    R range;
    unsigned nonfinite = 0, nan[(kPerThread + 3) / 4] = {};
    QAT_CUDA_UNROLL
    for (int i = 0; i < kPerThread; ++i) {                                   // vectors beyond the row are zeros
      if (c.warp() * (kWarps == 1 ? 0 : 32) + kStride * i >= length) break;  // the same for the whole warp
      R next = R::template of<T>(v[i]);
      if (!next.finite()) nan[i / 4] |= observe_finite<T>(v[i], false, next, nonfinite) << (8 * (i % 4));
      range.merge(next);
    }
    if (nonfinite != 0 && job.nonfinite != nullptr) c.atomic_add(job.nonfinite, nonfinite);
    for (unsigned mask = 1; mask < 32; mask *= 2) range.merge_lane(c, mask);
    if constexpr (kWarps > 1) {
      const auto parts = c.template shared<float>(0);
      if (c.lane() == 0) parts.store(c.warp(), range.magnitude);
      c.sync();
      QAT_CUDA_UNROLL
      for (unsigned w = 0; w < kWarps; ++w) range.observe(parts.load(w));
    }
    const float tensor_scale = job.tensor_scale(c);
    const float inverse = kKind == FloatKind::kNvfp4 ? c.div(1.0f, tensor_scale) : 1.0f;
    const VectorBlock block = choose_vector_block<T, kKind>(c, range.magnitude, tensor_scale, inverse, job.spec);
    if (exists && thread == 0 && job.scale != nullptr) c.store(job.scale + row, block.scale);
    const SmallFloatRounding rounding(job.spec.element);
    QAT_CUDA_UNROLL
    for (int i = 0; i < kPerThread; ++i) {
      if (c.warp() * (kWarps == 1 ? 0 : 32) + kStride * i >= length) break;  // the same for the whole warp
      put_floats<kKind>(c, job, rounding, base + thread + kStride * i, v[i], nan[i / 4] >> (8 * (i % 4)) & 0xFFu, block,
                        exists && thread + kStride * i < length);
    }
  }
};

/// Any groups along rows, the definition as it stands; a warp for each group, and where a mask is wanted for each
/// row or, if rows share bytes of it, for the tensor.
template <class T>
struct ScaledFloatAny {
  static constexpr int kThreads = 128;
  ScaledFloatJob<T> job;
  GroupLayout layout;
  index_t tiles_per_warp;  ///< consecutive ones, so that each byte of the mask has one writer

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t begin = (index_t{c.block()} * (kThreads / 32) + c.warp()) * tiles_per_warp;
    const index_t end = layout.count() - begin < tiles_per_warp ? layout.count() : begin + tiles_per_warp;
    unsigned bits = 0;  // of the mask's byte that is being filled
    for (index_t tile = begin; tile < end; ++tile) {
      const index_t row = tile / layout.tiles_per_row, column = tile % layout.tiles_per_row * layout.tile_columns;
      const index_t width =
          layout.columns - column < layout.tile_columns ? layout.columns - column : layout.tile_columns;
      const index_t start = row * layout.columns + column;
      float amax = 0.0f;
      unsigned nonfinite = 0;
      for (index_t i = c.lane(); i < width; i += 32) {
        const float x = to_float(c.load(job.x + start + i));
        if (is_finite(x))
          amax = larger(amax, cuda::magnitude(x));
        else
          ++nonfinite;
      }
      if (nonfinite != 0 && job.nonfinite != nullptr && !given()) c.atomic_add(job.nonfinite, nonfinite);
      for (unsigned mask = 16; mask > 0; mask /= 2) amax = larger(amax, c.shuffle_xor(amax, mask));
      if (given()) amax = c.load_cached(job.tensor_amax);
      const ScaledFloatBlock block = choose_block(amax, job.tensor_scale(c), job.spec, kFloatTypeOf<T>);
      if (c.lane() == 0 && job.scale != nullptr && (!given() || tile == 0)) c.store(job.scale + tile, block.scale);
      for (index_t at = 0; at < width; at += 32) {
        const index_t i = start + at + c.lane();
        const bool valid = at + c.lane() < width;
        const float x = valid ? to_float(c.load(job.x + i)) : 0.0f;
        if (valid) c.store(job.y + i, to_element<T>(c, qat::fake_quantize(x, block, job.spec, kFloatTypeOf<T>)));
        if (job.pass_mask == nullptr) continue;
        const unsigned ballot = c.ballot(valid && qat::passes_gradient(x, block, job.spec));
        const unsigned count = width - at < 32 ? static_cast<unsigned>(width - at) : 32u;
        put_bits(c, start + at, ballot, count, bits, start + at + count == layout.rows * layout.columns);
      }
    }
  }

 private:
  QAT_HOST_DEVICE bool given() const { return job.spec.granularity.kind == GranularityKind::kPerTensor; }
  /// Appends `count` bits of the mask from element `at` on; lane 0 stores the bytes that are full, or the last.
  template <class Context>
  QAT_HOST_DEVICE void put_bits(const Context& c, index_t at, unsigned ballot, unsigned count, unsigned& pending,
                                bool last) const {
    const unsigned offset = static_cast<unsigned>(at % 8);
    std::uint64_t word = (std::uint64_t{ballot} << offset) | (offset != 0 ? pending : 0u);
    unsigned have = offset + count;
    index_t byte = at / 8;
    for (; have >= 8; have -= 8, word >>= 8, ++byte)
      if (c.lane() == 0) c.store(job.pass_mask + byte, static_cast<std::uint8_t>(word));
    pending = static_cast<unsigned>(word) & 0xFFu;
    if (have > 0 && last && c.lane() == 0) c.store(job.pass_mask + byte, static_cast<std::uint8_t>(pending));
  }
};

/// dx (+)= bit ? dy : 0. By vectors where dy and dx are aligned; the rest, or all, eight elements to a thread.
template <class T>
struct MaskGradient {
  static constexpr int kThreads = 256, kMinBlocks = 4;
  const T* dy;
  const std::uint8_t* pass_mask;
  T* dx;
  index_t n, vectors;  ///< elements; whole vectors of the first 8, 16, ... elements
  bool accumulate;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    constexpr int N = Vector<T>::kSize;
    const index_t first = (index_t{c.block()} * (kThreads / 32) + c.warp()) * kWarpVectors + c.lane();
    const int extent = extent_of<4, 32>(first, vectors);
    Bytes16 g[4];
    unsigned bits[4];
    load_vectors<32>(c, dy, first, extent, static_cast<const T*>(dx) == dy, g);
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      const index_t vector = first + 32 * u;
      bits[u] = 32 * u >= extent ? 0u
                : N == 8         ? c.load(pass_mask + vector)
                                 : static_cast<unsigned>(c.load(pass_mask + vector / 2)) >> (4 * (vector % 2));
    }
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      if (32 * u >= extent) continue;
      Bytes16* const to = reinterpret_cast<Bytes16*>(dx) + first + 32 * u;
      float d[N];
      unpack<T>(g[u], d);
      QAT_CUDA_UNROLL
      for (int i = 0; i < N; ++i) d[i] = (bits[u] >> i & 1u) != 0 ? d[i] : 0.0f;
      if (accumulate) {
        const Bytes16 old = c.load(to);
        QAT_CUDA_UNROLL
        for (int i = 0; i < N; ++i) d[i] = c.add(Vector<T>::get(old, i), d[i]);
      }
      c.store(to, Vector<T>::pack(c, d));
    }
    const index_t thread = index_t{c.block()} * kThreads + c.thread(), threads = index_t{c.blocks()} * kThreads;
    for (index_t byte = vectors * N / 8 + thread; byte * 8 < n; byte += threads) {
      const unsigned mask = c.load(pass_mask + byte);
      for (index_t i = 8 * byte; i < 8 * byte + 8 && i < n; ++i) {
        float d = (mask >> (i % 8) & 1u) != 0 ? to_float(c.load(dy + i)) : 0.0f;
        if (accumulate) d = c.add(to_float(c.load(dx + i)), d);
        c.store(dx + i, to_element<T>(c, d));
      }
    }
  }
};

struct SetZero {
  static constexpr int kThreads = 32;
  float* value;
  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    if (c.thread() == 0) c.store(value, 0.0f);
  }
};

/// Raises *amax, which holds a magnitude, to that of the elements: magnitudes compare as their bits do.
template <class T>
struct AmaxOfTensor {
  static constexpr int kThreads = 256, kMinBlocks = 4;
  const T* x;
  index_t n;
  float* amax;
  unsigned* nonfinite;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    using R = Range<RangeKind::kMagnitude>;
    constexpr index_t N = Vector<T>::kSize;
    const bool aligned = reinterpret_cast<std::uintptr_t>(x) % 16 == 0;
    const index_t vectors = aligned ? n / N : 0, thread = index_t{c.block()} * kThreads + c.thread();
    const index_t threads = index_t{c.blocks()} * kThreads;
    R range;
    unsigned bad = 0;
    // Four vectors of each thread a block's width apart, blocks side by side.
    const index_t own = index_t{c.block()} * (4 * kThreads) + c.thread();
    for (index_t first = own; first < vectors; first += 4 * threads) {
      Bytes16 v[4];
      load_vectors<kThreads>(c, x, first, extent_of<4, kThreads>(first, vectors), false, v);
      QAT_CUDA_UNROLL
      for (int u = 0; u < 4; ++u) {
        R next = R::template of<T>(v[u]);
        if (!next.finite()) observe_finite<T>(v[u], false, next, bad);
        range.merge(next);
      }
    }
    for (index_t i = vectors * N + thread; i < n; i += threads) {
      const float v = to_float(c.load_stream(x + i));
      if (is_finite(v))
        range.observe(v);
      else
        ++bad;
    }
    for (unsigned mask = 1; mask < 32; mask *= 2) range.merge_lane(c, mask);
    if (bad != 0 && nonfinite != nullptr) c.atomic_add(nonfinite, bad);
    if (c.lane() == 0 && range.magnitude > 0.0f)
      c.atomic_max(reinterpret_cast<unsigned*>(amax), bit_cast<std::uint32_t>(range.magnitude));
  }
};

template <class T>
void mask_gradient(const CudaBackend& backend, const T* dy, const std::uint8_t* pass_mask, index_t n, T* dx,
                   bool accumulate) {
  if (n == 0) return;
  QAT_CHECK(pass_mask != nullptr, kInvalidArgument, "cuda mask_gradient: pass_mask is null");
  const index_t vectors = is_aligned(dy, 16) && is_aligned(dx, 16) ? n / 8 * 8 / Vector<T>::kSize : 0;
  const index_t work = vectors > 0 ? vectors : n / 8 + 1;
  launch(backend, {blocks_for(work, vectors > 0 ? 8 * kWarpVectors : MaskGradient<T>::kThreads)},
         MaskGradient<T>{dy, pass_mask, dx, n, vectors, accumulate}, "cuda mask_gradient of ", n, " elements");
}

template <class T>
void tensor_amax(const CudaBackend& backend, const T* x, index_t n, float* amax, unsigned* nonfinite) {
  launch(backend, {1}, SetZero{amax}, "cuda tensor_amax");
  const index_t wanted = (n / Vector<T>::kSize + 4 * 256 - 1) / (4 * 256) + 1;
  const index_t most = resident_blocks(4);
  if (n > 0)
    launch(backend, {static_cast<unsigned>(wanted < most ? wanted : most)}, AmaxOfTensor<T>{x, n, amax, nonfinite},
           "cuda tensor_amax of ", n, " elements");
}

namespace detail {
template <FloatKind kKind, class T, class Run>
void launch_floats(const Run& run, const ScaledFloatJob<T>& job, bool per_tensor, bool in_blocks) {
  const Grid grid{blocks_for(job.vectors, 8 * kWarpVectors)};
  if (per_tensor) return run(grid, ScaledFloatBlocks<T, kKind, true>{job});
  if (in_blocks) return run(grid, ScaledFloatBlocks<T, kKind, false>{job});
  const auto run_rows = [&](auto kernel) {
    using Kernel = decltype(kernel);
    run({blocks_for(job.vectors / job.group_vectors, Kernel::kRowsOfBlock), 1, Kernel::kSharedBytes}, kernel);
  };
  if (job.group_vectors <= 128) return run_rows(ScaledFloatRows<T, kKind, 1, 4>{job});
  if (job.group_vectors <= 256) return run_rows(ScaledFloatRows<T, kKind, 2, 4>{job});
  if (job.group_vectors <= 512) return run_rows(ScaledFloatRows<T, kKind, 4, 4>{job});
  if (job.group_vectors <= 1024) return run_rows(ScaledFloatRows<T, kKind, 4, 8>{job});
  if (job.group_vectors <= 2048) return run_rows(ScaledFloatRows<T, kKind, 8, 8>{job});
  run_rows(ScaledFloatRows<T, kKind, 16, 8>{job});
}
}  // namespace detail

template <class T>
void fake_quantize_float(const CudaBackend& backend, const ScaledFloatSpec& spec, const T* x, index_t rows,
                         index_t columns, T* y, const ScaledFloatExtras& extras) {
  constexpr const char* kName = "cuda fake_quantize_float";
  validate(spec);
  const GroupLayout layout = group_layout(spec.granularity, rows, columns);
  if (layout.count() == 0) return;
  ScaledFloatJob<T> job;
  job.spec = spec;
  job.x = x;
  job.y = y;
  job.tensor_amax = extras.tensor_amax;
  job.scale = extras.scale;
  job.pass_mask = extras.pass_mask;
  job.nonfinite = extras.nonfinite;
  job.in_place = x == y;
  const bool per_tensor = spec.granularity.kind == GranularityKind::kPerTensor;
  if (job.tensor_amax == nullptr && (per_tensor || spec.rule == ScaleRule::kNvfp4)) {
    check_workspace(backend, kName, 256);
    float* const amax = static_cast<float*>(backend.workspace);
    tensor_amax(backend, x, rows * columns, amax, per_tensor ? extras.nonfinite : nullptr);
    job.tensor_amax = amax;
  }
  const auto run = [&](const Grid& grid, const auto& kernel) {
    launch(backend, grid, kernel, kName, " ", to_string(spec), " (", rows, ", ", columns, ")");
  };
  QuantSpec shape;  // has the granularity, and rounds half to even
  shape.granularity = spec.granularity;
  job.group_vectors = vectors_of_group<T>(shape, layout);
  job.group_shift = log2_of(job.group_vectors);
  job.vectors = layout.count() * job.group_vectors;
  if (job.group_vectors > 0 && is_aligned(x, 16) && is_aligned(y, 16)) {
    const bool shares_bytes = job.pass_mask != nullptr && job.group_vectors * Vector<T>::kSize % 8 != 0;
    const bool in_blocks = per_tensor || (job.group_vectors <= 32 && job.group_shift >= 0);
    const bool in_rows = job.group_vectors >= 32 && job.group_vectors <= kLongestRow && !shares_bytes;
    if (in_blocks || in_rows) {
      if (spec.rule == ScaleRule::kAmax)
        return detail::launch_floats<FloatKind::kAmax>(run, job, per_tensor, in_blocks);
      if (spec.rule == ScaleRule::kNvfp4)
        return detail::launch_floats<FloatKind::kNvfp4>(run, job, per_tensor, in_blocks);
      return detail::launch_floats<FloatKind::kMx>(run, job, per_tensor, in_blocks);
    }
  }
  const GroupLayout runs = per_tensor ? GroupLayout{rows, columns, 1, columns, rows, 1} : layout;
  // A byte of the mask has eight elements of one tile, of one row's tiles, or of the tensor's.
  const index_t tiles = job.pass_mask == nullptr || (runs.columns % 8 == 0 && runs.tile_columns % 8 == 0) ? 1
                        : runs.columns % 8 == 0 ? runs.tiles_per_row
                                                : runs.count();
  run({blocks_for((runs.count() + tiles - 1) / tiles, ScaledFloatAny<T>::kThreads / 32)},
      ScaledFloatAny<T>{job, runs, tiles});
}

}  // namespace qat::inline v0::cuda
