// The kernels of quantization over contiguous groups of whole 16-byte vectors: parameters chosen from the group or
// given, one pass over memory. Each thread has four vectors in flight. quantize_any.cuh has everything else.
#pragma once

#include "qat/kernels/cuda/affine_vector.hpp"
#include "qat/kernels/cuda/group_range.hpp"
#include "qat/kernels/cuda/launch.cuh"

namespace qat::inline v0::cuda {

enum class Output { kValues, kCodes8, kCodes4, kNothing };

template <class T>
struct QuantizeJob {
  AffineScheme scheme;
  const T* x = nullptr;
  T* y = nullptr;
  std::uint8_t* codes = nullptr;
  const float *scale = nullptr, *zero_point = nullptr;  ///< given parameters; zero_point null: the constant one
  float *scale_out = nullptr, *zero_point_out = nullptr;
  std::uint8_t* pass_mask = nullptr;
  float mask_inset = 0.0f;       ///< steps inside the range of codes
  std::uint8_t pass_always = 0;  ///< bits of pass_mask set in any case
  unsigned* nonfinite = nullptr;
  index_t vectors = 0;        ///< of the tensor
  index_t group_vectors = 1;  ///< of a group
  int group_shift = -1;       ///< log2 of group_vectors where that is a power of two
  bool in_place = false;      ///< y is x

  QAT_HOST_DEVICE void set_mask(std::uint8_t* bits, SteMask mask) {
    pass_mask = bits;
    mask_inset = mask == SteMask::kStrict ? 1.0f : 0.0f;
    pass_always = mask == SteMask::kPassThrough ? 0xFF : 0;
  }
  QAT_HOST_DEVICE float constant_zero_point() const { return scheme.spec.is_signed ? 0.0f : scheme.middle(); }
  QAT_HOST_DEVICE index_t group_of(index_t vector) const {
    if (group_shift >= 0) return vector >> group_shift;
    if (vectors <= 0xFFFFFFFF) return static_cast<std::uint32_t>(vector) / static_cast<std::uint32_t>(group_vectors);
    return vector / group_vectors;
  }
};

/// How many of the vectors first, first + kStride, ... are before `end`, as kStride times their number, at most kCount
/// * kStride: vector u is there if kStride * u is less.
template <int kCount, int kStride>
QAT_HOST_DEVICE int extent_of(index_t first, index_t end) {
  const index_t left = end - first;
  return left >= kCount * kStride ? kCount * kStride : left < 0 ? 0 : static_cast<int>(left);
}

/// v[u] = vector kStride * u of p where that is less than `extent`, else zeros. Read once, or read and overwritten.
template <int kStride, int kCount, class T, class Context>
QAT_HOST_DEVICE void load_vectors(const Context& c, const T* p, index_t first, int extent, bool overwritten,
                                  Bytes16 (&v)[kCount]) {
  const Bytes16* const from = reinterpret_cast<const Bytes16*>(p) + first;
  const bool all = extent > kStride * (kCount - 1);
  if (!overwritten && all) {  // nearly always: no conditions between the loads
    QAT_CUDA_UNROLL
    for (int u = 0; u < kCount; ++u) v[u] = c.load_stream(from + kStride * u);
  } else if (overwritten) {
    QAT_CUDA_UNROLL
    for (int u = 0; u < kCount; ++u) v[u] = kStride * u < extent ? c.load(from + kStride * u) : Bytes16{};
  } else {
    QAT_CUDA_UNROLL
    for (int u = 0; u < kCount; ++u) v[u] = kStride * u < extent ? c.load_stream(from + kStride * u) : Bytes16{};
  }
}

/// A vector with NaN or infinities: its range without them, how many there are; NaN is replaced by zero, whose value is
/// NaN's, unless keep_nan. Returns the bits of the NaNs.
template <class T, class R>
QAT_HOST_DEVICE unsigned observe_finite(Bytes16& v, bool keep_nan, R& range, unsigned& nonfinite) {
  unsigned nan = 0;
  range = R{};
  QAT_CUDA_UNROLL
  for (int i = 0; i < Vector<T>::kSize; ++i) {
    const float x = Vector<T>::get(v, i);
    if (is_finite(x)) {
      range.observe(x);
      continue;
    }
    ++nonfinite;
    if (x == x) continue;
    nan |= 1u << i;
    if (!keep_nan) Vector<T>::clear(v, i);
  }
  return nan;
}

/// Four vectors of a thread with elements that are not finite.
struct NanBits {
  unsigned bits = 0;
  QAT_HOST_DEVICE void set(int u, unsigned nan) { bits |= nan << (8 * u); }
  QAT_HOST_DEVICE unsigned of(int u) const { return bits >> (8 * u) & 0xFFu; }
};

/// Quantizes one vector and stores what is wanted of it. All lanes of the warp call; valid: there is such a vector.
template <bool kFloatZero, class T, class Context>
QAT_HOST_DEVICE void put_vector(const Context& c, const QuantizeJob<T>& job, Output output, bool with_mask,
                                index_t vector, const Bytes16& v, unsigned nan, const VectorGroup& g, bool valid) {
  constexpr int N = Vector<T>::kSize;
  const AffineVector<T, kFloatZero> a{job.scheme};
  float q[N];
  unpack<T>(v, q);
  a.steps(c, q, g);
  unsigned pass = 0;
  const float first = a.low(g) + job.mask_inset, last = a.high(g) - job.mask_inset;
  QAT_CUDA_UNROLL
  for (int i = 0; i < N; ++i) {
    const float rounded = a.round(c, q[i]);
    if (with_mask) pass |= rounded >= first && rounded <= last ? 1u << i : 0u;
    q[i] = a.clamp(rounded, g);
  }
  if (output == Output::kValues) {
    a.values(c, q, g);
    const Bytes16 packed = Vector<T>::pack(c, q);
    if (valid) c.store(reinterpret_cast<Bytes16*>(job.y) + vector, packed);
  } else if (output == Output::kCodes8) {
    std::uint32_t word[N / 4];
    a.template codes<8>(c, q, g, word);
    if (valid) {
      if constexpr (N == 8)
        c.store(reinterpret_cast<Bytes8*>(job.codes) + vector, Bytes8{{word[0], word[1]}});
      else
        c.store(reinterpret_cast<std::uint32_t*>(job.codes) + vector, word[0]);
    }
  } else if (output == Output::kCodes4) {
    std::uint32_t word[1];
    a.template codes<4>(c, q, g, word);
    if (valid) {
      if constexpr (N == 8)
        c.store(reinterpret_cast<std::uint32_t*>(job.codes) + vector, word[0]);
      else
        c.store(reinterpret_cast<std::uint16_t*>(job.codes) + vector, static_cast<std::uint16_t>(word[0]));
    }
  }
  if (with_mask) {
    pass = valid ? (pass & ~nan) | job.pass_always : 0u;
    if constexpr (N == 8) {
      if (valid) c.store(job.pass_mask + vector, static_cast<std::uint8_t>(pass));
    } else {
      const unsigned next = c.shuffle_xor(pass & 0xFu, 1);
      if (valid && vector % 2 == 0)
        c.store(job.pass_mask + vector / 2, static_cast<std::uint8_t>((pass & 0xFu) | next << 4));
    }
  }
}

/// Vectors that a warp of QuantizeGroups and QuantizeGiven works on.
inline constexpr int kWarpVectors = 128;

/// Chooses the parameters of groups of 4 to 128 vectors, a power of two, and quantizes with them. A warp has 128
/// vectors: lane l the vectors l, l + 32, l + 64 and l + 96, so that a group is neighbouring lanes, then neighbouring
/// rows. Of four rows of groups each lane computes the parameters of one.
template <class T, RangeKind kRange, bool kFloatZero, Output kOutput, bool kMask>
struct QuantizeGroups {
  static constexpr int kThreads = 256, kMinBlocks = 4;
  QuantizeJob<T> job;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    using R = Range<kRange>;
    const unsigned lane = c.lane();
    const index_t first = (index_t{c.block()} * (kThreads / 32) + c.warp()) * kWarpVectors + lane;
    const int extent = extent_of<4, 32>(first, job.vectors);
    Bytes16 v[4];
    load_vectors<32>(c, job.x, first, extent, job.in_place, v);
    R r[4];
    NanBits nan;
    unsigned nonfinite = 0;
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      r[u] = R::template of<T>(v[u]);
      if (!r[u].finite()) nan.set(u, observe_finite<T>(v[u], kFloatZero, r[u], nonfinite));
    }
    if (nonfinite != 0 && job.nonfinite != nullptr) c.atomic_add(job.nonfinite, nonfinite);
    const unsigned lanes = job.group_shift < 5 ? 1u << job.group_shift : 32u;
    for (unsigned mask = 1; mask < lanes; mask *= 2) QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) r[u].merge_lane(c, mask);
    if (job.group_shift > 5) {
      r[0].merge(r[1]);
      r[2].merge(r[3]);
      if (job.group_shift > 6) r[0].merge(r[2]), r[2] = r[0];
      r[1] = r[0];
      r[3] = r[2];
    }
    const unsigned mine = lane % 4;
    const R own = mine < 2 ? (mine == 0 ? r[0] : r[1]) : (mine == 2 ? r[2] : r[3]);
    AffineScheme scheme = job.scheme;
    scheme.input = kFloatTypeOf<T>;
    if constexpr (kRange == RangeKind::kMagnitude) scheme.spec.mapping = MappingKind::kSymmetric;
    if constexpr (kRange == RangeKind::kExtremum) scheme.spec.mapping = MappingKind::kSignedExtremum;
    if constexpr (kFloatZero) scheme.spec.mapping = MappingKind::kFloatZeroPoint;
    const QParams p = choose_qparams_of<T>(c, own.group(), scheme);
    const index_t own_vector = first + 32 * mine;
    // One lane for each group; with groups of several rows the first row's.
    const bool stores = lane % lanes < 4 && (job.group_shift <= 5 || mine % (1u << (job.group_shift - 5)) == 0);
    if (stores && static_cast<int>(32 * mine) < extent) {
      if (job.scale_out != nullptr) c.store(job.scale_out + (own_vector >> job.group_shift), p.scale);
      if (job.zero_point_out != nullptr) c.store(job.zero_point_out + (own_vector >> job.group_shift), p.zero_point);
    }
    const VectorGroup own_group = AffineVector<T, kFloatZero>{scheme}.group(p);
    QAT_CUDA_UNROLL
    for (unsigned u = 0; u < 4; ++u) {
      const unsigned source = (lane & ~3u) + u;
      VectorGroup g = own_group;
      g.scale = c.shuffle(own_group.scale, source);
      g.inverse = c.shuffle(own_group.inverse, source);
      if constexpr (kRange == RangeKind::kMinMax) {
        g.low = c.shuffle(own_group.low, source);
        if constexpr (!kFloatZero) g.high = g.low + (scheme.qmax - scheme.qmin);
      }
      put_vector<kFloatZero>(c, job, kOutput, kMask, first + 32 * u, v[u], nan.of(static_cast<int>(u)), g,
                             static_cast<int>(32 * u) < extent);
    }
  }
};

/// Quantizes with given parameters, groups of any number of vectors.
template <class T, bool kFloatZero, Output kOutput, bool kMask>
struct QuantizeGiven {
  static constexpr int kThreads = 256, kMinBlocks = 4;
  QuantizeJob<T> job;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    const index_t first = (index_t{c.block()} * (kThreads / 32) + c.warp()) * kWarpVectors + c.lane();
    const int extent = extent_of<4, 32>(first, job.vectors);
    Bytes16 v[4];
    load_vectors<32>(c, job.x, first, extent, job.in_place, v);
    float scale[4], zero_point[4];
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      const index_t group = 32 * u < extent ? job.group_of(first + 32 * u) : 0;
      scale[u] = c.load_cached(job.scale + group);
      zero_point[u] = job.zero_point != nullptr ? c.load_cached(job.zero_point + group) : job.constant_zero_point();
    }
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      unsigned nan = 0, nonfinite = 0;
      Range<RangeKind::kMagnitude> r = Range<RangeKind::kMagnitude>::of<T>(v[u]);
      if (!r.finite()) nan = observe_finite<T>(v[u], kFloatZero, r, nonfinite);
      const VectorGroup g =
          AffineVector<T, kFloatZero>{job.scheme}.group(make_qparams(scale[u], zero_point[u], job.scheme));
      put_vector<kFloatZero>(c, job, kOutput, kMask, first + 32 * u, v[u], nan, g, 32 * u < extent);
    }
  }
};

/// Chooses the parameters of rows (groups of up to 32 * kWarps * kPerThread vectors) that warps hold in registers, and
/// quantizes with them. kWarps 1: a warp for a row, else a block.
template <class T, RangeKind kRange, bool kFloatZero, int kWarps, int kPerThread>
struct QuantizeRows {
  static constexpr int kThreads = kWarps == 1 ? 256 : 32 * kWarps;
  static constexpr int kMinBlocks = (kPerThread <= 4 ? 1280 : 1024) / kThreads;
  static constexpr int kRowsOfBlock = kThreads / (32 * kWarps);
  static constexpr std::size_t kSharedBytes = kWarps == 1 ? 0 : kWarps * 16;
  QuantizeJob<T> job;
  Output output;

  /// A range and the number of the vector that its extremum is in.
  struct Part {
    Range<kRange> range;
    unsigned vector;
    QAT_HOST_DEVICE void merge(const Part& other) {
      if (Range<kRange>::tie(range, other.range)) {
        if (other.vector < vector) *this = other;
        return;
      }
      if (kRange == RangeKind::kExtremum &&
          cuda::magnitude(other.range.group().extremum) > cuda::magnitude(range.group().extremum))
        vector = other.vector;
      range.merge(other.range);
    }
  };

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    constexpr unsigned kStride = 32 * kWarps;
    const index_t row = kWarps == 1 ? index_t{c.block()} * kRowsOfBlock + c.warp() : index_t{c.block()};
    const unsigned thread = kWarps == 1 ? c.lane() : c.thread();
    const unsigned length = static_cast<unsigned>(job.group_vectors);
    const index_t base = row * job.group_vectors;
    const bool exists = base < job.vectors;
    Bytes16 v[kPerThread];
    const int extent = exists ? static_cast<int>(length) - static_cast<int>(thread) : 0;
    load_vectors<static_cast<int>(kStride)>(c, job.x, base + thread, extent, job.in_place, v);
    Part part{};
    part.vector = thread;
    unsigned nonfinite = 0;
    unsigned nan[(kPerThread + 3) / 4] = {};
    QAT_CUDA_UNROLL
    for (int i = 0; i < kPerThread; ++i) {
      if (c.warp() * (kWarps == 1 ? 0 : 32) + kStride * i >= length) break;  // the same for the whole warp
      Part next{Range<kRange>::template of<T>(v[i]), thread + kStride * i};
      if (!next.range.finite())
        nan[i / 4] |= observe_finite<T>(v[i], kFloatZero, next.range, nonfinite) << (8 * (i % 4));
      if (thread + kStride * i < length) part.merge(next);
    }
    if (exists && nonfinite != 0 && job.nonfinite != nullptr) c.atomic_add(job.nonfinite, nonfinite);
    for (unsigned mask = 1; mask < 32; mask *= 2) {
      Part other{part.range.shuffle_xor(c, mask), part.vector};
      if constexpr (kRange == RangeKind::kExtremum) other.vector = c.shuffle_xor(part.vector, mask);
      part.merge(other);
    }
    if constexpr (kWarps > 1) {
      const auto parts = c.template shared<Part>(0);
      if (c.lane() == 0) parts.store(c.warp(), part);
      c.sync();
      part = parts.load(0);
      for (unsigned w = 1; w < kWarps; ++w) part.merge(parts.load(w));
    }
    AffineScheme scheme = job.scheme;
    scheme.input = kFloatTypeOf<T>;
    if constexpr (kRange == RangeKind::kMagnitude) scheme.spec.mapping = MappingKind::kSymmetric;
    if constexpr (kRange == RangeKind::kExtremum) scheme.spec.mapping = MappingKind::kSignedExtremum;
    if constexpr (kFloatZero) scheme.spec.mapping = MappingKind::kFloatZeroPoint;
    const QParams p = choose_qparams_of<T>(c, part.range.group(), scheme);
    if (exists && thread == 0) {
      if (job.scale_out != nullptr) c.store(job.scale_out + row, p.scale);
      if (job.zero_point_out != nullptr) c.store(job.zero_point_out + row, p.zero_point);
    }
    const VectorGroup g = AffineVector<T, kFloatZero>{scheme}.group(p);
    QAT_CUDA_UNROLL
    for (int i = 0; i < kPerThread; ++i) {
      if (c.warp() * (kWarps == 1 ? 0 : 32) + kStride * i >= length) break;  // the same for the whole warp
      put_vector<kFloatZero>(c, job, output, job.pass_mask != nullptr, base + thread + kStride * i, v[i],
                             nan[i / 4] >> (8 * (i % 4)) & 0xFFu, g, exists && thread + kStride * i < length);
    }
  }
};

/// The gradient of fake_quantize, from x or from the mask of the forward pass: dx (+)= mask ? scale_gradient(dy) : 0.
template <class T, bool kFloatZero, bool kFromMask>
struct QuantizeBackward {
  static constexpr int kThreads = 256, kMinBlocks = kFloatZero ? 3 : 4;
  QuantizeJob<T> job;  ///< x, given parameters, the mask to be read under kFromMask; y: dx
  const T* dy;
  bool accumulate;

  template <class Context>
  QAT_HOST_DEVICE void operator()(const Context& c) const {
    constexpr int N = Vector<T>::kSize;
    const index_t first = (index_t{c.block()} * (kThreads / 32) + c.warp()) * kWarpVectors + c.lane();
    const int extent = extent_of<4, 32>(first, job.vectors);
    Bytes16 g[4], x[4];
    load_vectors<32>(c, dy, first, extent, job.in_place, g);
    if constexpr (!kFromMask) load_vectors<32>(c, job.x, first, extent, false, x);
    unsigned bits[4];
    float scale[4], zero_point[4];
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      const index_t vector = 32 * u < extent ? first + 32 * u : 0, group = job.group_of(vector);
      if constexpr (kFromMask)
        bits[u] = N == 8 ? c.load(job.pass_mask + vector) : c.load(job.pass_mask + vector / 2) >> (4 * (vector % 2));
      scale[u] = c.load_cached(job.scale + group);
      zero_point[u] = job.zero_point != nullptr ? c.load_cached(job.zero_point + group) : job.constant_zero_point();
    }
    const AffineVector<T, kFloatZero> a{job.scheme};
    QAT_CUDA_UNROLL
    for (int u = 0; u < 4; ++u) {
      const VectorGroup group = a.group(make_qparams(scale[u], zero_point[u], job.scheme));
      if constexpr (!kFromMask) {
        float q[N];
        unpack<T>(x[u], q);
        unsigned nan = 0;
        QAT_CUDA_UNROLL
        for (int i = 0; i < N; ++i) nan |= q[i] != q[i] ? 1u << i : 0u;
        a.steps(c, q, group);
        const float low = a.low(group) + job.mask_inset, high = a.high(group) - job.mask_inset;
        unsigned pass = 0;
        QAT_CUDA_UNROLL
        for (int i = 0; i < N; ++i) {
          const float rounded = a.round(c, q[i]);
          pass |= rounded >= low && rounded <= high ? 1u << i : 0u;
        }
        bits[u] = pass & ~nan;
      }
      float d[N];
      unpack<T>(g[u], d);
      a.gradient(c, d, group);
      QAT_CUDA_UNROLL
      for (int i = 0; i < N; ++i) d[i] = (bits[u] >> i & 1u) != 0 ? d[i] : 0.0f;
      if (32 * u < extent) {
        Bytes16* const to = reinterpret_cast<Bytes16*>(job.y) + first + 32 * u;
        if (accumulate) {
          float old[N];
          unpack<T>(c.load(to), old);
          if constexpr (sizeof(T) == 2) round_to_bf16(c, d);
          QAT_CUDA_UNROLL
          for (int i = 0; i < N; ++i) d[i] = c.add(old[i], d[i]);
        }
        c.store(to, Vector<T>::pack(c, d));
      }
    }
  }
};

}  // namespace qat::inline v0::cuda
